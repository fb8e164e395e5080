"""Bounds of how far chance goes: proven for any number of elements, no approximations.

So far out in the tails neither the normal nor the chi-square approximation holds, least of all
for few elements.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

#: A finding whose chance in a sound tensor is below exp of this convicts it.
LOG_LIMIT = math.log(1e-12)
#: Of a tensor: mean and variance, each too low or too high, and the counts in bins; one more, the
#: number of zeros, of a sparse one. That one of 100,000 sound tensors is convicted thus has a
#: chance of less than 6e-7.
N_FINDINGS = 5


def log_p_of_mean(deviation: float, n: int, variance: float, tail: float) -> float:
    """Bound the log of the chance that the mean of n numbers deviates so far, to this side.

    exp(-n d^2 / (2 (v + c d))): Bernstein's inequality for independent numbers of variance v within
    3 c of their mean; for normals c = 0; for squares of normals of variance s, v = 2 s^2 and
    c = 2 s (Laurent and Massart, "Adaptive estimation of a quadratic functional by model
    selection", Annals of Statistics 28(5), 2000, lemma 1).
    """
    d = abs(deviation)
    spread = variance + tail * d
    if not spread:
        return -math.inf if d else 0.0
    return -n * d * (d / spread) / 2


def likelihood_ratio(counts: Iterable[int], probabilities: Iterable[float], n: int) -> float:
    """Give the likelihood-ratio chi-square 2 sum count ln(count / (n probability))."""
    return 2 * sum(
        count * math.log(count / (n * probability))
        for count, probability in zip(counts, probabilities, strict=True)
        if count
    )


def log_p_of_count(count: int, n: int, p: float) -> float:
    """Bound the log of the chance that of n elements so many or more have what p of them have.

    exp(-n D), D the relative entropy of count / n and p: Chernoff, "A measure of asymptotic
    efficiency for tests of a hypothesis", Annals of Mathematical Statistics 23(4), 1952.
    """
    if count <= n * p:
        return 0.0
    if p <= 0:
        return -math.inf
    return -likelihood_ratio((count, n - count), (p, 1 - p), n) / 2


def log_p_of_ratio(g: float, dof: int) -> float:
    """Bound the log of the chance of a likelihood ratio of at least g, with dof + 1 bins.

    exp(-g / 2) (e g / (2 dof))^dof where g / 2 > dof: Agrawal, "Finite-sample concentration of the
    multinomial in relative entropy", IEEE Transactions on Information Theory 66(10), 2020.
    """
    excess = g / 2 / dof
    return -dof * (excess - 1 - math.log(excess)) if excess > 1 else 0.0
