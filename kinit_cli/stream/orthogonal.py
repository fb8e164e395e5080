"""Haar-distributed orthogonal matrices with reproducible bits (docs/stream.md, 6).

G. W. Stewart, "The efficient generation of random orthogonal matrices with an application to
condition estimators", SIAM J. Numer. Anal. 17(3), 1980: the product of the Householder
reflectors of independent Gaussian vectors. Here the factors of every matrix product are integers
so small that all sums are exact in float64; a BLAS may then add in any order, on any number of
threads. That also allows cutting the products in slabs of rows, to stay in cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from kinit_cli.errors import KinitError
from kinit_cli.stream.fill import fill_normal_units

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kinit_cli.stream.identity import StreamKey

REFLECTORS_PER_BLOCK = 64
#: Fractional bits of the reflectors' vectors U.
U_BITS = 25
#: Integers up to this are exact in float64.
EXACT_STOP = 2.0**53
_ELEMENTS_PER_SLAB = 1 << 16


class ExactnessError(KinitError):
    """A matrix product that float64 cannot do exactly, so that its bits would not be portable."""


def orthogonal_matrix(
    stream_key: StreamKey,
    rows: int,
    cols: int,
    gain: float,
    *,
    on_block: Callable[[], None] | None = None,
) -> NDArray[np.float64]:
    """Give `gain` times a Haar-distributed matrix with orthonormal columns, or rows if fewer.

    Parameters
    ----------
    on_block : callable, optional
        Called before each block of reflectors; it may raise to give the work up.

    Returns
    -------
    array of float64, shape (rows, cols), C-contiguous

    Raises
    ------
    ExactnessError
        If the sizes or values do not allow exact products.
    """
    m, n = max(rows, cols), min(rows, cols)
    q = np.eye(m, n)
    signs = np.ones(n)
    for k0 in reversed(range(0, n, REFLECTORS_PER_BLOCK)):
        if on_block is not None:
            on_block()
        k1 = min(k0 + REFLECTORS_PER_BLOCK, n)
        u, signs[k0:k1] = _reflectors(stream_key, m, k0, k1)
        _reflect(q[k0:, k0:], u, m)
    np.multiply(q, signs, out=q)
    if rows < cols:
        q = np.ascontiguousarray(q.T)
    return np.multiply(q, gain, out=q)


def low_scale_of_matrix(m: int) -> float:
    """Give 2^(25 + L), the scale of the low halves of an m-row matrix that is projected."""
    # ceil(log2(m) / 2) without a logarithm.
    return 2.0 ** (U_BITS + 27 - (((m - 1).bit_length() + 1) >> 1))


def scale_of_projections(max_y: float) -> float:
    """Give 2^p, the scale of the high halves of projections, of which `max_y` is the largest."""
    return 2.0 ** (20 - max(0, math.frexp(max_y)[1]))


def validate_exact(n_reflectors: int, max_u: float, max_half: float) -> None:
    """Raise `ExactnessError` if products of U and halves of these sizes might not be exact."""
    bound = n_reflectors * max_u * max_half
    if not bound <= EXACT_STOP:
        raise ExactnessError(
            f"an orthogonal matrix needs products up to {bound:.3g}, and only those up to"
            f" {EXACT_STOP:.3g} are the same on every machine; use a smaller matrix"
        )


def _reflectors(
    stream_key: StreamKey, m: int, k0: int, k1: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the vectors of reflectors [k0, k1), integers in units of 2^-25, and their signs D.

    Row k - k0 has zeros before its pivot, coordinate k; coordinates are counted from k0.
    """
    u = np.empty((k1 - k0, m))
    fill_normal_units(u.reshape(-1), stream_key, k0 * m)
    u = np.ascontiguousarray(u[:, k0:])
    is_negative = np.signbit(u)
    np.abs(u, out=u)
    np.floor(np.multiply(u, 2.0**-10, out=u), out=u)
    pivots = np.diagonal(u).copy()
    np.fill_diagonal(u, np.maximum(pivots, 1.0))
    np.negative(u, where=is_negative, out=u)
    signs = np.array([_scale_reflector(row[i:]) for i, row in enumerate(u)])
    for i, row in enumerate(u):
        row[:i] = 0.0
    return u, signs


