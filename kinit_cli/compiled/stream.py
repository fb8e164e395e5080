"""Words and values of the stream, compiled (docs/stream.md, 2 to 4).

A step makes some words and turns them into values while they are in the first cache. The counter
words of Philox are kept in arrays of their own, as uint64 lanes, which compilers vectorise; the
words are put in order afterwards. The tables are constants of this module: of an array passed as
an argument a compiler cannot know that writing the output leaves it alone.

Nothing but a counter past the last word wraps, so the functions also run uncompiled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int64, njit, uint64

from kinit_cli.compiled.kernel import kernel
from kinit_cli.stream.bounded import W_BITS
from kinit_cli.stream.philox import M0, M1, N_ROUNDS, W0, W1
from kinit_cli.stream.reference import TAIL_AT_2, TWO_STDDEV
from kinit_cli.stream.table import half_normal_table

BLOCKS_PER_STEP = 256
WORDS_PER_STEP = 4 * BLOCKS_PER_STEP

#: What `fill_float32` and `fill_float64` make of the words.
UNIFORM, NORMAL, TRUNCATED_NORMAL, BOUNDED_NORMAL = 0, 1, 2, 3

_LOW_32 = uint64(0xFFFFFFFF)
_HALF = uint64(32)
_M0, _M1, _W0, _W1 = uint64(M0), uint64(M1), uint64(W0), uint64(W1)
_MAGNITUDE = uint64(0x7FFFFFFF)
_ONE = uint64(1)
_SIGN_SHIFT = uint64(31)
_UNIFORM_SHIFT = uint64(3)
_FRACTION_BITS = uint64(46)
_FIRST_SEGMENT = uint64(1023 << 6)
_T_SHIFT = uint64(15)
_TAIL = uint64(TAIL_AT_2)
_TAIL_SPAN = uint64((1 << 32) - TAIL_AT_2)
_TWO_STDDEV = int64(TWO_STDDEV)
_SIDE_SHIFT = uint64(53)
_POSITION = uint64((1 << 53) - 1)
_W_UNIT = 2.0**-W_BITS
_LEADING_29 = uint64((1 << 64) - (1 << 24))

_TABLE = half_normal_table().astype(np.int64)
# Two gathers of 64 bits cost less than three: c1 above c2, and c0 with the rounding's 2 added.
_C1_C2 = (_TABLE[:, 1] << 32) | _TABLE[:, 2]
_C0_PLUS_2 = np.ascontiguousarray(_TABLE[:, 0] + 2)


@njit(inline="always")
def make_words(key: Any, nonce: Any, block: Any, lanes: Any, words: Any) -> None:
    """Run Philox4x32-10 on the counters from `block` on, one for each column of `lanes`.

    Parameters
    ----------
    key, nonce, block : uint64
    lanes : array of uint64, shape (4, BLOCKS_PER_STEP)
        Scratch memory.
    words : array of uint32, shape (WORDS_PER_STEP,)
        Written in place, in the order of the stream.
    """
    for j in range(BLOCKS_PER_STEP):
        b = block + uint64(j)
        x0 = b & _LOW_32
        x1 = b >> _HALF
        x2 = nonce & _LOW_32
        x3 = nonce >> _HALF
        k0 = key & _LOW_32
        k1 = key >> _HALF
        for _ in range(N_ROUNDS):
            p0 = x0 * _M0
            p1 = x2 * _M1
            x0 = (p1 >> _HALF) ^ x1 ^ k0
            x1 = p1 & _LOW_32
            x2 = (p0 >> _HALF) ^ x3 ^ k1
            x3 = p0 & _LOW_32
            k0 = (k0 + _W0) & _LOW_32
            k1 = (k1 + _W1) & _LOW_32
        lanes[0, j] = x0
        lanes[1, j] = x1
        lanes[2, j] = x2
        lanes[3, j] = x3
    for j in range(BLOCKS_PER_STEP):
        words[4 * j] = lanes[0, j]
        words[4 * j + 1] = lanes[1, j]
        words[4 * j + 2] = lanes[2, j]
        words[4 * j + 3] = lanes[3, j]


@njit(inline="always")
def half_normal(w: Any) -> Any:
    """Give the point whose upper tail is w / 2^33, an int64 in units of 2^-26; 0 < w < 2^32."""
    # Of a signed integer the conversion to float64 is one instruction more often.
    return _half_normal(np.float64(int64(w)).view(np.uint64))


@njit(inline="always")
def _half_normal(bits: Any) -> Any:
    """Give the point of w from the bits of w as a float64."""
    segment = (bits >> _FRACTION_BITS) - _FIRST_SEGMENT
    t = int64((bits >> _T_SHIFT) & _MAGNITUDE)
    c1_c2 = _C1_C2[segment]
    z = (c1_c2 >> 32) + (((c1_c2 & 0xFFFFFFFF) * t) >> 31)
    return (_C0_PLUS_2[segment] + ((z * t) >> 31)) >> 2


@njit(inline="always")
def _signed(z: Any, word: Any) -> Any:
    mask = -int64(word >> _SIGN_SHIFT)
    return (z ^ mask) - mask


@njit(inline="always")
def put_uniforms(words: Any, out: Any, scale: float, offset: float, highest: float) -> None:
    """Write what `words` become as uniforms into `out`, float32 or float64."""
    for i in range(out.size):
        x = np.float64(int64(uint64(words[i]) >> _UNIFORM_SHIFT)) * scale + offset
        out[i] = x if x < highest else highest


@njit(inline="always")
def put_normals(words: Any, out: Any, scale: float, offset: float) -> None:
    """Write what `words` become as normals into `out`, float32 or float64."""
    for i in range(out.size):
        word = uint64(words[i])
        z = half_normal(((word & _MAGNITUDE) << _ONE) | _ONE)
        out[i] = np.float64(_signed(z, word)) * scale + offset


@njit(inline="always")
def put_truncated_normals(words: Any, out: Any, scale: float, offset: float) -> None:
    """Write what `words` become as truncated normals into `out`, float32 or float64."""
    for i in range(out.size):
        word = uint64(words[i])
        z = half_normal(_TAIL + ((_TAIL_SPAN * (word & _MAGNITUDE)) >> _SIGN_SHIFT))
        z = min(z, _TWO_STDDEV)
        out[i] = np.float64(_signed(z, word)) * scale + offset


@njit(inline="always")
def put_bounded_normals(
    words: Any,
    out: Any,
    scale: float,
    offset: float,
    lowest: float,
    highest: float,
    origin: Any,
    count: Any,
) -> None:
    """Write what `words` become as normals between two bounds into `out`, float32 or float64."""
    count_high, count_low = count >> _HALF, count & _LOW_32
    for i in range(out.size):
        word = uint64(words[i])
        position = origin + count_high * word + ((count_low * word) >> _HALF)
        is_above = position >> _SIDE_SHIFT
        # Above the mean, the bits below the side's count from the upper end.
        tail = (position & _POSITION) ^ (_POSITION * is_above)
        w_bits = np.float64(np.float64(int64(tail)) * _W_UNIT).view(np.uint64)
        z = _half_normal(w_bits & _LEADING_29)
        mask = int64(is_above) - 1
        x = np.float64((z ^ mask) - mask) * scale + offset
        x = x if x > lowest else lowest
        out[i] = x if x < highest else highest


def _fill(
    out: Any,
    kind: int,
    key: Any,
    nonce: Any,
    block: Any,
    lane: int,
    scale: float,
    offset: float,
    highest: float,
    lowest: float,
    origin: Any,
    position_count: Any,
) -> None:
    """Write the values of the words from `lane` of `block` on, one for each element of `out`.

    Parameters
    ----------
    out : 1-D C-contiguous array of float32 or float64
    kind : int
        UNIFORM, NORMAL or TRUNCATED_NORMAL.
    lane : int
        0 to 3.
    scale, offset : float
        Of the `Affine` of the distribution.
    highest : float
        For uniforms and bounded normals, a value of the dtype of `out` that none exceeds.
    lowest : float
        For bounded normals, a value of the dtype of `out` that none falls below.
    origin, position_count : uint64
        For bounded normals, their `Positions`.
    """
    lanes = np.empty((4, BLOCKS_PER_STEP), np.uint64)
    words = np.empty(WORDS_PER_STEP, np.uint32)
    # Uncompiled, these are Python integers.
    key, nonce, block = uint64(key), uint64(nonce), uint64(block)
    origin, position_count = uint64(origin), uint64(position_count)
    done = 0
    while done < out.size:
        make_words(key, nonce, block, lanes, words)
        count = min(WORDS_PER_STEP - lane, out.size - done)
        step = words[lane : lane + count]
        values = out[done : done + count]
        if kind == UNIFORM:
            put_uniforms(step, values, scale, offset, highest)
        elif kind == NORMAL:
            put_normals(step, values, scale, offset)
        elif kind == BOUNDED_NORMAL:
            put_bounded_normals(
                step, values, scale, offset, lowest, highest, origin, position_count
            )
        else:
            put_truncated_normals(step, values, scale, offset)
        done += count
        lane = 0
        block += uint64(BLOCKS_PER_STEP)


_ARGUMENTS = (
    "int64, uint64, uint64, uint64, int64, float64, float64, float64, float64, uint64, uint64"
)
fill_float32 = kernel(f"void(float32[::1], {_ARGUMENTS})")(_fill)
fill_float64 = kernel(f"void(float64[::1], {_ARGUMENTS})")(_fill)
