"""Cutting the tensors of a file into pieces of a tile, and gathering small ones for a thread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kinit_cli.digest import TILE_ELEMENTS

_MAX_PIECES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Elements [start, stop) of a tensor: its tile `tile_index`."""

    tensor_index: int
    tile_index: int
    start: int
    stop: int


def iter_units(sizes: Iterable[int]) -> Iterator[tuple[Piece, ...]]:
    """Cut tensors of so many elements into pieces, and gather them up to a tile's size, in order.

    >>> [len(unit) for unit in iter_units([3, TILE_ELEMENTS + 1, 0, 5])]
    [1, 1, 2]
    """
    unit: list[Piece] = []
    n_gathered = 0
    for tensor_index, size in enumerate(sizes):
        for start in range(0, size, TILE_ELEMENTS):
            stop = min(start + TILE_ELEMENTS, size)
            is_full = n_gathered + stop - start > TILE_ELEMENTS or len(unit) == _MAX_PIECES
            if unit and is_full:
                yield tuple(unit)
                unit, n_gathered = [], 0
            tile_index = start // TILE_ELEMENTS
            unit.append(
                Piece(tensor_index=tensor_index, tile_index=tile_index, start=start, stop=stop)
            )
            n_gathered += stop - start
    if unit:
        yield tuple(unit)
