"""Fill arrays from a stream: words and transforms, on the calling thread's own buffers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from kinit_cli.stream.bounded import largest_not_above, positions_between, smallest_not_below
from kinit_cli.stream.philox import WordSource
from kinit_cli.stream.transforms import (
    ELEMENTS_PER_STEP,
    Transforms,
    largest_below,
    normal_affine,
    uniform_affine,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kinit_cli.stream.identity import StreamKey

    Transform: TypeAlias = Callable[[NDArray[np.uint64], NDArray[Any]], None]


class _Buffers(threading.local):
    def __init__(self) -> None:
        self.source = WordSource()
        self.transforms = Transforms()


_buffers = _Buffers()


# In all of these, `out` is a 1-D array, written in place, whose element j becomes element
# start + j of the tensor.


def fill_words(out: NDArray[np.uint32], stream_key: StreamKey, start: int) -> None:
    """Write words [start, start + out.size) into `out`."""
    _fill(out, stream_key, start, lambda words, piece: np.copyto(piece, words, casting="unsafe"))


def fill_uniform(
    out: NDArray[Any], stream_key: StreamKey, start: int, *, minval: float, maxval: float
) -> None:
    """Write uniforms on [minval, maxval) into `out`, of a float dtype."""
    transform = partial(
        _buffers.transforms.uniform,
        affine=uniform_affine(minval, maxval),
        highest=largest_below(maxval, out.dtype),
    )
    _fill(out, stream_key, start, transform)


def fill_normal(
    out: NDArray[Any], stream_key: StreamKey, start: int, *, mean: float, stddev: float
) -> None:
    """Write normals into `out`, of a float dtype."""
    transform = partial(_buffers.transforms.normal, affine=normal_affine(mean, stddev))
    _fill(out, stream_key, start, transform)


def fill_truncated_normal(
    out: NDArray[Any], stream_key: StreamKey, start: int, *, mean: float, stddev: float
) -> None:
    """Write normals truncated at two `stddev` from the mean into `out`, of a float dtype."""
    transform = partial(_buffers.transforms.truncated_normal, affine=normal_affine(mean, stddev))
    _fill(out, stream_key, start, transform)


def fill_bounded_normal(
    out: NDArray[Any],
    stream_key: StreamKey,
    start: int,
    *,
    mean: float,
    stddev: float,
    low: float,
    high: float,
) -> None:
    """Write normals cut at `low` and `high` into `out`, of a float dtype."""
    transform = partial(
        _buffers.transforms.bounded_normal,
        affine=normal_affine(mean, stddev),
        positions=positions_between(mean, stddev, low, high),
        bounds=(smallest_not_below(low, out.dtype), largest_not_above(high, out.dtype)),
    )
    _fill(out, stream_key, start, transform)


def fill_normal_units(out: NDArray[np.float64], stream_key: StreamKey, start: int) -> None:
    """Write unit normals in units of 2^-26 into `out`: integers, of which zero has a sign too."""
    normal_units = _buffers.transforms.normal_units
    _fill(out, stream_key, start, lambda words, piece: np.copyto(piece, normal_units(words)))


def _fill(out: NDArray[Any], stream_key: StreamKey, start: int, transform: Transform) -> None:
    for offset, words in _buffers.source.iter_chunks(stream_key, start, out.size):
        for begin in range(0, words.size, ELEMENTS_PER_STEP):
            step = words[begin : begin + ELEMENTS_PER_STEP]
            transform(step, out[offset + begin : offset + begin + step.size])
