"""What a faster engine is tried out with, and the comparison with the NumPy engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from kinit_cli.draw import BoundedNormal, Draw, Normal, TruncatedNormal, Uniform
from kinit_cli.engines.numpy import NumpyEngine
from kinit_cli.stream.identity import StreamKey

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Draws whose elements each come from a word of the stream.
STREAMED = (Uniform, Normal, TruncatedNormal, BoundedNormal)
PROBE_KEY = StreamKey(key=0x0123456789ABCDEF, nonce=0xFEDCBA9876543210)
PROBE_DRAWS: tuple[Draw, ...] = (
    Uniform(minval=-0.05, maxval=0.1),
    Normal(mean=0.25, stddev=1.5),
    TruncatedNormal(mean=-1.0, stddev=0.02),
    BoundedNormal(mean=0.5, stddev=1.25, low=-1.5, high=4.0),
)


def fills_alike(
    fill: Callable[[NDArray[Any], Draw, StreamKey, int], None],
    draw: Draw,
    dtype: np.dtype[Any],
    *,
    start: int,
    count: int,
) -> bool:
    """Tell whether `fill(out, draw, key, start)` writes what the NumPy engine does, bit for bit."""
    found, expected = np.zeros(count, dtype), np.ones(count, dtype)
    fill(found, draw, PROBE_KEY, start)
    NumpyEngine().fill(expected, draw, PROBE_KEY, start=start, shape=(2**40,))
    return found.tobytes() == expected.tobytes()
