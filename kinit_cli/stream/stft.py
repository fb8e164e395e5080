"""Kernels of a short-time Fourier transform (docs/stream.md, 11)."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from kinit_cli.stream.circle import circle
from kinit_cli.stream.transforms import ELEMENTS_PER_STEP, cast_float64
from kinit_cli.stream.windows import window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kinit_cli.draw import Stft


def fill_stft(out: NDArray[Any], draw: Stft, start: int, shape: tuple[int, ...]) -> None:
    """Write elements [start, start + out.size) of a kernel (T, 1, F) into `out`."""
    length, _, n_bins = shape
    n = 2 * (n_bins - 1)
    cosines, sines = circle(n)
    part = cosines if draw.side == "real" else -sines
    samples, divisor = samples_and_divisor(draw, length)
    for offset in range(0, out.size, ELEMENTS_PER_STEP):
        piece = out[offset : offset + ELEMENTS_PER_STEP]
        index = np.arange(start + offset, start + offset + piece.size)
        time, frequency = np.divmod(index, n_bins)
        x = part[time * frequency % n]
        if samples is not None:
            x = x * samples[time] / divisor
        # Every zero is +0.
        cast_float64(x + 0.0, piece)


@lru_cache(maxsize=8)
def samples_and_divisor(draw: Stft, length: int) -> tuple[NDArray[np.float64] | None, float]:
    """Give the window's samples, None for no window, and what they are divided by."""
    if draw.window is None:
        return None, 1.0
    if isinstance(draw.window, str):
        samples = window(draw.window, length, is_periodic=draw.periodic)
    else:
        samples = np.array(draw.window, np.float64)
    # Both sums are rounded once, so that their order does not matter.
    if draw.scaling == "density":
        return samples, math.sqrt(math.fsum((samples * samples).tolist()))
    if draw.scaling == "spectrum":
        return samples, math.fsum(np.abs(samples).tolist())
    return samples, 1.0
