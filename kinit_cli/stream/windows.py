"""Windows of a short-time Fourier transform, by SciPy's names and formulas (docs/stream.md, 11).

Of the operations, in float64, each rounds by itself; the cosines are those of `circle`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from kinit_cli.initializers.window_names import COSINE_SUMS
from kinit_cli.stream.circle import circle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    #: From the numbers n of the samples and the last number L of a whole window.
    Samples: TypeAlias = Callable[[NDArray[np.int64], int], NDArray[np.float64]]


def window(name: str, size: int, *, is_periodic: bool) -> NDArray[np.float64]:
    """Give a window's samples.

    Parameters
    ----------
    name : str
        One of `kinit_cli.initializers.window_names.WINDOWS`, not an alias.
    is_periodic : bool
        The window of one sample more, without that one.

    Returns
    -------
    array of float64, shape (size,)
    """
    if size <= 1:
        return np.ones(size)
    return _SAMPLES[name](np.arange(size), size if is_periodic else size - 1)


def _cosine_sum(weights: tuple[float, ...], n: NDArray[np.int64], last: int) -> NDArray[np.float64]:
    cosines, _ = circle(last)
    total = np.full(n.size, weights[0])
    for k, weight in enumerate(weights[1:], 1):
        term = weight * cosines[k * n % last]
        total = total - term if k % 2 else total + term
    return total


def _boxcar(n: NDArray[np.int64], last: int) -> NDArray[np.float64]:
    return np.ones(n.size)


def _triang(n: NDArray[np.int64], last: int) -> NDArray[np.float64]:
    m = np.minimum(n, last - n) + 1
    return 2 * m / (last + 2) if last % 2 == 0 else (2 * m - 1) / (last + 1)


def _bartlett(n: NDArray[np.int64], last: int) -> NDArray[np.float64]:
    ramp = 2 * n / last
    return np.where(2 * n <= last, ramp, 2 - ramp)


def _parzen(n: NDArray[np.int64], last: int) -> NDArray[np.float64]:
    t = np.abs(2 * n - last)
    r = t / (last + 1)
    square, rest = r * r, 1 - r
    inner = 1 - 6 * square + 6 * (square * r)
    return np.where(2 * t <= last, inner, 2 * (rest * rest * rest))


def _bohman(n: NDArray[np.int64], last: int) -> NDArray[np.float64]:
    t = np.abs(2 * n - last)
    cosines, sines = circle(2 * last)
    values = (1 - t / last) * cosines[t] + sines[t] / math.pi
    return np.where(t == last, 0.0, values)


def _barthann(n: NDArray[np.int64], last: int) -> NDArray[np.float64]:
    t = np.abs(2 * n - last)
    cosines, _ = circle(2 * last)
    return 0.62 - 0.48 * (t / (2 * last)) + 0.38 * cosines[t]


def _cosine(n: NDArray[np.int64], last: int) -> NDArray[np.float64]:
    _, sines = circle(4 * (last + 1))
    return sines[2 * n + 1]


_SAMPLES: Mapping[str, Samples] = MappingProxyType(
    {
        "boxcar": _boxcar,
        "triang": _triang,
        "bartlett": _bartlett,
        "parzen": _parzen,
        "bohman": _bohman,
        "barthann": _barthann,
        "cosine": _cosine,
        **{name: partial(_cosine_sum, weights) for name, weights in COSINE_SUMS.items()},
    }
)
