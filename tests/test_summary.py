"""Statistics: against their definition bit for bit, and against NumPy, math and SciPy."""

from __future__ import annotations

import json
import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from kinit_cli.digest import TILE_ELEMENTS
from kinit_cli.statistics.meter import CHUNK_ELEMENTS, Meter, Moments, TileStats, merge
from kinit_cli.statistics.tensor_stats import StatsAccumulator, TensorStats
from kinit_cli.summary import FileSummary, TensorSummary, count_verdicts

METER = Meter()
RNG = np.random.default_rng(20240607)


def measure(values: NDArray[Any], tile: int = TILE_ELEMENTS) -> TensorStats:
    accumulator = StatsAccumulator()
    for index, start in enumerate(range(0, values.size, tile)):
        accumulator.add(index, METER.measure(values[start : start + tile]))
    return accumulator.result()


def definition(values: NDArray[Any]) -> Moments:
    """Follow the rules of `kinit_cli.statistics.meter` one float at a time."""
    exact = [float(x) for x in values]
    finite = [x for x in exact if math.isfinite(x)]
    if not finite:
        return Moments()
    largest = max(map(abs, finite))
    is_safe = largest == 0 or 2.0**-400 <= largest <= 2.0**400
    exponent = 0 if is_safe else math.frexp(largest)[1]
    scaled = [math.ldexp(x, -exponent) if math.isfinite(x) else None for x in exact]
    low, high = (math.ldexp(f(finite), -exponent) for f in (min, max))
    total = Moments(exponent=exponent)
    for start in range(0, len(scaled), CHUNK_ELEMENTS):
        chunk = scaled[start : start + CHUNK_ELEMENTS]
        chunk += [None] * (CHUNK_ELEMENTS - len(chunk))
        count = sum(x is not None for x in chunk)
        if count:
            mean = fold([0.0 if x is None else x for x in chunk]) / count
            mean = min(max(mean, low), high) + 0.0
            m2 = fold([0.0 if x is None else (x - mean) * (x - mean) for x in chunk])
            total = merge(total, Moments(count=count, mean=mean, m2=m2, exponent=exponent))
    return total


def fold(values: list[float]) -> float:
    half = len(values) // 2
    while half:
        values = [values[i] + values[i + half] for i in range(half)]
        half //= 2
    return values[0]


