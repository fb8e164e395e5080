"""The value stream written as plainly as the page that defines it (docs/stream.md).

Nothing here is tuned: whole arrays, one line per line of the definition. Every engine must give
these bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kinit_cli.dtypes import DTYPES
from kinit_cli.stream.philox import M0, M1, N_ROUNDS, W0, W1
from kinit_cli.stream.table import half_normal_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike, NDArray

    from kinit_cli.stream.identity import StreamKey

#: ceil(2^33 * Q(2)), Q the upper tail of the normal: where the truncated normal begins.
TAIL_AT_2 = 195422146
#: Two standard deviations in units of 2^-26.
TWO_STDDEV = 2 << 26


def words(stream_key: StreamKey, start: int, count: int) -> NDArray[np.uint32]:
    """Give words [start, start + count) of a stream by Philox4x32-10."""
    first_block, lane = divmod(start, 4)
    n_blocks = -(-(lane + count) // 4)
    low = np.uint64(0xFFFFFFFF)
    # Unsigned arithmetic wraps, so a first block near 2^64 is no special case.
    block = np.uint64(first_block) + np.arange(n_blocks, dtype=np.uint64)
    x0, x1 = block & low, block >> np.uint64(32)
    x2 = np.full(n_blocks, stream_key.nonce & 0xFFFFFFFF, np.uint64)
    x3 = np.full(n_blocks, stream_key.nonce >> 32, np.uint64)
    k0, k1 = stream_key.key & 0xFFFFFFFF, stream_key.key >> 32
    for _ in range(N_ROUNDS):
        p0, p1 = x0 * np.uint64(M0), x2 * np.uint64(M1)
        x0, x2 = (
            (p1 >> np.uint64(32)) ^ x1 ^ np.uint64(k0),
            (p0 >> np.uint64(32)) ^ x3 ^ np.uint64(k1),
        )
        x1, x3 = p1 & low, p0 & low
        k0, k1 = (k0 + W0) & 0xFFFFFFFF, (k1 + W1) & 0xFFFFFFFF
    lanes = np.stack([x0, x1, x2, x3], axis=1).astype(np.uint32)
    return lanes.reshape(-1)[lane : lane + count]


def half_normal(w: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.int64]:
    """Give the point whose upper tail is w / 2^33, in units of 2^-26; 1 <= w < 2^32."""
    bits = w.astype(np.float64).view(np.int64)
    segment = (bits >> 46) - (1023 << 6)
    t = (bits >> 15) & 0x7FFFFFFF
    c0, c1, c2 = half_normal_table().astype(np.int64)[segment].T
    z = c1 + ((c2 * t) >> 31)
    z = c0 + ((z * t) >> 31)
    rounded_z: NDArray[np.int64] = (z + 2) >> 2
    return rounded_z


def normal_units(u: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Turn words into unit normals, signed, in units of 2^-26."""
    v = (u & np.uint32(0x7FFFFFFF)).astype(np.int64)
    z = half_normal(2 * v + 1)
    return np.where(u >> np.uint32(31), -z, z)


