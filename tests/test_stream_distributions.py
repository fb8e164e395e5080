"""The values follow their distributions. Seeds are fixed; limits are 5 sigma, or said."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from kinit_cli.draw import BoundedNormal, Draw, Normal, TruncatedNormal, Uniform, expected_moments
from kinit_cli.engines.numpy import NumpyEngine
from kinit_cli.stream.identity import explicit_stream_key

N_MOMENTS = 1 << 22
N_TAILS = 1 << 24
#: A Kolmogorov-Smirnov p-value this small comes once in ten thousand seeds.
SMALLEST_P = 1e-4


def draw_values(draw: Draw, count: int, dtype: type = np.float64) -> np.ndarray:
    out = np.empty(count, dtype)
    NumpyEngine().fill(out, draw, explicit_stream_key(2024), start=0, shape=(count,))
    return out


DRAWS = [
    (Normal(mean=0.0, stddev=1.0), stats.norm()),
    (Normal(mean=-2.0, stddev=0.25), stats.norm(-2.0, 0.25)),
    (TruncatedNormal(mean=0.0, stddev=1.0), stats.truncnorm(-2, 2)),
    (TruncatedNormal(mean=1.0, stddev=0.5), stats.truncnorm(-2, 2, 1.0, 0.5)),
    *(
        (
            BoundedNormal(mean=mean, stddev=stddev, low=low, high=high),
            stats.truncnorm((low - mean) / stddev, (high - mean) / stddev, mean, stddev),
        )
        for mean, stddev, low, high in (
            (0.0, 1.0, -2.0, 2.0),
            (0.5, 2.0, -1.0, 6.0),
            (0.0, 1.0, 0.0, 1e9),  # half a normal
            (1.0, 0.5, -1e9, 1.0),
            (0.0, 1.0, 3.0, 1e9),  # a tail
            (-1.0, 0.25, -2.5, -2.0),
            (0.0, 1.0, 0.25, 0.26),  # nearly flat
            (0.0, 0.02, -1e9, 1e9),  # not cut
        )
    ),
    (Uniform(minval=0.0, maxval=1.0), stats.uniform()),
    (Uniform(minval=-0.5, maxval=3.5), stats.uniform(-0.5, 4.0)),
]


@pytest.mark.parametrize(("draw", "distribution"), DRAWS, ids=lambda value: str(value)[:40])
def test_kolmogorov_smirnov(draw: Draw, distribution) -> None:
    assert stats.kstest(draw_values(draw, 1 << 18), distribution.cdf).pvalue > SMALLEST_P


@pytest.mark.parametrize(("draw", "distribution"), DRAWS, ids=lambda value: str(value)[:40])
def test_four_moments(draw: Draw, distribution) -> None:
    values = (draw_values(draw, N_MOMENTS) - distribution.mean()) / distribution.std()
    for order in (1, 2, 3, 4):
        powers = values**order
        expected = _standard_moment(distribution, order)
        sigma = powers.std() / math.sqrt(N_MOMENTS)
        assert abs(powers.mean() - expected) < 5 * sigma, order


@pytest.mark.parametrize(("draw", "distribution"), DRAWS, ids=lambda value: str(value)[:40])
def test_the_plan_expects_what_is_drawn(draw: Draw, distribution) -> None:
    moments = expected_moments(draw, (N_MOMENTS,))
    values = draw_values(draw, N_MOMENTS)
    assert abs(values.mean() - moments.mean) < 5 * moments.stddev / math.sqrt(N_MOMENTS)
    # The sample variance's relative sigma is at most that of a normal, sqrt(2 / n).
    ratio = values.var() / moments.stddev**2
    assert abs(ratio - 1) < 5 * math.sqrt(2 / N_MOMENTS)


def test_the_tails_of_the_normal_to_five_sigma() -> None:
    values = draw_values(Normal(mean=0.0, stddev=1.0), N_TAILS, np.float32)
    for threshold in (1, 2, 3, 4, 5):
        for side in (values > threshold, values < -threshold):
            expected = N_TAILS * stats.norm.sf(threshold)
            # 5 sigma of a Poisson count; 4.8 values are expected beyond 5.
            assert abs(np.count_nonzero(side) - expected) < 5 * math.sqrt(expected), threshold
    # The largest |z| of all words is 6.338; 2^24 values all below 4.6 are a 1e-30 event.
    assert 4.6 < np.max(np.abs(values)) < 6.34


def test_a_uniform_is_even_in_its_low_bits() -> None:
    values = draw_values(Uniform(minval=0.0, maxval=1.0), 1 << 20)
    low = (values * 2.0**29).astype(np.int64) & 0xFF
    assert stats.chisquare(np.bincount(low, minlength=256)).pvalue > SMALLEST_P


def test_neighbouring_elements_are_uncorrelated() -> None:
    values = draw_values(Normal(mean=0.0, stddev=1.0), N_MOMENTS)
    for lag in (1, 2, 3, 4, 5, 8, 1024):
        correlation = np.dot(values[:-lag], values[lag:]) / (N_MOMENTS - lag)
        assert abs(correlation) < 5 / math.sqrt(N_MOMENTS - lag), lag


def _standard_moment(distribution, order: int) -> float:
    if order <= 2:
        return float(order - 1)
    skewness, excess = distribution.stats(moments="sk")
    return float(skewness) if order == 3 else float(excess) + 3
