"""The CRC-32 of bytes whose parts were summed apart.

A CRC is a polynomial over GF(2), modulo the one of the standard, with the highest power in the
lowest bit. Appending n bytes to a text multiplies its polynomial by x^(8n).
"""

from __future__ import annotations

from functools import lru_cache

_MODULUS = 0xEDB88320
_ONE = 1 << 31
_X = 1 << 30


def joined_crc32(first: int, second: int, n_second_bytes: int) -> int:
    """Give the CRC-32 of two texts, one after the other, from the CRC-32 of each.

    >>> import zlib
    >>> joined_crc32(zlib.crc32(b"ab"), zlib.crc32(b"c"), 1) == zlib.crc32(b"abc")
    True
    """
    return _product(_power_of_x(8 * n_second_bytes), first) ^ second


@lru_cache(maxsize=1024)
def _power_of_x(exponent: int) -> int:
    result, square = _ONE, _X
    while exponent:
        if exponent & 1:
            result = _product(result, square)
        square = _product(square, square)
        exponent >>= 1
    return result


def _product(a: int, b: int) -> int:
    result = 0
    while a:
        if a & _ONE:
            result ^= b
        a = (a << 1) & 0xFFFFFFFF
        b = (b >> 1) ^ (_MODULUS if b & 1 else 0)
    return result
