"""The law that the elements of a random tensor follow, as a dtype holds them.

What is tested is what the file has: values rounded to the dtype. A dtype that is fine beside the
spread of the values leaves the law's moments as they are; where it is coarse (random normals
about 1 in bfloat16 take some fifty values) the moments are sums over the values that there are.

The stream's laws are themselves discrete, uniforms k 2^-29 and normals of 2^32 values. Their
moments differ from the ideal ones by less than 1e-8 of the spread (docs/stream.md, 3), which no
test of fewer than 10^15 elements could tell.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from kinit_cli.draw import (
    NORMAL_BOUND,
    BoundedNormal,
    Draw,
    Normal,
    TruncatedNormal,
    Uniform,
    value_bounds,
)
from kinit_cli.dtypes import numpy_dtype
from kinit_cli.statistics.cut_normal import cut_normal, upper_tail
from kinit_cli.statistics.histogram import GRID_EDGES
from kinit_cli.statistics.rounding import (
    edges_between,
    levels_between,
    rounded,
    rounding_edges,
    spacing_at,
)
from kinit_cli.stream.bounded import largest_not_above, smallest_not_below
from kinit_cli.stream.transforms import largest_below, round_to_float32

if TYPE_CHECKING:
    from collections.abc import Callable

    #: From a number to the chance of a value of at least that, before rounding.
    Survival = Callable[[float], float]

#: A dtype whose values lie closer than this, in standard deviations, is fine.
_FINE_SPACING = 2.0**-6
#: In a coarse dtype the values nearest to 0, in standard deviations, count as one.
_NEGLIGIBLE = 2.0**-12
#: What means of float64 values err by, relative to their size.
_FLOAT64_ERROR = 2.0**-50
#: Steps of the stream's unit normals.
_NORMAL_UNIT = 2.0**-26


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Law:
    """What independent elements of one tensor follow.

    Attributes
    ----------
    mean, variance : float
    square_variance : float
        Variance of the squared deviation from the mean.
    tail, square_tail : float
        Scale c of the tails of an element and of its squared deviation: the sum of n of them
        deviates by d or more, to either side, with a chance of at most
        exp(-d^2 / (2 (n v + c d))), v being their variance. For values within b of their mean
        c = b / 3 (Bernstein); it is 0 for a normal, and twice the variance for its square
        (Laurent and Massart, 2000).
    mean_slack, variance_slack : float
        How far the rounding of values, or of sums, can move the two.
    lowest, highest : float
        Least and greatest value, as the dtype has them.
    survival : callable
        From a number to the chance of a value of at least that, before rounding.
    """

    mean: float
    variance: float
    square_variance: float
    tail: float
    square_tail: float
    mean_slack: float
    variance_slack: float
    lowest: float
    highest: float
    survival: Survival


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bins:
    """Bins of about equal probability whose edges are edges of the histograms' fine grid.

    Attributes
    ----------
    places : list of int
        Inner edges, as places in `GRID_EDGES`.
    probabilities : list of float
        Of the bins, one more than there are inner edges; none is 0.
    """

    places: list[int]
    probabilities: list[float]


@lru_cache(maxsize=1024)
def law_of(draw: Draw, dtype: str) -> Law | None:
    """Give the law of a draw whose elements are independent, or None for any other draw."""
    match draw:
        case Uniform(minval=low, maxval=high):
            return _uniform_law(low, high, dtype)
        case Normal(mean=mean, stddev=stddev) if round_to_float32(stddev):
            return _normal_law(round_to_float32(mean), round_to_float32(stddev), dtype)
        case TruncatedNormal(mean=mean, stddev=stddev) if round_to_float32(stddev):
            return _truncated_law(round_to_float32(mean), round_to_float32(stddev), dtype)
        case BoundedNormal():
            return _bounded_law(draw, dtype)
        case _:
            return None


@lru_cache(maxsize=1024)
def bins_of(law: Law, dtype: str, n_bins: int) -> Bins:
    """Give about `n_bins` bins, fewer where the grid is coarse beside the law."""
    first, stop = bisect_right(GRID_EDGES, law.lowest), bisect_right(GRID_EDGES, law.highest)
    wanted = [
        bisect_left(
            range(first, stop),
            index / n_bins,
            key=lambda place: 1 - law.survival(GRID_EDGES[place]),
        )
        for index in range(1, n_bins)
    ]
    places = [first + offset for offset in dict.fromkeys(wanted) if first + offset < stop]
    edges = rounding_edges(np.array([GRID_EDGES[place] for place in places]), _counted(dtype))
    kept: list[int] = []
    probabilities: list[float] = []
    above = 1.0
    for place, edge in zip(places, edges.tolist(), strict=True):
        beyond = law.survival(edge)
        # A bin that is all but empty joins its neighbour, and so does the last one.
        if min(above - beyond, beyond) * n_bins > 0.25:
            kept.append(place)
            probabilities.append(above - beyond)
            above = beyond
    return Bins(places=kept, probabilities=[*probabilities, above])


def _counted(dtype: str) -> str:
    """Name the dtype that the grid counts values in: float32 at most."""
    return "float32" if dtype == "float64" else dtype


# --- the laws -------------------------------------------------------------------------------


def _uniform_law(low: float, high: float, dtype: str) -> Law:
    offset, width = round_to_float32(low), round_to_float32(high - low)

    def survival(x: float) -> float:
        return min(max((offset + width - x) / width, 0.0), 1.0)

    variance = width * width / 12
    law = Law(
        mean=offset + width / 2,
        variance=variance,
        square_variance=variance * variance * 4 / 5,
        tail=width / 6,
        square_tail=variance * 2 / 3,
        mean_slack=0.0,
        variance_slack=0.0,
        lowest=rounded(offset, dtype),
        highest=largest_below(high, numpy_dtype(dtype)),
        survival=survival,
    )
    if dtype == "float64" and offset + width - law.highest > _NEGLIGIBLE * width:
        law = _cut(law, offset, width)
    return _as_held(law, dtype)


def _cut(law: Law, offset: float, width: float) -> Law:
    """Let what lies beyond the highest value take that, as the stream does.

    It is much where `offset`, which is a float32, is coarse beside the width.
    """
    length = law.highest - offset
    share = length / width
    first, second = -share * length / 2, share * length**2 / 3
    third, fourth = -share * length**3 / 4, share * length**4 / 5
    variance = second - first**2
    central = fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4
    return replace(
        law,
        mean=law.highest + first,
        variance=variance,
        square_variance=central - variance**2,
        tail=length / 3,
        square_tail=length**2 / 3,
    )


def _normal_law(mean: float, stddev: float, dtype: str) -> Law:
    def survival(x: float) -> float:
        return upper_tail((x - mean) / stddev)

    variance = stddev * stddev
    law = Law(
        mean=mean,
        variance=variance,
        square_variance=2 * variance * variance,
        tail=0.0,
        square_tail=2 * variance,
        mean_slack=0.0,
        variance_slack=0.0,
        lowest=rounded(mean - NORMAL_BOUND * stddev, dtype),
        highest=rounded(mean + NORMAL_BOUND * stddev, dtype),
        survival=survival,
    )
    return _as_held(law, dtype)


def _truncated_law(mean: float, stddev: float, dtype: str) -> Law:
    inside = math.erf(math.sqrt(2))
    # With phi the density at the cut, E z^2 = 1 - 4 phi / inside and E z^4 = 3 E z^2 - 16 phi / ..
    density = math.exp(-2.0) / math.sqrt(2 * math.pi) / inside
    second = 1 - 4 * density
    fourth = 3 * second - 16 * density

    def survival(x: float) -> float:
        z = min(max((x - mean) / stddev, -2.0), 2.0)
        return (upper_tail(z) - upper_tail(2.0)) / inside

    variance = stddev * stddev
    law = Law(
        mean=mean,
        variance=variance * second,
        square_variance=variance * variance * (fourth - second * second),
        tail=2 * stddev / 3,
        square_tail=variance * (4 - second) / 3,
        mean_slack=0.0,
        variance_slack=0.0,
        lowest=rounded(mean - 2 * stddev, dtype),
        highest=rounded(mean + 2 * stddev, dtype),
        survival=survival,
    )
    return _as_held(law, dtype)


def _bounded_law(draw: BoundedNormal, dtype: str) -> Law:
    mean, stddev = round_to_float32(draw.mean), round_to_float32(draw.stddev)
    low, high = value_bounds(replace(draw, mean=mean, stddev=stddev))
    cut = cut_normal((low - mean) / stddev, (high - mean) / stddev)
    element = numpy_dtype(dtype)
    first, last = smallest_not_below(draw.low, element), largest_not_above(draw.high, element)
    lowest, highest = (min(max(rounded(x, dtype), first), last) for x in (low, high))
    variance = stddev * stddev
    reach = max(cut.mean - cut.low, cut.high - cut.mean)
    law = Law(
        mean=mean + stddev * cut.mean,
        variance=variance * cut.variance,
        square_variance=variance * variance * (cut.fourth - cut.variance**2),
        tail=stddev * reach / 3,
        square_tail=variance * max(reach**2 - cut.variance, cut.variance) / 3,
        mean_slack=0.0,
        variance_slack=0.0,
        lowest=lowest,
        highest=highest,
        survival=lambda x: cut.survival((x - mean) / stddev),
    )
    law = _as_held(law, dtype)
    # The table's steps; and values that are rounded past a bound are brought back by a whole step
    # of the dtype, which may be so for more of them than half a step of the other laws.
    units, spread = stddev * _NORMAL_UNIT, math.sqrt(law.variance)
    return replace(
        law,
        mean_slack=2 * law.mean_slack + units,
        variance_slack=4 * law.variance_slack + 2 * units * spread,
    )


# --- rounding -------------------------------------------------------------------------------


def _as_held(law: Law, dtype: str) -> Law:
    """Give the law of the values rounded to the dtype."""
    stddev = math.sqrt(law.variance)
    spacing = spacing_at(abs(law.mean) + 2 * stddev, dtype)
    # Beside a spread of some float64 steps, that sums of float64 have no more places is much.
    numeric = _FLOAT64_ERROR * abs(law.mean)
    mean_slack, variance_slack = numeric, numeric * numeric
    if spacing <= _FINE_SPACING * stddev:
        # Rounding adds spacing^2 / 12 to the variance, and where the spacing changes, or the
        # value below a uniform's bound is taken, it moves the mean by a fraction of that.
        slack = spacing * spacing / 4
        mean_slack += slack / stddev
        variance_slack += slack
    else:
        law = _held_coarsely(law, dtype, stddev)
    return replace(law, mean_slack=mean_slack, variance_slack=variance_slack)


def _held_coarsely(law: Law, dtype: str, stddev: float) -> Law:
    levels = levels_between(law.lowest, law.highest, dtype)
    levels = levels[(np.abs(levels) >= _NEGLIGIBLE * stddev) | (levels == 0)]
    edges = edges_between(levels[:-1], levels[1:], dtype)
    beyond = np.array([1.0, *map(law.survival, edges.tolist()), 0.0])
    probabilities = beyond[:-1] - beyond[1:]
    # From a value among them, so that the difference is exact however small it is beside it.
    base = float(levels[levels.size // 2])
    offset = float(probabilities @ (levels - base))
    mean = base + offset
    deviations = levels - base - offset
    squares = deviations * deviations
    variance = float(probabilities @ squares)
    square_deviations = squares - variance
    return replace(
        law,
        mean=mean,
        variance=variance,
        square_variance=float(probabilities @ (square_deviations * square_deviations)),
        tail=float(np.abs(deviations).max()) / 3,
        square_tail=float(np.abs(square_deviations).max()) / 3,
    )
