"""The values that a float dtype has, and what rounds to them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kinit_cli.dtypes import DTYPES, numpy_dtype
from kinit_cli.stream.transforms import cast_float64

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: More values than this are not listed.
MAX_LEVELS = 2**17


@lru_cache(maxsize=1024)
def rounded(value: float, dtype: str) -> float:
    """Round a number as the stream does: to nearest even, a narrow dtype by way of float32."""
    out = np.empty(1, numpy_dtype(dtype))
    cast_float64(np.array([value]), out)
    return float(out[0])


@lru_cache(maxsize=1024)
def spacing_at(magnitude: float, dtype: str) -> float:
    """Give the distance from a value of the dtype, of this magnitude, to the next larger one.

    >>> spacing_at(1.0, "float32") == 2**-23, spacing_at(0.0, "float16") == 2**-24
    (True, True)
    """
    # Of the largest value, and of whatever lies beyond, it is the distance to the one before.
    highest = float(DTYPES[dtype].highest)
    here = np.empty(1, numpy_dtype(dtype))
    cast_float64(np.array([min(magnitude, highest)]), here)
    is_last = float(here[0]) == highest
    return abs(float(_next(here, dtype, -1 if is_last else 1)[0]) - float(here[0]))


def rounding_edges(values: NDArray[np.float64], dtype: str) -> NDArray[np.float64]:
    """Give, for each value, the number from which on others are rounded to it or beyond.

    It lies halfway between the least value of the dtype that is not below and the one before.
    """
    at_least = np.empty(values.size, numpy_dtype(dtype))
    cast_float64(values, at_least)
    is_below = at_least.astype(np.float64) < values
    at_least = np.where(is_below, _next(at_least, dtype, 1), at_least).astype(at_least.dtype)
    before = _next(at_least, dtype, -1)
    return edges_between(before.astype(np.float64), at_least.astype(np.float64), dtype)


def edges_between(
    lower: NDArray[np.float64], upper: NDArray[np.float64], dtype: str
) -> NDArray[np.float64]:
    """Give the numbers from which on others are rounded to `upper` rather than to `lower`.

    Halfway between the two, which are values of the dtype. But a narrow dtype gets float32 numbers:
    what becomes the middle as float32 goes to the even one of the two, so that the edge lies half a
    step of float32 off.

    Examples
    --------
    >>> edge = edges_between(np.array([1.0]), np.array([1.0078125]), "bfloat16")
    >>> ((edge - 1.00390625) * 2.0**24).tolist()
    [1.0]
    """
    middle: NDArray[np.float64] = lower / 2 + upper / 2
    if DTYPES[dtype].n_bytes >= 4:
        return middle
    is_odd = upper.astype(numpy_dtype(dtype)).view(_integer_of(dtype)) & 1 == 1
    half_step = np.spacing(np.abs(middle).astype(np.float32)).astype(np.float64) / 2
    return middle + np.where(is_odd, half_step, -half_step)


def _next(values: NDArray[Any], dtype: str, sign: Literal[-1, 1]) -> NDArray[Any]:
    """Give the values that follow, upwards or downwards, but none beyond the finite ones."""
    # Not towards infinity, which not every dtype has.
    end = np.array(sign * DTYPES[dtype].highest, values.dtype)
    with np.errstate(all="ignore"):
        following: NDArray[Any] = np.nextafter(values, end)
    return following


def levels_between(lowest: float, highest: float, dtype: str) -> NDArray[np.float64]:
    """List the values of a float dtype from one of them to another, ascending.

    Raises
    ------
    ValueError
        There are more than `MAX_LEVELS`.

    Examples
    --------
    >>> levels_between(1.0, 1.03125, "bfloat16").tolist()
    [1.0, 1.0078125, 1.015625, 1.0234375, 1.03125]
    """
    first, last = _ordinal(lowest, dtype), _ordinal(highest, dtype)
    if last - first >= MAX_LEVELS:
        raise ValueError(f"{last - first + 1} values of {dtype}")
    integer = _integer_of(dtype)
    ordinals = np.arange(first, last + 1)
    bits = np.where(ordinals < 0, np.iinfo(integer).min - ordinals, ordinals).astype(integer)
    levels: NDArray[np.float64] = bits.view(numpy_dtype(dtype)).astype(np.float64) + 0.0
    return levels


def count_levels(lowest: float, highest: float, dtype: str) -> int:
    """Count the values that numbers between two have once they are rounded to a float dtype.

    >>> count_levels(1.0, 1.03125, "bfloat16")
    5
    """
    return _ordinal(rounded(highest, dtype), dtype) - _ordinal(rounded(lowest, dtype), dtype) + 1


def _ordinal(value: float, dtype: str) -> int:
    """Give the rank of a dtype's value among all of them, in ascending order, 0 being 0."""
    integer = _integer_of(dtype)
    bits = int(np.array(value).astype(numpy_dtype(dtype)).view(integer))
    return bits if bits >= 0 else int(np.iinfo(integer).min) - bits


def _integer_of(dtype: str) -> np.dtype[np.signedinteger]:
    return np.dtype(f"i{numpy_dtype(dtype).itemsize}")
