"""Reading arrays that lie in Fortran order in a file, a range of them in C order.

Not through a mapping: of a file that becomes shorter meanwhile, that would end the process.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kinit_cli.formats.weights_file import TensorEntry, iter_boxes, read_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    #: Gives so many elements from a byte offset in the file.
    _Read = Callable[[int, int], NDArray[Any]]

#: Up to here more is read than asked for: a call costs as much as this many bytes.
_MAX_ROW_BYTES = 2**14
_WINDOW_BYTES = 2**20


def read_fortran(
    path: Path, offset: int, entry: TensorEntry, start: int, stop: int
) -> NDArray[Any]:
    """Give elements [start, stop) in C order of a tensor that lies in Fortran order at `offset`.

    Raises
    ------
    WeightsFileError
        The file became shorter.
    OSError
        The system refused.
    """
    assert entry.element is not None
    elements = np.empty(stop - start, entry.element)
    n_done = 0
    with path.open("rb", buffering=0) as file:
        read = partial(_read, file.fileno(), path, entry.element)
        for box in iter_boxes(entry.shape, start, stop):
            sizes = [part.stop - part.start for part in box]
            n_part = math.prod(sizes)
            part = elements[n_done : n_done + n_part].reshape(sizes)
            # With its axes the other way round the file is in C order.
            _read_box(read, offset, entry.shape[::-1], box[::-1], part.T)
            n_done += n_part
    return elements


def _read(
    descriptor: int, path: Path, element: np.dtype[Any], offset: int, n_elements: int
) -> NDArray[Any]:
    return read_at(descriptor, path, element, offset=offset, n_elements=n_elements)


def _read_box(
    read: _Read, offset: int, shape: tuple[int, ...], box: tuple[slice, ...], out: NDArray[Any]
) -> None:
    """Read a box of an array that lies in C order at a byte offset.

    Parameters
    ----------
    out : array of the box's shape
        Written in place.
    """
    n_row = math.prod(shape[1:])
    n_row_bytes = n_row * out.itemsize
    first, last = box[0].start, box[0].stop
    if n_row_bytes > _MAX_ROW_BYTES:
        for row in range(first, last):
            _read_box(read, offset + row * n_row_bytes, shape[1:], box[1:], out[row - first])
        return
    n_rows = max(1, _WINDOW_BYTES // n_row_bytes)
    wanted = (slice(None), *box[1:])
    for row in range(first, last, n_rows):
        n_now = min(n_rows, last - row)
        window = read(offset + row * n_row_bytes, n_now * n_row).reshape((n_now, *shape[1:]))
        out[row - first : row - first + n_now] = window[wanted]
