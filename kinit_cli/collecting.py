"""What is collected of a tensor while its tiles are generated, and joined to a summary."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kinit_cli.digest import TILE_ELEMENTS, TensorDigest
from kinit_cli.draw import expected_moments
from kinit_cli.plan import TensorPlan
from kinit_cli.statistics.distribution_test import DistributionTest, judge
from kinit_cli.statistics.findings import Expected
from kinit_cli.statistics.meter import TileStats
from kinit_cli.statistics.structure import Structure
from kinit_cli.statistics.tensor_stats import StatsAccumulator, TensorStats
from kinit_cli.summary import TensorSummary


@dataclass(frozen=True, slots=True)
class TileResult:
    """What is known of a tile once it is generated.

    Attributes
    ----------
    stats : TileStats or None
        None if nothing is measured.
    structure : Structure or None
        Of the whole tensor, with one of its tiles.
    """

    tensor_index: int
    tile_index: int
    stats: TileStats | None
    digest: bytes
    n_bytes: int
    structure: Structure | None = None


class Collector:
    """Joins the results of one tensor's tiles.

    Parameters
    ----------
    is_ours : bool
        See `kinit_cli.statistics.distribution_test.Expected`.
    is_measured : bool
        The tiles have statistics.
    """

    def __init__(self, tensor: TensorPlan, *, is_ours: bool, is_measured: bool) -> None:
        self._tensor = tensor
        self._is_ours = is_ours
        self._is_measured = is_measured
        self._stats = StatsAccumulator()
        self._digest = TensorDigest()
        self._n_tiles_left = math.ceil(tensor.n_elements / TILE_ELEMENTS)
        self._structure: Structure | None = None

    def add(self, result: TileResult) -> bool:
        """Take a tile's result; tell whether it was the last one."""
        if result.stats is not None:
            self._stats.add(result.tile_index, result.stats)
        self._digest.add(result.tile_index, result.digest)
        self._n_tiles_left -= 1
        if result.structure is not None:
            self._structure = result.structure
        return self._n_tiles_left == 0

    def summary(self) -> TensorSummary:
        """Give what was found, once all tiles are in."""
        tensor = self._tensor
        moments = expected_moments(tensor.draw, tensor.shape)
        stats = self._stats.result() if self._is_measured else None
        return TensorSummary(
            path=tensor.path,
            shape=tensor.shape,
            dtype=tensor.dtype.name,
            n_elements=tensor.n_elements,
            n_bytes=tensor.n_bytes,
            stats=stats,
            expected_mean=moments.mean if moments else None,
            expected_std=moments.stddev if moments else None,
            initializer=str(tensor.initializer),
            digest=self._digest.hexdigest(),
            test=self._test(stats) if stats else None,
        )

    def _test(self, stats: TensorStats) -> DistributionTest:
        tensor = self._tensor
        expected = Expected(
            draw=tensor.draw,
            shape=tensor.shape,
            dtype=tensor.dtype.name,
            is_ours=self._is_ours,
        )
        return judge(
            expected,
            stats,
            self._stats.grid_counts,
            structure=self._structure,
        )
