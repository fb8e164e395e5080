"""Comparing values that have no chance in them, by all that their order does not change."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from kinit_cli.draw import Constant, ConstantArray, Dirac, Eye, Stft, channels
from kinit_cli.dtypes import DTYPES, numpy_dtype
from kinit_cli.engines.constants import fill_constant_array
from kinit_cli.statistics.rounding import rounded, spacing_at
from kinit_cli.stream.stft import samples_and_divisor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kinit_cli.draw import Nested
    from kinit_cli.statistics.findings import Expected, Findings
    from kinit_cli.statistics.tensor_stats import TensorStats

#: Float64 sums of exact values err by less, relative to the largest value.
_SUM_ERROR = 1e-12
#: What other libraries' cosines of large angles err by, in float32.
_FOREIGN_ERROR = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """Numbers as a dtype has them."""

    count: int
    n_zero: int
    lowest: float
    highest: float
    mean: float


def check_fixed(findings: Findings, expected: Expected, stats: TensorStats) -> None:
    """Check a tensor of constants, or of a pattern of them."""
    match expected.draw:
        case Constant(value=value):
            _check_values(findings, expected, stats, (value,))
        case ConstantArray(values=values):
            _check_values(findings, expected, stats, values)
        case Eye(gain=gain):
            _check_few(findings, expected, stats, gain, min(expected.shape))
        case Dirac(groups=groups, layout=layout):
            inputs, outputs = channels(expected.shape, layout)
            n_ones = groups * min(inputs, outputs // groups)
            _check_few(findings, expected, stats, 1.0, n_ones)
        case _:
            raise TypeError(f"{type(expected.draw).__name__} is not fixed")


def check_stft(findings: Findings, expected: Expected, draw: Stft, stats: TensorStats) -> None:
    """Check the range, the mean and the L2 norm, which follow from the window alone."""
    assert stats.mean is not None
    assert stats.l2_norm is not None
    length, _, n_frequencies = expected.shape
    samples, divisor = samples_and_divisor(draw, length)
    weights = np.ones(length) if samples is None else samples / divisor
    highest = rounded(float(np.abs(weights).max()), expected.dtype)
    foreign = 0.0 if expected.is_ours else _FOREIGN_ERROR
    reach = highest * (1 + foreign)
    findings.check_range((stats.min, stats.max), -reach, reach)
    total, square_sum = _stft_sums(draw.side, weights, n_frequencies)
    wanted, norm = total / stats.count, math.sqrt(square_sum)
    step = spacing_at(highest, expected.dtype) / 2 + (_SUM_ERROR + foreign) * highest
    if not abs(stats.mean - wanted) <= step:
        findings.convict(f"its mean is {stats.mean:.6g}, expected {wanted:.6g}")
    relative = spacing_at(1.0, expected.dtype) / 2 + _SUM_ERROR + foreign
    absolute = spacing_at(0.0, expected.dtype) / 2 * math.sqrt(stats.count)
    if not abs(stats.l2_norm - norm) <= relative * norm + absolute:
        findings.convict(f"its L2 norm is {stats.l2_norm:.6g}, expected {norm:.6g}")


def _check_values(
    findings: Findings, expected: Expected, stats: TensorStats, values: Nested
) -> None:
    """Compare with numbers each of which the tensor repeats equally often."""
    held = _held(values, expected.dtype)
    if not _has_range(findings, stats, held.lowest, held.highest):
        return
    scale = max(abs(held.lowest), abs(held.highest))
    is_exact = expected.is_ours or DTYPES[expected.dtype].kind != "float"
    step = 0.0 if is_exact else spacing_at(scale, expected.dtype)
    assert stats.mean is not None
    if not abs(stats.mean - held.mean) <= step + _SUM_ERROR * scale:
        findings.convict(f"its mean is {stats.mean:.6g}, expected {held.mean:.6g}")
    if is_exact:
        _check_zeros(findings, stats, stats.count * held.n_zero // held.count)


@lru_cache(maxsize=256)
def _held(values: Nested, dtype: str) -> _Held:
    """Round numbers, at least one, to a dtype, and measure them."""
    shape = np.shape(np.array(values, dtype=object))
    out = np.empty(math.prod(shape), numpy_dtype(dtype))
    fill_constant_array(out, values, 0, shape)
    numbers = [float(value) for value in out.tolist()]
    return _Held(
        count=len(numbers),
        n_zero=numbers.count(0.0),
        lowest=min(numbers),
        highest=max(numbers),
        mean=math.fsum(number / len(numbers) for number in numbers),
    )


def _check_few(
    findings: Findings, expected: Expected, stats: TensorStats, value: float, n_few: int
) -> None:
    """Compare with `n_few` times one value among zeros."""
    is_float = DTYPES[expected.dtype].kind == "float"
    held = rounded(value, expected.dtype) if is_float else float(value)
    other = held if n_few == stats.count else 0.0
    n_zeros = stats.count - n_few if held else stats.count
    if _has_range(findings, stats, min(held, other), max(held, other)):
        _check_zeros(findings, stats, n_zeros)


def _has_range(findings: Findings, stats: TensorStats, lowest: float, highest: float) -> bool:
    findings.in_range = (stats.min, stats.max) == (lowest, highest)
    if not findings.in_range:
        wanted = f"{lowest:.6g}" if lowest == highest else f"{lowest:.6g} to {highest:.6g}"
        found = f"its values go from {stats.min:.6g} to {stats.max:.6g}"
        findings.convict(f"{found}, expected {wanted}")
    return findings.in_range


def _check_zeros(findings: Findings, stats: TensorStats, n_zeros: int) -> None:
    if stats.n_zero != n_zeros:
        n_other, n_wanted = stats.count - stats.n_zero, stats.count - n_zeros
        findings.convict(f"{n_other:,} elements are not 0, expected {n_wanted:,}")


def _stft_sums(side: str, weights: NDArray[np.float64], n_frequencies: int) -> tuple[float, float]:
    """Give the sums of the elements and of their squares.

    With N = 2 (n_frequencies - 1), of the cosines of 2 pi n k / N over all k from 0 to N / 2 the
    sum is N / 2 + 1 where N divides n, else 1 for even n and 0 for odd n; the sines' is
    cot(pi n / N) for odd n and else 0. The cosines' squares have the sum N / 2 + 1 where N divides
    2 n, else N / 4 + 1; the sines' have what is left.
    """
    n = 2 * (n_frequencies - 1)
    time = np.arange(weights.size)
    is_odd = time % 2 == 1
    squares = np.where(2 * time % n == 0, n_frequencies, (n_frequencies + 1) / 2)
    if side == "real":
        sums = np.where(time % n == 0, n_frequencies, np.where(is_odd, 0, 1))
    else:
        sums = np.where(is_odd, -1 / np.tan(np.where(is_odd, time % n, 1) * (math.pi / n)), 0)
        squares = n_frequencies - squares
    return math.fsum((sums * weights).tolist()), math.fsum((squares * weights**2).tolist())
