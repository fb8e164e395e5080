"""Cosines and sines of the parts of a circle, each rounded once (docs/stream.md, 11).

They are computed in integers, with 139 bits more than are kept: no library decides a bit.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BITS = 192
_ONE = 1 << _BITS


@lru_cache(maxsize=8)
def circle(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give cos(2 pi j / n) and sin(2 pi j / n) for 0 <= j < n, to nearest, zeros as +0.

    Returns
    -------
    two arrays of float64, shape (n,), read-only
    """
    step = math.gcd(8, n)
    cosines, sines = _first_octant(n, step)
    octant, rest = np.divmod(8 * np.arange(n), n)
    index = np.where(octant % 2, n - rest, rest) // step
    c, s = cosines[index], sines[index]
    # In octants 1, 2, 5 and 6 the angle is measured from the vertical axis.
    is_steep = (octant + 1) // 2 % 2 == 1
    x, y = np.where(is_steep, s, c), np.where(is_steep, c, s)
    x = np.where((octant >= 2) & (octant < 6), -x, x) + 0.0
    y = np.where(octant >= 4, -y, y) + 0.0
    x.setflags(write=False)
    y.setflags(write=False)
    return x, y


def _first_octant(n: int, step: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give cos and sin of pi/4 r/n for r = 0, step, ..., n, by turning on by one angle."""
    cos_step, sin_step = _cos_sin(_pi() * step // (4 * n))
    c, s = _ONE, 0
    cosines, sines = [], []
    for _ in range(n // step + 1):
        # A quotient of integers is rounded once.
        cosines.append(c / _ONE)
        sines.append(s / _ONE)
        c, s = (c * cos_step - s * sin_step) >> _BITS, (s * cos_step + c * sin_step) >> _BITS
    return np.array(cosines), np.array(sines)


def _cos_sin(angle: int) -> tuple[int, int]:
    """Sum the Taylor series of both for an angle up to pi/4."""
    sums = [0, 0]
    term, k = _ONE, 0
    while term:
        sums[k % 2] += term if k % 4 < 2 else -term
        k += 1
        term = (term * angle >> _BITS) // k
    return sums[0], sums[1]


@lru_cache(maxsize=1)
def _pi() -> int:
    """Compute pi by Machin's formula."""
    return 4 * (4 * _arctan_of_inverse(5) - _arctan_of_inverse(239))


def _arctan_of_inverse(x: int) -> int:
    total, power, k = 0, _ONE // x, 1
    while power:
        total += power // k if k % 4 == 1 else -(power // k)
        power //= x * x
        k += 2
    return total
