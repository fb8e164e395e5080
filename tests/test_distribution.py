"""The test of a tensor's values: sound tensors pass, wrong ones are caught."""

from __future__ import annotations

import functools
import json
import math
import os
from typing import Any

import numpy as np
import pytest
import scipy.stats
from every_engine import every_engine
from judged import outcome_of, values_of

from kinit_cli.draw import (
    BoundedNormal,
    Draw,
    Normal,
    Orthogonal,
    TruncatedNormal,
    Uniform,
)
from kinit_cli.engines.base import Engine
from kinit_cli.engines.whole import make_tensor
from kinit_cli.planner import plan_tensor
from kinit_cli.statistics.bounds import (
    LOG_LIMIT,
    N_FINDINGS,
    likelihood_ratio,
    log_p_of_mean,
    log_p_of_ratio,
)
from kinit_cli.statistics.distribution_test import (
    DistributionTest,
)
from kinit_cli.stream.identity import StreamKey

# --- sound tensors --------------------------------------------------------------------------

LAWFUL: list[Draw] = [
    Normal(mean=0.0, stddev=0.02),
    Normal(mean=1.0, stddev=0.02),
    Normal(mean=3.0, stddev=1e-3),
    Normal(mean=0.0, stddev=1e-6),
    Uniform(minval=-0.05, maxval=0.05),
    Uniform(minval=1.0, maxval=1.05),
    TruncatedNormal(mean=0.0, stddev=0.03),
    TruncatedNormal(mean=-2.0, stddev=0.5),
]
BOUNDED = BoundedNormal(mean=0.0, stddev=0.02, low=-0.03, high=0.05)
FLOATS = ("float32", "float64", "bfloat16", "float16")
#: KINIT_SOUND_TENSORS=100000 takes as many as the test of a file is made for.
N_SOUND = int(os.environ.get("KINIT_SOUND_TENSORS", "6400"))


