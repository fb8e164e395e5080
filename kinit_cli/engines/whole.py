"""Whole tensors in memory, on several threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kinit_cli.draw import Called, Draw, EntireDraw
from kinit_cli.dtypes import numpy_dtype
from kinit_cli.engines.entire import make_entire
from kinit_cli.returned import call_function
from kinit_cli.stream.transforms import cast_float64
from kinit_cli.workers import default_jobs, iter_results

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kinit_cli.engines.base import Engine
    from kinit_cli.plan import TensorPlan
    from kinit_cli.stream.identity import StreamKey


def make_tensor(
    engine: Engine,
    draw: Draw,
    stream_key: StreamKey,
    shape: tuple[int, ...],
    dtype: str,
    *,
    jobs: int | None = None,
) -> NDArray[Any]:
    """Give a tensor as an array; `fill_tensor` into new memory."""
    out = np.empty(shape, numpy_dtype(dtype))
    fill_tensor(out, engine, draw, stream_key, jobs=jobs)
    return out


def make_planned(engine: Engine, tensor: TensorPlan, *, jobs: int | None = None) -> NDArray[Any]:
    """Give a planned tensor as an array, whatever it is drawn from.

    Raises
    ------
    InitializerError
        A function that it calls failed.
    """
    if isinstance(tensor.draw, Called) and tensor.n_elements:
        return call_function(tensor.draw, tensor)
    return make_tensor(
        engine, tensor.draw, tensor.stream_key, tensor.shape, tensor.dtype.name, jobs=jobs
    )


def fill_tensor(
    out: NDArray[Any],
    engine: Engine,
    draw: Draw,
    stream_key: StreamKey,
    *,
    jobs: int | None = None,
) -> None:
    """Write a whole tensor into `out`.

    Parameters
    ----------
    out : C-contiguous array of the tensor's shape and dtype
    jobs : int, optional
        Threads; the cores that this process may use if absent. The values do not depend on it.

    Raises
    ------
    ValueError
        If `out` is not C-contiguous.
    """
    if not out.flags.c_contiguous:
        raise ValueError("expected a C-contiguous array to fill")
    flat, jobs = out.reshape(-1), jobs or default_jobs()
    if not flat.size:
        return
    if isinstance(draw, EntireDraw):
        cast_float64(make_entire(engine, draw, stream_key, out.shape, jobs=jobs), flat)
        return

    def fill(start: int) -> None:
        span = flat[start : start + engine.span_elements]
        engine.fill(span, draw, stream_key, start=start, shape=out.shape)

    for _ in iter_results(fill, range(0, flat.size, engine.span_elements), jobs=jobs):
        pass
