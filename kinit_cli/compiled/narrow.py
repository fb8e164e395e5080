"""Rounding float32 to 16-bit floats, compiled, in integer arithmetic that any processor has.

To nearest, ties to even, beyond the range to infinity; NaN is not among the values of the stream
and is not dealt with.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kinit_cli.compiled.kernel import kernel

_HALF = np.float32(0.5)
_HALF_BITS = 0x3F000000
# The bits of float32 values: the least normal float16, and the first power of two beyond float16.
_LEAST_NORMAL = 0x38800000
_TOO_LARGE = 0x47800000
# What the exponents' offsets differ by, in float32's place.
_REBIAS = (127 - 15) << 23
_INFINITY = 0x7C00


@kernel("void(float32[::1], uint16[::1])")
def to_float16(values: Any, out: Any) -> None:
    """Write the bits of `values` as float16 into `out`, of the same length."""
    for i in range(values.size):
        bits = np.int64(np.float32(values[i]).view(np.uint32))
        magnitude = bits & 0x7FFFFFFF
        rounded = (magnitude - _REBIAS + 0xFFF + ((magnitude >> 13) & 1)) >> 13
        # One half has the unit in the last place that subnormal float16 numbers have.
        shifted = np.uint32(magnitude).view(np.float32) + _HALF
        sum_bits = np.int64(np.float32(shifted).view(np.uint32))
        if magnitude < _LEAST_NORMAL:
            rounded = sum_bits - _HALF_BITS
        elif magnitude >= _TOO_LARGE:
            rounded = _INFINITY
        out[i] = rounded | ((bits >> 16) & 0x8000)


@kernel("void(float32[::1], uint16[::1])")
def to_bfloat16(values: Any, out: Any) -> None:
    """Write the bits of `values` as bfloat16 into `out`, of the same length."""
    for i in range(values.size):
        bits = np.int64(np.float32(values[i]).view(np.uint32))
        out[i] = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
