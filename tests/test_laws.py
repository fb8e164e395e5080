"""The laws that tensors are tested against, and bins of equal probability, beside SciPy's."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import scipy.stats
from judged import outcome_of, values_of
from numpy.typing import NDArray

from kinit_cli.draw import (
    BoundedNormal,
    Constant,
    DeltaOrthogonal,
    Dirac,
    Draw,
    Normal,
    Orthogonal,
    Sparse,
    TruncatedNormal,
    Uniform,
)
from kinit_cli.dtypes import DTYPES, numpy_dtype
from kinit_cli.statistics.cut_normal import cut_normal
from kinit_cli.statistics.histogram import GRID_EDGES
from kinit_cli.statistics.laws import bins_of, law_of
from kinit_cli.statistics.rounding import (
    edges_between,
    levels_between,
    rounded,
    rounding_edges,
    spacing_at,
)

DRAWS: list[tuple[Draw, Any]] = [
    (Uniform(minval=-0.25, maxval=0.5), scipy.stats.uniform(-0.25, 0.75)),
    (Normal(mean=0.25, stddev=0.5), scipy.stats.norm(0.25, 0.5)),
    (TruncatedNormal(mean=-0.5, stddev=0.25), scipy.stats.truncnorm(-2, 2, -0.5, 0.25)),
    (
        BoundedNormal(mean=-0.5, stddev=0.25, low=-0.625, high=0.5),
        scipy.stats.truncnorm(-0.5, 4, -0.5, 0.25),
    ),
]


@pytest.mark.parametrize(("draw", "exact"), DRAWS, ids=lambda value: type(value).__name__)
def test_moments_and_survival_are_those_of_scipy(draw: Draw, exact: Any) -> None:
    law = law_of(draw, "float64")
    assert law is not None
    assert law.mean == pytest.approx(exact.mean(), rel=1e-14)
    assert law.variance == pytest.approx(exact.var(), rel=1e-12)
    fourth = exact.stats(moments="k") + 3
    assert law.square_variance == pytest.approx((fourth - 1) * exact.var() ** 2, rel=1e-6)
    if not isinstance(draw, Normal):  # Bernstein's inequality, by the support
        low, high = exact.support()
        reach = max(high - exact.mean(), exact.mean() - low)
        assert law.tail == pytest.approx(reach / 3)
        assert law.square_tail == pytest.approx((reach**2 - exact.var()) / 3)
    for x in np.linspace(exact.ppf(0.001), exact.ppf(0.999), 9):
        assert law.survival(x) == pytest.approx(exact.sf(x), rel=1e-10)
    assert (law.survival(-100.0), law.survival(100.0)) == (1, 0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize(
    "draw",
    [
        Normal(mean=1.0, stddev=0.02),
        Normal(mean=0.0, stddev=1e-7),
        Uniform(minval=1.0, maxval=1.05),
        Uniform(minval=-0.05, maxval=0.05),
        TruncatedNormal(mean=-30.0, stddev=0.5),
        BoundedNormal(mean=1.0, stddev=0.25, low=0.99, high=1.3),
        BoundedNormal(mean=-2.0, stddev=0.5, low=-9.0, high=-3.4),
        # About the middle of two values of float16, where many are the middle itself as float32.
        Normal(mean=-3345.0, stddev=0.0003),
        Normal(mean=-3347.0, stddev=0.0003),
        Normal(mean=1.0, stddev=1e-6),
        Normal(mean=1.0, stddev=1e-12),
    ],
)
def test_moments_of_rounded_values(draw: Draw, dtype: str) -> None:
    """2^20 evenly spaced quantiles, rounded by another library, have the law's moments."""
    law = law_of(draw, dtype)
    assert law is not None
    u = (np.arange(2**20) + 0.5) / 2**20
    element = np.dtype(getattr(ml_dtypes, dtype) if dtype == "bfloat16" else dtype)
    values = quantiles(draw, u).astype("f4").astype(element).astype("f8")
    lowest = law.lowest if isinstance(draw, BoundedNormal) else -np.inf
    values = np.minimum(np.maximum(values, lowest), law.highest)
    spread = math.sqrt(law.variance) or spacing_at(abs(law.mean), dtype)
    # Quantiles leave out what lies beyond the outermost ones: some 1e-5 of the variance.
    assert values.mean() == pytest.approx(law.mean, abs=law.mean_slack + 1e-5 * spread)
    variance = np.square(values - law.mean).mean()
    assert variance == pytest.approx(law.variance, abs=law.variance_slack + 3e-5 * spread**2)
    assert law.lowest <= values.min()


