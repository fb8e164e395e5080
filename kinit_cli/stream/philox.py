"""Words: Philox4x32-10 in counter mode (docs/stream.md, 2).

J. K. Salmon, M. A. Moraes, R. O. Dror and D. E. Shaw, "Parallel Random Numbers: As Easy as
1, 2, 3", SC'11, doi:10.1145/2063384.2063405.

A 32-bit counter word is a lane of uint64 here, so that a product of two fits. Work goes through
one thread's buffers in chunks that stay in its cache: an array operation costs about as much as
it moves memory, and a short one costs as much as the call.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kinit_cli.stream.identity import StreamKey

N_ROUNDS = 10
#: Multipliers and Weyl key increments of Philox4x32.
M0, M1 = 0xD2511F53, 0xCD9E8D57
W0, W1 = 0x9E3779B9, 0xBB67AE85

WORDS_PER_BLOCK = 4
#: Word indices are 0 <= i < WORD_STOP: a block index has 64 bits.
WORD_STOP = WORDS_PER_BLOCK << 64
#: Short enough for a core's cache, long enough for two threads to run side by side: they take
#: turns at the interpreter between two array operations.
BLOCKS_PER_CHUNK = 1 << 15
WORDS_PER_CHUNK = BLOCKS_PER_CHUNK * WORDS_PER_BLOCK

_LOW_32 = 0xFFFFFFFF
_MASK = np.uint64(_LOW_32)
_HALF = np.uint64(32)
_M0, _M1 = np.uint64(M0), np.uint64(M1)


class WordSource:
    """One thread's buffers for making words; not to be shared between threads."""

    def __init__(self) -> None:
        self._ramp = np.arange(BLOCKS_PER_CHUNK, dtype=np.uint64) * _M0
        self._lanes = np.empty((6, BLOCKS_PER_CHUNK), np.uint64)
        self._words = np.empty(WORDS_PER_CHUNK, np.uint64)

    def iter_chunks(
        self, stream_key: StreamKey, start: int, count: int
    ) -> Iterator[tuple[int, NDArray[np.uint64]]]:
        """Give words [start, start + count) of a stream, in order and in pieces.

        Yields
        ------
        offset : int
            How many words came before this piece.
        words : array of uint64, each below 2^32
            A view of the buffers: the caller may write to it, and the next step overwrites it.

        Raises
        ------
        ValueError
            If the range leaves [0, WORD_STOP).
        """
        # NumPy's own integers wrap around.
        start = operator.index(start)
        validate_words(start, count)
        keys = _round_keys(stream_key.key)
        offset = 0
        while offset < count:
            block, lane = divmod(start + offset, WORDS_PER_BLOCK)
            n_wanted = -(-(lane + count - offset) // WORDS_PER_BLOCK)
            # The high counter word must be the same in all blocks of a chunk.
            n_blocks = min(n_wanted, BLOCKS_PER_CHUNK, (1 << 32) - (block & _LOW_32))
            words = self._blocks(keys, stream_key.nonce, block, n_blocks)[lane:]
            words = words[: count - offset]
            yield offset, words
            offset += words.size

    def _blocks(
        self, keys: list[tuple[int, int]], nonce: int, block: int, n_blocks: int
    ) -> NDArray[np.uint64]:
        lanes = [lane[:n_blocks] for lane in self._lanes]
        lanes = _first_rounds(lanes, self._ramp[:n_blocks], keys, nonce, block)
        for round_key in keys[3:-1]:
            lanes = _round(lanes, round_key)
        words = self._words[: n_blocks * WORDS_PER_BLOCK]
        _last_round(lanes, keys[-1], words.reshape(n_blocks, WORDS_PER_BLOCK))
        return words


def validate_words(start: int, count: int) -> None:
    """Raise ValueError if words [start, start + count) leave [0, WORD_STOP)."""
    if start < 0 or count < 0 or start + count > WORD_STOP:
        raise ValueError(f"words [{start}, {start + count}) are outside [0, 2**66)")


def _round_keys(key: int) -> list[tuple[int, int]]:
    return [
        (((key & _LOW_32) + i * W0) & _LOW_32, ((key >> 32) + i * W1) & _LOW_32)
        for i in range(N_ROUNDS)
    ]


# Lanes are x0, x2, then the last products of M0 and M1, then two free ones. Of a product's two
# halves the low one is the counter word x3 (of M0's) or x1 (of M1's); its high half is stale.


def _first_rounds(
    lanes: list[NDArray[np.uint64]],
    ramp: NDArray[np.uint64],
    keys: list[tuple[int, int]],
    nonce: int,
    block: int,
) -> list[NDArray[np.uint64]]:
    """Do rounds 1 to 3, of which the constant counter words need no arrays."""
    x0, x2, p0, p1, new_p0, new_p1 = lanes
    constant = M1 * (nonce & _LOW_32)
    y0 = (constant >> 32) ^ (block >> 32) ^ keys[0][0]
    y1 = constant & _LOW_32
    np.add(ramp, np.uint64(M0 * (block & _LOW_32)), out=p0)
    np.right_shift(p0, _HALF, out=x2)
    np.bitwise_xor(x2, np.uint64((nonce >> 32) ^ keys[0][1]), out=x2)

    constant = M0 * y0
    np.multiply(x2, _M1, out=p1)
    np.right_shift(p1, _HALF, out=x0)
    np.bitwise_xor(x0, np.uint64(y1 ^ keys[1][0]), out=x0)
    np.bitwise_and(p0, _MASK, out=x2)
    np.bitwise_xor(x2, np.uint64((constant >> 32) ^ keys[1][1]), out=x2)

    np.multiply(x0, _M0, out=new_p0)
    np.multiply(x2, _M1, out=new_p1)
    _mix(new_p1, p1, keys[2][0], x0, x0)
    np.right_shift(new_p0, _HALF, out=x2)
    np.bitwise_xor(x2, np.uint64((constant & _LOW_32) ^ keys[2][1]), out=x2)
    return [x0, x2, new_p0, new_p1, p0, p1]


def _round(lanes: list[NDArray[np.uint64]], round_key: tuple[int, int]) -> list[NDArray[np.uint64]]:
    x0, x2, p0, p1, new_p0, new_p1 = lanes
    np.multiply(x0, _M0, out=new_p0)
    np.multiply(x2, _M1, out=new_p1)
    _mix(new_p1, p1, round_key[0], x0, x0)
    _mix(new_p0, p0, round_key[1], x2, x2)
    return [x0, x2, new_p0, new_p1, p0, p1]


def _last_round(
    lanes: list[NDArray[np.uint64]], round_key: tuple[int, int], words: NDArray[np.uint64]
) -> None:
    x0, x2, p0, p1, new_p0, new_p1 = lanes
    np.multiply(x0, _M0, out=new_p0)
    np.multiply(x2, _M1, out=new_p1)
    _mix(new_p1, p1, round_key[0], x0, words[:, 0])
    np.bitwise_and(new_p1, _MASK, out=words[:, 1])
    _mix(new_p0, p0, round_key[1], x2, words[:, 2])
    np.bitwise_and(new_p0, _MASK, out=words[:, 3])


def _mix(
    product: NDArray[np.uint64],
    old_product: NDArray[np.uint64],
    key_word: int,
    scratch: NDArray[np.uint64],
    out: NDArray[np.uint64],
) -> None:
    """Write hi(product) ^ lo(old_product) ^ key_word; `scratch` and `old_product` are spent."""
    np.right_shift(product, _HALF, out=scratch)
    np.bitwise_and(old_product, _MASK, out=old_product)
    np.bitwise_xor(scratch, old_product, out=scratch)
    np.bitwise_xor(scratch, np.uint64(key_word), out=out)
