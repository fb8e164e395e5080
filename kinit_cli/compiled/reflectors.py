"""Householder reflectors of Gaussian vectors, and exact products with them (docs/stream.md, 6).

The sums of products here are integers that float64 holds exactly, so they may be fused and take
any order. Only `_add_product` and `_add_transposed_product` are compiled that way. They are not
inlined by Numba, which would give their callers the same licence.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int64, njit, uint64

from kinit_cli.compiled.kernel import kernel
from kinit_cli.compiled.stream import BLOCKS_PER_STEP, WORDS_PER_STEP, half_normal, make_words
from kinit_cli.stream.orthogonal import REFLECTORS_PER_BLOCK, U_BITS

#: Rows of the matrix that are worked on at a time.
ROWS_PER_TILE = 16
#: Columns of a strip, at most: two halves of a tile stay in the first cache, projections and
#: their sums in the second.
MAX_STRIP_WIDTH = 112
#: What the vectors of loops are wide enough to divide, as twice as much is the width of products.
COLUMN_STEP = 16
#: Of scratch memory, in elements: high halves and beside them low ones.
ROW_LENGTH = 2 * MAX_STRIP_WIDTH
#: A strip's projections, what they sum up to for the next block, and a tile.
SCRATCH_SHAPE = (2 * REFLECTORS_PER_BLOCK + ROWS_PER_TILE, ROW_LENGTH)
#: As many numbers as a cache line has are written at once where vectors become columns.
VECTORS_PER_STEP = 8

_PRODUCT_STEP = 2 * COLUMN_STEP
_ROW_1, _ROW_2, _ROW_3 = uint64(ROW_LENGTH), uint64(2 * ROW_LENGTH), uint64(3 * ROW_LENGTH)
_MAGNITUDE = uint64(0x7FFFFFFF)
_ONE = uint64(1)
_SIGN_SHIFT = uint64(31)
_U_SCALE = 2.0**U_BITS
_U_UNIT = 2.0**-U_BITS


@njit(inline="always")
def _add_four_by_four(c: Any, a: Any, b: Any, r: int, i: int, width: int) -> None:
    """Add a[r : r + 4, i : i + 4] times rows [i, i + 4) of b to rows [r, r + 4) of c, in place."""
    a00, a01, a02, a03 = a[r, i], a[r, i + 1], a[r, i + 2], a[r, i + 3]
    a10, a11, a12, a13 = a[r + 1, i], a[r + 1, i + 1], a[r + 1, i + 2], a[r + 1, i + 3]
    a20, a21, a22, a23 = a[r + 2, i], a[r + 2, i + 1], a[r + 2, i + 2], a[r + 2, i + 3]
    a30, a31, a32, a33 = a[r + 3, i], a[r + 3, i + 1], a[r + 3, i + 2], a[r + 3, i + 3]
    for j in range(width & -_PRODUCT_STEP):
        # Unsigned indices spare the check for negative ones; rows a constant apart need no check
        # whether they overlap, which would fail and leave the loop without vectors.
        b0, c0 = uint64(i * ROW_LENGTH + j), uint64(r * ROW_LENGTH + j)
        x0, x1, x2, x3 = b[b0], b[b0 + _ROW_1], b[b0 + _ROW_2], b[b0 + _ROW_3]
        c1, c2, c3 = c0 + _ROW_1, c0 + _ROW_2, c0 + _ROW_3
        c[c0] = c[c0] + a00 * x0 + a01 * x1 + a02 * x2 + a03 * x3
        c[c1] = c[c1] + a10 * x0 + a11 * x1 + a12 * x2 + a13 * x3
        c[c2] = c[c2] + a20 * x0 + a21 * x1 + a22 * x2 + a23 * x3
        c[c3] = c[c3] + a30 * x0 + a31 * x1 + a32 * x2 + a33 * x3


@njit(fastmath={"contract"}, error_model="numpy")
def _add_product(c: Any, u: Any, b: Any, n_terms: int, width: int) -> None:
    """Add u b to c, in place, all of them integers.

    Parameters
    ----------
    c, b : array of float64, shape (rows * ROW_LENGTH,)
        ROWS_PER_TILE and REFLECTORS_PER_BLOCK rows.
    u : array of float64, shape (ROWS_PER_TILE, REFLECTORS_PER_BLOCK)
    n_terms : int
        How many rows of b count, a multiple of 4.
    width : int
        How many columns count, a multiple of 2 * COLUMN_STEP.
    """
    for i in range(0, n_terms, 4):
        for r in range(0, ROWS_PER_TILE, 4):
            _add_four_by_four(c, u, b, r, i, width)


@njit(fastmath={"contract"}, error_model="numpy")
def _add_transposed_product(c: Any, u: Any, b: Any, width: int) -> None:
    """Add the product of the transposed u and b to c, in place, all of them integers.

    Parameters are those of `_add_product`; c has REFLECTORS_PER_BLOCK rows, b ROWS_PER_TILE.
    """
    for r in range(0, REFLECTORS_PER_BLOCK, 4):
        for i in range(0, ROWS_PER_TILE, 4):
            _add_four_by_four(c, u.T, b, r, i, width)


@njit(inline="always")
def _gaussian(word: Any) -> Any:
    """Give an int64: the word's normal, in units of 2^-16, towards zero."""
    magnitude = half_normal(((word & _MAGNITUDE) << _ONE) | _ONE) >> 10
    mask = -int64(word >> _SIGN_SHIFT)
    return (magnitude ^ mask) - mask


