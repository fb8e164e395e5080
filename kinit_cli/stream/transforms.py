"""From words to values: the transforms of docs/stream.md, 3 and 4, block by block.

The definition is in integers (`kinit_cli.stream.reference`). The same integers are computed here
in float64, which NumPy does faster; each product and sum below is exact, and `floor` is then the
definition's floor shift:

- c2 t / 2^31 has 14 integer and at most 25 fractional bits; with c1, 22 integer bits.
- z1 t / 2^31 with c0 added has at most 53 bits in all: where t has 25 fractional bits
  (w >= 2^31), z is below 2^28; one octave down it has 24, and z is below 2^29; and so on.
- Between bounds w has 29 bits, and t 22 fractional ones; with c0, that is below 2^31, 53.
- floor((floor(y) + c0 + 2) / 4) = floor((y + c0 + 2) / 4), c0 being an integer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from kinit_cli.dtypes import DTYPES
from kinit_cli.stream.reference import TAIL_AT_2, TWO_STDDEV
from kinit_cli.stream.table import N_SEGMENTS, half_normal_table

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from kinit_cli.stream.bounded import Positions

#: Most words that one call of a transform takes.
ELEMENTS_PER_STEP = 1 << 16

# A float64 with exponent field 1023 + 52 + s and the integer n < 2^32 in its low bits is
# 2^(52 + s) + n 2^s: an `or` and a subtraction make a float of an integer.
_UNIT_ULP = np.uint64((1023 + 52) << 52)
_TWO_ULP = np.uint64((1023 + 53) << 52)
# 1023 << 6: the tables are padded in front, to be indexed without subtracting it. Nobody reads
# the padding, so the system never gives it memory.
_FIRST_SEGMENT = 1023 << 6
_FRACTION_BITS = np.uint64(46)
_FRACTION = np.uint64((1 << 46) - 1)
# With this exponent, the fraction t / 2^31 of a segment reads 16 + (t / 2^31) / 4.
_SIXTEEN = np.uint64((1023 + 4) << 52)
_MAGNITUDE = np.uint64(0x7FFFFFFF)
_SIGN = np.uint64(0x80000000)
_C2_BITS = 14
_TAIL = np.uint64((1 << 53) - 1)
# Of a float64: the sign, the exponent and the 28 bits after the implied one.
_LEADING_29 = np.uint64((1 << 64) - (1 << 24))


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """What turns an integer unit into a value: unit * scale + offset, the product exact."""

    scale: float
    offset: float


@lru_cache(maxsize=1024)
def normal_affine(mean: float, stddev: float) -> Affine:
    """Give the map from units of 2^-26 to values, for both normals."""
    return Affine(scale=round_to_float32(stddev) * 2.0**-26, offset=round_to_float32(mean))


@lru_cache(maxsize=1024)
def uniform_affine(minval: float, maxval: float) -> Affine:
    """Give the map from 0 <= k < 2^29 to values."""
    return Affine(
        scale=round_to_float32(maxval - minval) * 2.0**-29, offset=round_to_float32(minval)
    )


def round_to_float32(value: float) -> float:
    """Round to the nearest float32, ties to even; beyond its range to infinity."""
    with np.errstate(over="ignore"):
        return float(np.float32(value))


@lru_cache(maxsize=1024)
def largest_below(bound: float, dtype: DTypeLike) -> float:
    """Give the largest value of a float dtype below `bound` as that dtype has it.

    It is below the real number `bound` too: if rounding went up, the next value down is below.

    >>> largest_below(1.0, np.float16)
    0.99951171875
    """
    rounded_bound = np.empty(1, dtype)
    cast_float64(np.array([bound]), rounded_bound)
    below = np.nextafter(rounded_bound, np.array([_lowest(rounded_bound.dtype)], dtype))
    return float(below[0])


def _lowest(dtype: np.dtype[Any]) -> float:
    """Give what a float dtype has nothing below: the negative infinity, if it has one."""
    return -DTYPES[dtype.name].highest if dtype.itemsize == 1 else -math.inf


def cast_float64(x: NDArray[np.float64], out: NDArray[Any]) -> None:
    """Round float64 values into `out`, to nearest even, and by way of float32 if it is narrower.

    Parameters
    ----------
    x : array of float64
        Any shape.
    out : array of a float dtype, of the shape of `x`
        Written in place; C-contiguous if narrower than float32.
    """
    with np.errstate(all="ignore"):
        if out.dtype.itemsize >= 4:
            np.copyto(out, x, casting="same_kind")
            return
        if not out.flags.c_contiguous:
            raise ValueError("a narrow array to cast into must be C-contiguous")
        flat_x, flat_out = x.reshape(-1), out.reshape(-1)
        for start in range(0, x.size, ELEMENTS_PER_STEP):
            step = slice(start, start + ELEMENTS_PER_STEP)
            np.copyto(flat_out[step], flat_x[step].astype(np.float32), casting="unsafe")


class Transforms:
    """One thread's buffers for turning words into values; not to be shared between threads.

    Words are uint64 arrays of at most ELEMENTS_PER_STEP elements, each below 2^32; they are
    spent by the call.
    """

    def __init__(self) -> None:
        self._w = np.empty(ELEMENTS_PER_STEP)
        self._z = np.empty(ELEMENTS_PER_STEP)
        self._spare = np.empty(ELEMENTS_PER_STEP)
        self._segment = np.empty(ELEMENTS_PER_STEP, np.int64)

    def normal(self, words: NDArray[np.uint64], out: NDArray[Any], affine: Affine) -> None:
        """Write normals into `out`."""
        self._store(self.normal_units(words), out, affine)

    def normal_units(self, words: NDArray[np.uint64]) -> NDArray[np.float64]:
        """Give unit normals, signed (zero too), in units of 2^-26, in a buffer."""
        w = self._w[: words.size]
        w_bits = w.view(np.uint64)
        np.bitwise_and(words, _MAGNITUDE, out=w_bits)
        np.bitwise_or(w_bits, _TWO_ULP, out=w_bits)
        np.subtract(w, 2.0**53 - 1, out=w)  # 2v + 1
        return _signed(self._half_normal(w), words)

    def truncated_normal(
        self, words: NDArray[np.uint64], out: NDArray[Any], affine: Affine
    ) -> None:
        """Write normals truncated at two standard deviations into `out`."""
        w = self._w[: words.size]
        w_bits = w.view(np.uint64)
        np.bitwise_and(words, _MAGNITUDE, out=w_bits)
        np.multiply(w_bits, np.uint64((1 << 32) - TAIL_AT_2), out=w_bits)
        np.right_shift(w_bits, np.uint64(31), out=w_bits)
        np.bitwise_or(w_bits, _UNIT_ULP, out=w_bits)
        np.subtract(w, 2.0**52 - TAIL_AT_2, out=w)
        z = self._half_normal(w)
        np.minimum(z, float(TWO_STDDEV), out=z)
        self._store(_signed(z, words), out, affine)

    def bounded_normal(
        self,
        words: NDArray[np.uint64],
        out: NDArray[Any],
        affine: Affine,
        positions: Positions,
        bounds: tuple[float, float],
    ) -> None:
        """Write normals into `out`, within `bounds`, which are values of the dtype."""
        w = self._w[: words.size]
        spare = self._spare[: words.size].view(np.uint64)
        np.multiply(words, np.uint64(positions.count & 0xFFFFFFFF), out=spare)
        np.right_shift(spare, np.uint64(32), out=spare)
        np.multiply(words, np.uint64(positions.count >> 32), out=words)
        np.add(words, spare, out=words)
        np.add(words, np.uint64(positions.origin), out=words)
        # Bit 53 says on which side; above the mean, the other bits count from the upper end.
        np.right_shift(words, np.uint64(53), out=spare)
        np.subtract(np.uint64(0), spare, out=spare)
        np.bitwise_xor(words, spare, out=words)
        np.bitwise_and(words, _TAIL, out=words)
        np.copyto(w, words, casting="unsafe")
        np.multiply(w, 2.0**-21, out=w)
        w_bits = w.view(np.uint64)
        np.bitwise_and(w_bits, _LEADING_29, out=w_bits)
        np.bitwise_not(spare, out=words)
        z = _signed(self._half_normal(w), words)
        x = _scaled(z, affine)
        np.maximum(x, bounds[0], out=x)
        np.minimum(x, bounds[1], out=x)
        cast_float64(x, out)

    def uniform(
        self, words: NDArray[np.uint64], out: NDArray[Any], affine: Affine, highest: float
    ) -> None:
        """Write uniforms, none above `highest`, which is a value of the dtype, into `out`."""
        np.right_shift(words, np.uint64(3), out=words)
        np.bitwise_or(words, _UNIT_ULP, out=words)
        x = words.view(np.float64)
        np.subtract(x, 2.0**52, out=x)
        np.multiply(x, affine.scale, out=x)
        np.add(x, affine.offset, out=x)
        # Rounding keeps order and `highest` is not rounded, so the bound may come first.
        np.minimum(x, highest, out=x)
        cast_float64(x, out)

    def _half_normal(self, w: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the points whose upper tails are w / 2^33, in units of 2^-26; `w` is spent."""
        c0_table, c12_table = _padded_tables()
        z, spare, segment = self._z[: w.size], self._spare[: w.size], self._segment[: w.size]
        bits = w.view(np.uint64)
        np.right_shift(bits, _FRACTION_BITS, out=segment.view(np.uint64))
        np.bitwise_and(bits, _FRACTION, out=bits)
        np.bitwise_or(bits, _SIXTEEN, out=bits)
        quarter_t = np.subtract(w, 16.0, out=w)

        np.take(c12_table, segment, out=z, mode="clip")
        c1 = np.floor(z, out=spare)
        np.subtract(z, c1, out=z)
        np.multiply(z, 4.0 * 2**_C2_BITS, out=z)
        np.multiply(z, quarter_t, out=z)
        np.floor(z, out=z)
        np.add(z, c1, out=z)
        np.multiply(z, quarter_t, out=z)
        np.take(c0_table, segment, out=spare, mode="clip")
        np.add(z, spare, out=z)
        return np.floor(z, out=z)

    def _store(self, z: NDArray[np.float64], out: NDArray[Any], affine: Affine) -> None:
        cast_float64(_scaled(z, affine), out)


