"""Draws that have no tiles, made entire in float64 from what an engine can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kinit_cli.digest import TILE_ELEMENTS
from kinit_cli.draw import (
    DeltaOrthogonal,
    EntireDraw,
    Normal,
    Orthogonal,
    Sparse,
    channels,
    orthogonal_shape,
)
from kinit_cli.stream.sparse import zero_columns
from kinit_cli.workers import iter_results

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from kinit_cli.engines.base import Engine
    from kinit_cli.stream.identity import StreamKey


def make_entire(
    engine: Engine,
    draw: EntireDraw,
    stream_key: StreamKey,
    shape: tuple[int, ...],
    *,
    jobs: int = 1,
    on_block: Callable[[], None] | None = None,
) -> NDArray[np.float64]:
    """Give the elements of a tensor of an `EntireDraw`, before rounding to the dtype.

    Parameters
    ----------
    jobs, on_block
        As in `Engine.orthogonal`.

    Returns
    -------
    1-D array of float64, in C order
    """
    match draw:
        case Orthogonal():
            rows_cols = orthogonal_shape(draw, shape)
            matrix = engine.orthogonal(draw, stream_key, rows_cols, jobs=jobs, on_block=on_block)
            return matrix.reshape(-1)
        case DeltaOrthogonal():
            return _delta_orthogonal(engine, draw, stream_key, shape, jobs, on_block)
        case Sparse():
            return _sparse(engine, draw, stream_key, shape, jobs, on_block)


def _delta_orthogonal(
    engine: Engine,
    draw: DeltaOrthogonal,
    stream_key: StreamKey,
    shape: tuple[int, ...],
    jobs: int,
    on_block: Callable[[], None] | None,
) -> NDArray[np.float64]:
    matrix = engine.orthogonal(
        Orthogonal(gain=draw.gain),
        stream_key,
        channels(shape, draw.layout),
        jobs=jobs,
        on_block=on_block,
    )
    out = np.zeros(shape)
    field = shape[2:] if draw.layout == "torch" else shape[:-2]
    middle = tuple((size - 1) // 2 for size in field)
    if draw.layout == "torch":
        np.moveaxis(out, (0, 1), (-1, -2))[middle] = matrix
    else:
        out[middle] = matrix
    return out.reshape(-1)


def _sparse(
    engine: Engine,
    draw: Sparse,
    stream_key: StreamKey,
    shape: tuple[int, ...],
    jobs: int,
    on_block: Callable[[], None] | None,
) -> NDArray[np.float64]:
    out = np.empty(shape)
    flat, normal = out.reshape(-1), Normal(mean=0.0, stddev=draw.stddev)

    def fill(start: int) -> None:
        if on_block is not None:
            on_block()
        tile = flat[start : start + TILE_ELEMENTS]
        engine.fill(tile, normal, stream_key, start=start, shape=shape)

    for _ in iter_results(fill, range(0, flat.size, TILE_ELEMENTS), jobs=jobs):
        pass
    zero_columns(out, stream_key, draw.n_zeros, on_block=on_block)
    return flat
