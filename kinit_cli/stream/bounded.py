"""Normals between any two bounds: which part of the table they are drawn from (docs/stream.md, 9).

A position is a place in the normal's distribution: 0 <= q < 2^54 goes from its lower end to its
upper one in equal steps of probability. The bounds are found among the positions by bisection.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from kinit_cli.dtypes import DTYPES
from kinit_cli.stream.table import half_normal_table
from kinit_cli.stream.transforms import Affine, cast_float64, normal_affine

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike

#: Positions from this on are above the mean.
MIDDLE = 1 << 53
LAST_POSITION = (1 << 54) - 1
#: Of a position on either side, counted from its end: w, the table's argument, in units of 2^-21.
W_BITS = 21
#: So many bits of w count, from its highest on. With more, `kinit_cli.stream.transforms` would not
#: be exact: of the 29 one is implied, 6 select the segment, and 22 of t with 31 of c0 make 53.
LEADING_BITS = 29
_FIRST, _STOP = 1 << W_BITS, (1 << 54) - (1 << W_BITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Positions:
    """`count` positions of which the word u selects number `(count >> 33) + (count * u >> 32)`.

    Attributes
    ----------
    origin : int
        The first position plus count >> 33.
    """

    origin: int
    count: int


@lru_cache(maxsize=1024)
def positions_between(mean: float, stddev: float, low: float, high: float) -> Positions:
    """Find the positions whose values lie in [low, high]; there is at least one."""
    affine = normal_affine(mean, stddev)
    first = min(_first_position(affine, lambda x: x >= low), _STOP - 1)
    count = max(1, _first_position(affine, lambda x: x > high) - first)
    return Positions(origin=first + (count >> 33), count=count)


def units_at(position: int) -> int:
    """Give the signed z of a position, in units of 2^-26."""
    if position < MIDDLE:
        return -_half_normal(position)
    return _half_normal(LAST_POSITION - position)


@lru_cache(maxsize=1024)
def smallest_not_below(bound: float, dtype: DTypeLike) -> float:
    """Give the smallest value of a float dtype that is at least `bound`; infinity if none is.

    >>> smallest_not_below(0.1, np.float16)
    0.10003662109375
    """
    return _smallest_not_below(bound, dtype)


@lru_cache(maxsize=1024)
def largest_not_above(bound: float, dtype: DTypeLike) -> float:
    """Give the largest value of a float dtype that is at most `bound`; -infinity if none is.

    >>> largest_not_above(0.1, np.float16)
    0.0999755859375
    """
    return -_smallest_not_below(-bound, dtype) + 0.0


def _first_position(affine: Affine, is_beyond: Callable[[float], bool]) -> int:
    low, high = _FIRST, _STOP
    while low < high:
        middle = (low + high) >> 1
        if is_beyond(units_at(middle) * affine.scale + affine.offset):
            high = middle
        else:
            low = middle + 1
    return low


def _half_normal(tail: int) -> int:
    excess = max(0, tail.bit_length() - LEADING_BITS)
    tail = tail >> excess << excess
    (bits,) = struct.unpack("<Q", struct.pack("<d", tail * 2.0**-W_BITS))
    c0, c1, c2 = half_normal_table()[(bits >> 46) - (1023 << 6)].tolist()
    t = (bits >> 15) & 0x7FFFFFFF
    z: int = c0 + (((c1 + ((c2 * t) >> 31)) * t) >> 31)
    return (z + 2) >> 2


def _smallest_not_below(bound: float, dtype: DTypeLike) -> float:
    highest = DTYPES[np.dtype(dtype).name].highest
    if bound > highest:
        return math.inf
    rounded = np.empty(1, dtype)
    # Not every dtype has infinities, to round a bound to or to step towards.
    cast_float64(np.array([max(bound, -highest)]), rounded)
    if float(rounded[0]) < bound:
        rounded = np.nextafter(rounded, np.array([highest], rounded.dtype))
    # A bound of -0.0 would decide the sign of zeros, and not in the same way everywhere.
    return float(rounded[0]) + 0.0