def truncated_normal_units(u: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Turn words into unit normals truncated at +-2, signed, in units of 2^-26."""
    v = (u & np.uint32(0x7FFFFFFF)).astype(np.int64)
    w = TAIL_AT_2 + (((2**32 - TAIL_AT_2) * v) >> 31)
    z = np.minimum(half_normal(w), TWO_STDDEV)
    return np.where(u >> np.uint32(31), -z, z)


def normal(u: NDArray[np.uint32], mean: float, stddev: float) -> NDArray[np.float64]:
    """Turn words into normals, before rounding to the dtype."""
    scale = float(np.float32(stddev)) * 2.0**-26
    return normal_units(u).astype(np.float64) * scale + float(np.float32(mean))


def truncated_normal(u: NDArray[np.uint32], mean: float, stddev: float) -> NDArray[np.float64]:
    """Turn words into normals truncated at two `stddev`, before rounding to the dtype."""
    scale = float(np.float32(stddev)) * 2.0**-26
    return truncated_normal_units(u).astype(np.float64) * scale + float(np.float32(mean))


def position_units(q: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the signed z of positions 2^21 <= q < 2^54 - 2^21, in units of 2^-26."""
    is_above = q >= 1 << 53
    w = np.where(is_above, (1 << 54) - 1 - q, q) * 2.0**-21
    # Cut to 29 leading bits.
    z = half_normal((w.view(np.int64) >> 24 << 24).view(np.float64))
    return np.where(is_above, z, -z)


def positions_between(mean: float, stddev: float, low: float, high: float) -> tuple[int, int]:
    """Give the first position whose value is in [low, high], and how many there are."""

    def first(is_beyond: Callable[[float], bool]) -> int:
        start, stop = 1 << 21, (1 << 54) - (1 << 21)
        while start < stop:
            middle = (start + stop) >> 1
            z = float(position_units(np.array([middle]))[0])
            x = z * (float(np.float32(stddev)) * 2.0**-26) + float(np.float32(mean))
            start, stop = (start, middle) if is_beyond(x) else (middle + 1, stop)
        return start

    first_inside = min(first(lambda x: x >= low), (1 << 54) - (1 << 21) - 1)
    return first_inside, max(1, first(lambda x: x > high) - first_inside)


def bounded_normal(
    u: NDArray[np.uint32], mean: float, stddev: float, low: float, high: float
) -> NDArray[np.float64]:
    """Turn words into normals cut at two bounds, before rounding to the dtype and the bounds."""
    first, count = positions_between(mean, stddev, low, high)
    q = [first + (count >> 33) + ((count * word) >> 32) for word in u.tolist()]
    z: NDArray[np.float64] = position_units(np.array(q, np.int64)).astype(np.float64)
    return z * (float(np.float32(stddev)) * 2.0**-26) + float(np.float32(mean))


def bounded_normal_rounded(
    u: NDArray[np.uint32], mean: float, stddev: float, low: float, high: float, dtype: DTypeLike
) -> NDArray[Any]:
    """Turn words into normals of a float dtype, all from `low` to `high`."""
    values = rounded(bounded_normal(u, mean, stddev, low, high), dtype)
    end = DTYPES[np.dtype(dtype).name].highest
    lowest, highest = (rounded(np.array([min(max(x, -end), end)]), dtype) for x in (low, high))
    if float(lowest[0]) < low:
        lowest = np.nextafter(lowest, np.array([end], lowest.dtype))
    if float(highest[0]) > high:
        highest = np.nextafter(highest, np.array([-end], highest.dtype))
    zero = np.zeros(1, lowest.dtype)  # no bound is -0.0
    inside: NDArray[Any] = np.minimum(np.maximum(values, lowest + zero), highest + zero)
    return inside


def uniform(u: NDArray[np.uint32], minval: float, maxval: float) -> NDArray[np.float64]:
    """Turn words into uniforms, before rounding to the dtype and before the bound."""
    k: NDArray[np.float64] = (u >> np.uint32(3)).astype(np.float64)
    return k * (float(np.float32(maxval - minval)) * 2.0**-29) + float(np.float32(minval))


def rounded(x: NDArray[np.float64], dtype: DTypeLike) -> NDArray[Any]:
    """Round to a float dtype: to float64 and float32 at once, to narrower ones by float32."""
    if np.dtype(dtype) == np.float64:
        return x
    return x.astype(np.float32).astype(dtype)


def uniform_rounded(
    u: NDArray[np.uint32], minval: float, maxval: float, dtype: DTypeLike
) -> NDArray[Any]:
    """Turn words into uniforms of a float dtype, all below `maxval` as that dtype has it."""
    values = rounded(uniform(u, minval, maxval), dtype)
    bound = rounded(np.array([maxval]), dtype)
    # float8_e4m3fn has no infinity, and 448 is its largest number.
    lowest = -448.0 if bound.dtype.name == "float8_e4m3fn" else -np.inf
    below = np.nextafter(bound, np.array([lowest], bound.dtype))
    return np.where(values > below, below, values)
