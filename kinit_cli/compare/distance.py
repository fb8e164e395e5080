"""How far apart two arrays are, element by element, whatever their dtypes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kinit_cli.compare.elements import Element, differing_bits, element_at, has_same_bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Elements at once: their float64 copies stay in cache.
_BLOCK = 2**15
#: Integers below are exact in float64.
_EXACT_BELOW = 2.0**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """Two numbers are close if they are at most atol + rtol * max(|a|, |b|) apart."""

    rtol: float = 0.0
    atol: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """An element of each array, at a flat C-order index."""

    index: int
    a: Element
    b: Element


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """How two arrays differ.

    Attributes
    ----------
    n_bits : int
        Elements with other bits; 0 if the dtypes differ.
    n_values : int
        Elements that are not equal. 0 equals -0; NaN equals NaN of the same bits, those after
        conversion to float64 if the dtypes differ.
    n_beyond : int
        Elements that are neither equal nor close; NaN and infinity are close to nothing.
    n_not_finite : int
        Unequal elements of which one is NaN or infinite.
    max_abs, max_rel : float or None
        Largest |a - b| and |a - b| / max(|a|, |b|), in float64, of the other unequal elements.
    first_bits, first_value, first_beyond : Spot or None
        The first element of each kind.
    """

    n_bits: int = 0
    n_values: int = 0
    n_beyond: int = 0
    n_not_finite: int = 0
    max_abs: float | None = None
    max_rel: float | None = None
    first_bits: Spot | None = None
    first_value: Spot | None = None
    first_beyond: Spot | None = None

    def joined(self, other: Distance) -> Distance:
        """Give the distance of this part of two arrays and the one that comes after it."""
        return Distance(
            n_bits=self.n_bits + other.n_bits,
            n_values=self.n_values + other.n_values,
            n_beyond=self.n_beyond + other.n_beyond,
            n_not_finite=self.n_not_finite + other.n_not_finite,
            max_abs=_larger(self.max_abs, other.max_abs),
            max_rel=_larger(self.max_rel, other.max_rel),
            first_bits=self.first_bits or other.first_bits,
            first_value=self.first_value or other.first_value,
            first_beyond=self.first_beyond or other.first_beyond,
        )


def distance(a: NDArray[Any], b: NDArray[Any], tolerance: Tolerance, *, start: int = 0) -> Distance:
    """Compare two 1-D arrays of one size, of any real dtypes and byte orders.

    Parameters
    ----------
    start : int
        Index of the first element in the tensor, for the places that are told.
    """
    total = Distance()
    if a.dtype.newbyteorder("=") == b.dtype.newbyteorder("=") and has_same_bits(a, b):
        return total
    for offset in range(0, a.size, _BLOCK):
        block = slice(offset, offset + _BLOCK)
        total = total.joined(_of_block(a[block], b[block], tolerance, start + offset))
    return total


def _of_block(a: NDArray[Any], b: NDArray[Any], tolerance: Tolerance, start: int) -> Distance:
    places = np.arange(a.size)
    n_bits, is_one_dtype = 0, a.dtype.newbyteorder("=") == b.dtype.newbyteorder("=")
    if is_one_dtype:
        places = np.flatnonzero(differing_bits(a, b))
        n_bits = places.size
        if not n_bits:
            return Distance()
    # Signalling NaN become quiet ones, and what overflows is told as infinite.
    with np.errstate(all="ignore"):
        x, y = _plain(a[places]), _plain(b[places])
        equal, unequal = _are_equal(x, y), places
        if equal.any():
            x, y, unequal = x[~equal], y[~equal], places[~equal]
        apart, size = _apart(x, y), np.maximum(_sizes(x), _sizes(y))
        relative = apart / size
        is_close = apart <= tolerance.atol + tolerance.rtol * size
        too_far = np.flatnonzero(np.isinf(apart))
        if too_far.size:
            # Each divided first: the distance of two numbers may exceed float64.
            far_size = size[too_far]
            relative[too_far] = np.abs(x[too_far] / far_size - y[too_far] / far_size)
            is_close[too_far] = relative[too_far] <= tolerance.rtol
        is_finite = np.isfinite(size)
        is_close &= is_finite
        if not is_finite.all():
            apart, relative = apart[is_finite], relative[is_finite]
    beyond = unequal[~is_close]

    def spot(indices: NDArray[Any]) -> Spot | None:
        if not indices.size:
            return None
        at = int(indices[0])
        return Spot(index=start + at, a=element_at(a, at), b=element_at(b, at))

    return Distance(
        n_bits=n_bits,
        n_values=unequal.size,
        n_beyond=beyond.size,
        n_not_finite=int(np.count_nonzero(~is_finite)),
        max_abs=_max(apart),
        max_rel=_max(relative),
        first_bits=spot(places) if is_one_dtype else None,
        first_value=spot(unequal),
        first_beyond=spot(beyond),
    )


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    """Give bool as uint8, and floats that NumPy does not know as float32, in native order."""
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype.kind == "V":
        return values.astype(np.float32)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _are_equal(x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.bool_]:
    x_is_float, y_is_float = x.dtype.kind == "f", y.dtype.kind == "f"
    equal: NDArray[np.bool_]
    if x_is_float != y_is_float:
        return _int_equals_float(y, x) if x_is_float else _int_equals_float(x, y)
    if not x_is_float:
        # NumPy compares integers of any two types exactly.
        equal = x == y
        return equal
    if x.dtype != y.dtype:
        common = np.result_type(x, y, np.float64)
        x, y = x.astype(common), y.astype(common)
        equal = (x == y) | (np.isnan(x) & ~differing_bits(x, y))
        return equal
    equal = x == y
    return equal


def _int_equals_float(whole: NDArray[Any], real: NDArray[Any]) -> NDArray[np.bool_]:
    rounded = whole.astype(np.float64)
    equal: NDArray[np.bool_] = rounded == real
    for index in np.flatnonzero(equal & (np.abs(rounded) >= _EXACT_BELOW)):
        equal[index] = int(whole[index]) == int(real[index])
    return equal


def _apart(x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """Give |x - y|, of integers without rounding before the end."""
    if x.dtype.kind == y.dtype.kind != "f":
        wide = np.int64 if x.dtype.kind == "i" else np.uint64
        x, y = x.astype(wide), y.astype(wide)
        # As unsigned words the difference of any two is exact.
        words = np.maximum(x, y).view(np.uint64) - np.minimum(x, y).view(np.uint64)
        rounded: NDArray[np.float64] = words.astype(np.float64)
        return rounded
    apart: NDArray[np.float64] = np.abs(x.astype(np.float64) - y.astype(np.float64))
    for index in np.flatnonzero(apart == 0):
        # Rounded to the same float64; both are whole numbers then.
        apart[index] = float(abs(int(x[index]) - int(y[index])))
    return apart


def _sizes(values: NDArray[Any]) -> NDArray[np.float64]:
    sizes: NDArray[np.float64] = np.abs(values.astype(np.float64))
    return sizes


def _max(values: NDArray[np.float64]) -> float | None:
    return float(values.max()) if values.size else None


def _larger(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)
