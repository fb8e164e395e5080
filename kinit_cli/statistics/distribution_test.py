"""Whether a tensor's values can come from its initializer.

Mean, variance and counts in bins must be within the bounds of `kinit_cli.statistics.bounds` of what
the law of the elements gives. What has no randomness must hold exactly: the range, constants, the
length of an orthogonal matrix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from kinit_cli.draw import (
    Called,
    Constant,
    ConstantArray,
    DeltaOrthogonal,
    Dirac,
    Eye,
    Moments,
    Orthogonal,
    Sparse,
    Stft,
)
from kinit_cli.statistics.findings import Expected, Findings

if TYPE_CHECKING:
    from kinit_cli.statistics.histogram import GridCounts
    from kinit_cli.statistics.structure import Structure
    from kinit_cli.statistics.tensor_stats import TensorStats

Verdict: TypeAlias = Literal["pass", "fail", "untested"]


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


def judge(
    expected: Expected,
    stats: TensorStats,
    grid_counts: GridCounts | None,
    *,
    structure: Structure | None = None,
    digest_matches: bool | None = None,
) -> DistributionTest:
    """Compare what was measured of a tensor with what it is said to be drawn from.

    Parameters
    ----------
    grid_counts : GridCounts or None
        Of the same pass as `stats`.
    structure : Structure, optional
        What was found by reading some elements once more.
    digest_matches : bool, optional
        Whether the elements have the recorded digest, where that is known.
    """
    findings = Findings()
    untested = _find(findings, expected, stats, grid_counts)
    if stats.n_nan or stats.n_inf:
        structure = None
    if structure is not None:
        _check_structure(findings, expected, stats, structure)
    if digest_matches is False:
        findings.convict("the elements do not have the digest that the file records")
    is_untested = untested and not findings.reasons and digest_matches is None
    verdict: Verdict = "fail" if findings.reasons else "untested" if is_untested else "pass"
    return DistributionTest(
        verdict=verdict,
        z_mean=findings.z_mean,
        z_variance=findings.z_variance,
        chi2=findings.chi2,
        dof=findings.dof,
        p=findings.p,
        in_range=findings.in_range,
        orthogonality_error=None if structure is None else structure.orthogonality_error,
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
    findings: Findings, expected: Expected, stats: TensorStats, grid_counts: GridCounts | None
) -> str:
    """Note all findings; give the reason if there is nothing to find any in."""
    if not stats.count:
        return "it has no elements"
    if stats.n_nan or stats.n_inf:
        findings.in_range = False
        findings.convict(f"NaN or infinite elements: {stats.n_nan + stats.n_inf:,}")
        return ""
    # What is not tested is not imported: files are inspected without it, too.
    from kinit_cli.statistics.fixed_values import check_fixed, check_stft
    from kinit_cli.statistics.matrix_values import check_orthogonal
    from kinit_cli.statistics.random_values import check_called, check_law, check_sparse

    match expected.draw:
        case Constant() | ConstantArray() | Eye() | Dirac():
            check_fixed(findings, expected, stats)
        case Stft() as draw:
            check_stft(findings, expected, draw, stats)
        case Orthogonal() | DeltaOrthogonal():
            check_orthogonal(findings, expected, stats)
        case Sparse() as draw:
            check_sparse(findings, expected, draw, stats, grid_counts)
        case Called(moments=None):
            return "its distribution is not known"
        case Called(moments=Moments() as moments):
            check_called(findings, expected, moments, stats)
        case _:
            return check_law(findings, expected, stats, grid_counts)
    return ""


def _check_structure(
    findings: Findings, expected: Expected, stats: TensorStats, structure: Structure
) -> None:
    from kinit_cli.statistics.matrix_values import orthogonality_limit

    draw, error = expected.draw, structure.orthogonality_error
    if error is not None and error > orthogonality_limit(expected):
        findings.convict(f"its columns are not orthonormal: off by {error:.2g}")
    n_other = stats.count - stats.n_zero
    if structure.n_inside is not None and structure.n_inside != n_other:
        n_outside = n_other - structure.n_inside
        findings.convict(f"{n_outside:,} elements that are not 0 lie outside its middle")
    fewest = structure.fewest_zeros
    if fewest is not None and isinstance(draw, Sparse) and fewest < draw.n_zeros:
        findings.convict(f"a column has {fewest:,} zeros, expected {draw.n_zeros:,}")
    if structure.wrong_index is not None:
        findings.convict(f"element {structure.wrong_index:,} is not what it should be")


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
