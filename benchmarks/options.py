"""How much is measured, and by what: one value that all parts share."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

PEERS = ("numpy", "torch", "jax", "keras")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What is measured how often; the defaults are those of `make bench`."""

    rounds: int = 5
    #: Rounds of what takes many seconds.
    long_rounds: int = 3
    #: Rounds of what takes milliseconds.
    start_rounds: int = 25
    #: Elements of a tensor filled in memory.
    elements: int = 64_000_000
    orthogonal: tuple[int, ...] = (1024, 2048, 4096)
    has_gpt2: bool = True
    #: Bytes of the large model that goes from spec to file.
    model_bytes: int = 2_000_000_000
    inspect_bytes: int = 4_000_000_000
    memory_bytes: tuple[int, ...] = (80_000_000, 8_000_000_000)
    crossing_elements: tuple[int, ...] = tuple(2**power for power in range(22, 29))
    growth_elements: tuple[int, ...] = tuple(10**power for power in range(5, 10))
    growth_tensors: tuple[int, ...] = tuple(10**power for power in range(1, 6))


#: Everything, in seconds, to see that it works; the figures mean nothing.
QUICK = Sizes(
    rounds=1,
    long_rounds=1,
    start_rounds=1,
    elements=40_000,
    orthogonal=(32,),
    has_gpt2=False,
    model_bytes=32_000_000,
    inspect_bytes=32_000_000,
    memory_bytes=(16_000_000, 64_000_000),
    crossing_elements=(2**16, 2**18),
    growth_elements=(10**3, 10**4, 10**5),
    growth_tensors=(10, 100, 1000),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything that a part must know."""

    sizes: Sizes
    #: Threads of kinit and of every peer.
    threads: int
    #: Where files go that are not on a RAM disk.
    folder: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    peers: tuple[str, ...] = PEERS
    #: The Python of each peer that can be measured.
    python_of: dict[str, str] = field(default_factory=dict)
