"""The distribution of one element of a tensor, picked at random: what a picture compares with.

Unlike a law (`kinit_cli.statistics.laws`) it need not tell how elements depend on each other, so
there is one for matrices that are orthogonal, sparse or the identity as well.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

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
    channels,
    flatten,
    orthogonal_shape,
)
from kinit_cli.dtypes import DTYPES
from kinit_cli.statistics.histogram import counted_value
from kinit_cli.statistics.laws import law_of
from kinit_cli.statistics.rounding import rounded, rounding_edges, spacing_at
from kinit_cli.stream.transforms import round_to_float32

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kinit_cli.statistics.laws import Survival

#: More single values than these are no picture.
_MAX_ATOMS = 1000
#: Values that lie closer than this, in standard deviations, are seen as a continuum.
_FINE_SPACING = 2.0**-5
_BISECTIONS = 100
#: In standard deviations: what bisecting leaves of a zero.
_NEGLIGIBLE = 1e-12
_SQRT2 = math.sqrt(2)
#: Beyond so many standard deviations a coordinate of a random unit vector has no weight.
_REACH = 14.0
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(96)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spread:
    """The part of a distribution that has a density.

    Attributes
    ----------
    share : float
        Of all elements, more than 0.
    survival : callable
        From a number to the chance, in this part, of a value of at least that, before rounding.
    lowest, highest : float
        There is nothing beyond.
    stddev : float
    """

    share: float
    survival: Survival
    lowest: float
    highest: float
    stddev: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Marginal:
    """The distribution of an element as its dtype holds it: single values, or a density, or both.

    Attributes
    ----------
    dtype : str
        A name in `DTYPES`.
    atoms : tuple of (float, float)
        Values and their shares, ascending.
    spread : Spread or None
    """

    dtype: str
    atoms: tuple[tuple[float, float], ...] = ()
    spread: Spread | None = None

    @property
    def is_smooth(self) -> bool:
        """Whether the density alone tells all: no single values, and a dtype that is fine."""
        spread = self.spread
        if spread is None or self.atoms:
            return False
        middle = spread.lowest / 2 + spread.highest / 2
        largest = abs(middle) + 2 * spread.stddev
        return spacing_at(largest, self.dtype) <= _FINE_SPACING * spread.stddev

    def shares_between(self, edges: Sequence[float]) -> list[float]:
        """Give the share of the elements in each bin, before rounding.

        Parameters
        ----------
        edges : sequence of float
            Ascending, one more than there are bins.
        """
        spread = self.spread
        beyond = [spread.share * spread.survival(edge) if spread else 0.0 for edge in edges]
        shares = [above - below for above, below in pairwise(beyond)]
        for value, share in self.atoms:
            _add_atom(shares, edges, value, share)
        return shares

    def shares_in_bins(self, edges: Sequence[float]) -> list[float]:
        """Give the share of the elements in each bin of a histogram, as the dtype holds them.

        Parameters
        ----------
        edges : sequence of float
            As a `kinit_cli.statistics.histogram.Histogram` has them: float32 values, the last bin
            closed.
        """
        shares = [0.0] * (len(edges) - 1)
        for value, share in self.atoms:
            _add_atom(shares, edges, counted_value(value), share)
        spread = self.spread
        if spread is not None:
            counted = "float32" if self.dtype == "float64" else self.dtype
            last = edges[-1] + spacing_at(abs(edges[-1]), counted) / 2
            starts = rounding_edges(np.array(edges[:-1]), counted).tolist()
            beyond = [spread.share * spread.survival(x) for x in (*starts, last)]
            for index in range(len(shares)):
                shares[index] += max(beyond[index] - beyond[index + 1], 0.0)
        return shares

    def quantile(self, p: float) -> float:
        """Give the least value that a share of at least `p` of the elements does not exceed."""
        spread = self.spread
        below = 0.0
        for value, share in self.atoms:
            before = below + (spread.share * (1 - spread.survival(value)) if spread else 0.0)
            if spread is not None and p <= before:
                break
            if p <= before + share:
                return value
            below += share
        if spread is None:
            return self.atoms[-1][0]
        return self._held(_quantile_of(spread, min(max((p - below) / spread.share, 0.0), 1.0)))

    def ordered(self, rank: int, n: int) -> float:
        """Give the value that the `rank`-th smallest of n independent elements has about.

        It is near the median of that order statistic, the quantile of (rank - 1/3) / (n + 1/3)
        (Hyndman and Fan, "Sample quantiles in statistical packages", The American Statistician
        50(4), 1996, definition 8).
        """
        return self.quantile((rank - 1 / 3) / (n + 1 / 3))

    def _held(self, value: float) -> float:
        held = rounded(value, self.dtype)
        return held + 0.0 if math.isfinite(held) else value


@lru_cache(maxsize=4096)
def marginal_of(draw: Draw, shape: tuple[int, ...], dtype: str) -> Marginal | None:
    """Give the distribution of an element of a draw, or None if it is not known.

    Parameters
    ----------
    shape : tuple of int
        Of at least one element.
    dtype : str
        A name in `DTYPES`.
    """
    if not math.prod(shape):
        return None
    match draw:
        case Uniform() | Normal() | TruncatedNormal():
            return _marginal_of_law(draw, dtype)
        case Constant(value=value):
            return _marginal({value: 1.0}, dtype)
        case ConstantArray(values=values):
            flat = flatten(values)
            counts = Counter(flat)
            return _marginal({value: n / len(flat) for value, n in counts.items()}, dtype)
        case Eye(gain=gain):
            return _marginal(_few(gain, 1 / max(shape)), dtype)
        case Dirac(groups=groups, layout=layout):
            inputs, outputs = channels(shape, layout)
            n_ones = groups * min(inputs, outputs // groups)
            return _marginal(_few(1.0, n_ones / math.prod(shape)), dtype)
        case BoundedNormal():
            return _bounded_marginal(draw, dtype)
        case Orthogonal(gain=gain):
            n = max(orthogonal_shape(draw, shape))
            return _orthogonal_marginal(abs(gain), n, 1.0, dtype)
        case DeltaOrthogonal(gain=gain, layout=layout):
            n_in, n_out = channels(shape, layout)
            return _orthogonal_marginal(abs(gain), n_out, n_in * n_out / math.prod(shape), dtype)
        case Sparse(stddev=stddev, n_zeros=n_zeros):
            return _sparse_marginal(stddev, n_zeros / shape[0], dtype)
        case Stft() | Called():
            return None


def _add_atom(shares: list[float], edges: Sequence[float], value: float, share: float) -> None:
    if edges[0] <= value <= edges[-1]:
        bin_index = bisect_left(edges, value)
        is_edge = edges[bin_index] == value
        shares[min(bin_index - (not is_edge), len(shares) - 1)] += share


def _few(value: float, fraction: float) -> dict[float, float]:
    """Give the shares where a fraction of the elements is `value`, and the others zero."""
    shares = {value: fraction}
    shares[0.0] = shares.get(0.0, 0.0) + 1 - fraction
    return shares


def _marginal(
    values: Mapping[float, float], dtype: str, spread: Spread | None = None
) -> Marginal | None:
    """Give the distribution with these values; several that round to the same are one."""
    atoms: dict[float, float] = {}
    is_float = DTYPES[dtype].kind == "float"
    for value, share in values.items():
        held = rounded(value, dtype) if is_float else float(value)
        if not math.isfinite(held):
            return None
        if share > 0:
            atoms[held + 0.0] = atoms.get(held + 0.0, 0.0) + share
    if len(atoms) > _MAX_ATOMS or (spread is not None and not is_float):
        return None
    return Marginal(dtype=dtype, atoms=tuple(sorted(atoms.items())), spread=spread)


def _marginal_of_law(draw: Uniform | Normal | TruncatedNormal, dtype: str) -> Marginal | None:
    if DTYPES[dtype].kind != "float":
        return None
    law = law_of(draw, dtype)
    if law is None:
        # No spread in float32; a uniform always has a law.
        return None if isinstance(draw, Uniform) else _marginal({draw.mean: 1.0}, dtype)
    spread = Spread(
        share=1.0,
        survival=law.survival,
        lowest=law.lowest,
        highest=law.highest,
        stddev=math.sqrt(law.variance),
    )
    return _marginal({}, dtype, spread)


def _bounded_marginal(draw: BoundedNormal, dtype: str) -> Marginal | None:
    mean, stddev = round_to_float32(draw.mean), round_to_float32(draw.stddev)
    if not stddev:
        return None
    alpha, beta = (draw.low - mean) / stddev, (draw.high - mean) / stddev
    # Where the smaller tail is, differences keep their digits.
    is_mirrored = alpha + beta < 0
    low, high = (-beta, -alpha) if is_mirrored else (alpha, beta)
    inside = _upper_tail(low) - _upper_tail(high)
    if not inside > 0:
        return None

    def survival(x: float) -> float:
        z = (x - mean) / stddev
        z = min(max(-z if is_mirrored else z, low), high)
        above = (_upper_tail(z) - _upper_tail(high)) / inside
        return 1 - above if is_mirrored else above

    return _marginal({}, dtype, _spread_between(draw.low, draw.high, mean, stddev, survival))


def _spread_between(
    low: float, high: float, mean: float, stddev: float, survival: Survival
) -> Spread:
    reach = 40 * stddev
    low, high = max(low, min(mean, high) - reach), min(high, max(mean, low) + reach)
    return Spread(
        share=1.0,
        survival=survival,
        lowest=low,
        highest=high,
        stddev=min(stddev, (high - low) / math.sqrt(12)),
    )


def _sparse_marginal(stddev: float, share_of_zeros: float, dtype: str) -> Marginal | None:
    stddev = round_to_float32(stddev)
    if not stddev or share_of_zeros >= 1:
        return _marginal({0.0: 1.0}, dtype)
    spread = Spread(
        share=1 - share_of_zeros,
        survival=lambda x: _upper_tail(x / stddev),
        lowest=-40 * stddev,
        highest=40 * stddev,
        stddev=stddev,
    )
    return _marginal({0.0: share_of_zeros}, dtype, spread)


def _orthogonal_marginal(gain: float, n: int, share: float, dtype: str) -> Marginal | None:
    """Give the distribution of `gain` times a coordinate of a random unit vector in n dimensions.

    A column, or row, of the longer side of a Haar-distributed orthogonal matrix is such a vector.
    The square of a coordinate is Beta(1/2, (n - 1)/2), its density thus proportional to
    (1 - x^2)^((n - 3)/2) (Fang, Kotz and Ng, "Symmetric Multivariate and Related Distributions",
    1990). The other elements, a share of 1 - `share`, are zero.
    """
    zeros = {0.0: 1 - share}
    if not gain:
        return _marginal({0.0: 1.0}, dtype)
    if n == 1:
        return _marginal({**zeros, -gain: share / 2, gain: share / 2}, dtype)
    spread = Spread(
        share=share,
        survival=lambda x: _share_of_sphere(x / gain, n),
        lowest=-gain,
        highest=gain,
        stddev=gain / math.sqrt(n),
    )
    return _marginal(zeros if share < 1 else {}, dtype, spread)


def _share_of_sphere(x: float, n: int) -> float:
    """Give the chance that a coordinate of a random unit vector in n >= 2 dimensions is above x.

    With x = sin t its density is cos(t)^(n-2) / B(1/2, (n-1)/2), which is smooth, and the integral
    is a sum over Gauss's nodes.
    """
    start = math.asin(min(abs(x), 1.0))
    stop = min(math.pi / 2, start + _REACH / math.sqrt(n))
    angles = (stop - start) / 2 * _NODES + (stop + start) / 2
    with np.errstate(under="ignore"):
        heights = np.exp((n - 2) * np.log(np.cos(angles)))
        area = (stop - start) / 2 * float(heights @ _NODE_WEIGHTS)
    log_whole = math.lgamma(0.5) + math.lgamma((n - 1) / 2) - math.lgamma(n / 2)
    above = min(area / math.exp(log_whole), 0.5)
    return above if x >= 0 else 1 - above


def _quantile_of(spread: Spread, p: float) -> float:
    low, high = spread.lowest, spread.highest
    for _ in range(_BISECTIONS):
        middle = low / 2 + high / 2
        if not low < middle < high:
            break
        if spread.survival(middle) > 1 - p:
            low = middle
        else:
            high = middle
    return 0.0 if abs(high) < _NEGLIGIBLE * spread.stddev else high


def _upper_tail(z: float) -> float:
    return 0.5 * math.erfc(z / _SQRT2)
