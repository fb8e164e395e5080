"""The CRC-32 of bytes whose parts were summed apart.

A CRC is a polynomial over GF(2), modulo the one of the standard, with the highest power in the
lowest bit. Appending n bytes to a text multiplies its polynomial by x^(8n).
"""

from __future__ import annotations

import threading
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

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


class RunningCrc32:
    """The CRC-32 of a text whose parts come in any order, from many threads, and perhaps again.

    Parameters
    ----------
    head : bytes
        With which the text begins; it is no part.
    n_elements : int
        After the head, which is where parts are counted from.
    """

    def __init__(self, head: bytes, n_elements: int) -> None:
        self._sum = zlib.crc32(head)
        self._n_elements = n_elements
        self._n_done = 0
        #: By the first element: one beyond the last, the sum, and the number of bytes.
        self._waiting: dict[int, tuple[int, int, int]] = {}
        self._lock = threading.Lock()

    def add(self, start: int, elements: NDArray[Any]) -> int | None:
        """Add elements from `start` on; give the sum of the whole text when it is known."""
        # Taking an old value does no harm: what was summed already stays behind.
        if not elements.size or start < self._n_done:
            return None
        crc = zlib.crc32(elements.view(np.uint8).data)
        with self._lock:
            if self._n_done == self._n_elements:
                return None
            self._waiting[start] = start + elements.size, crc, elements.nbytes
            while self._n_done in self._waiting:
                self._n_done, crc, n_bytes = self._waiting.pop(self._n_done)
                self._sum = joined_crc32(self._sum, crc, n_bytes)
            return self._sum if self._n_done == self._n_elements else None


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
