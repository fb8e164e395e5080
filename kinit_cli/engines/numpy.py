"""The NumPy engine: everywhere, and what the other engines are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kinit_cli.digest import TILE_ELEMENTS
from kinit_cli.draw import (
    BoundedNormal,
    Called,
    Constant,
    ConstantArray,
    DeltaOrthogonal,
    Dirac,
    Draw,
    Eye,
    Normal,
    Orthogonal,
    Sparse,
    Stft,
    TruncatedNormal,
    Uniform,
    orthogonal_shape,
)
from kinit_cli.engines.constants import (
    fill_constant,
    fill_constant_array,
    fill_dirac,
    fill_eye,
)
from kinit_cli.statistics.meter import Meter
from kinit_cli.stream.fill import (
    fill_bounded_normal,
    fill_normal,
    fill_truncated_normal,
    fill_uniform,
)
from kinit_cli.stream.stft import fill_stft

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    from numpy.typing import NDArray

    from kinit_cli.stream.identity import StreamKey


class NumpyEngine:
    """Fills tiles with NumPy, block by block in cache; see `kinit_cli.engines.base.Engine`."""

    name: str = "numpy"
    span_elements: int = TILE_ELEMENTS

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
        match draw:
            case Constant(value=value):
                fill_constant(out, value)
            case ConstantArray(values=values):
                fill_constant_array(out, values, start, shape)
            case Eye(gain=gain):
                fill_eye(out, gain, start, shape)
            case Dirac():
                fill_dirac(out, draw, start, shape)
            case Stft():
                fill_stft(out, draw, start, shape)
            case Uniform(minval=minval, maxval=maxval):
                fill_uniform(out, stream_key, start, minval=minval, maxval=maxval)
            case Normal(mean=mean, stddev=stddev):
                fill_normal(out, stream_key, start, mean=mean, stddev=stddev)
            case TruncatedNormal(mean=mean, stddev=stddev):
                fill_truncated_normal(out, stream_key, start, mean=mean, stddev=stddev)
            case BoundedNormal(mean=mean, stddev=stddev, low=low, high=high):
                fill_bounded_normal(
                    out, stream_key, start, mean=mean, stddev=stddev, low=low, high=high
                )
            case Orthogonal() | DeltaOrthogonal() | Sparse() | Called():
                raise TypeError(f"{type(draw).__name__} has no tiles: it is made whole")

    def orthogonal(
        self,
        draw: Orthogonal,
        stream_key: StreamKey,
        shape: tuple[int, ...],
        *,
        jobs: int = 1,
        on_block: Callable[[], None] | None = None,
    ) -> NDArray[np.float64]:
        """Give the whole matrix of an orthogonal tensor, times its gain.

        NumPy's own threads do the products, so `jobs` changes nothing.
        """
        from kinit_cli.stream.orthogonal import orthogonal_matrix

        rows, cols = orthogonal_shape(draw, shape)
        return orthogonal_matrix(stream_key, rows, cols, draw.gain, on_block=on_block)

    def prepare(self, kinds: Iterable[tuple[type[Draw] | None, np.dtype[Any]]]) -> None:
        """Do nothing: NumPy is ready."""

    def make_meter(self) -> Meter:
        """Give a meter for one thread."""
        return Meter()