def _scaled(z: NDArray[np.float64], affine: Affine) -> NDArray[np.float64]:
    """Turn units into values, in place."""
    if affine.offset == 0 and math.copysign(1, affine.offset) < 0:
        # The definition's z is an integer: it has no -0.0, which this offset would keep.
        np.add(z, 0.0, out=z)
    np.multiply(z, affine.scale, out=z)
    return np.add(z, affine.offset, out=z)


def _signed(z: NDArray[np.float64], words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Negate, in place, where bit 31 of the word is set."""
    np.bitwise_and(words, _SIGN, out=words)
    np.left_shift(words, np.uint64(32), out=words)
    bits = z.view(np.uint64)
    np.bitwise_xor(bits, words, out=bits)
    return z


@lru_cache(maxsize=1)
def _padded_tables() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give (c0 + 2) / 4 and c1 + c2 2^-14, to be indexed by the top bits of a float64."""
    table = half_normal_table().astype(np.float64)
    c0_table = np.zeros(_FIRST_SEGMENT + N_SEGMENTS)
    c12_table = np.zeros(_FIRST_SEGMENT + N_SEGMENTS)
    c0_table[_FIRST_SEGMENT:] = (table[:, 0] + 2) / 4
    c12_table[_FIRST_SEGMENT:] = table[:, 1] + table[:, 2] * 2.0**-_C2_BITS
    return c0_table, c12_table
