"""Normals between bounds: the positions that bisection finds, and what lies at their ends."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from every_engine import every_engine
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from kinit_cli.draw import BoundedNormal, expected_moments, value_bounds
from kinit_cli.dtypes import DTYPES, numpy_dtype
from kinit_cli.engines.base import Engine
from kinit_cli.engines.numpy import NumpyEngine
from kinit_cli.engines.whole import make_tensor
from kinit_cli.fit import FitError, fitted
from kinit_cli.stream import bounded, reference
from kinit_cli.stream.identity import explicit_stream_key

FIRST, LAST = 1 << 21, (1 << 54) - (1 << 21) - 1


def test_positions_are_the_quantiles_of_the_normal() -> None:
    rng = np.random.default_rng(1)
    positions = [FIRST, LAST, 1 << 53, (1 << 53) - 1, *rng.integers(FIRST, LAST, 2000).tolist()]
    for position in positions:
        z = bounded.units_at(position)
        assert z == int(reference.position_units(np.array([position]))[0])
        is_above = position >= 1 << 53
        tail = (1 << 54) - 1 - position if is_above else position
        with mpmath.workdps(40):
            expected = mpmath.sqrt(2) * mpmath.erfinv(1 - 2 * mpmath.mpf(tail) / 2**54)
        # The table's error with the rounding to 2^-26 is below 3e-8, that of the cut to 29 bits
        # 2^-28 / z where z > 1.
        assert abs(z * 2.0**-26 - float(expected if is_above else -expected)) < 3.4e-8


@given(st.floats(-5, 5), st.floats(1e-3, 10), st.floats(-4, 3.9), st.floats(1e-3, 8))
def test_the_ends_of_the_positions(mean: float, stddev: float, low: float, width: float) -> None:
    low, high = mean + low * stddev, mean + (low + width) * stddev
    found = bounded.positions_between(mean, stddev, low, high)
    first = found.origin - (found.count >> 33)
    assert (first, found.count) == reference.positions_between(mean, stddev, low, high)
    scale, offset = float(np.float32(stddev)) * 2.0**-26, float(np.float32(mean))

    def value(position: int) -> float:
        return bounded.units_at(position) * scale + offset

    assert value(first) >= low or first == FIRST
    assert value(first + found.count - 1) <= high
    assert first == FIRST or value(first - 1) < low
    stop = first + found.count
    assert stop == LAST + 1 or value(stop) > high


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize(("low", "high"), [(-0.1, 0.3), (0.0, 0.7), (-1.0, -0.9), (-3.0, 1e300)])
def test_values_keep_to_the_bounds_and_come_close(dtype: str, low: float, high: float) -> None:
    draw = BoundedNormal(mean=0.0, stddev=1.0, low=low, high=high)
    out = np.empty(1 << 18, numpy_dtype(dtype))
    NumpyEngine().fill(out, draw, explicit_stream_key(1), start=0, shape=out.shape)
    values = out.astype(np.float64)
    lowest, highest = value_bounds(draw)
    step = 2.0**-7 if dtype == "bfloat16" else 1e-3
    assert low <= values.min() < lowest + max(step, (highest - lowest) / 1e4 if high < 9 else 5)
    assert values.max() <= high
    assert high > 9 or values.max() > high - step


@every_engine
@pytest.mark.parametrize("dtype", [d.name for d in DTYPES.values() if d.kind == "float"])
@pytest.mark.parametrize(
    ("mean", "stddev", "low", "high"),
    [
        (0.0, 1.0, 0.1, 0.3),
        (0.0, 1.0, -1e30, 1e30),
        (0.0, 1.0, -2.0, 2.0),
        (0.0, 1.0, -1e300, -0.1),
        (0.0, 0.02, -0.04, 0.04),
        (0.5, 0.25, 0.4, 450.0),
        (1.0, 0.5, 0.0, 1.1),
        (-3.0, 2.0, -460.0, -0.7),
    ],
)
def test_every_float_dtype_has_the_references_values(
    engine: Engine, dtype: str, mean: float, stddev: float, low: float, high: float
) -> None:
    draw = BoundedNormal(mean=mean, stddev=stddev, low=low, high=high)
    assert fitted(draw, DTYPES[dtype]) is draw
    key = explicit_stream_key(7)
    u = reference.words(key, 0, 3000)
    expected = reference.bounded_normal_rounded(u, mean, stddev, low, high, numpy_dtype(dtype))
    values = expected.astype(np.float64)
    assert low <= values.min() <= values.max() <= high
    assert make_tensor(engine, draw, key, (u.size,), dtype).tobytes() == expected.tobytes()


def test_an_interval_without_a_value_of_the_dtype() -> None:
    draw = BoundedNormal(mean=0.0, stddev=0.5, low=1 / 3, high=1 / 3 + 0.001)
    assert fitted(draw, DTYPES["float16"]) is draw
    for name in ("float8_e4m3fn", "float8_e5m2"):
        with pytest.raises(FitError, match=f"a value of {name} from a to b"):
            fitted(draw, DTYPES[name])


def test_the_ends_of_dtypes() -> None:
    assert bounded.smallest_not_below(0.1, np.float32) == float(np.float32(0.1)) > 0.1
    assert (
        bounded.largest_not_above(0.1, np.float32)
        == float(np.float32(0.1) - np.float32(2.0**-27))
        < 0.1
    )
    assert bounded.smallest_not_below(-1e300, np.float32) == -float(np.finfo(np.float32).max)
    assert bounded.largest_not_above(0.5, np.float16) == 0.5
    float8 = numpy_dtype("float8_e4m3fn")
    assert bounded.smallest_not_below(-1e30, float8) == -448
    assert bounded.largest_not_above(450.0, float8) == 448
    assert bounded.smallest_not_below(450.0, float8) == math.inf
    assert bounded.largest_not_above(-450.0, float8) == -math.inf
    assert bounded.smallest_not_below(0.3, float8) == 0.3125
    assert bounded.largest_not_above(0.3, float8) == 0.28125
    for zero in (
        bounded.smallest_not_below(-1e-60, np.float32),
        bounded.largest_not_above(-0.0, np.float32),
    ):
        assert zero == 0
        assert math.copysign(1, zero) == 1


@pytest.mark.parametrize(
    ("mean", "stddev", "low", "high"),
    [
        (0.0, 1.0, -2.0, 2.0),
        (3.0, 0.1, 2.9, 5.0),
        (0.0, 1.0, 4.0, 1e9),
        (0.0, 1.0, -1e9, -3.5),
        (0.0, 2.0, -1e300, 1e300),
        (1.0, 1.0, 1.5, 1.501),
    ],
)
def test_moments_are_scipys(mean: float, stddev: float, low: float, high: float) -> None:
    draw = BoundedNormal(mean=mean, stddev=stddev, low=low, high=high)
    # SciPy squares the bounds.
    alpha, beta = (min(max((x - mean) / stddev, -1e9), 1e9) for x in (low, high))
    expected = stats.truncnorm(alpha, beta, mean, stddev)
    found = expected_moments(draw, (5,))
    assert found.mean == pytest.approx(expected.mean(), rel=1e-10, abs=1e-15)
    assert found.stddev == pytest.approx(expected.std(), rel=1e-5)


def test_a_cut_at_two_is_the_truncated_normals_distribution_but_not_its_bits() -> None:
    # The same words, ranked otherwise: the median of |x| agrees, the order of the values does not.
    u = reference.words(explicit_stream_key(3), 0, 100_000)
    ours = reference.bounded_normal(u, 0.0, 1.0, -2.0, 2.0)
    others = reference.truncated_normal(u, 0.0, 1.0)
    assert not np.array_equal(ours, others)
    assert stats.ks_2samp(ours, others).pvalue > 1e-4
