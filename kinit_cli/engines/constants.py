"""Fill tiles whose values are not random; the same for every engine (docs/stream.md, 5).

In float dtypes a number is float64 and then rounded as the stream says. In integer dtypes and
bool it stays an integer, so that 2^64 - 1 is itself.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from kinit_cli.draw import Dirac, Nested, channels, flatten
from kinit_cli.stream.transforms import cast_float64

if TYPE_CHECKING:
    from numpy.typing import NDArray


def fill_constant(out: NDArray[Any], value: float | int) -> None:
    """Write `value` into every element of `out`.

    Raises
    ------
    ValueError
        If `out` is of an integer dtype or bool, which cannot hold `value`.
    """
    out[...] = _converted([value], out.dtype)


def fill_constant_array(
    out: NDArray[Any], values: Nested, start: int, shape: tuple[int, ...]
) -> None:
    """Write elements [start, start + out.size) of `values` broadcast to `shape` into `out`."""
    source_shape = np.shape(np.array(values, dtype=object))
    source = _converted(flatten(values), out.dtype).reshape(source_shape)
    out[...] = np.broadcast_to(source, shape).flat[start : start + out.size]


def fill_eye(out: NDArray[Any], gain: float, start: int, shape: tuple[int, ...]) -> None:
    """Write elements [start, start + out.size) of `gain` times a rectangular identity."""
    rows, cols = shape
    out[...] = 0
    stride = cols + 1
    diagonal_stop = min(rows, cols) * stride
    first = -(-start // stride) * stride
    stop = min(start + out.size, diagonal_stop)
    if first < stop:
        fill_constant(out[first - start : stop - start : stride], gain)


def fill_dirac(out: NDArray[Any], draw: Dirac, start: int, shape: tuple[int, ...]) -> None:
    """Write elements [start, start + out.size) of a Dirac kernel into `out`."""
    inputs, outputs = channels(shape, draw.layout)
    per_group = outputs // draw.groups
    index = np.arange(min(inputs, per_group))
    ones = (index + per_group * np.arange(draw.groups)[:, np.newaxis]).reshape(-1)
    index = np.tile(index, draw.groups)
    if draw.layout == "torch":
        field = shape[2:]
        flat = (ones * inputs + index) * math.prod(field) + _middle(field)
    else:
        flat = (_middle(shape[:-2]) * inputs + index) * outputs + ones
    out[...] = 0
    out[flat[(start <= flat) & (flat < start + out.size)] - start] = 1


def _middle(field: tuple[int, ...]) -> int:
    """Give the flat index of the point size // 2 of every axis."""
    flat = 0
    for size in field:
        flat = flat * size + size // 2
    return flat


def _converted(values: list[float | int], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind in "iub":
        return np.array([_exact_integer(value, dtype) for value in values], dtype)
    out = np.empty(len(values), dtype)
    cast_float64(np.array(values, np.float64), out)
    return out


def _exact_integer(value: float | int, dtype: np.dtype[Any]) -> int:
    integer = int(value)
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if integer != value or not low <= integer <= high:
        raise ValueError(f"{dtype.name} cannot hold {value!r}")
    return integer
