"""Histograms of characters, in a line or in several."""

from __future__ import annotations

from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kinit_cli.panels import Panel
    from kinit_cli.statistics.histogram import Histogram

#: A cell of a large picture: a character, and whether a bar covers all of it.
Cell: TypeAlias = tuple[str, bool]

#: An expected density has a dot if it is at least so much of a row high.
_LEAST_DOT = 1 / 16


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


def draw_large(
    panel: Panel, *, n_rows: int, n_columns: int, blocks: str, dot: str
) -> list[list[Cell]]:
    """Draw a tensor's bars, and a dot in each column at the density that is expected there.

    Parameters
    ----------
    panel
        Of a tensor that has finite elements.
    blocks : str
        The characters from lowest to full height. A column with few values has the lowest one.
    dot : str
        Where it hides a bar its cell says so.

    Returns
    -------
    rows : list of list of Cell
        From the top; each of `n_columns` cells.
    """
    steps = [
        (x, y)
        for y, edges in zip(panel.densities, pairwise(panel.edges), strict=True)
        for x in edges
    ]
    bars = _column_means(steps, panel, n_columns)
    curve = _column_means(panel.curve, panel, n_columns) if panel.curve else [0.0] * n_columns
    top = max(*bars, *curve)
    n_levels = len(blocks)
    rows = [[(" ", False)] * n_columns for _ in range(n_rows)]
    for column, (bar, expected) in enumerate(zip(bars, curve, strict=True)):
        level = max(1, round(bar / top * n_rows * n_levels)) if bar > 0 else 0
        for row in range(ceil(level / n_levels)):
            part = min(level - row * n_levels, n_levels)
            rows[n_rows - 1 - row][column] = (blocks[part - 1], True)
        if expected / top * n_rows >= _LEAST_DOT:
            row = n_rows - 1 - min(int(expected / top * n_rows), n_rows - 1)
            rows[row][column] = (dot, rows[row][column][0] == blocks[-1])
    return rows


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


def _column_means(points: Sequence[tuple[float, float]], panel: Panel, n: int) -> list[float]:
    """Give the mean height, in n columns of equal width, of lines through points; 0 beyond them."""
    xs, ys = (np.array(values) for values in zip(*points, strict=True))
    widths = np.diff(xs)
    area = np.concatenate([[0.0], np.cumsum((ys[:-1] / 2 + ys[1:] / 2) * widths)])
    edges = np.clip(np.linspace(panel.low, panel.high, n + 1), xs[0], xs[-1])
    place = np.clip(np.searchsorted(xs, edges, "right") - 1, 0, len(xs) - 2)
    along = edges - xs[place]
    with np.errstate(all="ignore"):
        part = np.where(widths[place] > 0, along / widths[place], 0.0)
    height = ys[place] + (ys[place + 1] - ys[place]) * part / 2
    means: list[float] = (np.diff(area[place] + along * height) / (panel.high - panel.low)).tolist()
    return means