def quantiles(draw: Draw, u: NDArray[np.float64]) -> NDArray[np.float64]:
    match draw:
        case Uniform(minval=low, maxval=high):
            return low + u * (high - low)
        case Normal(mean=mean, stddev=stddev):
            return mean + stddev * scipy.stats.norm.ppf(u)
        case TruncatedNormal(mean=mean, stddev=stddev):
            return mean + stddev * scipy.stats.truncnorm.ppf(u, -2, 2)
        case BoundedNormal(mean=mean, stddev=stddev, low=low, high=high):
            cuts = (low - mean) / stddev, (high - mean) / stddev
            return mean + stddev * scipy.stats.truncnorm.ppf(u, *cuts)
    raise AssertionError


def test_rounding_can_take_away_all_spread() -> None:
    law = law_of(Normal(mean=1.0, stddev=1e-12), "float32")
    assert law is not None
    assert (law.mean, law.variance, law.lowest, law.highest) == (1, 0, 1, 1)


def test_a_uniform_whose_bounds_are_a_few_float32_apart() -> None:
    """The stream rounds the lower bound, and takes the value below the upper one for the rest."""
    low, high = -1.8544951606374136e37, -1.854494972493436e37
    offset, width = float(np.float32(low)), float(np.float32(high - low))
    x = np.minimum(offset + width * (np.arange(2**20) + 0.5) / 2**20, np.nextafter(high, -np.inf))
    law = law_of(Uniform(minval=low, maxval=high), "float64")
    assert law is not None
    shifted = x - x.min()
    assert (x == x.max()).mean() > 0.01
    assert law.mean - x.min() == pytest.approx(shifted.mean(), rel=1e-6)
    assert law.variance == pytest.approx(shifted.var(), rel=1e-6)
    squares = np.square(shifted - shifted.mean())
    assert law.square_variance == pytest.approx(squares.var(), rel=1e-5)


@pytest.mark.parametrize(
    "draw",
    [
        Normal(mean=-1.0, stddev=2.3e-17),
        Normal(mean=1.0, stddev=1e-16),
        TruncatedNormal(mean=1.0, stddev=7e-16),
        Uniform(minval=1.5, maxval=1.5 + 7.79e-14),
        BoundedNormal(mean=1.5, stddev=2e-14, low=1.5 + 1e-15, high=1.5 + 5e-14),
        Normal(mean=0.3, stddev=1e-60),
        Normal(mean=-5.8e21, stddev=138203.0),
    ],
    ids=str,
)
def test_a_spread_of_a_few_float64(draw: Draw) -> None:
    """Sums of such values have no more places than the values; what is sound passes."""
    for size in (20, 3000, 2_500_000):
        assert outcome_of(values_of(draw, (size,), "float64"), draw).verdict == "pass"


def test_a_bound_beyond_the_end_of_the_normal() -> None:
    """What is cut off at 6.34 standard deviations is raised to the least value in [a, b]."""
    draw = BoundedNormal(mean=-1.0, stddev=0.0076, low=-0.9995, high=-0.7966)
    law = law_of(draw, "float8_e5m2")
    assert law is not None
    assert (law.lowest, law.highest, law.variance) == (-0.875, -0.875, 0)
    assert outcome_of(values_of(draw, (100,), "float8_e5m2"), draw).verdict == "pass"


@pytest.mark.parametrize(
    "draw",
    [
        Constant(value=1),
        Orthogonal(gain=1.0),
        Sparse(stddev=1.0, n_zeros=2),
        Dirac(groups=1, layout="keras"),
        DeltaOrthogonal(gain=1.0, layout="keras"),
    ],
)
def test_other_draws_have_no_law(draw: Draw) -> None:
    assert law_of(draw, "float32") is None


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize(("draw", "exact"), DRAWS, ids=lambda value: type(value).__name__)
def test_bins_hold_what_they_should(draw: Draw, exact: Any, dtype: str) -> None:
    law = law_of(draw, dtype)
    assert law is not None
    bins = bins_of(law, dtype, 32)
    assert 24 <= len(bins.probabilities) == len(bins.places) + 1 <= 32
    assert sum(bins.probabilities) == pytest.approx(1, abs=1e-12)
    assert min(bins.probabilities) > 0.25 / 32
    # Count evenly spaced quantiles, as the file would have them.
    u = (np.arange(2**20) + 0.5) / 2**20
    element = np.dtype(getattr(ml_dtypes, dtype) if dtype == "bfloat16" else dtype)
    values = np.minimum(exact.ppf(u).astype("f4").astype(element).astype("f8"), law.highest)
    edges = [-np.inf, *(GRID_EDGES[place] for place in bins.places), np.inf]
    shares = np.histogram(values, edges)[0] / u.size
    assert shares == pytest.approx(bins.probabilities, abs=3e-6)


