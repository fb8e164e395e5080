"""What only the places of the elements show: these are read a second time, or some of them are.

Only a stretch of elements is held at a time, so the tensor may be of any size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from kinit_cli.draw import (
    ConstantArray,
    DeltaOrthogonal,
    Dirac,
    Eye,
    Orthogonal,
    Sparse,
    Stft,
    channels,
    orthogonal_shape,
)
from kinit_cli.statistics.orthogonality import ELEMENTS_AT_ONCE, Read, orthogonality_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kinit_cli.draw import Draw
    from kinit_cli.statistics.findings import Expected

#: Elements without chance are compared in so many stretches of so many.
_N_STRETCHES = 8
_STRETCH_ELEMENTS = 4096

#: Draws whose elements are known one by one, but not by their range alone.
_Known: TypeAlias = ConstantArray | Eye | Dirac | Stft


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """What was found of a tensor's structure.

    Attributes
    ----------
    orthogonality_error : float or None
        Largest element of |Q^T Q / gain^2 - I|, over the columns that were sampled.
    n_inside : int or None
        Of a delta-orthogonal kernel, how many elements of its middle are not 0.
    fewest_zeros : int or None
        Of a sparse matrix, how many zeros the column has that has the fewest.
    wrong_index : int or None
        Flat C-order index of the first element that was found to differ from the only value that
        it can have.
    """

    orthogonality_error: float | None = None
    n_inside: int | None = None
    fewest_zeros: int | None = None
    wrong_index: int | None = None


def has_structure(draw: Draw) -> bool:
    """Tell whether `structure_of` finds anything in a tensor of a draw."""
    if isinstance(draw, Orthogonal | DeltaOrthogonal):
        return bool(draw.gain)
    return isinstance(draw, Sparse | _Known)


def structure_of(read: Read, expected: Expected) -> Structure:
    """Look at the places of a tensor's elements.

    Parameters
    ----------
    read : callable
        See `kinit_cli.statistics.orthogonality.orthogonality_error`. The tensor has elements.
    """
    with np.errstate(all="ignore"):  # the elements may be any
        return _structure_of(read, expected)


def fewest_zeros(read: Read, rows: int, cols: int) -> int:
    """Count the zeros in every column of a matrix; give the least number."""
    fewest = rows
    for first in range(0, cols, ELEMENTS_AT_ONCE):
        n_columns = min(cols - first, ELEMENTS_AT_ONCE)
        # Whole rows may be read many at a time; parts of rows do not lie next to each other.
        n_rows = ELEMENTS_AT_ONCE // cols or 1
        counts = np.zeros(n_columns, np.int64)
        for row in range(0, rows, n_rows):
            start = row * cols + first
            values = read(start, start + (min(n_rows, rows - row) - 1) * cols + n_columns)
            counts += np.count_nonzero(values.reshape(-1, n_columns) == 0, axis=0)
        fewest = min(fewest, int(counts.min()))
    return fewest


def _structure_of(read: Read, expected: Expected) -> Structure:
    draw, shape = expected.draw, expected.shape
    match draw:
        case Orthogonal(gain=gain):
            rows, cols = orthogonal_shape(draw, shape)
            return Structure(orthogonality_error=orthogonality_error(read, rows, cols, gain))
        case DeltaOrthogonal():
            return _delta_structure(read, draw, shape)
        case Sparse():
            return Structure(fewest_zeros=fewest_zeros(read, *shape))
        case ConstantArray() | Eye() | Dirac() | Stft() if expected.is_ours:
            return Structure(wrong_index=_wrong_index(read, draw, expected))
    return Structure()


def _delta_structure(read: Read, draw: DeltaOrthogonal, shape: tuple[int, ...]) -> Structure:
    field = shape[2:] if draw.layout == "torch" else shape[:-2]
    n_points = math.prod(field)
    point = 0
    for size in field:
        point = point * size + (size - 1) // 2
    inputs, outputs = channels(shape, draw.layout)

    def read_middle(start: int, stop: int) -> NDArray[Any]:
        if draw.layout == "torch":
            return _read_every(n_points, read, start, stop, point)
        first = point * inputs * outputs
        return read(first + start, first + stop)

    n_inside = 0
    for start in range(0, inputs * outputs, ELEMENTS_AT_ONCE):
        stop = min(start + ELEMENTS_AT_ONCE, inputs * outputs)
        n_inside += int(np.count_nonzero(read_middle(start, stop)))
    rows, cols = (outputs, inputs) if draw.layout == "torch" else (inputs, outputs)
    return Structure(
        orthogonality_error=orthogonality_error(read_middle, rows, cols, draw.gain),
        n_inside=n_inside,
    )


def _read_every(n_points: int, read: Read, start: int, stop: int, point: int) -> NDArray[Any]:
    """Read element `point` of each of the groups [start, stop) of so many."""
    step = ELEMENTS_AT_ONCE // n_points
    if not step:
        places = [group * n_points + point for group in range(start, stop)]
        return np.concatenate([read(place, place + 1).copy() for place in places])
    pieces = [
        read(at * n_points, min(at + step, stop) * n_points)[point::n_points].copy()
        for at in range(start, stop, step)
    ]
    return np.concatenate(pieces)


def _wrong_index(read: Read, draw: _Known, expected: Expected) -> int | None:
    from kinit_cli.engines import get_engine
    from kinit_cli.stream.identity import StreamKey

    engine, n_elements = get_engine("numpy"), math.prod(expected.shape)
    for start, stop in _stretches(n_elements):
        found = read(start, stop)
        wanted = np.empty(stop - start, found.dtype.newbyteorder("="))
        engine.fill(wanted, draw, StreamKey(key=0, nonce=0), start=start, shape=expected.shape)
        is_wrong = found != wanted
        if is_wrong.any():
            return start + int(is_wrong.argmax())
    return None


def _stretches(n_elements: int) -> list[tuple[int, int]]:
    """Choose stretches at equal distances, the first and the last elements among them.

    >>> _stretches(5), len(_stretches(10**9))
    ([(0, 5)], 8)
    """
    if n_elements <= _N_STRETCHES * _STRETCH_ELEMENTS:
        return [(0, n_elements)]
    last = n_elements - _STRETCH_ELEMENTS
    starts = [last * index // (_N_STRETCHES - 1) for index in range(_N_STRETCHES)]
    return [(start, start + _STRETCH_ELEMENTS) for start in starts]
