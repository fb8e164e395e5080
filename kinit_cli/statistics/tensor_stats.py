"""The statistics of a tensor, joined from those of its tiles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kinit_cli.statistics.histogram import GridSum, Histogram, reduce_grid
from kinit_cli.statistics.meter import Moments, merge

if TYPE_CHECKING:
    from kinit_cli.statistics.histogram import GridCounts
    from kinit_cli.statistics.meter import TileStats


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorStats:
    """Statistics of a tensor, over its finite values but for the counts.

    Attributes
    ----------
    count : int
        All elements, NaN and infinities among them.
    mean, std, min, max, l2_norm : float or None
        None if there is no finite value. `std` is that of the population. `l2_norm` may be
        infinite, for float64 only.
    n_zero, n_nan, n_inf : int
    histogram : Histogram or None
        None if there is no finite value.
    """

    count: int
    mean: float | None
    std: float | None
    min: float | None
    max: float | None
    n_zero: int
    n_nan: int
    n_inf: int
    l2_norm: float | None
    histogram: Histogram | None

    def to_json(self) -> dict[str, object]:
        """Give plain data with stable keys; no NaN or infinity, but null."""
        return {
            "count": self.count,
            "mean": json_number(self.mean),
            "std": json_number(self.std),
            "min": json_number(self.min),
            "max": json_number(self.max),
            "n_zero": self.n_zero,
            "n_nan": self.n_nan,
            "n_inf": self.n_inf,
            "l2_norm": json_number(self.l2_norm),
            "histogram": self.histogram.to_json() if self.histogram else None,
        }


class StatsAccumulator:
    """Joins the statistics of a tensor's tiles, which may come in any order.

    The result has the same bits whatever the order. Of tiles that wait for an earlier one only
    the moments are kept. Not to be shared between threads.
    """

    __slots__ = (
        "_grid", "_highest", "_lowest", "_moments",
        "_n_elements", "_n_inf", "_n_joined", "_n_nan", "_n_zero", "_waiting",
    )  # fmt: skip

    def __init__(self) -> None:
        self._grid = GridSum()
        self._n_elements = self._n_nan = self._n_inf = self._n_zero = 0
        self._lowest, self._highest = math.inf, -math.inf
        self._moments = Moments()
        self._n_joined = 0
        self._waiting: dict[int, Moments] = {}

    def add(self, tile_index: int, tile: TileStats) -> None:
        """Take what `Meter.measure` gave for tile `tile_index`, each index once."""
        if tile_index < self._n_joined or tile_index in self._waiting:
            raise ValueError(f"tile {tile_index} was added before")
        self._n_elements += tile.n_elements
        self._n_nan += tile.n_nan
        self._n_inf += tile.n_inf
        self._n_zero += tile.n_zero
        if tile.grid_counts is not None:
            assert tile.lowest is not None
            assert tile.highest is not None
            self._grid.add(tile.grid_counts)
            self._lowest = min(self._lowest, tile.lowest)
            self._highest = max(self._highest, tile.highest)
        self._waiting[tile_index] = tile.moments
        while (ready := self._waiting.pop(self._n_joined, None)) is not None:
            self._moments = merge(self._moments, ready)
            self._n_joined += 1

    @property
    def grid_counts(self) -> GridCounts | None:
        """The finite values of all tiles on the fine grid; None if there are none."""
        return self._grid.result()

    def result(self) -> TensorStats:
        """Give the statistics of all tiles.

        Raises
        ------
        ValueError
            If a tile before the last one added is missing.
        """
        if self._waiting:
            raise ValueError(f"tile {self._n_joined} is missing")
        moments = self._moments
        has_values = moments.count > 0
        variance = moments.m2 / moments.count if has_values else 0.0
        square_sum = moments.m2 + moments.count * (moments.mean * moments.mean)
        grid_counts = self._grid.result()
        return TensorStats(
            count=self._n_elements,
            mean=_scaled(moments.mean, moments.exponent) if has_values else None,
            std=_scaled(math.sqrt(variance), moments.exponent) if has_values else None,
            min=self._lowest if has_values else None,
            max=self._highest if has_values else None,
            n_zero=self._n_zero,
            n_nan=self._n_nan,
            n_inf=self._n_inf,
            l2_norm=_scaled(math.sqrt(square_sum), moments.exponent) if has_values else None,
            histogram=(
                None
                if grid_counts is None
                else reduce_grid(grid_counts, self._lowest, self._highest)
            ),
        )


def _scaled(value: float, exponent: int) -> float:
    """Give value * 2^exponent, infinite if it is too large."""
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return math.inf


def json_number(value: float | None) -> float | None:
    """Give a number that JSON has: None for NaN and infinity."""
    return value if value is not None and math.isfinite(value) else None