@njit(inline="always")
def _draw_reflector(key: Any, nonce: Any, word: int, g: Any, lanes: Any, words: Any) -> Any:
    """Write a reflector's vector, which begins with its pivot; give its sign D and largest |U|."""
    start = -WORDS_PER_STEP
    pivot = 0
    square_sum = 0
    largest_square = 0
    done = 0
    while done < g.size:
        if word + done >= start + WORDS_PER_STEP:
            start = (word + done) & -4
            make_words(key, nonce, uint64(start >> 2), lanes, words)
        skip = word + done - start
        step = words[skip : min(WORDS_PER_STEP, skip + g.size - done)]
        part = g[done : done + step.size]
        for j in range(step.size):
            x = _gaussian(uint64(step[j]))
            square_sum += x * x
            largest_square = max(largest_square, x * x)
            part[j] = np.float64(x)
        if done == 0:
            pivot = int64(part[0])
            if pivot == 0:
                pivot = -1 if step[0] >> 31 else 1
                square_sum += 1
        done += step.size
    sign = -1.0 if pivot < 0 else 1.0
    v0 = np.float64(pivot) + sign * np.sqrt(np.float64(square_sum))
    vv = np.float64(square_sum - pivot * pivot) + v0 * v0
    g[0] = v0
    factor = np.sqrt(2.0 / vv) * _U_SCALE
    for j in range(g.size):
        g[j] = np.rint(g[j] * factor)
    # Rounding keeps the order. The root of the square of an integer below 2^26 is exact.
    largest = np.rint(np.sqrt(np.float64(largest_square)) * factor)
    return -sign, max(largest, abs(g[0]))


@kernel("float64(uint64, uint64, int64, int64, float64[:, ::1], float64[::1], float64[:, ::1])")
def draw_reflectors(key: Any, nonce: Any, m: int, k0: int, u: Any, signs: Any, spare: Any) -> float:
    """Write the vectors of the reflectors from k0 on, and their signs D; give the largest |U|.

    Parameters
    ----------
    key, nonce : uint64
    m : int
        Coordinates of a whole vector.
    k0 : int
        The first reflector, and the coordinate of the first row of u.
    u : array of float64, shape (at least m - k0, REFLECTORS_PER_BLOCK)
        Written in place: a vector for each column, integers in units of 2^-25, else zeros.
    signs : array of float64, shape (number of reflectors,)
        Written in place.
    spare : array of float64, shape (VECTORS_PER_STEP, m - k0)
        Scratch memory.
    """
    lanes = np.empty((4, BLOCKS_PER_STEP), np.uint64)
    words = np.empty(WORDS_PER_STEP, np.uint32)
    largest = 0.0
    u[m - k0 :] = 0.0
    for i0 in range(0, REFLECTORS_PER_BLOCK, VECTORS_PER_STEP):
        for i in range(VECTORS_PER_STEP):
            vector = spare[i]
            k = i0 + i
            vector[:k] = 0.0
            if k < signs.size:
                word = (k0 + k) * (m + 1)
                sign, size = _draw_reflector(key, nonce, word, vector[k:], lanes, words)
                signs[k] = sign
                largest = max(largest, size)
            else:
                vector[:] = 0.0
        for j in range(m - k0):
            for i in range(VECTORS_PER_STEP):
                u[j, i0 + i] = spare[i, j]
    return largest


