"""What a tensor's elements are drawn from, as plain numbers.

An initializer, given a shape, resolves to one of these; engines know nothing else. Parameters
are float64 here and rounded to float32 by the engine, as the value stream says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

#: Standard deviation of a unit normal truncated at +-2: sqrt(1 - 4 phi(2) / erf(sqrt 2)).
TRUNCATED_STDDEV = 0.87962566103423978
#: Largest magnitude that the stream's unit normal takes (docs/stream.md), rounded up.
NORMAL_BOUND = 6.34

Nested: TypeAlias = "float | int | tuple[Nested, ...]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """Every element is `value`."""

    value: float | int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantArray:
    """Nested tuples of numbers, broadcast to the tensor's shape as NumPy broadcasts."""

    values: tuple[Nested, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Eye:
    """`gain` on the main diagonal of a matrix, zero elsewhere."""

    gain: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Dirac:
    """One in the middle of a kernel where input channel d meets output channel d of a group.

    Attributes
    ----------
    groups : int
        Divides the number of output channels.
    layout : "keras" or "torch"
        Kernels are (..., in, out) or (out, in, ...).
    """

    groups: int
    layout: Literal["keras", "torch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stft:
    """One side of a short-time Fourier transform, of the shape (T, 1, F // 2 + 1).

    Attributes
    ----------
    window : str, tuple of float or None
        A window's name (`kinit_cli.initializers.window_names`), or its T samples.
    scaling : "density", "spectrum" or None
        The window is divided by the root of its squares' sum, or by its magnitudes' sum.
    """

    side: Literal["real", "imag"]
    window: str | tuple[float, ...] | None
    scaling: Literal["density", "spectrum"] | None
    periodic: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """Uniform on the half-open interval [minval, maxval)."""

    minval: float
    maxval: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Normal:
    """Normal with the given mean and standard deviation."""

    mean: float
    stddev: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TruncatedNormal:
    """Normal cut at two `stddev` from the mean; `stddev` is that of the uncut normal."""

    mean: float
    stddev: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundedNormal:
    """Normal cut at `low` and `high`; `mean` and `stddev` are those of the uncut normal."""

    mean: float
    stddev: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Orthogonal:
    """`gain` times a Haar-distributed orthogonal matrix of prod(shape[:-1]) rows.

    Attributes
    ----------
    has_first_axis_as_rows : bool
        The matrix has shape[0] rows instead, as PyTorch flattens a kernel.
    """

    gain: float
    has_first_axis_as_rows: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaOrthogonal:
    """`gain` times an orthogonal matrix of channels in a kernel's middle, zero elsewhere.

    The matrix has no more rows, the input channels, than columns, and these rows are orthonormal.

    Attributes
    ----------
    layout : "keras" or "torch"
        Kernels are (..., in, out) or (out, in, ...).
    """

    gain: float
    layout: Literal["keras", "torch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparse:
    """Normal with mean 0, and `n_zeros` zeros in every column of a matrix."""

    stddev: float
    n_zeros: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Expected mean and standard deviation of a tensor's elements."""

    mean: float
    stddev: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """What a function returns: a custom initializer's values, or those of another library.

    Attributes
    ----------
    function : callable
        (shape, dtype name, seed) -> an array of that shape and dtype, of any array library. The
        seed is the tensor's own (`kinit_cli.stream.identity.framework_seed`), to be used or not.
    moments : Moments, optional
        What is expected of the elements, where it is known.
    config : mapping, optional
        All arguments of a custom initializer, as JSON data: what makes the same one again.
    """

    function: Callable[[tuple[int, ...], str, int], Any]
    moments: Moments | None = None
    config: Mapping[str, Any] | None = field(default=None, compare=False)


Draw: TypeAlias = (
    Constant
    | ConstantArray
    | Eye
    | Dirac
    | Stft
    | Uniform
    | Normal
    | TruncatedNormal
    | BoundedNormal
    | Orthogonal
    | DeltaOrthogonal
    | Sparse
    | Called
)
#: Draws that have no tiles: the whole tensor is made at once.
EntireDraw: TypeAlias = Orthogonal | DeltaOrthogonal | Sparse
#: Draws whose elements come from the stream.
StreamedDraw: TypeAlias = Uniform | Normal | TruncatedNormal | BoundedNormal | EntireDraw


def expected_moments(draw: Draw, shape: tuple[int, ...]) -> Moments | None:
    """Give the mean and standard deviation that the elements should have, if they are known.

    For `Eye`, `Dirac` and `ConstantArray` they are those of the very values; for `Orthogonal` the
    root mean square of an element, gain / sqrt(max(rows, cols)), about a mean of zero. There are
    none for a tensor without elements, for `Stft` and for some functions.
    """
    if not math.prod(shape):
        return None
    match draw:
        case Called(moments=moments):
            return moments
        case Stft():
            return None
        case Constant(value=value):
            return Moments(mean=float(value), stddev=0.0)
        case Uniform(minval=low, maxval=high):
            return Moments(mean=low / 2 + high / 2, stddev=(high - low) / math.sqrt(12))
        case Normal(mean=mean, stddev=stddev):
            return Moments(mean=mean, stddev=stddev)
        case TruncatedNormal(mean=mean, stddev=stddev):
            return Moments(mean=mean, stddev=stddev * TRUNCATED_STDDEV)
        case BoundedNormal():
            return _moments_between(draw)
        case Eye(gain=gain):
            return _moments_of_few(gain, 1 / max(*shape, 1))
        case Dirac(groups=groups, layout=layout):
            inputs, outputs = channels(shape, layout)
            return _moments_of_few(1.0, groups * min(inputs, outputs // groups) / math.prod(shape))
        case Orthogonal(gain=gain):
            rows_cols = orthogonal_shape(draw, shape)
            return Moments(mean=0.0, stddev=abs(gain) / math.sqrt(max(*rows_cols, 1)))
        case DeltaOrthogonal(gain=gain, layout=layout):
            # Of each of the n_inputs rows the squares add up to gain^2.
            n_inputs = channels(shape, layout)[0]
            return Moments(mean=0.0, stddev=abs(gain) * math.sqrt(n_inputs / math.prod(shape)))
        case Sparse(stddev=stddev, n_zeros=n_zeros):
            return Moments(mean=0.0, stddev=stddev * math.sqrt(1 - n_zeros / shape[0]))
        case ConstantArray(values=values):
            return _moments_of(values)


def value_bounds(draw: Draw) -> tuple[float, float]:
    """Give the lowest and highest value that can be drawn, before rounding to the dtype."""
    match draw:
        case Called():
            return -math.inf, math.inf
        case Constant(value=value):
            return value, value
        case Uniform(minval=low, maxval=high):
            return low, high
        case Normal(mean=mean, stddev=stddev):
            return mean - NORMAL_BOUND * stddev, mean + NORMAL_BOUND * stddev
        case TruncatedNormal(mean=mean, stddev=stddev):
            return mean - 2 * stddev, mean + 2 * stddev
        case BoundedNormal(mean=mean, stddev=stddev, low=low, high=high):
            reach = NORMAL_BOUND * stddev
            return max(low, mean - reach), min(high, mean + reach)
        case Eye(gain=gain):
            return min(gain, 0.0), max(gain, 0.0)
        case Dirac():
            return 0.0, 1.0
        case Stft(window=window):
            highest = 1.0
            if isinstance(window, tuple) and draw.scaling is None:
                highest = max((abs(sample) for sample in window), default=1.0)
            return -highest, highest
        case Sparse(stddev=stddev):
            return -NORMAL_BOUND * stddev, NORMAL_BOUND * stddev
        case Orthogonal(gain=gain) | DeltaOrthogonal(gain=gain):
            return -abs(gain), abs(gain)
        case ConstantArray(values=values):
            flat = flatten(values)
            return min(flat, default=0.0), max(flat, default=0.0)


def matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Flatten all axes but the last into rows: (prod(shape[:-1]), shape[-1]).

    >>> matrix_shape((3, 3, 64, 128))
    (576, 128)
    """
    return math.prod(shape[:-1]), shape[-1]


def orthogonal_shape(draw: Orthogonal, shape: tuple[int, ...]) -> tuple[int, int]:
    """Give the rows and columns of the orthogonal matrix that a tensor's elements are."""
    if draw.has_first_axis_as_rows:
        return shape[0], math.prod(shape[1:])
    return matrix_shape(shape)


def channels(shape: tuple[int, ...], layout: str) -> tuple[int, int]:
    """Give the input and output channels of a kernel.

    >>> channels((3, 3, 64, 128), "keras")
    (64, 128)
    """
    return (shape[1], shape[0]) if layout == "torch" else (shape[-2], shape[-1])


def flatten(values: Nested) -> list[float | int]:
    """List the numbers of nested tuples in C order."""
    if not isinstance(values, tuple):
        return [values]
    return [number for value in values for number in flatten(value)]


def _moments_between(draw: BoundedNormal) -> Moments:
    """Give the moments of a normal cut at both ends (Johnson, Kotz and Balakrishnan, 13.10.1)."""
    # Beyond 38 the density is zero in float64.
    alpha, beta = (
        min(max((bound - draw.mean) / draw.stddev, -38.0), 38.0) for bound in (draw.low, draw.high)
    )
    # In the tail that has the smaller numbers, where a difference keeps its digits.
    low, high = (alpha, beta) if alpha + beta > 0 else (-beta, -alpha)
    inside = (math.erfc(low / math.sqrt(2)) - math.erfc(high / math.sqrt(2))) / 2
    at_alpha, at_beta = (
        math.exp(-x * x / 2) / math.sqrt(2 * math.pi) / inside for x in (alpha, beta)
    )
    shift = at_alpha - at_beta
    variance = max(0.0, 1 + alpha * at_alpha - beta * at_beta - shift * shift)
    return Moments(mean=draw.mean + draw.stddev * shift, stddev=draw.stddev * math.sqrt(variance))


def _moments_of_few(value: float, fraction: float) -> Moments:
    """Give the moments where a fraction of the elements is `value`, and the others zero."""
    return Moments(mean=value * fraction, stddev=abs(value) * math.sqrt(fraction * (1 - fraction)))


def _moments_of(values: tuple[Nested, ...]) -> Moments:
    # Broadcasting repeats every value equally often, so the moments are those of the values.
    flat = flatten(values)
    if not flat:
        return Moments(mean=0.0, stddev=0.0)
    # Scaled by a power of two, which is exact, so that no square or sum overflows.
    exponent = max(math.frexp(x)[1] for x in flat)
    scaled = [math.ldexp(x, -exponent) for x in flat]
    mean = math.fsum(scaled) / len(flat)
    variance = math.fsum((x - mean) ** 2 for x in scaled) / len(flat)
    return Moments(
        mean=math.ldexp(mean, exponent), stddev=math.ldexp(math.sqrt(variance), exponent)
    )
