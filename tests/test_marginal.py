"""The distribution of one element, judged by SciPy's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy import stats

from kinit_cli.draw import (
    BoundedNormal,
    Called,
    Constant,
    ConstantArray,
    DeltaOrthogonal,
    Dirac,
    Draw,
    Eye,
    Normal,
    Orthogonal,
    Sparse,
    Stft,
    TruncatedNormal,
    Uniform,
)
from kinit_cli.dtypes import numpy_dtype
from kinit_cli.statistics.marginal import Marginal, marginal_of
from kinit_cli.stream.transforms import cast_float64

STD = float(np.float32(0.02))

#: Draw, shape, and SciPy's word for the same.
SMOOTH: list[tuple[Draw, tuple[int, ...], Any]] = [
    (Uniform(minval=-0.5, maxval=1.5), (10,), stats.uniform(-0.5, 2)),
    (Normal(mean=0.0, stddev=STD), (10,), stats.norm(0, STD)),
    (TruncatedNormal(mean=1.0, stddev=STD), (10,), stats.truncnorm(-2, 2, 1, STD)),
    (BoundedNormal(mean=0.0, stddev=1.0, low=-1.0, high=3.0), (10,), stats.truncnorm(-1, 3)),
    (BoundedNormal(mean=0.0, stddev=1.0, low=4.0, high=5.0), (10,), stats.truncnorm(4, 5)),
    (BoundedNormal(mean=0.0, stddev=1.0, low=-5.0, high=-4.0), (10,), stats.truncnorm(-5, -4)),
    *(
        (Orthogonal(gain=2.0), (rows, 3), stats.beta((n - 1) / 2, (n - 1) / 2, -2, 4))
        for rows, n in ((2, 3), (3, 3), (5, 5), (768, 768))
    ),
    (Orthogonal(gain=1.0), (2, 2), stats.arcsine(-1, 2)),
    (Orthogonal(gain=1.0, has_first_axis_as_rows=True), (2, 3, 3), stats.beta(4, 4, -1, 2)),
]


def known(draw: Draw, shape: tuple[int, ...], dtype: str = "float32") -> Marginal:
    marginal = marginal_of(draw, shape, dtype)
    assert marginal is not None
    return marginal


@pytest.mark.parametrize(("draw", "shape", "judge"), SMOOTH, ids=repr)
def test_shares_and_quantiles_are_those_of_scipy(
    draw: Draw, shape: tuple[int, ...], judge: Any
) -> None:
    marginal = known(draw, shape)
    low, high = judge.ppf([1e-6, 1 - 1e-6])
    edges = np.linspace(low, high, 30).tolist()
    expected = [judge.cdf(b) - judge.cdf(a) for a, b in pairwise(edges)]
    assert marginal.shares_between(edges) == pytest.approx(expected, abs=2e-8)
    for p in (1e-6, 0.01, 0.25, 0.5, 0.9, 0.999):
        assert marginal.quantile(p) == pytest.approx(judge.ppf(p), rel=1e-5, abs=1e-6 * judge.std())


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "bfloat16", "float16"])
def test_bins_count_values_as_the_dtype_holds_them(dtype: str) -> None:
    # The truth: each value that there is has the chance of what rounds to it.
    fine = np.linspace(-6, 6, 600_001)
    held = np.empty(fine.size, numpy_dtype(dtype))
    cast_float64(fine, held)
    chances = np.diff(stats.norm.cdf(fine), prepend=0)
    edges = [-3.0, -2.0, -0.5, 0.0, 0.25, 0.75, 2.0, 3.5]
    expected, _ = np.histogram(held.astype(np.float64), edges, weights=chances)
    found = known(Normal(mean=0.0, stddev=1.0), (10,), dtype).shares_in_bins(edges)
    assert found == pytest.approx(expected.tolist(), abs=2e-5)
    # Rounding matters here: without it there is another answer.
    if dtype.startswith("float8"):
        plain = known(Normal(mean=0.0, stddev=1.0), (10,), dtype).shares_between(edges)
        assert found != pytest.approx(plain, abs=1e-3)


def of_atoms(draw: Draw, shape: tuple[int, ...], dtype: str = "float32") -> dict[float, float]:
    marginal = known(draw, shape, dtype)
    assert marginal.spread is None
    return dict(marginal.atoms)


def test_draws_without_chance_are_single_values() -> None:
    assert of_atoms(Constant(value=3), (2, 2), "int8") == {3: 1}
    assert of_atoms(Constant(value=0.1), (2,), "float16") == {0.0999755859375: 1}
    assert of_atoms(Constant(value=True), (), "bool") == {1: 1}
    assert of_atoms(Eye(gain=2.0), (4, 6)) == pytest.approx({0: 5 / 6, 2: 1 / 6})
    assert of_atoms(Eye(gain=0.0), (4, 6)) == {0: 1}
    assert of_atoms(Eye(gain=2.0), (1, 1)) == {2: 1}
    dirac = Dirac(groups=2, layout="keras")
    assert of_atoms(dirac, (3, 3, 2, 8)) == pytest.approx({0: 1 - 4 / 144, 1: 4 / 144})
    array = ConstantArray(values=((1, 2), (2, 4)))
    assert of_atoms(array, (3, 2, 2)) == {1: 0.25, 2: 0.5, 4: 0.25}
    assert of_atoms(Orthogonal(gain=-2.0), (1, 1)) == {-2: 0.5, 2: 0.5}
    assert of_atoms(Orthogonal(gain=0.0), (3, 3)) == {0: 1}
    assert of_atoms(Normal(mean=2.0, stddev=0.0), (3,)) == {2: 1}


def test_zeros_among_random_values_have_their_share() -> None:
    sparse = known(Sparse(stddev=1.0, n_zeros=3), (4, 5))
    assert sparse.shares_in_bins([-1.0, 0.0, 1.0]) == pytest.approx(
        [0.25 * 0.3413447, 0.75 + 0.25 * 0.3413447], abs=1e-6
    )
    assert sparse.quantile(0.12) == pytest.approx(stats.norm.ppf(0.48), rel=1e-5)
    assert [sparse.quantile(p) for p in (0.126, 0.5, 0.874)] == [0, 0, 0]
    assert sparse.quantile(0.88) == pytest.approx(stats.norm.ppf(0.52), rel=1e-5)
    delta = known(DeltaOrthogonal(gain=1.0, layout="keras"), (3, 3, 4, 5))
    assert dict(delta.atoms) == pytest.approx({0: 8 / 9})
    expected = [1 / 9 * stats.beta(2, 2, -1, 2).cdf(-0.5)]
    assert delta.shares_between([-1.0, -0.5]) == pytest.approx(expected)


def test_what_is_not_known_has_no_distribution() -> None:
    stft = Stft(side="real", window=None, scaling=None, periodic=True)
    called = Called(function=lambda shape, dtype, seed: np.zeros(shape, dtype))
    draws: Sequence[Draw] = (stft, called)
    for draw in draws:
        assert marginal_of(draw, (4, 1, 3), "float32") is None
    assert marginal_of(Normal(mean=0.0, stddev=1.0), (0,), "float32") is None


def test_order_statistics_of_a_normal_have_their_medians() -> None:
    marginal = known(Normal(mean=0.0, stddev=1.0), (10,))
    for n in (1, 2, 10, 1000):
        for rank in {1, (n + 1) // 2, n}:
            median = stats.norm.ppf(stats.beta(rank, n - rank + 1).median())
            assert marginal.ordered(rank, n) == pytest.approx(median, abs=0.03)


def test_order_statistics_of_single_values_are_those_values() -> None:
    marginal = known(Eye(gain=2.0), (5, 7))
    found = [marginal.ordered(rank, 35) for rank in range(1, 36)]
    assert found == [0.0] * 30 + [2.0] * 5


def test_a_coarse_dtype_is_not_smooth() -> None:
    normal = Normal(mean=0.0, stddev=1.0)
    assert known(normal, (3,), "float32").is_smooth
    assert known(normal, (3,), "float16").is_smooth
    assert not known(normal, (3,), "float8_e4m3fn").is_smooth
    assert not known(Normal(mean=1e7, stddev=1.0), (3,), "float32").is_smooth
    assert not known(Sparse(stddev=1.0, n_zeros=3), (4, 5)).is_smooth
    assert math.isfinite(known(normal, (3,), "float8_e4m3fn").quantile(1.0))
