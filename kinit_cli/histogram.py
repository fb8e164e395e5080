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

from array import array
from dataclasses import dataclass
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
        counts = np.zeros(N_BUCKETS, np.int64)
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
            counts += counts_here
        buckets = np.flatnonzero(counts != 0)
        return GridCounts(buckets=buckets.astype(np.uint16), counts=counts[buckets]), n_zero

    def _round(self, block: NDArray[Any]) -> NDArray[np.float32]:
        if block.dtype == np.float32:
            return block
        rounded = self._rounded[: block.size]
        np.copyto(rounded, block, casting="same_kind")
        return np.clip(rounded, -FLOAT32_MAX, FLOAT32_MAX, out=rounded)


def reduce_grid(counts: NDArray[np.int64], lowest: float, highest: float) -> Histogram:
    """Join the buckets of the fine grid to about `N_BINS` bins from minimum to maximum.

    Parameters
    ----------
    counts : array of int64, shape (N_BUCKETS,)
        Counts of at least one value, by bucket.
    lowest, highest : float
        The values' minimum and maximum, before rounding to float32.
    """
    low, high = _to_float32(lowest), _to_float32(highest)
    ordered = np.concatenate(
        (counts[: _NEGATIVE_ZERO_BUCKET - 1 : -1], counts[:_NEGATIVE_ZERO_BUCKET])
    )
    inner = _inner_buckets(low, high)
    first = np.searchsorted(_GRID_EDGES, low, side="right") - 1
    starts = np.concatenate(([first], inner))
    return Histogram(
        edges=array("f", [low, *_GRID_EDGES[inner].tolist(), high]),
        counts=array("q", np.add.reduceat(ordered, starts).tolist()),
    )


def _inner_buckets(low: float, high: float) -> NDArray[np.intp]:
    """Give the buckets, in ascending order, whose lower edges are nearest to those of equal bins.

    Every edge is above `low` and below `high`.
    """
    targets = low + (high - low) * _FRACTIONS
    above = np.searchsorted(_GRID_EDGES, targets, side="right")
    is_below_nearer = targets - _GRID_EDGES[above - 1] <= _GRID_EDGES[above] - targets
    buckets = above - is_below_nearer
    edges = _GRID_EDGES[buckets]
    is_inner = (low < edges) & (edges < high)
    is_inner[1:] &= buckets[1:] != buckets[:-1]
    inner: NDArray[np.intp] = buckets[is_inner]
    return inner


def _to_float32(value: float) -> float:
    """Round to float32 as `GridCounter` does: saturating, and -0 to +0."""
    return float(np.float32(min(max(value, -FLOAT32_MAX), FLOAT32_MAX))) + 0.0


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


_GRID_EDGES = _grid_edges()
_FRACTIONS = np.arange(1, N_BINS) / N_BINS
