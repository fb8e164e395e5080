"""The unit normal between two cuts: its moments and tails, without loss of digits.

The closed forms of the moments are differences of numbers that may be a million times as large as
what is left; integrals are not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_SQRT2 = math.sqrt(2)
#: Gauss-Legendre nodes and weights of order 5, in so many panels: exact to float64 up to +-7.
_NEAR, _FAR = (math.sqrt(5 + sign * 2 * math.sqrt(10 / 7)) / 3 for sign in (-1, 1))
_NEAR_WEIGHT, _FAR_WEIGHT = ((322 + sign * 13 * math.sqrt(70)) / 900 for sign in (1, -1))
_NODES = (
    (-_FAR, _FAR_WEIGHT),
    (-_NEAR, _NEAR_WEIGHT),
    (0.0, 128 / 225),
    (_NEAR, _NEAR_WEIGHT),
    (_FAR, _FAR_WEIGHT),
)
_N_PANELS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class CutNormal:
    """Moments of a unit normal between two cuts.

    Attributes
    ----------
    variance, fourth : float
        Second and fourth central moment.
    """

    low: float
    high: float
    mean: float
    variance: float
    fourth: float

    def survival(self, z: float) -> float:
        """Give the chance of a value of at least `z`."""
        low, high = self.low, self.high
        z = min(max(z, low), high)
        # In the tail that has the smaller numbers, where a difference keeps its digits.
        if low + high < 0:
            below = upper_tail(-z) - upper_tail(-low)
            return 1 - below / (upper_tail(-high) - upper_tail(-low))
        return (upper_tail(z) - upper_tail(high)) / (upper_tail(low) - upper_tail(high))


def cut_normal(low: float, high: float) -> CutNormal:
    """Measure a unit normal between two cuts, `low` < `high`, within 7 of 0."""
    step = (high - low) / (2 * _N_PANELS)
    points: list[tuple[float, float]] = []
    # A common factor changes nothing, and this one keeps the densities from being tiny.
    peak = min(max(0.0, low), high)
    for panel in range(_N_PANELS):
        middle = low + (2 * panel + 1) * step
        for node, weight in _NODES:
            z = middle + node * step
            points.append((z, weight * math.exp((peak - z) * (peak + z) / 2)))
    total = math.fsum(weight for _, weight in points)
    mean = low + math.fsum((z - low) * weight for z, weight in points) / total
    variance = math.fsum((z - mean) ** 2 * weight for z, weight in points) / total
    fourth = math.fsum((z - mean) ** 4 * weight for z, weight in points) / total
    return CutNormal(low=low, high=high, mean=mean, variance=variance, fourth=fourth)


def upper_tail(z: float) -> float:
    """Give the chance that a unit normal is at least `z`."""
    return 0.5 * math.erfc(z / _SQRT2)
