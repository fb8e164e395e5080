"""Tensors and what becomes of them in the test against their initializer."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from kinit_cli.digest import TILE_ELEMENTS
from kinit_cli.draw import Draw
from kinit_cli.engines import get_engine
from kinit_cli.engines.base import Engine
from kinit_cli.engines.whole import make_tensor
from kinit_cli.statistics.distribution_test import DistributionTest, judge
from kinit_cli.statistics.findings import Expected
from kinit_cli.statistics.meter import Meter
from kinit_cli.statistics.structure import has_structure, structure_of
from kinit_cli.statistics.tensor_stats import StatsAccumulator
from kinit_cli.stream.identity import StreamKey


def values_of(
    draw: Draw,
    shape: tuple[int, ...],
    dtype: str = "float32",
    *,
    nonce: int = 1,
    engine: Engine | None = None,
) -> NDArray[Any]:
    """Draw a tensor; each nonce gives another."""
    engine = engine or get_engine("numpy")
    return make_tensor(engine, draw, StreamKey(key=99, nonce=nonce), shape, dtype)


def outcome_of(
    values: NDArray[Any],
    draw: Draw,
    *,
    dtype: str | None = None,
    is_ours: bool = True,
    meter: Meter | None = None,
    is_read_again: bool = False,
    **known: Any,
) -> DistributionTest:
    """Test a tensor; `is_read_again` looks at its structure, too."""
    meter = meter or Meter()
    accumulator = StatsAccumulator()
    flat = values.reshape(-1)
    for index, start in enumerate(range(0, flat.size, TILE_ELEMENTS)):
        accumulator.add(index, meter.measure(flat[start : start + TILE_ELEMENTS]))
    expected = Expected(
        draw=draw, shape=values.shape, dtype=dtype or values.dtype.name, is_ours=is_ours
    )
    if is_read_again and has_structure(draw):
        known["structure"] = structure_of(lambda start, stop: flat[start:stop], expected)
    return judge(expected, accumulator.result(), accumulator.grid_counts, **known)
