"""The contract of an engine.

An engine turns a draw and a stream key into elements. It is stateless towards its callers and
may be called from many threads at once, each with its own `out`. Every engine gives the same
bits: the NumPy engine is the reference, and a faster one is another way to do the same
arithmetic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    from numpy.typing import NDArray

    from kinit_cli.draw import Draw, Orthogonal
    from kinit_cli.statistics.meter import Meter
    from kinit_cli.stream.identity import StreamKey


class Engine(Protocol):
    """Fills tiles of tensors.

    Attributes
    ----------
    span_elements : int
        How many elements at once suit it, a multiple of a tile; it takes any number.
    """

    name: str
    span_elements: int

    def fill(
        self,
        out: NDArray[Any],
        draw: Draw,
        stream_key: StreamKey,
        *,
        start: int,
        shape: tuple[int, ...],
    ) -> None:
        """Write elements [start, start + out.size) of a tensor into `out`, in place.

        Parameters
        ----------
        out : 1-D C-contiguous array of the tensor's dtype
            Its old contents do not matter.
        draw : any draw but an `EntireDraw` and `Called`
        start : int
            Flat C-order index of the first element; any value, not only multiples of a tile.
        shape : tuple of int
            The whole tensor's shape.
        """
        ...

    def orthogonal(
        self,
        draw: Orthogonal,
        stream_key: StreamKey,
        shape: tuple[int, ...],
        *,
        jobs: int = 1,
        on_block: Callable[[], None] | None = None,
    ) -> NDArray[Any]:
        """Give the whole matrix of an orthogonal tensor.

        Parameters
        ----------
        jobs : int
            Threads that this one matrix may use.
        on_block : callable, optional
            Called now and then, about once a second at the least; it may raise to give up.

        Returns
        -------
        array of float64, shape `orthogonal_shape(draw, shape)`, C-contiguous
            Already multiplied by the gain; the caller casts it with `cast_float64`.
        """
        ...

    def prepare(self, kinds: Iterable[tuple[type[Draw] | None, np.dtype[Any]]]) -> None:
        """Do what takes long, or may fail, before anything depends on it.

        Parameters
        ----------
        kinds : iterable of (draw, dtype)
            What will be drawn and measured; None where it is only measured.
        """
        ...

    def make_meter(self) -> Meter:
        """Give what measures tiles, for one thread."""
        ...
