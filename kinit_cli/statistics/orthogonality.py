"""Whether a matrix is orthogonal, by a few of its columns, or of its rows if those are fewer.

Only the sampled vectors are held, a stretch of each at a time, so the matrix may be of any size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

#: Vectors that are compared with each other.
N_SAMPLED = 8
#: How many elements are read at once, about.
ELEMENTS_AT_ONCE = 2**20

#: (start, stop) -> elements [start, stop) of the matrix in C order.
Read: TypeAlias = Callable[[int, int], "NDArray[Any]"]


def orthogonality_error(read: Read, rows: int, cols: int, gain: float) -> float:
    """Give the largest element of |Q^T Q / gain^2 - I| over sampled columns, of rows if fewer.

    Parameters
    ----------
    read : callable
        (start, stop) -> the matrix's elements of these flat C-order indices, of a float dtype. It
        is called once after the other, never for more than about a million elements.
    gain : float
        Not 0.
    """
    chosen = sampled(min(rows, cols))
    gram = np.zeros((chosen.size, chosen.size))
    stretches = _columns(read, rows, cols, chosen) if rows >= cols else _rows(read, cols, chosen)
    for stretch in stretches:
        part = stretch / gain
        # Not a BLAS product: that adds in an order of its own on each machine.
        gram += (part[:, np.newaxis] * part).sum(axis=-1)
    return float(np.abs(gram - np.eye(chosen.size)).max())


@lru_cache(maxsize=256)
def sampled(n: int) -> NDArray[np.int64]:
    """Choose the vectors: the first, the last, and some between at equal distances."""
    chosen = np.unique(np.linspace(0, n - 1, min(n, N_SAMPLED)).astype(np.int64))
    chosen.flags.writeable = False
    return chosen


def _rows(read: Read, cols: int, chosen: NDArray[np.int64]) -> Iterator[NDArray[np.float64]]:
    step = max(ELEMENTS_AT_ONCE // chosen.size, 1)
    for start in range(0, cols, step):
        stop = min(start + step, cols)
        pieces = [
            read(row * cols + start, row * cols + stop).astype(np.float64)
            for row in chosen.tolist()
        ]
        yield np.stack(pieces)


def _columns(
    read: Read, rows: int, cols: int, chosen: NDArray[np.int64]
) -> Iterator[NDArray[np.float64]]:
    step = max(ELEMENTS_AT_ONCE // cols, 1)
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        block = read(start * cols, stop * cols).reshape(stop - start, cols)
        yield np.ascontiguousarray(block[:, chosen].astype(np.float64).T)
