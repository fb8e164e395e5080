"""The fine grid and its bins: sparse counts against the same rules spelled out on all buckets."""

from __future__ import annotations

from array import array
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kinit_cli.statistics.histogram import (
    FLOAT32_MAX,
    N_BINS,
    N_BUCKETS,
    GridCounter,
    GridCounts,
    GridSum,
    Histogram,
    reduce_grid,
)

COUNTER = GridCounter()
#: Float32 values of any bits, and where the grid has its edges, its gap at zero and its ends.
SINGLES = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.sampled_from(
    [0.0, -0.0, 2.0**-149, -(2.0**-149), 2.0**-126, 1.0, 1.0625, -1.0625, FLOAT32_MAX, -FLOAT32_MAX]
)
VALUES = (
    st.lists(SINGLES, min_size=1, max_size=80)
    | st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=80)
    | st.lists(st.integers(-40, 40).map(float), min_size=1, max_size=80)
    | st.lists(st.floats(0.99, 1.01), min_size=1, max_size=80)
)


def lower_edges() -> NDArray[np.float64]:
    """Give the least value of each bucket, in ascending order of the values."""
    edges = []
    for place in range(N_BUCKETS + 1):
        key = place << 19
        bits = 2**32 - 1 - key if key < 2**31 else key - 2**31
        value = float(np.array(bits, np.uint32).view(np.float32))
        is_finite = (bits & 0x7F800000) != 0x7F800000
        edges.append(value if is_finite else (-np.inf if key < 2**31 else np.inf))
    return np.array(edges)


EDGES = lower_edges()


def plain_histogram(counts: NDArray[np.int64], lowest: float, highest: float) -> Histogram:
    """Follow the words of `reduce_grid` on the counts of all buckets."""
    low, high = (float(np.float32(np.clip(x, -FLOAT32_MAX, FLOAT32_MAX))) + 0.0
                 for x in (lowest, highest))  # fmt: skip
    ordered = np.concatenate((counts[: N_BUCKETS // 2 - 1 : -1], counts[: N_BUCKETS // 2]))
    targets = low + (high - low) * (np.arange(1, N_BINS) / N_BINS)
    above = np.searchsorted(EDGES, targets, side="right")
    buckets = above - (targets - EDGES[above - 1] <= EDGES[above] - targets)
    inner = [b for b in sorted(set(buckets.tolist())) if low < EDGES[b] < high]
    starts = [0, *inner, N_BUCKETS]
    return Histogram(
        edges=array("f", [low, *EDGES[inner].tolist(), high]),
        counts=array("q", [int(ordered[a:b].sum()) for a, b in pairwise(starts)]),
    )


def spread(grid_counts: GridCounts) -> NDArray[np.int64]:
    counts = np.zeros(N_BUCKETS, np.int64)
    counts[grid_counts.buckets] = grid_counts.counts
    return counts


def of_bits(histogram: Histogram) -> tuple[bytes, bytes]:
    return histogram.edges.tobytes(), histogram.counts.tobytes()


def counted(values: NDArray[Any]) -> GridCounts:
    with np.errstate(over="ignore"):
        return COUNTER.count(values)[0]


@settings(max_examples=200)
@given(VALUES, st.integers(-1000, 900))
@example([0.0, -0.0], 0)
@example([-FLOAT32_MAX, FLOAT32_MAX], 0)
def test_bins_are_those_of_all_buckets_bit_for_bit(numbers: list[float], exponent: int) -> None:
    with np.errstate(over="ignore"):
        scaled = np.ldexp(numbers, exponent)
    for values in (np.array(numbers), np.clip(scaled, -1e308, 1e308)):
        grid_counts, extremes = counted(values), (float(values.min()), float(values.max()))
        found = reduce_grid(grid_counts, *extremes)
        assert of_bits(found) == of_bits(plain_histogram(spread(grid_counts), *extremes))
        assert sum(found.counts) == values.size


@pytest.mark.parametrize("seed", range(20))
def test_bins_of_many_values_are_those_of_all_buckets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(20000) ** (1 + 2 * (seed % 4)) * 10.0 ** rng.integers(-40, 30)
    values = np.ascontiguousarray(values[: 10 ** (1 + seed % 5)] + (seed % 3) * values.std())
    grid_counts, extremes = counted(values), (float(values.min()), float(values.max()))
    expected = plain_histogram(spread(grid_counts), *extremes)
    assert of_bits(reduce_grid(grid_counts, *extremes)) == of_bits(expected)


@given(st.lists(VALUES, max_size=4))
def test_a_sum_is_that_of_all_values(parts: list[list[float]]) -> None:
    total = GridSum()
    dense = np.zeros(N_BUCKETS, np.int64)
    for part in parts:
        grid_counts = counted(np.array(part))
        before = spread(grid_counts)
        total.add(grid_counts)
        dense += before
        assert (spread(grid_counts) == before).all()
    result = total.result()
    if not parts:
        assert result is None
        return
    assert result is not None
    assert (result.buckets.dtype, result.counts.dtype) == (np.uint16, np.int64)
    assert result.buckets.tolist() == np.flatnonzero(dense).tolist()
    assert result.counts.tolist() == dense[dense != 0].tolist()
