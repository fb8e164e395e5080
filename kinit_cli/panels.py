"""What a picture of a tensor shows: bars of what is there, and a curve of what is expected.

Both are densities, shares of the finite elements per unit of value, so that they can lie over each
other. Nothing here knows how they are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING

from kinit_cli.dtypes import DTYPES
from kinit_cli.statistics.histogram import N_BINS, counted_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kinit_cli.statistics.marginal import Marginal
    from kinit_cli.summary import FileSummary, TensorSummary

#: Pieces of a smooth curve.
_N_PIECES = 112
_FEWEST_BINS = 5
#: The axis has room for what may be expected of so many elements, even if there are fewer.
_FEWEST_EXPECTED = 20
#: How far the axis goes to either side of a single value, relative to it.
_MARGIN = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """The picture of one tensor.

    Attributes
    ----------
    low, high : float
        Ends of the axis, low < high; without finite elements 0 and 1.
    edges : tuple of float
        Of the bars, ascending, one more than there are bars; none without finite elements.
    densities : tuple of float
        Of the bars.
    curve : tuple of (float, float)
        Values, ascending, and the density expected there; where it jumps a value stands twice.
        None if it is not known.
    """

    tensor: TensorSummary
    low: float = 0.0
    high: float = 1.0
    edges: tuple[float, ...] = ()
    densities: tuple[float, ...] = ()
    curve: tuple[tuple[float, float], ...] = ()

    @property
    def top(self) -> float:
        """The greatest density, of bars and curve; 1 if there is none."""
        return max((*self.densities, *(y for _, y in self.curve)), default=0.0) or 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """The tensors of one layer; `layer` may be empty."""

    layer: str
    panels: tuple[Panel, ...]


def expected_marginal(tensor: TensorSummary, *, is_ours: bool) -> Marginal | None:
    """Give the distribution of an element that the file's manifest lets one expect, if any.

    Parameters
    ----------
    is_ours : bool
        The values are those of kinit's stream. How another library rounds to a dtype of less than
        32 bits is not known.
    """
    if tensor.draw is None or tensor.dtype not in DTYPES:
        return None
    if not is_ours and DTYPES[tensor.dtype].n_bytes < 4:
        return None
    from kinit_cli.statistics.marginal import marginal_of

    return marginal_of(tensor.draw, tensor.shape, tensor.dtype)


def make_panel(tensor: TensorSummary, *, is_ours: bool = True) -> Panel:
    """Make the picture of a tensor."""
    histogram = tensor.stats.histogram if tensor.stats else None
    if histogram is None:
        return Panel(tensor=tensor)
    n = sum(histogram.counts)
    edges, counts = merge_bins(histogram.edges, histogram.counts, ceil(2 * n ** (1 / 3)))
    marginal = expected_marginal(tensor, is_ours=is_ours)
    low, high = edges[0], edges[-1]
    if marginal is not None:
        n_seen = max(n, _FEWEST_EXPECTED)
        low = min(low, counted_value(marginal.ordered(1, n_seen)))
        high = max(high, counted_value(marginal.ordered(n_seen, n_seen)))
    if low == high:
        margin = abs(low) * _MARGIN or 0.5
        low, high = low - margin, high + margin
    is_single = edges[0] == edges[-1]
    if is_single:
        half = (high - low) / N_BINS / 2
        edges = (edges[0] - half, edges[0] + half)
        low, high = min(low, edges[0]), max(high, edges[-1])
    return Panel(
        tensor=tensor,
        low=low,
        high=high,
        edges=edges,
        densities=_densities([count / n for count in counts], edges),
        curve=_curve(marginal, edges, low, high, is_single=is_single) if marginal else (),
    )


def make_sections(summary: FileSummary, tensors: Sequence[TensorSummary]) -> tuple[Section, ...]:
    """Make the pictures of a file's tensors, by layers in the order of their first tensors."""
    is_ours = summary.origin is None
    layers: dict[str, list[Panel]] = {}
    for tensor in tensors:
        panels = layers.setdefault(split_path(tensor.path)[0], [])
        panels.append(make_panel(tensor, is_ours=is_ours))
    return tuple(Section(layer=layer, panels=tuple(panels)) for layer, panels in layers.items())


def split_path(path: str) -> tuple[str, str]:
    """Split a tensor's path into its layer and the rest; where there is no "/", at a ".".

    >>> split_path("block_0/attention/kernel"), split_path("h.0.mlp.weight"), split_path("w")
    (('block_0/attention', 'kernel'), ('h.0.mlp', 'weight'), ('', 'w'))
    """
    separator = "/" if "/" in path else "."
    layer, _, name = path.rpartition(separator)
    return (layer, name) if name else ("", path)


def merge_bins(
    edges: Sequence[float], counts: Sequence[int], n_wanted: int
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Join bins to some `n_wanted` of about equal width, at least 5, if there are more.

    For few elements many bins would be a comb; twice the cube root of their number is the rule of
    Rice University's textbook.
    """
    n_wanted = max(n_wanted, _FEWEST_BINS)
    if len(counts) <= n_wanted:
        return tuple(edges), tuple(counts)
    width = (edges[-1] - edges[0]) / n_wanted
    last = len(counts)
    kept = [0]
    for index in range(1, last):
        if edges[index] - edges[0] >= len(kept) * width:
            kept.append(index)
    kept.append(last)
    return (
        tuple(edges[index] for index in kept),
        tuple(sum(counts[start:stop]) for start, stop in pairwise(kept)),
    )


def _densities(shares: Sequence[float], edges: Sequence[float]) -> tuple[float, ...]:
    return tuple(
        share / (stop - start) for share, (start, stop) in zip(shares, pairwise(edges), strict=True)
    )


def _curve(
    marginal: Marginal, edges: Sequence[float], low: float, high: float, *, is_single: bool
) -> tuple[tuple[float, float], ...]:
    if marginal.is_smooth and not is_single:
        places = _evenly(low, high, _N_PIECES)
        heights = _densities(marginal.shares_between(places), places)
        middles = [start / 2 + stop / 2 for start, stop in pairwise(places)]
        points = list(zip(middles, heights, strict=True))
        return ((low, heights[0]), *points, (high, heights[-1]))
    # What is coarse, or has single values, is shown as the bars are, and beyond them likewise.
    width = (edges[-1] - edges[0]) / (len(edges) - 1)
    places = [*_beside(low, edges[0], width)[:-1], *edges, *_beside(edges[-1], high, width)[1:]]
    heights = _densities(marginal.shares_in_bins(places), places)
    return tuple(
        (x, height)
        for height, (start, stop) in zip(heights, pairwise(places), strict=True)
        for x in (start, stop)
    )


def _beside(start: float, stop: float, width: float) -> list[float]:
    if not start < stop:
        return [start]
    return _evenly(start, stop, min(max(ceil((stop - start) / width), 1), N_BINS))


def _evenly(start: float, stop: float, n_pieces: int) -> list[float]:
    inner = [start + (stop - start) * (index / n_pieces) for index in range(n_pieces)]
    return [x for x in inner if x < stop] + [stop]
