"""Exact quantiles of a tensor of any size, in a few passes and bounded memory.

The quantile of p is the least element that a share of at least p of the finite elements does not
exceed: the element of rank max(1, ceil(p n)) of n in ascending order. It is an element, not a mean
of two (definition 1 of Hyndman and Fan, 1996; NumPy's `inverted_cdf`).

An element's bits, read as a whole number in such a way that the order stays, have digits of 16
bits. Each pass counts the elements by their next digit, only among those that share all digits
before with an element that is looked for. So float32 takes two passes and float64 four.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from kinit_cli.digest import TILE_ELEMENTS
from kinit_cli.interrupts import raise_noted
from kinit_cli.tile_memory import TileMemory
from kinit_cli.workers import iter_results

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    #: Gives elements [start, stop) of a tensor, 1-D; the memory may be used for them.
    Read = Callable[[int, int, NDArray[np.uint8]], NDArray[Any]]

#: What is shown of a tensor, in percent.
PERCENTS = (0, 1, 5, 25, 50, 75, 95, 99, 100)

_DIGIT_BITS = 16
_DIGITS = 1 << _DIGIT_BITS
_SIGN_DIGIT = _DIGITS >> 1


@dataclass(slots=True)
class _Search:
    """An element that is looked for: the upper digits known so far, and its rank below them."""

    prefix: int
    rank: int


def rank_of(percent: int, n: int) -> int:
    """Give the rank, from 1 on, of a quantile among n elements.

    >>> [rank_of(percent, 10) for percent in (0, 1, 50, 51, 100)]
    [1, 1, 5, 6, 10]
    """
    return max(1, ceil(Fraction(percent * n, 100)))


def exact_quantiles(
    read: Read,
    n_elements: int,
    n_finite: int,
    *,
    jobs: int,
    percents: Sequence[int] = PERCENTS,
    progress: Callable[[int], object] = lambda n_elements: None,
) -> tuple[float | int, ...]:
    """Find quantiles of the finite elements, each an element of the tensor; -0 counts as 0.

    Parameters
    ----------
    read : callable
        Called from several threads, once for each tile in each pass.
    n_finite : int
        How many of the elements are finite, at least one.
    progress : callable, optional
        Called with a number of elements each time some have been looked at.
    """
    searches = [_Search(0, rank_of(percent, n_finite)) for percent in percents]
    element = _plain(read(0, 1, TileMemory(1).room)).dtype
    n_bits = 8 * element.itemsize
    for shift in range(n_bits - _DIGIT_BITS, -1, -_DIGIT_BITS):
        prefixes = sorted({search.prefix for search in searches})
        counts = _count_pass(_Counter(read, prefixes, shift, element), n_elements, jobs, progress)
        for search in searches:
            _descend(search, counts[prefixes.index(search.prefix)])
    return tuple(_value(search.prefix, element) for search in searches)


def _descend(search: _Search, counts: NDArray[np.int64]) -> None:
    n_upto = np.cumsum(counts)
    digit = int(np.searchsorted(n_upto, search.rank))
    search.rank -= int(n_upto[digit] - counts[digit])
    search.prefix = (search.prefix << _DIGIT_BITS) | digit


def _count_pass(
    counter: _Counter, n_elements: int, jobs: int, progress: Callable[[int], object]
) -> NDArray[np.int64]:
    """Count the elements of every prefix by their next digit, in an array with a row for each."""
    counts = np.zeros((len(counter.prefixes), _DIGITS), np.int64)
    starts = range(0, n_elements, TILE_ELEMENTS)
    tiles = ((start, min(start + TILE_ELEMENTS, n_elements)) for start in starts)
    for (start, stop), (places, found) in iter_results(counter, tiles, jobs=jobs):
        counts.reshape(-1)[places] += found
        progress(stop - start)
        raise_noted()
    return counts


class _Counter:
    """Counts the elements of a tile in one pass; called from many threads at once."""

    def __init__(self, read: Read, prefixes: list[int], shift: int, dtype: np.dtype[Any]) -> None:
        self.prefixes = prefixes
        self._read = read
        self._shift = shift
        self._memory = TileMemory()
        self._key_digits = _key_digits(dtype)
        n_known = 8 * dtype.itemsize - shift - _DIGIT_BITS
        self._is_first = not n_known
        if n_known:
            is_near = np.zeros(_DIGITS, np.bool_)
            is_near[[prefix >> (n_known - _DIGIT_BITS) for prefix in prefixes]] = True
            self._is_near = is_near[self._key_digits]
            # Beside the small negative numbers there is -0, which counts as 0.
            self._is_near[_SIGN_DIGIT] |= self._is_near[0]

    def __call__(self, tile: tuple[int, int]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Give the places, row and digit in one number, that are not empty, and their counts."""
        values = _plain(self._read(*tile, self._memory.room))
        if self._is_first:
            counts = self._count_first(values)
            filled = np.flatnonzero(counts)
            return filled, counts[filled]
        # By the first digit alone, which is quick, most elements are left out.
        keys = _keys(values[self._is_near[_first_digits(values)]])
        number = keys.dtype.type
        places, found = [], []
        for row, prefix in enumerate(self.prefixes):
            chosen = keys[keys >> number(self._shift + _DIGIT_BITS) == number(prefix)]
            digits = (chosen >> number(self._shift)) & number(_DIGITS - 1)
            filled, counts = np.unique(digits.astype(np.intp), return_counts=True)
            places.append(filled + row * _DIGITS)
            found.append(counts)
        return np.concatenate(places), np.concatenate(found)

    def _count_first(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Count by the first digit of the bits as they are; the keys' follow from that."""
        of_bits = np.bincount(_first_digits(values), minlength=_DIGITS)
        if values.dtype.kind == "f":
            if of_bits[_SIGN_DIGIT]:
                n_negative_zero = np.count_nonzero((values == 0) & np.signbit(values))
                of_bits[_SIGN_DIGIT] -= n_negative_zero
                of_bits[0] += n_negative_zero
            of_bits[_is_not_finite(values.dtype)] = 0
        counts = np.zeros(_DIGITS, np.int64)
        counts[self._key_digits] = of_bits
        return counts


def _first_digits(values: NDArray[Any]) -> NDArray[np.uint16]:
    n_digits = values.dtype.itemsize // 2
    return values.view(np.uint16)[(n_digits - 1 if sys.byteorder == "little" else 0) :: n_digits]


def _is_not_finite(dtype: np.dtype[Any]) -> NDArray[np.bool_]:
    """Tell of each first digit whether numbers with it are NaN or infinite."""
    exponent = {4: 0x7F80, 8: 0x7FF0}[dtype.itemsize]
    is_not_finite: NDArray[np.bool_] = (np.arange(_DIGITS) & exponent) == exponent
    return is_not_finite


def _key_digits(dtype: np.dtype[Any]) -> NDArray[np.intp]:
    """Give the first digit of the key for each first digit of the bits; see `_keys`."""
    digits = np.arange(_DIGITS)
    if dtype.kind == "u":
        return digits
    if dtype.kind == "i":
        return digits ^ _SIGN_DIGIT
    return np.where(digits & _SIGN_DIGIT, _DIGITS - 1 - digits, digits | _SIGN_DIGIT)


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    """Give the elements as native float32, float64 or integers of 16 bits or more, exactly.

    Long doubles alone are rounded, as they are for the statistics.
    """
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind in "iu" and size >= 2:
        plain = values.dtype.newbyteorder("=")
    elif kind == "f" and size >= 8:
        plain = np.dtype(np.float64)
    elif kind in "iub":
        plain = np.dtype(np.uint16 if kind == "u" else np.int16)
    else:
        plain = np.dtype(np.float32)
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(values, plain)


def _keys(values: NDArray[Any]) -> NDArray[Any]:
    """Give whole numbers that are ordered as the finite elements are; others are left out."""
    dtype = values.dtype
    unsigned = np.dtype(f"u{dtype.itemsize}")
    sign = unsigned.type(1 << (8 * dtype.itemsize - 1))
    if dtype.kind == "u":
        return values
    keys: NDArray[Any]
    if dtype.kind == "i":
        keys = values.view(unsigned) ^ sign
        return keys
    is_finite = np.isfinite(values)
    finite = values if is_finite.all() else values[is_finite]
    # Adding +0 makes every zero positive.
    bits = (finite + dtype.type(0)).view(unsigned)
    keys = np.where(bits & sign, ~bits, bits | sign)
    return keys


def _value(key: int, dtype: np.dtype[Any]) -> float | int:
    n_bits = 8 * dtype.itemsize
    sign = 1 << (n_bits - 1)
    if dtype.kind == "u":
        return key
    if dtype.kind == "i":
        return key - sign
    bits = key ^ sign if key & sign else key ^ ((1 << n_bits) - 1)
    return float(np.array(bits, f"u{dtype.itemsize}").view(dtype))
