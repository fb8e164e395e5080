"""Histograms whose counts are exact integers and add up in any order.

The fine grid is the same for every tensor. A finite value is rounded to float32 (beyond
float32's range, to its largest value; -0 counts as +0), and the upper 13 of its 32 bits, sign,
exponent and four mantissa bits, are its bucket: `counts[bits >> 19]` is raised by one. Buckets
are thus 3 to 6 % wide at any magnitude.

At the end `reduce_grid` joins buckets to some 28 bins of about equal width. Their inner edges
are edges of the grid, so every count is exact: bin i holds the float32-rounded values in
[edge_i, edge_{i+1}), the last one its upper edge too. Where the grid is coarser than a 28th of
the range there are fewer bins, and one if all values are equal.
"""

from __future__ import annotations

import operator
import struct
from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Buckets of the fine grid.
N_BUCKETS = 2**13
#: Bins that `reduce_grid` aims at.
N_BINS = 28
FLOAT32_MAX = float(np.finfo(np.float32).max)

_SHIFT = 19
_SIGN_BIT = 0x80000000
_INFINITY_BITS = 0x7F800000
_NEGATIVE_ZERO_BUCKET = _SIGN_BIT >> _SHIFT
_BLOCK_ELEMENTS = 2**18
_SINGLE = struct.Struct("f")


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Bin edges, ascending float32 values, and the number of values in each bin.

    Attributes
    ----------
    edges : array of float32
        One more than there are bins; the first is the minimum, the last the maximum, both
        rounded to float32. Compact, and not to be changed.
    counts : array of int64
    """

    edges: array[float]
    counts: array[int]

    def to_json(self) -> dict[str, object]:
        """Give plain lists."""
        return {"edges": self.edges.tolist(), "counts": self.counts.tolist()}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GridCounts:
    """Values counted on the fine grid: only the buckets that have some.

    Attributes
    ----------
    buckets : array of uint16, ascending
        `bits >> 19`, in the order of the bits, so negative values come last.
    counts : array of int64, of the same shape
    """

    buckets: NDArray[np.uint16]
    counts: NDArray[np.int64]


class GridCounter:
    """Counts values on the fine grid; holds scratch memory, so each thread has its own."""

    def __init__(self) -> None:
        self._buckets = np.empty(_BLOCK_ELEMENTS, np.intp)
        self._rounded = np.empty(_BLOCK_ELEMENTS, np.float32)

    def count(self, values: NDArray[Any]) -> tuple[GridCounts, int]:
        """Count finite values by bucket, and the exact zeros among them.

        Parameters
        ----------
        values
            1-D contiguous array of float32 or float64, all finite.

        Returns
        -------
        grid_counts : GridCounts
        n_zero : int
            How many are +0 or -0 before rounding to float32.
        """
        counts: NDArray[np.int64] | None = None
        n_zero = 0
        for start in range(0, values.size, _BLOCK_ELEMENTS):
            block = values[start : start + _BLOCK_ELEMENTS]
            bits = self._round(block).view(np.uint32)
            buckets = self._buckets[: block.size]
            np.right_shift(bits, _SHIFT, out=buckets, casting="unsafe")
            counts_here = np.bincount(buckets, minlength=N_BUCKETS)
            if counts_here[_NEGATIVE_ZERO_BUCKET]:
                n_negative_zero = np.count_nonzero(bits == _SIGN_BIT)
                counts_here[_NEGATIVE_ZERO_BUCKET] -= n_negative_zero
                counts_here[0] += n_negative_zero
            if counts_here[0]:
                n_zero += block.size - int(np.count_nonzero(block))
            if counts is None:
                counts = counts_here
            else:
                counts += counts_here
        if counts is None:
            counts = np.zeros(N_BUCKETS, np.int64)
        return _sparse(counts), n_zero

    def _round(self, block: NDArray[Any]) -> NDArray[np.float32]:
        if block.dtype == np.float32:
            return block
        rounded = self._rounded[: block.size]
        np.copyto(rounded, block, casting="same_kind")
        return np.clip(rounded, -FLOAT32_MAX, FLOAT32_MAX, out=rounded)


class GridSum:
    """Adds up what `GridCounter` counted; the grid is spread out only from a second part on."""

    __slots__ = ("_all", "_only")

    def __init__(self) -> None:
        self._only: GridCounts | None = None
        self._all: NDArray[np.int64] | None = None

    def add(self, part: GridCounts) -> None:
        """Add the counts of one part, which stays as it is."""
        if self._only is None:
            self._only = part
            return
        if self._all is None:
            self._all = np.zeros(N_BUCKETS, np.int64)
            self._all[self._only.buckets] = self._only.counts
        self._all[part.buckets] += part.counts

    def result(self) -> GridCounts | None:
        """Give the sums, or None if nothing was added."""
        return self._only if self._all is None else _sparse(self._all)


def reduce_grid(grid_counts: GridCounts, lowest: float, highest: float) -> Histogram:
    """Join the buckets of the fine grid to about `N_BINS` bins from minimum to maximum.

    Parameters
    ----------
    grid_counts : GridCounts
        Of at least one value.
    lowest, highest : float
        The values' minimum and maximum, before rounding to float32.
    """
    low, high = counted_value(lowest), counted_value(highest)
    inner = _inner_places(low, high)
    n_below = counts_below(grid_counts, inner)
    return Histogram(
        edges=array("f", [low, *map(GRID_EDGES.__getitem__, inner), high]),
        counts=array("q", map(operator.sub, n_below[1:], n_below)),
    )


def _inner_places(low: float, high: float) -> list[int]:
    """Give the places of the grid's edges that are nearest to those of equal bins.

    They ascend, and every edge is above `low` and below `high`.
    """
    width = high - low
    if not width:
        return []
    # Halfway between two edges the lower one is taken. The middles are exact. For so few numbers
    # NumPy would take longer, and let other threads in each time.
    nearest = dict.fromkeys(bisect_left(_MIDDLES, share * width + low) for share in _FRACTIONS)
    first, stop = bisect_right(GRID_EDGES, low), bisect_left(GRID_EDGES, high)
    return [place for place in nearest if first <= place < stop]


def counts_below(grid_counts: GridCounts, places: list[int]) -> list[int]:
    """Give 0, the number of values below the edge at each place, and the number of values."""
    buckets = grid_counts.buckets.tolist()
    before = list(accumulate(grid_counts.counts.tolist(), initial=0))
    n_values = before[-1]
    n_negative = n_values - before[bisect_left(buckets, _NEGATIVE_ZERO_BUCKET)]
    n_below = [0]
    for place in places:
        if place > _NEGATIVE_ZERO_BUCKET:
            bucket = place - _NEGATIVE_ZERO_BUCKET
            n_below.append(n_negative + before[bisect_left(buckets, bucket)])
        else:
            n_below.append(n_values - before[bisect_left(buckets, N_BUCKETS - place)])
    n_below.append(n_values)
    return n_below


def counted_value(value: float) -> float:
    """Round to float32 as `GridCounter` does: saturating, and -0 to +0."""
    (rounded,) = _SINGLE.unpack(_SINGLE.pack(min(max(value, -FLOAT32_MAX), FLOAT32_MAX)))
    return float(rounded) + 0.0


def _sparse(counts: NDArray[np.int64]) -> GridCounts:
    buckets = np.flatnonzero(counts != 0)
    return GridCounts(buckets=buckets.astype(np.uint16), counts=counts[buckets])


def _grid_edges() -> NDArray[np.float64]:
    """Give the least value of each bucket, the buckets in ascending order of their values.

    Buckets of infinities and NaN have an infinite edge.
    """
    key = np.arange(N_BUCKETS + 1) << _SHIFT
    bits = np.where(key < _SIGN_BIT, 2 * _SIGN_BIT - 1 - key, key - _SIGN_BIT)
    is_finite = (bits & _INFINITY_BITS) != _INFINITY_BITS
    with np.errstate(invalid="ignore"):
        edges = bits.astype(np.uint32).view(np.float32).astype(np.float64)
    infinity = np.where(key < _SIGN_BIT, -np.inf, np.inf)
    return np.where(is_finite, edges, infinity)


def _middles(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    return edges[:-1] / 2 + edges[1:] / 2


#: Places in it are buckets, counted from the lowest value: negative ones first, downwards.
GRID_EDGES: list[float] = _grid_edges().tolist()
_MIDDLES: list[float] = _middles(np.array(GRID_EDGES)).tolist()
_FRACTIONS = [index / N_BINS for index in range(1, N_BINS)]
