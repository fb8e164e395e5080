"""Comparing the values of an orthogonal matrix with what its length and orthogonality make them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kinit_cli.draw import DeltaOrthogonal, Orthogonal, channels, orthogonal_shape
from kinit_cli.statistics.rounding import spacing_at

if TYPE_CHECKING:
    from kinit_cli.statistics.findings import Expected, Findings
    from kinit_cli.statistics.tensor_stats import TensorStats

#: The stream's orthogonal matrices are orthogonal to this, before rounding to the dtype.
ORTHOGONAL_ERROR = 1e-8
#: Those of other libraries, which factorise in float32.
FOREIGN_ORTHOGONAL_ERROR = 1e-4


def check_orthogonal(findings: Findings, expected: Expected, stats: TensorStats) -> None:
    """Check the length, which is known, and the mean: a coordinate of a random unit vector.

    Of a delta-orthogonal kernel, where all elements but those of a matrix are 0, the matrix's.
    """
    assert stats.mean is not None
    assert stats.l2_norm is not None
    draw = expected.draw
    assert isinstance(draw, Orthogonal | DeltaOrthogonal)
    m, n = _sides(expected)
    gain = abs(draw.gain)
    length = gain * math.sqrt(n)
    limit = length * orthogonality_limit(expected)
    if not abs(stats.l2_norm - length) <= limit:
        findings.convict(f"its L2 norm is {stats.l2_norm:.6g}, expected {length:.6g}")
    n_other = stats.count - stats.n_zero
    if n_other > m * n:
        findings.convict(f"{n_other:,} elements are not 0, expected {m * n:,} at most")
    # The sum of all elements is gain sqrt(m n) u, u a coordinate of a random unit vector in m
    # dimensions, which exceeds t with a chance of at most exp(-m t^2 / 2).
    if gain:
        mean = stats.mean * (stats.count / (m * n))
        slack = limit / gain / math.sqrt(m * n)
        findings.check_moment("mean", mean / gain, 1 / m, 0.0, slack, m * n)


def orthogonality_limit(expected: Expected) -> float:
    """Give how far from orthonormal, relative to its gain, a dtype's rounding may make a matrix."""
    assert isinstance(expected.draw, Orthogonal | DeltaOrthogonal)
    gain = abs(expected.draw.gain)
    if not gain:
        return 0.0
    relative = spacing_at(1.0, expected.dtype) / 2
    # Below the dtype's normal numbers rounding errs by the same step whatever the value.
    absolute = spacing_at(0.0, expected.dtype) / 2 / gain
    longer = _sides(expected)[0]
    computed = ORTHOGONAL_ERROR if expected.is_ours else FOREIGN_ORTHOGONAL_ERROR
    return computed + 2 * relative + relative**2 + 2 * absolute * math.sqrt(longer) * 2


def _sides(expected: Expected) -> tuple[int, int]:
    """Give the longer and the shorter side of the matrix."""
    draw = expected.draw
    if isinstance(draw, DeltaOrthogonal):
        sides = channels(expected.shape, draw.layout)
    else:
        assert isinstance(draw, Orthogonal)
        sides = orthogonal_shape(draw, expected.shape)
    return max(sides), min(sides)
