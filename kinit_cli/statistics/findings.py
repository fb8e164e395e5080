"""What is found of one tensor while its values are compared with its initializer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kinit_cli.statistics.bounds import LOG_LIMIT, N_FINDINGS, log_p_of_mean

if TYPE_CHECKING:
    from kinit_cli.draw import Draw


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
class Findings:
    """What is found of one tensor, bit by bit."""

    z_mean: float | None = None
    z_variance: float | None = None
    chi2: float | None = None
    dof: int | None = None
    log_p: float = 0.0
    n_findings: int = N_FINDINGS
    reasons: tuple[str, ...] = ()
    in_range: bool | None = None

    def convict(self, reason: str) -> None:
        """Take what contradicts the initializer for certain."""
        self.reasons += (reason,)

    def note(self, log_p: float, reason: str) -> None:
        """Take a finding with a bound of its chance; it convicts if that is below the limit."""
        self.log_p = min(self.log_p, log_p)
        if log_p < LOG_LIMIT:
            self.convict(reason)

    def check_moment(
        self,
        name: Literal["mean", "variance"],
        deviation: float,
        variance: float,
        tail: float,
        slack: float,
        n: int,
    ) -> None:
        """Compare the mean of n independent numbers with the law's, given variance and tail."""
        scale = math.sqrt(variance / n)
        z = deviation / scale if scale else math.copysign(math.inf, deviation) if deviation else 0.0
        if name == "mean":
            self.z_mean = z
        else:
            self.z_variance = z
        log_p = log_p_of_mean(max(abs(deviation) - slack, 0.0), n, variance, tail)
        self.note(log_p, f"its {name} is {z:+.1f} sigma from that of the initializer")

    def check_range(
        self, found: tuple[float | None, float | None], lowest: float, highest: float
    ) -> None:
        """Compare the least and the greatest value with those that there can be."""
        low, high = found
        assert low is not None
        assert high is not None
        self.in_range = lowest <= low and high <= highest
        if not self.in_range:
            self.convict(
                f"its values go from {low:.6g} to {high:.6g}, "
                f"not within {lowest:.6g} to {highest:.6g}"
            )

    @property
    def p(self) -> float | None:
        """Bound the chance of what was found; None if chance was not asked."""
        if self.z_mean is None:
            return None
        return min(self.n_findings * math.exp(self.log_p), 1.0)
