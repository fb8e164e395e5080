"""The Numba engine: compiled for the processor at hand, the same bits as the NumPy engine.

Importing this module imports Numba. Each kernel is compared with the NumPy engine on a few
elements before its first use; one that cannot be compiled or gives other bits is not used.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from kinit_cli.compiled import narrow, stream
from kinit_cli.compiled.meter import CompiledMeter
from kinit_cli.compiled.orthogonal import orthogonal_matrix
from kinit_cli.digest import TILE_ELEMENTS
from kinit_cli.draw import (
    BoundedNormal,
    Constant,
    DeltaOrthogonal,
    Draw,
    Normal,
    Orthogonal,
    Sparse,
    TruncatedNormal,
    Uniform,
    orthogonal_shape,
)
from kinit_cli.dtypes import numpy_dtype
from kinit_cli.engines.numpy import NumpyEngine
from kinit_cli.engines.probes import PROBE_DRAWS, PROBE_KEY, STREAMED, fills_alike
from kinit_cli.engines.trial import OnFault, Trials
from kinit_cli.statistics.meter import Meter, is_single
from kinit_cli.stream.bounded import (
    Positions,
    largest_not_above,
    positions_between,
    smallest_not_below,
)
from kinit_cli.stream.identity import StreamKey
from kinit_cli.stream.philox import validate_words
from kinit_cli.stream.transforms import Affine, largest_below, normal_affine, uniform_affine

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: 16-bit floats are float32 first, so many at a time.
_NARROW_STEP = 1 << 15
_NARROW_KERNELS = {
    numpy_dtype("float16"): narrow.to_float16,
    numpy_dtype("bfloat16"): narrow.to_bfloat16,
}
_FILL_KERNELS = {
    numpy_dtype("float32"): stream.fill_float32,
    numpy_dtype("float64"): stream.fill_float64,
}
_NO_POSITIONS = Positions(origin=0, count=0)


class NumbaEngine:
    """Fills tiles with compiled kernels; see `kinit_cli.engines.base.Engine`."""

    name: str = "numba"
    span_elements: int = TILE_ELEMENTS

    def __init__(self, on_fault: OnFault) -> None:
        self._numpy = NumpyEngine()
        self._trials = Trials("compiled", on_fault, substitute="NumPy")
        self._local = threading.local()

    def fill(
        self,
        out: NDArray[Any],
        draw: Draw,
        stream_key: StreamKey,
        *,
        start: int,
        shape: tuple[int, ...],
    ) -> None:
        """Write elements [start, start + out.size) of a tensor into `out`, in place."""
        if isinstance(draw, STREAMED) and out.flags.behaved and self._can_fill(out.dtype):
            self._fill(out, draw, stream_key, start)
        else:
            self._numpy.fill(out, draw, stream_key, start=start, shape=shape)

    def orthogonal(
        self,
        draw: Orthogonal,
        stream_key: StreamKey,
        shape: tuple[int, ...],
        *,
        jobs: int = 1,
        on_block: Callable[[], None] | None = None,
    ) -> NDArray[np.float64]:
        """Give the whole matrix of an orthogonal tensor, times its gain."""
        if not self._can_make_matrices():
            return self._numpy.orthogonal(draw, stream_key, shape, jobs=jobs, on_block=on_block)
        rows, cols = orthogonal_shape(draw, shape)
        return orthogonal_matrix(stream_key, rows, cols, draw.gain, jobs=jobs, on_block=on_block)

    def make_meter(self) -> Meter:
        """Give a meter for one thread."""
        return CompiledMeter(self._can_measure)

    def prepare(self, kinds: Iterable[tuple[type[Draw] | None, np.dtype[Any]]]) -> None:
        """Load, compile and try out what will be used; see `kinit_cli.engines.base.Engine`."""
        for draw, dtype in kinds:
            if draw in STREAMED:
                self._can_fill(dtype)
            if draw is Sparse:
                self._can_fill(np.dtype(np.float64))
            if draw in (Orthogonal, DeltaOrthogonal):
                self._can_make_matrices()
            if draw is not Constant:
                self._can_measure(np.dtype(np.float32 if is_single(dtype) else np.float64))

    def _can_make_matrices(self) -> bool:
        return self._is_trusted("orthogonal matrices", _probe_orthogonal)

    def _can_measure(self, dtype: np.dtype[Any]) -> bool:
        return self._is_trusted(f"statistics of {dtype}", lambda: _probe_meter(dtype))

    def _can_fill(self, dtype: np.dtype[Any]) -> bool:
        if dtype not in _FILL_KERNELS and dtype not in _NARROW_KERNELS:
            return False
        return self._is_trusted(dtype, lambda: self._probe_fill(dtype))

    def _fill(self, out: NDArray[Any], draw: Draw, stream_key: StreamKey, start: int) -> None:
        start = operator.index(start)
        validate_words(start, out.size)
        if not out.size:
            return
        if out.dtype in _FILL_KERNELS:
            _call_fill(out, draw, stream_key, start, out.dtype)
            return
        to_narrow, out_bits, wide = _NARROW_KERNELS[out.dtype], out.view(np.uint16), self._wide()
        for offset in range(0, out.size, _NARROW_STEP):
            piece = wide[: min(_NARROW_STEP, out.size - offset)]
            _call_fill(piece, draw, stream_key, start + offset, out.dtype)
            to_narrow(piece, out_bits[offset : offset + piece.size])

    def _wide(self) -> NDArray[np.float32]:
        local = self._local
        if not hasattr(local, "wide"):
            local.wide = np.empty(_NARROW_STEP, np.float32)
        wide: NDArray[np.float32] = local.wide
        return wide

    def _is_trusted(self, part: object, probe: Callable[[], bool]) -> bool:
        """Tell whether a part works, which is tried out once."""
        return self._trials.choose(part, [(True, probe)]) is not None

    def _probe_fill(self, dtype: np.dtype[Any]) -> bool:
        """Compare three steps, beginning within a counter, over a carry between its words."""
        count, start = 2 * stream.WORDS_PER_STEP + 5, 2**34 - stream.WORDS_PER_STEP - 3
        return all(
            fills_alike(self._fill, draw, dtype, start=start, count=count) for draw in PROBE_DRAWS
        )


def _probe_meter(dtype: np.dtype[Any]) -> bool:
    """Compare the statistics of a whole chunk and a short one."""
    values = np.empty(2**14 + 1001, dtype)
    NumpyEngine().fill(values, PROBE_DRAWS[1], PROBE_KEY, start=0, shape=values.shape)
    values[::97] = -0.0
    return CompiledMeter().measure(values).is_same(Meter().measure(values))


def _probe_orthogonal() -> bool:
    """Compare matrices of two blocks, one of them short, tall and wide."""
    draw = Orthogonal(gain=1.5)
    for shape in ((80, 70), (70, 80)):
        found = orthogonal_matrix(PROBE_KEY, *shape, draw.gain)
        if found.tobytes() != NumpyEngine().orthogonal(draw, PROBE_KEY, shape).tobytes():
            return False
    return True


def _call_fill(
    out: NDArray[Any], draw: Draw, stream_key: StreamKey, start: int, dtype: np.dtype[Any]
) -> None:
    """Fill `out`; `dtype` is what it will be cast to.

    Bounds are values of that dtype, so rounding to it cannot pass them.
    """
    kind, affine = _kind_and_affine(draw)
    lowest, highest = _bounds(draw, dtype)
    positions = _positions(draw)
    _FILL_KERNELS[out.dtype](
        out,
        kind,
        stream_key.key,
        stream_key.nonce,
        start >> 2,
        start & 3,
        affine.scale,
        affine.offset,
        highest,
        lowest,
        positions.origin,
        positions.count,
    )


def _kind_and_affine(draw: Draw) -> tuple[int, Affine]:
    match draw:
        case Uniform(minval=minval, maxval=maxval):
            return stream.UNIFORM, uniform_affine(minval, maxval)
        case Normal(mean=mean, stddev=stddev):
            return stream.NORMAL, normal_affine(mean, stddev)
        case BoundedNormal(mean=mean, stddev=stddev):
            return stream.BOUNDED_NORMAL, normal_affine(mean, stddev)
        case TruncatedNormal(mean=mean, stddev=stddev):
            return stream.TRUNCATED_NORMAL, normal_affine(mean, stddev)
        case _:
            raise TypeError(f"{draw!r} is not drawn from the stream")


def _bounds(draw: Draw, dtype: np.dtype[Any]) -> tuple[float, float]:
    match draw:
        case Uniform(maxval=maxval):
            return 0.0, largest_below(maxval, dtype)
        case BoundedNormal(low=low, high=high):
            return smallest_not_below(low, dtype), largest_not_above(high, dtype)
        case _:
            return 0.0, 0.0


def _positions(draw: Draw) -> Positions:
    if not isinstance(draw, BoundedNormal):
        return _NO_POSITIONS
    return positions_between(draw.mean, draw.stddev, draw.low, draw.high)