def _scale_reflector(g: NDArray[np.float64]) -> float:
    """Turn the Gaussian integers g into the reflector's vector, in place; give its sign D."""
    integers = g.astype(np.int64)
    pivot = int(integers[0])
    square_sum = int(np.dot(integers, integers))
    sign = -1.0 if pivot < 0 else 1.0
    v0 = pivot + sign * math.sqrt(square_sum)
    vv = (square_sum - pivot * pivot) + v0 * v0
    g[0] = v0
    np.multiply(g, math.sqrt(2.0 / vv) * 2.0**U_BITS, out=g)
    np.rint(g, out=g)
    return -sign


def _reflect(a: NDArray[np.float64], u: NDArray[np.float64], m: int) -> None:
    """Apply the product of the reflectors u to `a`, in place."""
    y = _project(a, u, m)
    _substitute(y, u @ u.T)
    high_scale = scale_of_projections(float(np.max(np.abs(y))))
    low_scale = high_scale * 2.0**20
    halves = np.empty((y.shape[0], 2 * y.shape[1]))
    _split(y, halves, high_scale, low_scale)
    validate_exact(u.shape[0], float(np.max(np.abs(u))), float(np.max(np.abs(halves))))
    _subtract_product(a, u, halves, high_scale, low_scale)


def _project(a: NDArray[np.float64], u: NDArray[np.float64], m: int) -> NDArray[np.float64]:
    """Give U A, both in natural units."""
    width = a.shape[1]
    high_scale, low_scale = 2.0**U_BITS, low_scale_of_matrix(m)
    sums = np.zeros((u.shape[0], 2 * width))
    product = np.empty_like(sums)
    halves = np.empty((_rows_per_slab(width), 2 * width))
    for slab in _slabs(a):
        part = halves[: slab.stop - slab.start]
        _split(a[slab], part, high_scale, low_scale)
        np.matmul(u[:, slab], part, out=product)
        np.add(sums, product, out=sums)
    return sums[:, :width] * (2.0**-U_BITS / high_scale) + sums[:, width:] * (
        2.0**-U_BITS / low_scale
    )


def _substitute(y: NDArray[np.float64], gram: NDArray[np.float64]) -> None:
    """Solve (diag(d) + C) Y' = Y in place, d and C from the reflectors' Gram matrix."""
    c = gram * 2.0**-50
    d = np.diagonal(gram) * 2.0**-51
    spare = np.empty_like(y)
    for i in reversed(range(y.shape[0])):
        np.divide(y[i], d[i], out=y[i])
        np.multiply(c[:i, i, np.newaxis], y[i], out=spare[:i])
        np.subtract(y[:i], spare[:i], out=y[:i])


def _subtract_product(
    a: NDArray[np.float64],
    u: NDArray[np.float64],
    halves: NDArray[np.float64],
    high_scale: float,
    low_scale: float,
) -> None:
    """Subtract U^T Y from `a`, in place; `halves` holds the split Y."""
    width = a.shape[1]
    product = np.empty((_rows_per_slab(width), 2 * width))
    for slab in _slabs(a):
        part = product[: slab.stop - slab.start]
        np.matmul(u[:, slab].T, halves, out=part)
        high, low = part[:, :width], part[:, width:]
        np.multiply(high, 2.0**-U_BITS / high_scale, out=high)
        np.multiply(low, 2.0**-U_BITS / low_scale, out=low)
        np.add(high, low, out=high)
        np.subtract(a[slab], high, out=a[slab])


def _split(
    x: NDArray[np.float64], halves: NDArray[np.float64], high_scale: float, low_scale: float
) -> None:
    """Write x as integers: hi beside lo, with x = hi / high_scale + lo / low_scale, nearly."""
    width = x.shape[1]
    high, low = halves[:, :width], halves[:, width:]
    np.multiply(x, high_scale, out=high)
    np.rint(high, out=high)
    np.multiply(high, 1 / high_scale, out=low)
    np.subtract(x, low, out=low)
    np.multiply(low, low_scale, out=low)
    np.rint(low, out=low)


def _rows_per_slab(width: int) -> int:
    return max(REFLECTORS_PER_BLOCK, _ELEMENTS_PER_SLAB // width)


def _slabs(a: NDArray[np.float64]) -> list[slice]:
    step = _rows_per_slab(a.shape[1])
    return [slice(start, min(start + step, len(a))) for start in range(0, len(a), step)]
