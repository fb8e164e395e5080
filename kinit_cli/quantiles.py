"""Exact quantiles of a tensor of any size, in a few passes and bounded memory.

The quantile of p is the least element that a share of at least p of the finite elements does not
exceed: the element of rank max(1, ceil(p n)) of n in ascending order. It is an element, not a mean
of two (definition 1 of Hyndman and Fan, 1996; NumPy's `inverted_cdf`).

An element's bits, read as a whole number in such a way that the order stays, have digits of 16
bits. Each pass counts the elements by their next digit, only among those that share all digits
before with an element that is looked for. So float32 takes two passes and float64 four.
"""

from __future__ import annotations

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
        counts = _count_pass(_Counter(read, prefixes, shift), n_elements, jobs, progress)
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

    def __init__(self, read: Read, prefixes: list[int], shift: int) -> None:
        self.prefixes = prefixes
        self._read = read
        self._shift = shift
        self._memory = TileMemory()

    def __call__(self, tile: tuple[int, int]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Give the places, row and digit in one number, that are not empty, and their counts."""
        keys = _keys(_plain(self._read(*tile, self._memory.room)))
        n_bits = 8 * keys.dtype.itemsize
        upper = self._shift + _DIGIT_BITS
        if upper < n_bits:
            # By the first digit alone, which is quick, most elements are left out.
            first_shift = n_bits - _DIGIT_BITS
            is_near = np.zeros(_DIGITS, np.bool_)
            is_near[[prefix >> (first_shift - upper) for prefix in self.prefixes]] = True
            keys = keys[is_near[keys >> keys.dtype.type(first_shift)]]
        places, counts = [], []
        for row, prefix in enumerate(self.prefixes):
            chosen = keys
            if upper < n_bits:
                chosen = keys[keys >> keys.dtype.type(upper) == keys.dtype.type(prefix)]
            digits = (chosen >> keys.dtype.type(self._shift)) & keys.dtype.type(_DIGITS - 1)
            found = np.bincount(digits.astype(np.intp), minlength=_DIGITS)
            filled = np.flatnonzero(found)
            places.append(filled + row * _DIGITS)
            counts.append(found[filled])
        return np.concatenate(places), np.concatenate(counts)


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
