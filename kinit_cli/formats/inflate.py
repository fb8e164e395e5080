"""Random access to a deflated text in bounded memory."""

from __future__ import annotations

import os
import threading
import zlib
from collections import OrderedDict
from pathlib import Path

_PIECE_BYTES = 2**20
#: Pieces that are kept. Tiles are asked for almost in order, by several threads at once.
_MAX_PIECES = 64
_READ_BYTES = 2**18


def inflated_head(packed: bytes, n_bytes: int) -> bytes:
    """Give up to `n_bytes` of the text of which `packed` is the beginning.

    Raises
    ------
    ValueError
        The bytes are damaged.
    """
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, n_bytes)
    except zlib.error as error:
        raise ValueError(f"damaged bytes ({error})") from error


class Inflater:
    """Gives any range of a deflated text; what was passed over lately is kept.

    A range that lies further back makes it begin again, which takes long and gives the same.

    Parameters
    ----------
    offset, n_packed_bytes : int
        Where in the file the deflated bytes are.
    n_bytes, crc : int
        What the text's length and CRC-32 are said to be.
    """

    def __init__(
        self, path: Path, *, offset: int, n_packed_bytes: int, n_bytes: int, crc: int
    ) -> None:
        self._path = path
        self._offset = offset
        self._n_packed_bytes = n_packed_bytes
        self._n_bytes = n_bytes
        self._crc = crc
        self._lock = threading.Lock()
        self._restart()

    def read(self, start: int, stop: int) -> bytes:
        """Give bytes [start, stop) of the text, or up to its end.

        Raises
        ------
        ValueError
            The bytes are damaged, or the text is not what it is said to be.
        OSError
        """
        stop = min(stop, self._n_bytes)
        with self._lock:
            parts = []
            for index in range(start // _PIECE_BYTES, -(-stop // _PIECE_BYTES)):
                begin = index * _PIECE_BYTES
                parts.append(self._piece(index)[max(start - begin, 0) : stop - begin])
            return b"".join(parts)

    def _restart(self) -> None:
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        self._n_read = self._n_done = self._sum = 0
        self._pieces: OrderedDict[int, bytes] = OrderedDict()

    def _piece(self, index: int) -> bytes:
        if index not in self._pieces and index * _PIECE_BYTES < self._n_done:
            self._restart()
        while index not in self._pieces:
            next_index = self._n_done // _PIECE_BYTES
            try:
                self._pieces[next_index] = self._next_piece()
            except zlib.error as error:
                raise ValueError(f"damaged bytes ({error})") from error
            if len(self._pieces) > _MAX_PIECES:
                self._pieces.popitem(last=False)
        return self._pieces[index]

    def _next_piece(self) -> bytes:
        n_wanted = min(_PIECE_BYTES, self._n_bytes - self._n_done)
        parts = []
        n_got = 0
        while n_got < n_wanted:
            part = self._inflate(n_wanted - n_got)
            parts.append(part)
            n_got += len(part)
        piece = b"".join(parts)
        self._sum = zlib.crc32(piece, self._sum)
        if self._n_done + n_wanted == self._n_bytes:
            self._check_end()
        self._n_done += n_wanted
        return piece

    def _inflate(self, n_bytes: int) -> bytes:
        """Give from 1 to `n_bytes` more bytes."""
        while not self._stream.eof:
            packed = self._stream.unconsumed_tail or self._read_packed()
            part = self._stream.decompress(packed, n_bytes)
            if part:
                return part
            if not packed:
                break
        raise ValueError(f"an end before the {self._n_bytes} bytes that are promised")

    def _check_end(self) -> None:
        while not self._stream.eof:
            packed = self._stream.unconsumed_tail or self._read_packed()
            if self._stream.decompress(packed, 1):
                raise ValueError(f"more than the {self._n_bytes} bytes that are promised")
            if not packed:
                raise ValueError("an end in the middle")
        if self._sum != self._crc:
            raise ValueError("other bytes than were written, by their CRC-32")

    def _read_packed(self) -> bytes:
        n_bytes = min(_READ_BYTES, self._n_packed_bytes - self._n_read)
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            packed = os.pread(descriptor, n_bytes, self._offset + self._n_read)
        finally:
            os.close(descriptor)
        self._n_read += len(packed)
        return packed
