"""Which elements of a sparse matrix are zero (docs/stream.md, 10)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from kinit_cli.stream.fill import fill_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kinit_cli.stream.identity import StreamKey

#: The keys that choose the zeros are the words from here on; no tensor has so many elements.
FIRST_KEY = 1 << 65
_KEYS_PER_BLOCK = 1 << 20


def zero_columns(
    matrix: NDArray[Any],
    stream_key: StreamKey,
    n_zeros: int,
    *,
    on_block: Callable[[], None] | None = None,
) -> None:
    """Write `n_zeros` zeros into every column of `matrix`, of at most 2^32 rows, in place.

    In each column they are where the smallest keys are, of equal keys those of the first rows:
    all choices are equally likely but for equal keys.
    """
    rows, cols = matrix.shape
    if not n_zeros or not cols:
        return
    step = max(1, _KEYS_PER_BLOCK // rows)
    row_numbers = np.arange(rows, dtype=np.uint64)
    for start in range(0, cols, step):
        if on_block is not None:
            on_block()
        stop = min(start + step, cols)
        words = np.empty((stop - start) * rows, np.uint32)
        fill_words(words, stream_key, FIRST_KEY + start * rows)
        # A key and its row in one number: no two are equal.
        keys = words.reshape(-1, rows).astype(np.uint64) << np.uint64(32) | row_numbers
        last = np.partition(keys, n_zeros - 1, axis=1)[:, n_zeros - 1 : n_zeros]
        matrix[:, start:stop][(keys <= last).T] = 0
