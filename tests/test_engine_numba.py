"""The Numba engine gives the NumPy engine's bits, and the stream has the distribution it says."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from every_engine import numba_engine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from stream_vectors import assert_same_bits, poisoned

pytest.importorskip("numba", reason="Numba is not installed")

from numba import njit

from kinit_cli.compiled import narrow, stream
from kinit_cli.compiled.meter import CompiledMeter
from kinit_cli.digest import TILE_ELEMENTS
from kinit_cli.draw import BoundedNormal, Draw, Normal, TruncatedNormal, Uniform
from kinit_cli.dtypes import numpy_dtype
from kinit_cli.engines.numpy import NumpyEngine
from kinit_cli.statistics.meter import CHUNK_ELEMENTS, Meter
from kinit_cli.stream.identity import StreamKey

ENGINE, REFERENCE = numba_engine(), NumpyEngine()
FLOAT_DTYPES = ["float64", "float32", "float16", "bfloat16"]
WORDS = stream.WORDS_PER_STEP

# --- values -------------------------------------------------------------------------------------

FINITE = st.floats(-1e4, 1e4)
DRAWS = st.one_of(
    st.builds(lambda low, width: Uniform(minval=low, maxval=low + width), FINITE, st.floats(1, 9)),
    st.builds(lambda mean, stddev: Normal(mean=mean, stddev=stddev), FINITE, st.floats(0, 9)),
    st.builds(
        lambda mean, stddev: TruncatedNormal(mean=mean, stddev=stddev), FINITE, st.floats(0, 1e-3)
    ),
    st.builds(
        lambda mean, stddev, low, width: BoundedNormal(
            mean=mean, stddev=stddev, low=mean + low * stddev, high=mean + (low + width) * stddev
        ),
        FINITE,
        st.floats(0.01, 9),
        st.floats(-8, 5),
        st.floats(0.01, 12),
    ),
)
STARTS = st.one_of(
    st.integers(0, 2**66 - 6000),
    *(st.integers(-3000, 3000).map(lambda d, at=at: at + d) for at in (2**33, 2**34, 10**12)),
    st.integers(0, 5000),
)
COUNTS = st.one_of(st.integers(0, 5), st.integers(WORDS - 5, WORDS + 5), st.integers(0, 5000))


def check_fill(draw: Draw, stream_key: StreamKey, start: int, count: int, dtype: str) -> None:
    found, expected = poisoned(count, numpy_dtype(dtype)), poisoned(count, numpy_dtype(dtype))
    ENGINE.fill(found, draw, stream_key, start=start, shape=(2**66,))
    REFERENCE.fill(expected, draw, stream_key, start=start, shape=(2**66,))
    assert_same_bits(found, expected)


@pytest.mark.parametrize("dtype", FLOAT_DTYPES)
@settings(max_examples=120)
@given(
    draw=DRAWS,
    key=st.integers(0, 2**64 - 1),
    nonce=st.integers(0, 2**64 - 1),
    start=STARTS,
    count=COUNTS,
)
def test_the_values_are_the_numpy_engines(
    dtype: str, draw: Draw, key: int, nonce: int, start: int, count: int
) -> None:
    check_fill(draw, StreamKey(key=key, nonce=nonce), start, count, dtype)


@pytest.mark.parametrize("dtype", FLOAT_DTYPES)
@pytest.mark.parametrize(
    "draw",
    [
        Normal(mean=-0.0, stddev=0.0),
        Normal(mean=-0.0, stddev=1e-44),
        Normal(mean=1e-40, stddev=1e-42),
        Normal(mean=6e4, stddev=1e4),
        Normal(mean=0.0, stddev=1e-7),
        Uniform(minval=0.0, maxval=6e-8),
        Uniform(minval=-65504.0, maxval=65504.0),
        TruncatedNormal(mean=0.0, stddev=3e-8),
        BoundedNormal(mean=-0.0, stddev=1e-44, low=-1e-60, high=1e-60),
        BoundedNormal(mean=0.0, stddev=1.0, low=-1e300, high=-0.0),
        BoundedNormal(mean=0.0, stddev=1e4, low=0.1, high=3e4),
        BoundedNormal(mean=0.0, stddev=1.0, low=4.999, high=1e300),
        BoundedNormal(mean=0.0, stddev=1.0, low=0.1, high=0.101),
    ],
    ids=repr,
)
def test_values_at_the_edges_of_the_dtypes(draw: Draw, dtype: str) -> None:
    check_fill(draw, StreamKey(key=1, nonce=2), 3, 70_001, dtype)


def test_a_tile_longer_than_a_narrow_step() -> None:
    for dtype in ("float16", "bfloat16"):
        check_fill(Normal(mean=0, stddev=1), StreamKey(key=1, nonce=2), 7, 100_003, dtype)


def test_an_unaligned_array_is_filled_too() -> None:
    memory = np.zeros(4 * 1000 + 1, np.uint8)
    unaligned = memory[1:].view(np.float32)
    assert not unaligned.flags.aligned
    aligned = np.zeros(1000, np.float32)
    for out in (unaligned, aligned):
        ENGINE.fill(
            out, Normal(mean=0, stddev=1), StreamKey(key=1, nonce=2), start=0, shape=(1000,)
        )
    assert_same_bits(unaligned.copy(), aligned)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernel", "dtype"), [(narrow.to_float16, np.float16), (narrow.to_bfloat16, ml_dtypes.bfloat16)]
)
def test_rounding_to_16_bits_over_all_float32(kernel: Any, dtype: type) -> None:
    step = 2**24

    def check(start: int) -> None:
        values = np.arange(start, start + step, dtype=np.uint64).astype(np.uint32).view(np.float32)
        found = np.empty(step, np.uint16)
        kernel(values, found)
        with np.errstate(all="ignore"):
            expected = values.astype(dtype).view(np.uint16)
        is_different = (found != expected) & ~np.isnan(values)
        assert not is_different.any(), values[is_different][:5]

    # Every upper half with the lower halves around a tie, and every lower half in three binades.
    upper = np.arange(2**16, dtype=np.uint32) << 16
    low = np.array([0, 1, 0xFFF, 0x1000, 0x1001, 0x1FFF, 0x2000, 0x2001, 0x7FFF, 0x8000, 0x8001])
    values = (upper[:, np.newaxis] | low.astype(np.uint32)).reshape(-1).view(np.float32)
    found = np.empty(values.size, np.uint16)
    kernel(values, found)
    with np.errstate(all="ignore"):
        expected = values.astype(dtype).view(np.uint16)
    np.testing.assert_array_equal(found[~np.isnan(values)], expected[~np.isnan(values)])
    for first in (0x33000000, 0x38000000, 0x47000000):
        check(first)
        check(first | 0x80000000)


# --- the distribution over all words ------------------------------------------------------------


@njit(nogil=True)
def _sums_of_powers(x: Any, sums: Any) -> None:
    """Add |x|, x^2, x^4 and x^6 over chunks of 2^12, each summed on its own."""
    for start in range(0, x.size, 4096):
        first = second = fourth = sixth = 0.0
        for i in range(start, start + 4096):
            square = x[i] * x[i]
            first += abs(x[i])
            second += square
            fourth += square * square
            sixth += square * square * square
        sums[0] += first
        sums[1] += second
        sums[2] += fourth
        sums[3] += sixth


@njit(nogil=True)
def _transform(is_truncated: bool, words: Any, out: Any) -> None:
    if is_truncated:
        stream.put_truncated_normals(words, out, 2.0**-26, 0.0)
    else:
        stream.put_normals(words, out, 2.0**-26, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("is_truncated", [False, True], ids=["normal", "truncated"])
def test_the_moments_over_all_words(is_truncated: bool) -> None:
    step = 2**20

    def sums_from(start: int) -> tuple[list[float], float]:
        words = np.arange(start, start + step, dtype=np.uint64).astype(np.uint32)
        values, sums = np.empty(step), np.zeros(4)
        _transform(is_truncated, words, values)
        _sums_of_powers(values, sums)
        mirrored = np.empty(step)
        _transform(is_truncated, words ^ np.uint32(0x80000000), mirrored)
        assert np.array_equal(mirrored, -values)
        return sums.tolist(), float(np.abs(values).max())

    sums_from(0)
    # The sign is bit 31 alone, so one half of the words tells of the other.
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(sums_from, range(0, 2**31, step)))
    first, second, fourth, sixth = (
        math.fsum(sums[i] for sums, _ in found) / 2**31 for i in range(4)
    )
    highest = max(largest for _, largest in found)
    if is_truncated:
        assert highest == 2.0
        assert math.sqrt(second) == pytest.approx(0.87962566078, abs=1e-11)
        return
    assert 6.337 < highest < 6.339
    assert first == pytest.approx(math.sqrt(2 / math.pi), abs=1e-9)
    assert second - 1 == pytest.approx(-1.8e-9, abs=1e-10)
    assert fourth - 3 == pytest.approx(-3.3e-8, abs=1e-9)
    assert sixth - 15 == pytest.approx(-1.8e-6, abs=1e-7)


# --- statistics ---------------------------------------------------------------------------------


def check_measure(values: np.ndarray) -> None:
    before = values.tobytes()
    assert CompiledMeter().measure(values).is_same(Meter().measure(values))
    assert values.tobytes() == before


@settings(max_examples=200)
@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.float16, np.int16, np.uint64, np.bool_]),
        st.integers(0, 300),
    )
)
def test_the_statistics_are_the_plain_ones(values: np.ndarray) -> None:
    check_measure(values)


@pytest.mark.parametrize(
    "size",
    [
        *(1, 2, 127, 2047, 2048, 2049, CHUNK_ELEMENTS - 1, CHUNK_ELEMENTS, CHUNK_ELEMENTS + 1),
        *(5 * CHUNK_ELEMENTS + 3, TILE_ELEMENTS - 1, TILE_ELEMENTS),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
def test_the_statistics_of_any_length(size: int, dtype: type) -> None:
    values = np.random.default_rng(size).standard_normal(size).astype(dtype)
    check_measure(values)
    for replacement in (0.0, -0.0, 1e-7):
        values[:: max(1, size // 7)] = replacement
        check_measure(values)
    check_measure(np.full(size, -0.0, dtype))
    check_measure(np.full(size, 0.1, dtype))


@pytest.mark.parametrize("scale", [1e-320, 1e-130, 1e-46, 1e-40, 1e30, 1e38, 1e39, 1e130, 1e300])
def test_the_statistics_of_any_magnitude(scale: float) -> None:
    values = np.random.default_rng(0).standard_normal(40_000) * scale
    check_measure(values)
    check_measure(values + scale * 5)
    with np.errstate(over="ignore", under="ignore"):
        check_measure(values.astype(np.float32))


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_statistics_with_values_that_are_not_finite(odd: float, dtype: type) -> None:
    meter = CompiledMeter()
    values = np.linspace(-1, 2, 20_000, dtype=dtype)
    clean = values.copy()
    values[17] = odd
    assert meter.measure(values).is_same(Meter().measure(values))
    # Nothing of it is left in the scratch memory.
    assert meter.measure(clean).is_same(Meter().measure(clean))


def test_the_statistics_of_read_only_and_foreign_memory() -> None:
    values = np.linspace(-1, 2, 20_000, dtype=np.float32)
    values.flags.writeable = False
    check_measure(values)
    check_measure(values.astype(">f4"))
    check_measure(values.astype(">f8"))
    check_measure(np.frombuffer(b"x" + values.tobytes(), np.float32, offset=1))


def test_one_meter_keeps_nothing_from_tile_to_tile() -> None:
    meter, rng = CompiledMeter(), np.random.default_rng(1)
    for size in (1, 70_000, 3, 20_000):
        for dtype in (np.float32, np.float64):
            values = rng.standard_normal(size).astype(dtype)
            assert meter.measure(values).is_same(Meter().measure(values))