@pytest.mark.parametrize(
    ("low", "high"),
    [(-2, 2), (0, 3), (3.9, 6), (-6, -4), (4, 4 + 1 / 1024), (-1 / 2048, 1 / 2048), (-6.3, 3.9)],
)
def test_a_cut_normal_is_that_of_numerical_integrals(low: float, high: float) -> None:
    """Where SciPy's closed forms lose digits: moments by quadrature of order 200."""
    z, weights = np.polynomial.legendre.leggauss(200)
    z = (low + high) / 2 + (high - low) / 2 * z
    weights = weights * np.exp(-z * z / 2)
    weights /= weights.sum()
    cut = cut_normal(low, high)
    mean = z @ weights
    assert cut.mean == pytest.approx(mean, abs=1e-12 * (high - low))
    assert cut.variance == pytest.approx((z - mean) ** 2 @ weights, rel=1e-10)
    assert cut.fourth == pytest.approx((z - mean) ** 4 @ weights, rel=1e-10)
    exact = scipy.stats.truncnorm(low, high)
    for share in (0, 0.1, 0.5, 0.9, 1):
        x = low + share * (high - low)
        assert cut.survival(x) == pytest.approx(exact.sf(x), rel=1e-9, abs=1e-15)
    assert (cut.survival(-9), cut.survival(9)) == (1, 0)


def test_a_grid_that_is_coarse_gives_fewer_bins() -> None:
    law = law_of(Uniform(minval=1.0, maxval=1.01), "float32")
    assert law is not None
    assert bins_of(law, "float32", 32).probabilities == [1.0]


# --- rounding -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_all_values_of_a_narrow_dtype(dtype: str) -> None:
    element = np.dtype(getattr(ml_dtypes, dtype) if dtype == "bfloat16" else dtype)
    with np.errstate(invalid="ignore"):  # some are NaN
        values = np.arange(2**16, dtype=np.uint16).view(element).astype("f8")
    exact = np.unique(values[np.isfinite(values)])
    levels = levels_between(float(exact[0]), float(exact[-1]), dtype)
    assert levels.tolist() == exact.tolist()
    assert not np.signbit(levels[levels == 0]).any()
    spacings = [spacing_at(float(x), dtype) for x in exact[:-1:777]]
    assert spacings == np.diff(exact)[::777].tolist()
    assert spacing_at(math.inf, dtype) == exact[-1] - exact[-2]


def test_too_many_values_are_not_listed() -> None:
    with pytest.raises(ValueError, match="values of float32"):
        levels_between(0.0, 1.0, "float32")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("value", [1.0, -1.0, 0.3, -0.3, 1e-6, -1e-6, 0.0])
def test_what_lies_at_the_edge_is_rounded_up_to_the_value(value: float, dtype: str) -> None:
    (edge,) = rounding_edges(np.array([value]), dtype).tolist()
    step = 2**-20 * max(abs(edge), 1e-30)
    if dtype in ("float16", "bfloat16"):
        assert rounded(edge - step, dtype) < value <= rounded(edge + step, dtype)
    assert abs(edge - value) <= 2 * spacing_at(abs(value), dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_edges_are_where_float32_rounds_to_the_middle(dtype: str) -> None:
    element = numpy_dtype(dtype)
    levels = levels_between(rounded(1.0, dtype), rounded(4.0, dtype), dtype)
    for negated in (False, True):
        if negated:
            levels = -levels[::-1]
        edges = edges_between(levels[:-1], levels[1:], dtype)
        below, above = (np.nextafter(edges, sign * np.inf) for sign in (-1, 1))
        assert below.astype("f4").astype(element).astype("f8").tolist() == levels[:-1].tolist()
        assert above.astype("f4").astype(element).astype("f8").tolist() == levels[1:].tolist()


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2"])
def test_edges_of_float8_are_halfway_to_the_value_before(dtype: str) -> None:
    highest = float(DTYPES[dtype].highest)
    levels = levels_between(-highest, highest, dtype)
    assert levels.size == len(set(levels.tolist()))
    edges = rounding_edges(levels[1:], dtype)
    assert edges == pytest.approx(levels[:-1] / 2 + levels[1:] / 2, rel=2**-23)
    assert spacing_at(highest, dtype) == levels[-1] - levels[-2]
