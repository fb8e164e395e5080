"""The digest of a tensor: BLAKE3 over the BLAKE3 digests of its pieces (docs/stream.md).

It depends on the elements and their type alone, not on a file format, and its pieces can be
hashed in any order on any thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blake3 import blake3

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Elements in a piece, and in a tile; the last of a tensor may be shorter.
TILE_ELEMENTS = 2**20


class TensorDigest:
    """Joins the digests of a tensor's pieces, which may come in any order.

    Digests that wait for an earlier piece are kept, so memory grows only with how far the order
    is disturbed. Not to be shared between threads.
    """

    __slots__ = ("_hasher", "_n_joined", "_waiting")

    def __init__(self) -> None:
        self._hasher = blake3()
        self._n_joined = 0
        self._waiting: dict[int, bytes] = {}

    def add(self, piece_index: int, digest: bytes) -> None:
        """Take what `piece_digest` gave for piece `piece_index`, each index once."""
        if piece_index < self._n_joined or piece_index in self._waiting:
            raise ValueError(f"piece {piece_index} was added before")
        self._waiting[piece_index] = digest
        while (ready := self._waiting.pop(self._n_joined, None)) is not None:
            self._hasher.update(ready)
            self._n_joined += 1

    def hexdigest(self) -> str:
        """Give the tensor's digest as 64 hex digits.

        Raises
        ------
        ValueError
            If a piece before the last one added is missing.
        """
        if self._waiting:
            raise ValueError(f"piece {self._n_joined} is missing")
        return self._hasher.hexdigest()


def piece_digest(piece: NDArray[Any]) -> bytes:
    """Give the 32-byte BLAKE3 digest of an array's little-endian C-order bytes."""
    return blake3(little_endian_bytes(piece).data).digest()


def digest_of(array: NDArray[Any]) -> str:
    """Give the digest of a whole tensor that is in memory.

    >>> import numpy as np
    >>> digest_of(np.zeros(0, np.float32))[:16]
    'af1349b9f5f9a1a6'
    """
    flat = array.reshape(-1)
    digest = TensorDigest()
    for index, start in enumerate(range(0, flat.size, TILE_ELEMENTS)):
        digest.add(index, piece_digest(flat[start : start + TILE_ELEMENTS]))
    return digest.hexdigest()


def little_endian_bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """View an array's elements as bytes in C order, copied only if they are stored otherwise."""
    import numpy as np

    little = array.dtype.newbyteorder("<")
    return np.ascontiguousarray(array, dtype=little).reshape(-1).view(np.uint8)
