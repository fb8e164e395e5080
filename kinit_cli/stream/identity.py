"""From a seed and a tensor's path to the key and nonce of its stream (docs/stream.md, 1)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

#: Seeds are integers 0 <= seed < SEED_STOP.
SEED_STOP = 2**64
#: Seeds given to other libraries are below this.
FRAMEWORK_SEED_STOP = 2**31 - 2


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamKey:
    """The two 64-bit numbers that select a tensor's words."""

    key: int
    nonce: int

    def __post_init__(self) -> None:
        if not (0 <= self.key < 2**64 and 0 <= self.nonce < 2**64):
            raise ValueError("key and nonce are 64-bit unsigned integers")


def named_stream_key(model_seed: int, tensor_path: str) -> StreamKey:
    """Derive the stream of a tensor without a seed of its own, from the model's seed and its path.

    >>> hex(named_stream_key(42, "dense/kernel").key)
    '0x63855fd386b0d362'
    """
    return _stream_key(b"kinit/1/name", str(_checked(model_seed)), tensor_path)


def explicit_stream_key(initializer_seed: int) -> StreamKey:
    """Derive the stream of a tensor whose initializer has a seed; the path plays no part."""
    return _stream_key(b"kinit/1/seed", str(_checked(initializer_seed)))


def framework_seed(stream_key: StreamKey) -> int:
    """Derive a tensor's seed for another library's generator.

    It is below 2^31 - 2, which every library takes as it is (Keras reduces seeds modulo that).
    """
    return stream_key.key % FRAMEWORK_SEED_STOP


def _checked(seed: int) -> int:
    if not 0 <= seed < SEED_STOP:
        raise ValueError(f"a seed is 0 <= seed < 2**64, got {seed}")
    return seed


def _stream_key(domain: bytes, *fields: str) -> StreamKey:
    message = b"\0".join([domain, *(field.encode("utf-8") for field in fields)])
    digest = hashlib.sha256(message).digest()
    return StreamKey(
        key=int.from_bytes(digest[:8], "little"), nonce=int.from_bytes(digest[8:16], "little")
    )
