"""Comparing the values of a random tensor with the law that its elements follow."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from kinit_cli.draw import Constant, Moments, Normal, TruncatedNormal
from kinit_cli.dtypes import DTYPES
from kinit_cli.statistics.bounds import N_FINDINGS, likelihood_ratio, log_p_of_count, log_p_of_ratio
from kinit_cli.statistics.fixed_values import check_fixed
from kinit_cli.statistics.histogram import GridCounts, counts_below
from kinit_cli.statistics.laws import bins_of, law_of
from kinit_cli.statistics.rounding import spacing_at
from kinit_cli.stream.transforms import round_to_float32

if TYPE_CHECKING:
    from kinit_cli.draw import Sparse
    from kinit_cli.statistics.findings import Expected, Findings
    from kinit_cli.statistics.laws import Law
    from kinit_cli.statistics.tensor_stats import TensorStats

#: Elements from which on values are counted in bins, and how many bins.
_BINS = ((2000, 32), (200, 8))
#: Float64 sums of exact values err by less, relative to the largest value.
_SUM_ERROR = 1e-12
#: Of the stream's unit normals, those that are 0: 26 of 2^32 (docs/stream.md, 3), rounded up.
_ZERO_UNITS = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    """What was measured of elements that follow one law.

    Attributes
    ----------
    variance : float
        Of the sample, about its own mean.
    """

    count: int
    mean: float
    variance: float
    grid_counts: GridCounts | None


def check_law(
    findings: Findings, expected: Expected, stats: TensorStats, grid_counts: GridCounts | None
) -> str:
    """Compare independent elements with their law; give the reason if that is not possible."""
    if not expected.is_ours and DTYPES[expected.dtype].n_bytes < 4:
        return f"how another library rounds to {expected.dtype} is not known"
    law = law_of(expected.draw, expected.dtype)
    if law is None:
        if isinstance(expected.draw, Normal | TruncatedNormal):  # of no spread in float32
            constant = Constant(value=round_to_float32(expected.draw.mean))
            check_fixed(findings, replace(expected, draw=constant), stats)
            return ""
        return "there is no test for values of its initializer"
    assert stats.mean is not None
    assert stats.std is not None
    _check_range(findings, expected, law, stats)
    sample = _Sample(
        count=stats.count,
        mean=stats.mean,
        variance=stats.std * stats.std,
        grid_counts=grid_counts,
    )
    _check_sample(findings, law, expected.dtype, sample)
    return ""


def check_sparse(
    findings: Findings,
    expected: Expected,
    draw: Sparse,
    stats: TensorStats,
    grid_counts: GridCounts | None,
) -> None:
    """Count the zeros, and compare the other elements with the normals that they should be.

    Of these, too, some may be 0: those that the dtype rounds to it.
    """
    normal, n_zeros = Normal(mean=0.0, stddev=draw.stddev), draw.n_zeros * expected.shape[1]
    n_drawn, n_more = stats.count - n_zeros, stats.n_zero - n_zeros
    law = law_of(normal, expected.dtype)
    if n_more < 0 or (n_more != n_drawn and law is None):
        found = f"{stats.n_zero:,} elements are 0"
        findings.convict(f"{found}, expected {n_zeros if law else stats.count:,}")
        return
    if law is None or not n_drawn:
        findings.in_range = (stats.min, stats.max) == (0, 0)
        return
    assert stats.mean is not None
    assert stats.std is not None
    _check_range(findings, replace(expected, draw=normal), law, stats)
    share = stats.count / n_drawn
    mean = stats.mean * share
    sample = _Sample(
        count=n_drawn,
        mean=mean,
        variance=(stats.std * stats.std + stats.mean * stats.mean) * share - mean * mean,
        grid_counts=grid_counts and _without_zeros(grid_counts, n_zeros),
    )
    _check_sample(findings, law, expected.dtype, sample)
    findings.n_findings = N_FINDINGS + 1
    log_p = log_p_of_count(n_more, n_drawn, _chance_of_zero(law, expected.dtype))
    findings.note(log_p, f"{stats.n_zero:,} elements are 0, expected {n_zeros:,}")


def check_called(
    findings: Findings, expected: Expected, moments: Moments, stats: TensorStats
) -> None:
    """Compare the mean alone, with the range that was found in place of one that is known."""
    assert stats.mean is not None
    assert stats.min is not None
    assert stats.max is not None
    reach = max(moments.mean - stats.min, stats.max - moments.mean)
    largest = max(abs(stats.min), abs(stats.max))
    slack = _SUM_ERROR * largest
    if DTYPES[expected.dtype].kind == "float":  # how it is rounded is not known
        slack += spacing_at(largest, expected.dtype)
    variance = moments.stddev * moments.stddev
    deviation = stats.mean - moments.mean
    findings.check_moment("mean", deviation, variance, reach / 3, slack, stats.count)


def _check_range(findings: Findings, expected: Expected, law: Law, stats: TensorStats) -> None:
    lowest, highest = law.lowest, law.highest
    if not expected.is_ours:
        if isinstance(expected.draw, Normal):
            return
        # Other libraries round the bounds in their own way, and may take the upper one.
        slack = 1e-6 * max(abs(lowest), abs(highest))
        lowest, highest = lowest - slack, highest + slack
    findings.check_range((stats.min, stats.max), lowest, highest)


def _check_sample(findings: Findings, law: Law, dtype: str, sample: _Sample) -> None:
    n = sample.count
    deviation = sample.mean - law.mean
    findings.check_moment("mean", deviation, law.variance, law.tail, law.mean_slack, n)
    excess = sample.variance + deviation * deviation - law.variance
    findings.check_moment(
        "variance", excess, law.square_variance, law.square_tail, law.variance_slack, n
    )
    n_bins = next((n_bins for n_least, n_bins in _BINS if n >= n_least), 0)
    if n_bins and sample.grid_counts is not None:
        _check_bins(findings, law, dtype, n_bins, sample.grid_counts)


def _check_bins(
    findings: Findings, law: Law, dtype: str, n_bins: int, grid_counts: GridCounts
) -> None:
    bins = bins_of(law, dtype, n_bins)
    dof = len(bins.places)
    if not dof:
        return
    n_below = counts_below(grid_counts, bins.places)
    counts = map(operator.sub, n_below[1:], n_below)
    g = likelihood_ratio(counts, bins.probabilities, n_below[-1])
    findings.chi2, findings.dof = g, dof
    reason = f"its values are spread otherwise: chi-square {g:.0f} over {dof + 1} bins"
    findings.note(log_p_of_ratio(g, dof), reason)


def _without_zeros(grid_counts: GridCounts, n_zeros: int) -> GridCounts:
    counts = grid_counts.counts - np.where(grid_counts.buckets == 0, n_zeros, 0)
    return GridCounts(buckets=grid_counts.buckets, counts=counts)


def _chance_of_zero(law: Law, dtype: str) -> float:
    half = spacing_at(0.0, dtype) / 2
    return _ZERO_UNITS + law.survival(-half) - law.survival(half)
