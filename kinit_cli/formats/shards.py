"""Sets of files that hold one model's tensors, none of them larger than asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kinit_cli.plan import TensorPlan

#: What Hugging Face's libraries cut a model into.
DEFAULT_MAX_SHARD_BYTES = 5 * 10**9
_UNITS: dict[str, int] = {"": 1, "B": 1} | {
    f"{letter}{suffix}": int(base**power)
    for power, letter in enumerate("KMGT", start=1)
    for suffix, base in (("B", 1000), ("IB", 1024))
}
_SIZE = re.compile(r"([0-9]{1,18})(\.[0-9]{1,9})?\s*([A-Za-z]*)")


def parse_size(text: str) -> int:
    """Read a size in bytes.

    >>> parse_size("5GB"), parse_size("1.5 KiB"), parse_size("700")
    (5000000000, 1536, 700)

    Raises
    ------
    ValueError
        It is no size, or less than one byte.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or match[3].upper() not in _UNITS:
        raise ValueError(f"expected a size such as 5GB, 500MB or 2GiB, got {text!r}")
    # In whole numbers, so that no size is rounded by the way in which it is written.
    digits, unit = (match[2] or ".")[1:], _UNITS[match[3].upper()]
    n_bytes = int(match[1] + digits) * unit // int(f"1{'0' * len(digits)}")
    if n_bytes < 1:
        raise ValueError(f"expected a size of at least one byte, got {text!r}")
    return n_bytes


def split_tensors(tensors: Sequence[TensorPlan], max_shard_bytes: int) -> list[list[TensorPlan]]:
    """Cut tensors, in order, into shards of at most so many bytes of elements.

    A tensor that is larger has a shard of its own.
    """
    shards: list[list[TensorPlan]] = []
    room = 0
    for tensor in tensors:
        if not shards or tensor.n_bytes > room:
            shards.append([])
            room = max_shard_bytes
        shards[-1].append(tensor)
        room -= tensor.n_bytes
    return shards
