"""Whether a tensor's values can come from its initializer.

Mean, variance and counts in bins must be within the bounds of `kinit_cli.bounds` of what the law of
the elements gives. What has no randomness must hold exactly: the range, constants, the length of an
orthogonal matrix.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from kinit_cli.bounds import (
    LOG_LIMIT,
    N_FINDINGS,
    likelihood_ratio,
    log_p_of_mean,
    log_p_of_ratio,
)
from kinit_cli.draw import (
    Called,
    Constant,
    ConstantArray,
    Draw,
    Eye,
    Moments,
    Normal,
    Orthogonal,
    TruncatedNormal,
    expected_moments,
    orthogonal_shape,
    value_bounds,
)
from kinit_cli.dtypes import DTYPES
from kinit_cli.histogram import counts_below

if TYPE_CHECKING:
    from kinit_cli.histogram import GridCounts
    from kinit_cli.laws import Bins, Law
    from kinit_cli.summary import TensorStats

Verdict: TypeAlias = Literal["pass", "fail", "untested"]

#: Elements from which on values are counted in bins, and how many bins.
_BINS = ((2000, 32), (200, 8))
#: Float64 sums of exact values err by less, relative to the largest value.
_SUM_ERROR = 1e-12
#: The stream's orthogonal matrices are orthogonal to this, before rounding to the dtype.
ORTHOGONAL_ERROR = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributionTest:
    """How a tensor's values compare with its initializer.

    Attributes
    ----------
    verdict : "pass", "fail" or "untested"
        "untested" if there is nothing to compare with.
    z_mean, z_variance : float or None
        Deviations of the mean, and of the variance about the law's mean, in standard deviations
        of a sample of this size.
    chi2 : float or None
        Likelihood-ratio chi-square over bins of about equal probability.
    dof : int or None
        Its degrees of freedom, one less than there are bins.
    p : float or None
        Proven bound of the chance that a sound tensor looks as unlikely as this one.
    in_range : bool or None
        All values are numbers that the initializer can draw, as far as their range tells.
    orthogonality_error : float or None
        Largest element of |Q^T Q / gain^2 - I|, over the columns that were sampled.
    digest_matches : bool or None
        The elements have the digest that the file records.
    reasons : tuple of str
        What contradicts the initializer; why it is untested.
    """

    verdict: Verdict
    z_mean: float | None = None
    z_variance: float | None = None
    chi2: float | None = None
    dof: int | None = None
    p: float | None = None
    in_range: bool | None = None
    orthogonality_error: float | None = None
    digest_matches: bool | None = None
    reasons: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Give plain data with stable keys; no NaN or infinity, but null."""
        numbers = (self.z_mean, self.z_variance, self.chi2, self.p, self.orthogonality_error)
        z_mean, z_variance, chi2, p, orthogonality_error = map(_finite, numbers)
        return {
            "verdict": self.verdict,
            "z_mean": z_mean,
            "z_variance": z_variance,
            "chi2": chi2,
            "dof": self.dof,
            "p": p,
            "in_range": self.in_range,
            "orthogonality_error": orthogonality_error,
            "digest_matches": self.digest_matches,
            "reasons": list(self.reasons),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a tensor is said to be drawn from.

    Attributes
    ----------
    dtype : str
        A name in `DTYPES`.
    is_ours : bool
        The values are those of kinit's stream; another library has its own way of rounding, and
        its normals have no bound.
    """

    draw: Draw
    shape: tuple[int, ...]
    dtype: str
    is_ours: bool = True


@dataclass(slots=True)
class _Findings:
    """What is found of one tensor, bit by bit."""

    z_mean: float | None = None
    z_variance: float | None = None
    chi2: float | None = None
    dof: int | None = None
    log_p: float = 0.0
    reasons: tuple[str, ...] = ()
    in_range: bool | None = None

    def note(self, log_p: float, reason: str) -> None:
        """Take a finding with a bound of its chance; it convicts if that is below the limit."""
        self.log_p = min(self.log_p, log_p)
        if log_p < LOG_LIMIT:
            self.reasons += (reason,)


def judge(
    expected: Expected,
    stats: TensorStats,
    grid_counts: GridCounts | None,
    *,
    orthogonality_error: float | None = None,
    digest_matches: bool | None = None,
) -> DistributionTest:
    """Compare what was measured of a tensor with what it is said to be drawn from.

    Parameters
    ----------
    grid_counts : GridCounts or None
        Of the same pass as `stats`.
    orthogonality_error : float, optional
        What `kinit_cli.orthogonality` found.
    digest_matches : bool, optional
        Whether the elements have the recorded digest, where that is known.
    """
    findings = _Findings()
    untested = _find(findings, expected, stats, grid_counts)
    if orthogonality_error is not None and orthogonality_error > orthogonality_limit(expected):
        findings.reasons += (f"its columns are not orthonormal: off by {orthogonality_error:.2g}",)
    if digest_matches is False:
        findings.reasons += ("the elements do not have the digest that the file records",)
    is_untested = untested and not findings.reasons and digest_matches is None
    verdict: Verdict = "fail" if findings.reasons else "untested" if is_untested else "pass"
    has_p = findings.z_mean is not None
    return DistributionTest(
        verdict=verdict,
        z_mean=findings.z_mean,
        z_variance=findings.z_variance,
        chi2=findings.chi2,
        dof=findings.dof,
        p=min(N_FINDINGS * math.exp(findings.log_p), 1.0) if has_p else None,
        in_range=findings.in_range,
        orthogonality_error=orthogonality_error,
        digest_matches=digest_matches,
        reasons=(untested,) if is_untested else findings.reasons,
    )


def untested(reason: str) -> DistributionTest:
    """Give the result for a tensor of which nothing is known."""
    return DistributionTest(verdict="untested", reasons=(reason,))


def failed(reason: str) -> DistributionTest:
    """Give the result for a tensor that is wrong before its values are looked at."""
    return DistributionTest(verdict="fail", reasons=(reason,))


def _find(
    findings: _Findings, expected: Expected, stats: TensorStats, grid_counts: GridCounts | None
) -> str:
    """Note all findings; give the reason if there is nothing to find any in."""
    if not stats.count:
        return "it has no elements"
    if stats.n_nan or stats.n_inf:
        findings.in_range = False
        findings.reasons += (f"NaN or infinite elements: {stats.n_nan + stats.n_inf:,}",)
        return ""
    draw, is_float = expected.draw, DTYPES[expected.dtype].kind == "float"
    match draw:
        case Constant() | ConstantArray() | Eye():
            _check_fixed(findings, expected, stats, is_float=is_float)
        case Orthogonal():
            _check_orthogonal(findings, expected, draw, stats)
        case Called(moments=None):
            return "its distribution is not known"
        case Called(moments=Moments() as moments):
            _check_called(findings, moments, stats)
        case _:
            return _check_law(findings, expected, stats, grid_counts)
    return ""


# --- independent elements -------------------------------------------------------------------


def _check_law(
    findings: _Findings, expected: Expected, stats: TensorStats, grid_counts: GridCounts | None
) -> str:
    from kinit_cli.laws import bins_of, law_of
    from kinit_cli.stream.transforms import round_to_float32

    if not expected.is_ours and DTYPES[expected.dtype].n_bytes < 4:
        return f"how another library rounds to {expected.dtype} is not known"
    law = law_of(expected.draw, expected.dtype)
    if law is None:
        if isinstance(expected.draw, Normal | TruncatedNormal):  # of no spread in float32
            constant = Constant(value=round_to_float32(expected.draw.mean))
            _check_fixed(findings, replace(expected, draw=constant), stats, is_float=True)
            return ""
        return "there is no test for values of its initializer"
    assert stats.mean is not None
    assert stats.std is not None
    _check_range(findings, expected, law, stats)
    n = stats.count
    deviation = stats.mean - law.mean
    _check_moment(findings, "mean", deviation, law.variance, law.tail, law.mean_slack, n)
    excess = stats.std * stats.std + deviation * deviation - law.variance
    _check_moment(
        findings, "variance", excess, law.square_variance, law.square_tail, law.variance_slack, n
    )
    n_bins = next((n_bins for n_least, n_bins in _BINS if n >= n_least), 0)
    if n_bins and grid_counts is not None:
        _check_bins(findings, bins_of(law, expected.dtype, n_bins), grid_counts)
    return ""


def _check_moment(
    findings: _Findings,
    name: Literal["mean", "variance"],
    deviation: float,
    variance: float,
    tail: float,
    slack: float,
    n: int,
) -> None:
    """Compare the mean of n independent numbers with the law's, given their variance and tail."""
    scale = math.sqrt(variance / n)
    z = deviation / scale if scale else math.copysign(math.inf, deviation) if deviation else 0.0
    if name == "mean":
        findings.z_mean = z
    else:
        findings.z_variance = z
    log_p = log_p_of_mean(max(abs(deviation) - slack, 0.0), n, variance, tail)
    findings.note(log_p, f"its {name} is {z:+.1f} sigma from that of the initializer")


def _check_bins(findings: _Findings, bins: Bins, grid_counts: GridCounts) -> None:
    n_below = counts_below(grid_counts, bins.places)
    dof = len(bins.places)
    if not dof:
        return
    counts = map(operator.sub, n_below[1:], n_below)
    g = likelihood_ratio(counts, bins.probabilities, n_below[-1])
    findings.chi2, findings.dof = g, dof
    reason = f"its values are spread otherwise: chi-square {g:.0f} over {dof + 1} bins"
    findings.note(log_p_of_ratio(g, dof), reason)


def _check_range(findings: _Findings, expected: Expected, law: Law, stats: TensorStats) -> None:
    assert stats.min is not None
    assert stats.max is not None
    lowest, highest = law.lowest, law.highest
    if not expected.is_ours:
        if isinstance(expected.draw, Normal):
            return
        # Other libraries round the bounds in their own way, and may take the upper one.
        slack = 1e-6 * max(abs(lowest), abs(highest))
        lowest, highest = lowest - slack, highest + slack
    findings.in_range = lowest <= stats.min and stats.max <= highest
    if not findings.in_range:
        findings.reasons += (
            f"its values go from {stats.min:.6g} to {stats.max:.6g}, "
            f"not within {lowest:.6g} to {highest:.6g}",
        )


def _check_called(findings: _Findings, moments: Moments, stats: TensorStats) -> None:
    """Compare the mean alone, with the range that was found in place of one that is known."""
    assert stats.mean is not None
    assert stats.min is not None
    assert stats.max is not None
    reach = max(moments.mean - stats.min, stats.max - moments.mean)
    slack = _SUM_ERROR * max(abs(stats.min), abs(stats.max))
    variance = moments.stddev * moments.stddev
    deviation = stats.mean - moments.mean
    _check_moment(findings, "mean", deviation, variance, reach / 3, slack, stats.count)


# --- values without chance ------------------------------------------------------------------


def _check_fixed(
    findings: _Findings, expected: Expected, stats: TensorStats, *, is_float: bool
) -> None:
    """Check a tensor whose values are known one by one, by all that their order does not change."""
    draw, shape = expected.draw, expected.shape
    moments = expected_moments(draw, shape)
    assert moments is not None
    assert stats.mean is not None
    lowest, highest = map(float, value_bounds(draw))
    step = 0.0
    if is_float:
        from kinit_cli.rounding import rounded, spacing_at

        step = spacing_at(max(abs(lowest), abs(highest)), expected.dtype)
        lowest, highest = rounded(lowest, expected.dtype), rounded(highest, expected.dtype)
    if isinstance(draw, Eye) and min(shape) == max(shape) == 1:
        lowest = highest = lowest or highest
    findings.in_range = (stats.min, stats.max) == (lowest, highest)
    if not findings.in_range:
        wanted = f"{lowest:.6g}" if lowest == highest else f"{lowest:.6g} to {highest:.6g}"
        findings.reasons += (
            f"its values go from {stats.min:.6g} to {stats.max:.6g}, expected {wanted}",
        )
        return
    if isinstance(draw, Eye) and draw.gain:
        n_other = stats.count - stats.n_zero
        if n_other != min(shape):
            findings.reasons += (f"{n_other:,} elements are not 0, expected {min(shape):,}",)
    slack = step + _SUM_ERROR * max(abs(lowest), abs(highest))
    if not abs(stats.mean - moments.mean) <= slack:
        findings.reasons += (f"its mean is {stats.mean:.6g}, expected {moments.mean:.6g}",)


def _check_orthogonal(
    findings: _Findings, expected: Expected, draw: Orthogonal, stats: TensorStats
) -> None:
    """Check the length, which is known, and the mean: a coordinate of a random unit vector."""
    assert stats.mean is not None
    assert stats.l2_norm is not None
    rows, cols = orthogonal_shape(draw, expected.shape)
    m, n = max(rows, cols), min(rows, cols)
    gain = abs(draw.gain)
    length = gain * math.sqrt(n)
    limit = length * orthogonality_limit(expected)
    if not abs(stats.l2_norm - length) <= limit:
        findings.reasons += (f"its L2 norm is {stats.l2_norm:.6g}, expected {length:.6g}",)
    # The sum of all elements is gain sqrt(m n) u, u a coordinate of a random unit vector in m
    # dimensions, which exceeds t with a chance of at most exp(-m t^2 / 2).
    if gain:
        slack = limit / gain / math.sqrt(stats.count)
        _check_moment(findings, "mean", stats.mean / gain, 1 / m, 0.0, slack, stats.count)


def orthogonality_limit(expected: Expected) -> float:
    """Give how far from orthonormal, relative to its gain, a dtype's rounding may make a matrix."""
    from kinit_cli.rounding import spacing_at

    assert isinstance(expected.draw, Orthogonal)
    m = max(orthogonal_shape(expected.draw, expected.shape))
    gain = abs(expected.draw.gain)
    if not gain:
        return 0.0
    relative = spacing_at(1.0, expected.dtype) / 2
    # Below the dtype's normal numbers rounding errs by the same step whatever the value.
    absolute = spacing_at(0.0, expected.dtype) / 2 / gain
    return ORTHOGONAL_ERROR + 2 * relative + relative**2 + 2 * absolute * math.sqrt(m) * 2


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
