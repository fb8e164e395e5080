"""What kinit and the process that reads HDF5 say to each other: JSON, and bytes that follow it.

Nothing in a message is code, and no length in it is believed: the other side may have read a
file that was made to take it over.
"""

from __future__ import annotations

import functools
import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from kinit_cli.formats.weights_file import TensorEntry

if TYPE_CHECKING:
    import socket

    from numpy.typing import NDArray

_LENGTHS = struct.Struct("<QQ")
_MAX_HEADER_BYTES = 2**32


def send(peer: socket.socket, header: dict[str, Any], data: Any = b"") -> None:
    """Send a message: JSON, and bytes that follow it."""
    text = json.dumps(header).encode()
    peer.sendall(_LENGTHS.pack(len(text), len(data)))
    peer.sendall(text)
    peer.sendall(data)


def receive(peer: socket.socket, into: NDArray[np.uint8] | None = None) -> dict[str, Any]:
    """Wait for a message; its bytes must be as many as `into` has.

    Raises
    ------
    EOFError
        The other side is gone.
    ValueError
        It is not such a message.
    """
    lengths = bytearray(_LENGTHS.size)
    _fill(peer, memoryview(lengths))
    n_header_bytes, n_bytes = _LENGTHS.unpack(lengths)
    if n_header_bytes > _MAX_HEADER_BYTES:
        raise ValueError("a message of too many bytes")
    text = bytearray(n_header_bytes)
    _fill(peer, memoryview(text))
    header = json.loads(text)
    if not isinstance(header, dict):
        raise ValueError("a message that is no object")
    if n_bytes != (0 if into is None or "error" in header else into.size):
        raise ValueError("a message of another size")
    if n_bytes and into is not None:
        _fill(peer, into.data)
    return header


def _fill(peer: socket.socket, room: memoryview) -> None:
    while room:
        n_got = peer.recv_into(room)
        if not n_got:
            raise EOFError
        room = room[n_got:]


def entry_json(entry: TensorEntry) -> list[Any]:
    """Give an entry as plain data."""
    element = entry.element
    text = None
    if element is not None:
        # A type that is not NumPy's own is told by its name; NumPy's names leave out the order.
        text = element.name if element.isbuiltin == 2 else element.str
    return [entry.path, entry.shape, entry.dtype, entry.n_elements, entry.n_bytes, text]


def parse_entry(raw: list[Any]) -> TensorEntry:
    """Read an entry back."""
    path, shape, dtype, n_elements, n_bytes, text = raw
    return TensorEntry(
        path=str(path),
        shape=tuple(int(size) for size in shape),
        dtype=str(dtype),
        n_elements=int(n_elements),
        n_bytes=int(n_bytes),
        element=None if text is None else _element(text),
    )


@functools.cache
def _element(text: str) -> np.dtype[Any]:
    if text[0] in "<>|":
        return np.dtype(text)
    from kinit_cli.dtypes import narrow_floats

    (found,) = (narrow for narrow in narrow_floats() if narrow.__name__ == text)
    return np.dtype(found)