@kernel("void(float64[:, ::1], float64[:, ::1], float64[::1], float64[:, ::1])")
def fill_gram(u: Any, c: Any, d: Any, scratch: Any) -> None:
    """Write C and d of the back substitution, from the inner products of the columns of u.

    Parameters
    ----------
    u : array of float64, shape (a multiple of ROWS_PER_TILE, REFLECTORS_PER_BLOCK)
    c, d : array of float64, shapes (reflectors, reflectors) and (reflectors,)
        Written in place. Of c, only what is above the diagonal has a meaning.
    scratch : array of float64, shape SCRATCH_SHAPE
    """
    sums, tile = scratch[:REFLECTORS_PER_BLOCK], scratch[2 * REFLECTORS_PER_BLOCK :]
    sums[:] = 0.0
    for r0 in range(0, u.shape[0], ROWS_PER_TILE):
        u_tile = u[r0 : r0 + ROWS_PER_TILE]
        for r in range(ROWS_PER_TILE):
            for j in range(REFLECTORS_PER_BLOCK):
                tile[r, j] = u_tile[r, j]
        _add_transposed_product(sums.ravel(), u_tile, tile.ravel(), REFLECTORS_PER_BLOCK)
    for i in range(d.size):
        d[i] = sums[i, i] * 2.0**-51
        for j in range(d.size):
            c[i, j] = sums[i, j] * 2.0**-50


@njit(error_model="numpy")
def _split_projections(y: Any, c0: int, c1: int, scale: float, width: int, halves: Any) -> None:
    """Write y[:, c0:c1] in units of 1 / scale, and beside it the rest, 2^20 times finer."""
    low_scale = scale * 2.0**20
    unit = 1 / scale
    halves[:] = 0.0
    for i in range(y.shape[0]):
        row, high, low = y[i, c0:c1], halves[i, :width], halves[i, width:]
        for j in range(row.size):
            high[j] = np.rint(row[j] * scale)
            low[j] = np.rint((row[j] - high[j] * unit) * low_scale)


@njit(error_model="numpy")
def _join_sums(sums: Any, width: int, low_scale: float) -> None:
    """Write u times a matrix in natural units, from the products of both halves, over the first."""
    low_unit = _U_UNIT / low_scale
    for i in range(REFLECTORS_PER_BLOCK):
        high, low = sums[i, :width], sums[i, width:]
        for j in range(width):
            high[j] = high[j] * (_U_UNIT * _U_UNIT) + low[j] * low_unit


@njit(error_model="numpy")
def _substitute(x: Any, c: Any, d: Any, c0: int, c1: int, y: Any) -> Any:
    """Solve (diag(d) + c) Y = x for y[:, c0:c1], overwriting x; give the largest |Y|."""
    width = c1 - c0
    n = d.size
    largest = np.zeros(width)
    for r in range(n - 1, -1, -1):
        row = x[r]
        # The order of the subtractions is defined: from the last reflector down to r + 1.
        i = n - 1
        while i - 3 > r:
            f0, f1, f2, f3 = c[r, i], c[r, i - 1], c[r, i - 2], c[r, i - 3]
            x0, x1, x2, x3 = x[i], x[i - 1], x[i - 2], x[i - 3]
            for j in range(width):
                row[j] = (((row[j] - f0 * x0[j]) - f1 * x1[j]) - f2 * x2[j]) - f3 * x3[j]
            i -= 4
        while i > r:
            f0, x0 = c[r, i], x[i]
            for j in range(width):
                row[j] = row[j] - f0 * x0[j]
            i -= 1
        divisor = d[r]
        out = y[r, c0:c1]
        for j in range(width):
            row[j] = row[j] / divisor
            out[j] = row[j]
            largest[j] = max(largest[j], abs(row[j]))
    return largest.max()


@kernel("float64(float64[:, ::1], float64[:, ::1], float64[::1], int64, float64[:, ::1])")
def project_identity(u: Any, c: Any, d: Any, k0: int, y: Any) -> Any:
    """Project the identity's columns from k0 on, the block's own; give the largest |Y|.

    Parameters are those of `reflect_and_project`; y[:, k0 : k0 + reflectors] is written in place.
    """
    n = d.size
    x = np.empty((n, n))
    for r in range(n):
        for j in range(n):
            x[r, j] = u[j, r] * _U_UNIT
    return _substitute(x, c, d, k0, k0 + n, y)