@pytest.mark.parametrize("size", [1, 2, 3, 100, CHUNK_ELEMENTS - 1, 5 * CHUNK_ELEMENTS // 2])
@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f8", "<f2", "<i8", ml_dtypes.bfloat16])
def test_moments_are_the_definition_bit_for_bit(size: int, dtype: Any) -> None:
    values = (100 * RNG.standard_normal(size)).astype(dtype)
    assert METER.measure(values).moments == definition(values)


@pytest.mark.parametrize("value", [0.0, -0.0, 0.1, -1e308, 5e-324])
@pytest.mark.parametrize("size", [1, 1000, 2 * CHUNK_ELEMENTS + 3])
def test_moments_of_equal_values_are_the_definition(value: float, size: int) -> None:
    values = np.full(size, value)
    assert METER.measure(values).moments == definition(values)
    values[size // 2 :: 2] = np.nan
    assert METER.measure(values).moments == definition(values)


@pytest.mark.parametrize("scale", [1e308, 1e200, 1e-300, 5e-324])
def test_moments_of_huge_and_tiny_values_are_the_definition(scale: float) -> None:
    values = RNG.uniform(-1, 1, CHUNK_ELEMENTS + 77) * scale
    assert METER.measure(values).moments == definition(values)


def test_moments_with_nan_and_infinities_are_the_definition() -> None:
    values = RNG.standard_normal(2 * CHUNK_ELEMENTS + 9).astype("f4")
    values[::7] = np.nan
    values[3::11] = np.inf
    values[CHUNK_ELEMENTS : 2 * CHUNK_ELEMENTS] = -np.inf
    tile = METER.measure(values)
    assert tile.moments == definition(values)
    assert tile.n_nan == np.isnan(values).sum()
    assert tile.n_inf == np.isinf(values).sum()


def test_rows_that_are_measured_together_are_the_definition() -> None:
    values = RNG.standard_normal(19 * CHUNK_ELEMENTS).astype("f4")
    values[17 * CHUNK_ELEMENTS] = np.nan
    assert METER.measure(values).moments == definition(values)


@settings(max_examples=40)
@given(st.permutations(range(6)), st.integers(0, 2**32 - 1))
def test_any_order_of_tiles_gives_the_same_bits(order: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    tiles = [
        METER.measure(rng.standard_normal(50 + 7 * k) * 10.0 ** rng.integers(-200, 200))
        for k in range(6)
    ]
    in_order, shuffled = StatsAccumulator(), StatsAccumulator()
    for index in range(6):
        in_order.add(index, tiles[index])
    for index in order:
        shuffled.add(index, tiles[index])
    assert shuffled.result() == in_order.result()


def test_meters_share_nothing() -> None:
    values = RNG.standard_normal(1000)
    first = METER.measure(values)
    METER.measure(np.full(1000, np.nan))
    assert Meter().measure(values).moments == first.moments


def test_a_tile_twice_or_missing_is_an_error() -> None:
    accumulator = StatsAccumulator()
    accumulator.add(1, TileStats(n_elements=0))
    with pytest.raises(ValueError, match="tile 0 is missing"):
        accumulator.result()
    with pytest.raises(ValueError, match="tile 1 was added before"):
        accumulator.add(1, TileStats(n_elements=0))


def test_against_fsum_and_scipy() -> None:
    values = RNG.standard_normal(3 * TILE_ELEMENTS // 2).astype("f4")
    stats = measure(values, TILE_ELEMENTS // 4)
    exact = values.astype("f8")
    mean = math.fsum(exact) / exact.size
    std = math.sqrt(math.fsum((exact - mean) ** 2) / exact.size)
    # A folded float64 sum of 2^20 terms errs by about 20 units of 2^-53.
    assert stats.mean == pytest.approx(mean, abs=1e-15, rel=1e-12)
    assert stats.std == pytest.approx(std, rel=1e-13)
    assert stats.std == pytest.approx(float(scipy.stats.tstd(exact, ddof=0)), rel=1e-12)
    assert stats.l2_norm == pytest.approx(math.sqrt(math.fsum(exact * exact)), rel=1e-13)
    assert (stats.min, stats.max) == (values.min(), values.max())
    assert stats.count == values.size


@settings(max_examples=200)
@given(
    hnp.arrays(
        st.sampled_from(["<f4", ">f4", "<f8", "<f2", "<i4", "<u8", "|i1", "|b1"]),
        st.integers(1, 300),
    )
)
def test_any_values_agree_with_numpy(values: NDArray[Any]) -> None:
    stats = measure(values, 128)
    wide = values.astype("f8")
    finite = wide[np.isfinite(wide)]
    assert stats.count == values.size
    assert stats.n_nan == int(np.isnan(wide).sum())
    assert stats.n_inf == int(np.isinf(wide).sum())
    assert stats.n_zero == int((finite == 0).sum())
    if not finite.size:
        assert (stats.mean, stats.std, stats.min, stats.histogram) == (None,) * 4
        return
    assert (stats.min, stats.max) == (finite.min(), finite.max())
    assert math.copysign(1, stats.min) == 1 or stats.min != 0
    scale = float(np.abs(finite).max()) or 1.0
    # In units of the largest magnitude, so that squares neither overflow nor vanish.
    shrunk = finite / scale
    assert stats.mean is not None
    assert stats.std is not None
    # Near 5e-324 the division by `scale` and the results themselves are rounded coarsely:
    # a subnormal result is a multiple of 2^-1074.
    step = math.ulp(0.0) / scale
    assert stats.mean / scale == pytest.approx(math.fsum(shrunk) / finite.size, abs=1e-13 + step)
    is_tiny = scale < 1e-300
    assert stats.std / scale == pytest.approx(float(shrunk.std()), abs=0.5 if is_tiny else 1e-12)
    assert_histogram_is_exact(values, stats)


@pytest.mark.parametrize("value", [0.0, -0.0, 0.1, 1 / 3, -7e30, 1.7976931348623157e308, 5e-324])
@pytest.mark.parametrize("size", [1, 3, 1000, CHUNK_ELEMENTS + 1, TILE_ELEMENTS + 12345])
def test_equal_values_have_std_exactly_zero(value: float, size: int) -> None:
    stats = measure(np.full(size, value))
    assert stats.std == 0
    assert stats.mean == stats.min == stats.max == value
    assert stats.histogram is not None
    assert list(stats.histogram.counts) == [size]


def test_negative_zero_is_a_zero_and_shown_as_plus_zero() -> None:
    stats = measure(np.array([-0.0, 0.0, -0.0]))
    assert stats.n_zero == 3
    assert [math.copysign(1, x) for x in (stats.min, stats.max, stats.mean)] == [1, 1, 1]


@pytest.mark.parametrize("size", [0, 3])
def test_without_a_finite_value_there_are_only_counts(size: int) -> None:
    stats = measure(np.full(size, np.nan))
    assert (stats.count, stats.n_nan, stats.n_inf, stats.n_zero) == (size, size, 0, 0)
    assert (stats.mean, stats.std, stats.min, stats.max, stats.l2_norm) == (None,) * 5
    assert stats.histogram is None


def test_an_empty_tile_changes_nothing() -> None:
    accumulator = StatsAccumulator()
    accumulator.add(0, METER.measure(np.zeros(0, "f4")))
    accumulator.add(1, METER.measure(np.array([1.0, 3.0])))
    assert accumulator.result() == measure(np.array([1.0, 3.0]))


def test_every_nan_payload_counts_as_nan() -> None:
    bits = np.array([0x7F800001, 0xFFC00000, 0x7FFFFFFF, 0xFF812345], np.uint32)
    assert measure(bits.view("f4")).n_nan == 4


EVERY_DTYPE = [
    *("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">f4", ">i8", "g"),
    *(ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2),
]


@pytest.mark.parametrize("dtype", EVERY_DTYPE)
def test_every_dtype_is_measured(dtype: Any) -> None:
    values = np.array([0, 1, 1, 0, 1], dtype)
    stats = measure(values)
    assert (stats.min, stats.max, stats.mean, stats.n_zero) == (0, 1, 0.6, 2)
    assert stats.std == pytest.approx(math.sqrt(0.24), rel=1e-15)
    assert stats.l2_norm == pytest.approx(math.sqrt(3), rel=1e-15)


def test_strided_and_unaligned_input() -> None:
    values = RNG.standard_normal(999).astype("f4")
    unaligned = np.frombuffer(b"\0" + values.tobytes(), "f4", offset=1)
    assert METER.measure(np.repeat(values, 2)[::2]).moments == METER.measure(values).moments
    assert METER.measure(unaligned).moments == METER.measure(values).moments


def test_all_bfloat16_values_widen_exactly() -> None:
    values = np.arange(2**16, dtype=np.uint16).view(ml_dtypes.bfloat16)
    widened = values.astype("f4")
    assert METER.measure(values).moments == METER.measure(widened).moments


@pytest.mark.parametrize("exponent", [1023, 600, -600, -1022])
def test_extreme_float64_neither_overflow_nor_vanish(exponent: int) -> None:
    plain = RNG.uniform(-1, 1, 5000)
    stats, reference = measure(np.ldexp(plain, exponent)), measure(plain)
    assert stats.std is not None
    assert reference.std is not None
    assert math.ldexp(stats.std, -exponent) == pytest.approx(reference.std, rel=1e-12)


def test_tiles_of_very_different_scale_are_merged() -> None:
    values = np.concatenate([np.zeros(100), np.full(100, 1e-250), np.full(100, 3.0)])
    stats = measure(values, 100)
    assert stats.mean == pytest.approx(1.0, rel=1e-15)
    assert stats.std == pytest.approx(math.sqrt(2), rel=1e-15)
    tiny = measure(np.concatenate([np.zeros(100), np.full(100, 1e-250)]), 100)
    assert tiny.std is not None
    assert tiny.std / 1e-250 == pytest.approx(0.5, rel=1e-15)
    assert measure(np.concatenate([np.full(100, 1e-250), np.zeros(100)]), 100).std == tiny.std


def test_l2_norm_beyond_float64_is_infinite_and_null_in_json() -> None:
    stats = measure(np.full(16, 1.7e308))
    assert stats.l2_norm == math.inf
    assert stats.to_json()["l2_norm"] is None


# --- histogram ------------------------------------------------------------------------------


def assert_histogram_is_exact(values: NDArray[Any], stats: TensorStats) -> None:
    largest = float(np.finfo("f4").max)
    wide = values.astype("f8")
    rounded = np.clip(wide[np.isfinite(wide)], -largest, largest).astype("f4")
    assert stats.histogram is not None
    edges = np.array(stats.histogram.edges, "f8")
    assert (edges[0], edges[-1]) == (rounded.min(), rounded.max())
    assert len(stats.histogram.counts) == len(edges) - 1 <= 28
    assert (np.diff(edges) > 0).all() or len(edges) == 2
    counts, _ = np.histogram(rounded, edges)
    assert counts.tolist() == stats.histogram.counts.tolist()


@pytest.mark.parametrize(
    "values",
    [
        RNG.standard_normal(200_000).astype("f4"),
        RNG.uniform(-0.05, 0.05, 200_000).astype("f4"),
        -(RNG.uniform(1, 2, 10_000) ** 20),
        RNG.integers(-8, 9, 10_000).astype("f4") / 8,
        np.array([-0.0, 0.0, 1e-40, -1e-40, 1.0], "f4"),
        np.array([-1e300, 1e300, 0.0]),
        np.arange(-300, 300, dtype="i2"),
        np.array([1.0, np.nextafter(np.float32(1), np.float32(2))], "f4"),
    ],
    ids=["normal", "uniform", "skewed", "on the grid", "zeros", "saturated", "ints", "neighbours"],
)
def test_histogram_counts_are_exact(values: NDArray[Any]) -> None:
    assert_histogram_is_exact(values, measure(values, 4096))


def test_histogram_of_a_wide_distribution_has_about_28_bins() -> None:
    stats = measure(RNG.standard_normal(100_000).astype("f4"))
    assert stats.histogram is not None
    assert 24 <= len(stats.histogram.counts) <= 28
    widths = np.diff(stats.histogram.edges)
    # The grid is at most 1/16 of a value wide: a quarter of the range of 4 sigma there.
    assert widths.max() < 2.5 * np.ptp(stats.histogram.edges) / 28


# --- merging --------------------------------------------------------------------------------


def test_merge_with_nothing_is_the_identity() -> None:
    moments = Moments(count=3, mean=1.5, m2=2.0, exponent=7)
    assert merge(Moments(), moments) == moments == merge(moments, Moments())


# --- results as JSON ------------------------------------------------------------------------


def test_json_of_a_tensor_is_complete_and_has_no_nan() -> None:
    stats = measure(np.array([1.0, 2.0, np.nan, np.inf]))
    summary = TensorSummary(
        path="a/b", shape=(2, 2), dtype="float64", n_elements=4, n_bytes=32, stats=stats,
        expected_mean=math.nan, expected_std=math.inf, initializer="zeros", digest="00",
    )  # fmt: skip
    assert json.loads(json.dumps(summary.to_json(), allow_nan=False)) == {
        "path": "a/b",
        "shape": [2, 2],
        "dtype": "float64",
        "n_elements": 4,
        "n_bytes": 32,
        "initializer": "zeros",
        "expected_mean": None,
        "expected_std": None,
        "digest": "00",
        "recorded_digest": None,
        "test": None,
        "stats": {
            "count": 4,
            "mean": 1.5,
            "std": 0.5,
            "min": 1.0,
            "max": 2.0,
            "n_zero": 0,
            "n_nan": 1,
            "n_inf": 1,
            "l2_norm": math.sqrt(5.0),
            "histogram": {
                "edges": [1 + k / 16 for k in range(17)],
                "counts": [1] + [0] * 14 + [1],
            },
        },
    }


def test_json_of_a_file_is_complete() -> None:
    summary = FileSummary(
        source="w.h5", format="hdf5", layout="flat", tensors=(), n_parameters=0, n_bytes=0,
        seconds=0.5, seed=2**63, stream=1, engine="numpy", notes=("a",),
        tests=count_verdicts((), missing=("b",)),
    )  # fmt: skip
    assert summary.to_json() == {
        "source": "w.h5",
        "format": "hdf5",
        "layout": "flat",
        "seed": 2**63,
        "stream": 1,
        "engine": "numpy",
        "origin": None,
        "n_tensors": 0,
        "n_parameters": 0,
        "n_bytes": 0,
        "seconds": 0.5,
        "notes": ["a"],
        "tests": {"n_passed": 0, "n_failed": 0, "n_untested": 0, "missing": ["b"]},
        "tensors": [],
    }
