"""Statistics of a tile, compiled, by the rules of `statistics.meter` and `statistics.histogram`.

For finite values of which no magnitude needs scaling (rule 2 of `statistics.meter`), so the
exponent is 0 throughout. Passes are short loops that compilers vectorise; only counting by bucket
goes element by element.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import boolean, float32, float64, int64, njit, uint32, void

from kinit_cli.compiled.kernel import kernel, read_only
from kinit_cli.statistics.histogram import FLOAT32_MAX, N_BUCKETS
from kinit_cli.statistics.meter import CHUNK_ELEMENTS

_BUCKET_SHIFT = np.uint32(19)
_ONE = np.uint32(1)
_STEP = 4096
_BUCKETS_PER_LOOK = 128
_NEGATIVE_ZERO_BUCKET = N_BUCKETS // 2
_FLOAT32_INFINITY = 0x7F800000
_FLOAT64_INFINITY = 0x7FF0000000000000
_MASK_31 = 0x7FFFFFFF
_MASK_63 = 0x7FFFFFFFFFFFFFFF
_EIGHTH = CHUNK_ELEMENTS // 8

# --- extremes and counts ------------------------------------------------------------------------


@njit(inline="always")
def _count(bits: Any, grid: Any) -> None:
    for i in range(bits.size):
        grid[bits[i] >> _BUCKET_SHIFT] += _ONE


@kernel(boolean(read_only(float32), uint32[::1], float64[::1], int64[::1]))
def scan_float32(values: Any, grid: Any, extremes: Any, zeros: Any) -> bool:
    """Find the extremes, count zeros, and count by bucket.

    Parameters
    ----------
    values : 1-D array, not empty
    grid : array of uint32, shape (N_BUCKETS,)
        Raised by one at `bits >> 19` of each value.
    extremes : array of float64, shape (2,)
        Minimum and maximum are written here; zero may have either sign.
    zeros : array of int64, shape (2,)
        The number of zeros, and of values that are -0 as float32, are written here.

    Returns
    -------
    bool
        All values are finite; if not, what was written means nothing.
    """
    bits = values.view(np.int32)
    unsigned = values.view(np.uint32)
    low, high, largest = np.int32(_MASK_31), np.int32(-_MASK_31 - 1), np.int32(0)
    n_zero = n_negative_zero = 0
    for start in range(0, values.size, _STEP):
        step = bits[start : start + _STEP]
        for i in range(step.size):
            magnitude = np.int32(step[i] & np.int32(_MASK_31))
            # Flipped where negative, the bits are in the order of the values.
            key = np.int32(step[i] ^ ((step[i] >> np.int32(31)) & np.int32(_MASK_31)))
            low = min(low, key)
            high = max(high, key)
            largest = max(largest, magnitude)
            n_zero += magnitude == 0
            n_negative_zero += step[i] == -_MASK_31 - 1
        _count(unsigned[start : start + _STEP], grid)
    # A view of a scalar would keep it, and what made it, out of the processor's registers.
    pair = np.empty(2, np.float32)
    pair.view(np.int32)[0] = low ^ ((low >> 31) & _MASK_31)
    pair.view(np.int32)[1] = high ^ ((high >> 31) & _MASK_31)
    extremes[0], extremes[1] = pair[0], pair[1]
    zeros[0] = n_zero
    zeros[1] = n_negative_zero
    return bool(largest < _FLOAT32_INFINITY)


@kernel(boolean(read_only(float64), uint32[::1], float64[::1], int64[::1]))
def scan_float64(values: Any, grid: Any, extremes: Any, zeros: Any) -> bool:
    """Do what `scan_float32` does; the bucket is that of the value rounded to float32.

    Beyond float32's range it is that of its largest value.
    """
    rounded = np.empty(_STEP, np.float32)
    rounded_bits = rounded.view(np.uint32)
    bits = values.view(np.int64)
    low, high, largest = np.int64(_MASK_63), np.int64(-_MASK_63 - 1), np.int64(0)
    n_zero = n_negative_zero = 0
    for start in range(0, values.size, _STEP):
        step = bits[start : start + _STEP]
        step_values = values[start : start + _STEP]
        for i in range(step.size):
            key = step[i] ^ ((step[i] >> 63) & _MASK_63)
            low = min(low, key)
            high = max(high, key)
        for i in range(step.size):
            magnitude = step[i] & _MASK_63
            largest = max(largest, magnitude)
            n_zero += magnitude == 0
        for i in range(step.size):
            x = step_values[i]
            x = x if x < FLOAT32_MAX else FLOAT32_MAX
            rounded[i] = x if x > -FLOAT32_MAX else -FLOAT32_MAX
        for i in range(step.size):
            n_negative_zero += rounded_bits[i] == np.uint32(_MASK_31 + 1)
        _count(rounded_bits[: step.size], grid)
    extremes.view(np.int64)[0] = low ^ ((low >> 63) & _MASK_63)
    extremes.view(np.int64)[1] = high ^ ((high >> 63) & _MASK_63)
    zeros[0] = n_zero
    zeros[1] = n_negative_zero
    return bool(largest < _FLOAT64_INFINITY)


@kernel("int64(uint32[::1], int64, uint16[::1], int64[::1])")
def collect(grid: Any, n_negative_zero: int, buckets: Any, counts: Any) -> int:
    """List the buckets that have values, and clear them.

    Parameters
    ----------
    grid : array of uint32, shape (N_BUCKETS,)
        As `scan_float32` left it; zeros afterwards.
    n_negative_zero : int
        So many values are moved from the bucket of -0 to that of +0.
    buckets, counts : arrays of uint16 and int64, shape (N_BUCKETS,)
        The beginning is written.

    Returns
    -------
    int
        How many buckets there are.
    """
    grid[0] += np.uint32(n_negative_zero)
    grid[_NEGATIVE_ZERO_BUCKET] -= np.uint32(n_negative_zero)
    n_found = 0
    for start in range(0, N_BUCKETS, _BUCKETS_PER_LOOK):
        look = grid[start : start + _BUCKETS_PER_LOOK]
        seen = np.uint32(0)
        for i in range(look.size):
            seen |= look[i]
        if seen == 0:
            continue
        for i in range(look.size):
            if look[i]:
                buckets[n_found] = start + i
                counts[n_found] = look[i]
                n_found += 1
                look[i] = 0
    return n_found


# --- moments ------------------------------------------------------------------------------------


@njit(inline="always")
def _fold(sums: Any, length: int) -> Any:
    """Sum the first `length` elements, a power of two, by folding them in halves."""
    half = length // 2
    while half:
        for i in range(half):
            sums[i] += sums[i + half]
        half //= 2
    return np.float64(sums[0])


@njit(inline="always")
def _square(x: Any, mean: float) -> Any:
    difference = np.float64(x) - mean
    return difference * difference


# The first three halvings of a whole chunk are done in one pass. Elements j, j + 2^11, ...,
# j + 7 * 2^11 meet in the order of rule 3: those 4 apart, then 2, then 1.


@njit(inline="always")
def _chunk_sum(x: Any, sums: Any) -> Any:
    n = _EIGHTH
    for j in range(n):
        even = (np.float64(x[j]) + np.float64(x[j + 4 * n])) + (
            np.float64(x[j + 2 * n]) + np.float64(x[j + 6 * n])
        )
        odd = (np.float64(x[j + n]) + np.float64(x[j + 5 * n])) + (
            np.float64(x[j + 3 * n]) + np.float64(x[j + 7 * n])
        )
        sums[j] = even + odd
    return _fold(sums, n)


@njit(inline="always")
def _chunk_square_sum(x: Any, mean: float, sums: Any) -> Any:
    n = _EIGHTH
    for j in range(n):
        even = (_square(x[j], mean) + _square(x[j + 4 * n], mean)) + (
            _square(x[j + 2 * n], mean) + _square(x[j + 6 * n], mean)
        )
        odd = (_square(x[j + n], mean) + _square(x[j + 5 * n], mean)) + (
            _square(x[j + 3 * n], mean) + _square(x[j + 7 * n], mean)
        )
        sums[j] = even + odd
    return _fold(sums, n)


@njit(inline="always")
def _short_sum(x: Any, mean: float, is_squared: bool, sums: Any) -> Any:
    """Sum fewer elements than a chunk has; what is missing to a power of two is 0."""
    length = 1
    while length < x.size:
        length *= 2
    for j in range(x.size):
        sums[j] = _square(x[j], mean) if is_squared else np.float64(x[j])
    for j in range(x.size, length):
        sums[j] = 0.0
    return _fold(sums, length)


def _moments(values: Any, lowest: float, highest: float, scratch: Any, moments: Any) -> None:
    """Compute mean and sum of squared deviations.

    Parameters
    ----------
    values : 1-D array, not empty
    lowest, highest : float
        Its extremes.
    scratch : array of float64, shape (CHUNK_ELEMENTS,)
    moments : array of float64, shape (2,)
        Mean and m2 are written here.
    """
    total_count, total_mean, total_m2 = 0, 0.0, 0.0
    for start in range(0, values.size, CHUNK_ELEMENTS):
        x = values[start : start + CHUNK_ELEMENTS]
        is_whole = x.size == CHUNK_ELEMENTS
        total = _chunk_sum(x, scratch) if is_whole else _short_sum(x, 0.0, False, scratch)
        mean = min(max(total / x.size, lowest), highest) + 0.0
        m2 = _chunk_square_sum(x, mean, scratch) if is_whole else _short_sum(x, mean, True, scratch)
        if total_count == 0:
            total_count, total_mean, total_m2 = x.size, mean, m2
            continue
        count = total_count + x.size
        delta = mean - total_mean
        fraction = x.size / count
        total_mean = total_mean + delta * fraction
        total_m2 = (total_m2 + m2) + (delta * delta) * (total_count * fraction)
        total_count = count
    moments[0] = total_mean
    moments[1] = total_m2


_ARGUMENTS = (float64, float64, float64[::1], float64[::1])
moments_float32 = kernel(void(read_only(float32), *_ARGUMENTS))(_moments)
moments_float64 = kernel(void(read_only(float64), *_ARGUMENTS))(_moments)
