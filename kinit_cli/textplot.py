"""Histograms in a line of characters."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kinit_cli.histogram import Histogram


def draw_histogram(histogram: Histogram, *, n_cells: int, blocks: str) -> str:
    """Draw the density between minimum and maximum, its largest value full height.

    Parameters
    ----------
    histogram
        Counts and edges, at least one bin.
    n_cells : int
        Characters in the line, cells of equal width between the first edge and the last.
    blocks : str
        The characters from lowest to full height. A cell without values is a space, one with
        few of them the lowest block. If all values are equal, one cell in the middle is full.
    """
    low, high = histogram.edges[0], histogram.edges[-1]
    if low == high:
        return blocks[-1].center(n_cells)
    weights = _spread(histogram, low, (high - low) / n_cells, n_cells)
    highest = max(weights)
    return "".join(
        blocks[max(1, round(len(blocks) * weight / highest)) - 1] if weight > 0 else " "
        for weight in weights
    )


def _spread(histogram: Histogram, low: float, cell_width: float, n_cells: int) -> list[float]:
    """Share out the count of each bin among the cells that it covers, evenly over its width."""
    weights = [0.0] * n_cells
    for index, count in enumerate(histogram.counts):
        start = (histogram.edges[index] - low) / cell_width
        stop = (histogram.edges[index + 1] - low) / cell_width
        if not count or start >= stop:
            continue
        for cell in range(int(start), min(int(stop) + 1, n_cells)):
            covered = max(0.0, min(stop, cell + 1) - max(start, cell))
            weights[cell] += count * (covered / (stop - start))
    return weights