@kernel(
    "float64(float64[:, ::1], int64, int64, int64, float64[:, ::1], float64[:, ::1], float64,"
    " float64[:, ::1], float64[:, ::1], float64[::1], float64, float64[:, ::1])"
)
def reflect_and_project(
    q: Any,
    k0: int,
    c0: int,
    c1: int,
    u: Any,
    y: Any,
    scale: float,
    next_u: Any,
    next_c: Any,
    next_d: Any,
    low_scale: float,
    scratch: Any,
) -> Any:
    """Apply a block to columns [c0, c1) of q, in place, and project them on the next block.

    Parameters
    ----------
    q : array of float64, shape (m, n)
        Rows from k0 on are worked on.
    u, next_u : array of float64, shape (coordinates, REFLECTORS_PER_BLOCK)
        The vectors of the two blocks, coordinates counted from their first reflectors; then zeros.
    y : array of float64, shape (reflectors, n)
        Solved projections on this block; [c0, c1) is overwritten with those on the next.
    scale : float
        Of the high halves of y.
    next_c, next_d : array of float64, shapes (reflectors, reflectors) and (reflectors,)
        C and d of the back substitution.
    low_scale : float
        Of the low halves of q.
    scratch : array of float64, shape SCRATCH_SHAPE

    Returns
    -------
    float
        The largest |Y| of the strip.
    """
    b = REFLECTORS_PER_BLOCK
    halves, sums, tile = scratch[:b], scratch[b : 2 * b], scratch[2 * b :]
    n_terms = (y.shape[0] + 3) & -4
    width = (c1 - c0 + COLUMN_STEP - 1) & -COLUMN_STEP
    high_unit, low_unit = _U_UNIT / scale, _U_UNIT / (scale * 2.0**20)
    _split_projections(y, c0, c1, scale, width, halves)
    sums[:] = 0.0
    for r0 in range(k0, q.shape[0], ROWS_PER_TILE):
        tile[:] = 0.0
        u_tile = u[r0 - k0 : r0 - k0 + ROWS_PER_TILE]
        _add_product(tile.ravel(), u_tile, halves.ravel(), n_terms, 2 * width)
        n_rows = min(ROWS_PER_TILE, q.shape[0] - r0)
        for r in range(n_rows):
            row, high, low = q[r0 + r, c0:c1], tile[r, :width], tile[r, width:]
            for j in range(row.size):
                x = row[j] - (high[j] * high_unit + low[j] * low_unit)
                row[j] = x
                high[j] = np.rint(x * _U_SCALE)
                low[j] = np.rint((x - high[j] * _U_UNIT) * low_scale)
        u_tile = next_u[r0 - k0 + b : r0 - k0 + b + ROWS_PER_TILE]
        _add_transposed_product(sums.ravel(), u_tile, tile.ravel(), 2 * width)
    _join_sums(sums, width, low_scale)
    return _substitute(sums, next_c, next_d, c0, c1, y)


@kernel(
    "void(float64[:, ::1], int64, int64, float64[:, ::1], float64[:, ::1], float64,"
    " float64[::1], float64, float64[:, ::1], boolean, float64[:, ::1])"
)
def reflect_and_finish(
    q: Any,
    c0: int,
    c1: int,
    u: Any,
    y: Any,
    scale: float,
    signs: Any,
    gain: float,
    out: Any,
    is_transposed: bool,
    scratch: Any,
) -> None:
    """Apply the first block to columns [c0, c1) of q, then the signs and the gain.

    Parameters
    ----------
    signs : array of float64, shape (n,)
        Of the columns.
    out : array of float64, shape (m, n), or (n, m) if `is_transposed`
        Written in place; may be q. Other parameters are those of `reflect_and_project`.
    """
    halves, tile = scratch[:REFLECTORS_PER_BLOCK], scratch[2 * REFLECTORS_PER_BLOCK :]
    n_terms = (y.shape[0] + 3) & -4
    width = (c1 - c0 + COLUMN_STEP - 1) & -COLUMN_STEP
    high_unit, low_unit = _U_UNIT / scale, _U_UNIT / (scale * 2.0**20)
    _split_projections(y, c0, c1, scale, width, halves)
    strip_signs = signs[c0:c1]
    for r0 in range(0, q.shape[0], ROWS_PER_TILE):
        tile[:] = 0.0
        u_tile = u[r0 : r0 + ROWS_PER_TILE]
        _add_product(tile.ravel(), u_tile, halves.ravel(), n_terms, 2 * width)
        n_rows = min(ROWS_PER_TILE, q.shape[0] - r0)
        for r in range(n_rows):
            row, high, low = q[r0 + r, c0:c1], tile[r, :width], tile[r, width:]
            for j in range(row.size):
                x = row[j] - (high[j] * high_unit + low[j] * low_unit)
                high[j] = (x * strip_signs[j]) * gain
        if is_transposed:
            for j in range(c1 - c0):
                for r in range(n_rows):
                    out[c0 + j, r0 + r] = tile[r, j]
        else:
            for r in range(n_rows):
                for j in range(c1 - c0):
                    out[r0 + r, c0 + j] = tile[r, j]