@functools.cache
def sound_tensors() -> list[tuple[Draw, str, int, DistributionTest]]:
    """Test tensors of 1 to 8192 elements, of every law and dtype."""
    rng = np.random.default_rng(3)
    found = []
    for nonce in range(N_SOUND):
        draw, dtype = LAWFUL[nonce % 8], FLOATS[nonce // 8 % 4]
        size = int(2 ** rng.uniform(0, 13))
        result = outcome_of(values_of(draw, (size,), dtype, nonce=nonce), draw)
        found.append((draw, dtype, size, result))
    return found


def test_sound_tensors_pass() -> None:
    wrong = [found for found in sound_tensors() if found[3].verdict != "pass"]
    assert not wrong
    # The bounds are safe ones: they promise that 6400 tensors show none below this, and more
    # tensors hardly any.
    assert min(result.p or 0 for *_, result in sound_tensors()) > 1e-5


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("draw", LAWFUL, ids=str)
def test_deviations_are_in_units_of_their_standard_deviation(draw: Draw, dtype: str) -> None:
    """About 100 of 200 samples have 64 elements or more: the limits are 5 sigma of those."""
    results = [r for d, t, size, r in sound_tensors() if (d, t) == (draw, dtype) and size >= 64]
    z = np.array([(r.z_mean, r.z_variance) for r in results])
    if draw == Normal(mean=3.0, stddev=1e-3) and dtype == "bfloat16":
        assert (z == 0).all()  # all of them round to 3
        return
    n = len(results)
    assert n > 80
    assert np.abs(z.mean(axis=0)).max() < 5 / math.sqrt(n)
    assert np.abs(np.square(z).mean(axis=0) - 1).max() < 5 * math.sqrt(2.5 / n)


def test_chi_square_is_one() -> None:
    """The likelihood-ratio statistic has its name's distribution: Kolmogorov-Smirnov, 4 sigma."""
    p = [
        scipy.stats.chi2.sf(result.chi2, result.dof)
        for *_, size, result in sound_tensors()
        if result.dof and size >= 200 * result.dof / 7
    ]
    assert len(p) > 1500
    assert scipy.stats.kstest(p, "uniform").pvalue > 6e-5


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("draw", [LAWFUL[0], LAWFUL[4], LAWFUL[6]], ids=str)
def test_a_large_sound_tensor_passes(draw: Draw, dtype: str) -> None:
    result = outcome_of(values_of(draw, (3_000_000,), dtype), draw)
    assert result.verdict == "pass"
    assert result.dof is not None
    assert result.dof >= 24
    assert (result.p or 0) > 0.01


# --- the limits -----------------------------------------------------------------------------


def test_family_wise_error() -> None:
    assert 100_000 * N_FINDINGS * math.exp(LOG_LIMIT) < 1e-6


def log_p_of_moment(z: float, n: int, *, variance: float, tail: float) -> float:
    return log_p_of_mean(z * math.sqrt(variance / n), n, variance, tail)


@pytest.mark.parametrize("n", [1, 3, 10, 100, 10_000])
@pytest.mark.parametrize("z", [-30.0, -6.0, -2.0, 1.0, 3.0, 8.0])
def test_bounds_are_above_the_exact_chances_of_normals(n: int, z: float) -> None:
    exact_mean = scipy.stats.norm.logsf(abs(z))
    assert exact_mean <= log_p_of_moment(z, n, variance=1.0, tail=0.0) < exact_mean + 8 + z * z / 9
    chi2, at = scipy.stats.chi2(n), n + z * math.sqrt(2 * n)
    exact = chi2.logsf(at) if z > 0 else chi2.logcdf(at)
    assert exact <= log_p_of_moment(z, n, variance=2.0, tail=2.0)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_bounds_are_above_the_exact_chances_of_uniforms(n: int) -> None:
    for share in (0.7, 0.9, 0.999):
        # The sum of n uniforms exceeds n - t, t <= 1, with a chance of t^n / n!.
        t = 1 - share
        exact = n * math.log(t) - math.lgamma(n + 1)
        z = (n / 2 - t) / math.sqrt(n / 12)
        assert exact <= log_p_of_moment(z, n, variance=1 / 12, tail=1 / 6)


def test_bound_of_the_bins_is_above_the_exact_chance() -> None:
    """All ways that 40 values can fall into three bins."""
    n, probabilities = 40, [0.5, 0.3, 0.2]
    found = []
    for a in range(n + 1):
        for b in range(n + 1 - a):
            counts = [a, b, n - a - b]
            g = likelihood_ratio(counts, probabilities, n)
            chance = scipy.stats.multinomial.pmf(counts, n, probabilities)
            found.append((g, log_p_of_ratio(g, 2), float(chance)))
    for chi2, log_p, _ in found:
        exact = sum(chance for other, _, chance in found if other >= chi2)
        assert exact <= math.exp(log_p) * (1 + 1e-9)
    assert min(log_p for _, log_p, _ in found) < -30


@pytest.mark.parametrize("dof", [1, 5, 7, 31])
def test_bound_of_the_bins_is_above_the_chi_square_far_out(dof: int) -> None:
    for g in np.geomspace(1, 3000, 50):
        assert scipy.stats.chi2.logsf(g, dof) <= log_p_of_ratio(g, dof) + 1e-12
        assert log_p_of_ratio(g, dof) == pytest.approx(min(exact_bound(g, dof), 0.0))


def exact_bound(g: float, dof: int) -> float:
    """(e g / (2 dof))^dof exp(-g / 2), where it falls with g."""
    return dof * math.log(math.e * g / 2 / dof) - g / 2 if g > 2 * dof else 0.0


def test_eight_sigma_of_a_million_elements_convict_and_seven_do_not() -> None:
    for variance, tail in ((1.0, 0.0), (2.0, 2.0), (1 / 12, 1 / 6), (1 / 180, 1 / 18)):
        at_seven, at_eight = (
            log_p_of_moment(z, 10**6, variance=variance, tail=tail) for z in (7.0, 8.0)
        )
        assert at_eight < LOG_LIMIT < at_seven


def test_the_variance_is_about_the_mean_of_the_law() -> None:
    draw = Normal(mean=0.0, stddev=1.0)
    values = values_of(draw, (5000,), "float64") + 3.0
    z = outcome_of(values, draw).z_variance
    assert z == pytest.approx((np.square(values).mean() - 1) / math.sqrt(2 / 5000), rel=1e-9)


# --- wrong tensors --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
@pytest.mark.parametrize("scale", [0.99, 1.01])
@pytest.mark.parametrize("draw", [LAWFUL[0], LAWFUL[4], LAWFUL[6], BOUNDED], ids=str)
def test_a_tensor_scaled_by_one_percent_is_caught(draw: Draw, scale: float, dtype: str) -> None:
    values = values_of(draw, (1000, 1000), "float64") * scale
    result = outcome_of(values.astype("f4").astype(values_of(draw, (1,), dtype).dtype), draw)
    assert result.verdict == "fail"
    assert any("variance" in reason for reason in result.reasons)
    # 2 % of the variance: sqrt(n / 2) / 50 sigma for a normal, more for the others.
    assert abs(result.z_variance or 0) > 12


@pytest.mark.parametrize("draw", [Uniform(minval=-1.0, maxval=1.0), LAWFUL[0]], ids=str)
def test_a_fan_that_differs_by_five_percent_is_caught(draw: Draw) -> None:
    """Shape [1000, 1050]: the standard deviations differ by 2.5 %."""
    values = values_of(draw, (1000, 1050), "float64")
    assert outcome_of(values, draw).verdict == "pass"
    assert outcome_of(values * math.sqrt(1000 / 1050), draw).verdict == "fail"


@pytest.mark.parametrize("distribution", ["uniform", "truncated_normal", "untruncated_normal"])
def test_a_swapped_fan_mode_is_caught(distribution: str) -> None:
    shape = (128, 512)
    draws = []
    for mode in ("fan_in", "fan_out", "fan_avg"):
        arguments = {"scale": 2.0, "mode": mode, "distribution": distribution}
        planned = plan_tensor({"variance_scaling": arguments}, shape, path="a/b", seed=1)
        draws.append(planned.draw)
    for drawn in draws:
        values = values_of(drawn, shape)
        for claimed in draws:
            assert outcome_of(values, claimed).verdict == ("pass" if drawn is claimed else "fail")


@pytest.mark.parametrize(
    "claimed",
    [Normal(mean=0.0, stddev=1.0), TruncatedNormal(mean=0.0, stddev=1 / 0.87962566103423978)],
    ids=str,
)
def test_another_distribution_of_the_same_moments_is_caught(claimed: Draw) -> None:
    limit = math.sqrt(3)
    result = outcome_of(values_of(Uniform(minval=-limit, maxval=limit), (20_000,)), claimed)
    assert result.verdict == "fail"
    assert result.chi2 is not None
    assert result.chi2 > 500


def test_two_halves_that_balance_are_caught_by_the_bins() -> None:
    values = values_of(Uniform(minval=-1.0, maxval=1.0), (40_000,))
    values[:20_000] = np.sign(values[:20_000]) * (1 - np.abs(values[:20_000]) ** 2)
    result = outcome_of(values, Uniform(minval=-1.0, maxval=1.0))
    assert any("chi-square" in reason for reason in result.reasons)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda v: v.__setitem__(7, np.nan), "NaN or infinite elements: 1"),
        (lambda v: v.__setitem__(7, 0.051), "not within -0.05 to 0.05"),
        (lambda v: v.__setitem__(7, 0.05), "not within"),
        (lambda v: np.add(v, 0.01, out=v), "its mean is"),
        (lambda v: v.__setitem__(slice(800, None), 0), "its variance is"),
        (lambda v: np.abs(v, out=v), "its mean is"),
    ],
    ids=["nan", "beyond", "upper bound", "shifted", "truncated", "without signs"],
)
def test_a_changed_tensor_is_caught(change: Any, reason: str) -> None:
    draw = Uniform(minval=-0.05, maxval=0.05)
    values = values_of(draw, (2000,))
    assert outcome_of(values, draw).verdict == "pass"
    change(values)
    result = outcome_of(values, draw)
    assert result.verdict == "fail"
    assert any(reason in found for found in result.reasons), result.reasons


# --- engines --------------------------------------------------------------------------------


@every_engine
@pytest.mark.parametrize("draw", [*LAWFUL, Orthogonal(gain=1.0)], ids=str)
def test_every_engine_gives_the_same_result(engine: Engine, draw: Draw) -> None:
    shape = (301, 77)
    values = make_tensor(engine, draw, StreamKey(key=99, nonce=1), shape, "float32")
    assert outcome_of(values, draw, meter=engine.make_meter()) == outcome_of(
        values_of(draw, shape), draw
    )


def test_json_has_no_infinity() -> None:
    result = outcome_of(np.full(100, 0.5, "f4"), Normal(mean=1.0, stddev=1e-12))
    assert result.z_mean == -math.inf
    document = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert document["z_mean"] is None
    assert document["verdict"] == "fail"
    assert document["p"] == 0
