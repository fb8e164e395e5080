"""Memory that tiles are read or made in: each thread's own, used again for the next tile."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from kinit_cli.digest import TILE_ELEMENTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAX_ITEM_BYTES = 8


class TileMemory(threading.local):
    """Room for a tile of any dtype that is a number; another one in each thread.

    Parameters
    ----------
    n_elements : int
        How many elements there is room for.
    """

    def __init__(self, n_elements: int = TILE_ELEMENTS) -> None:
        self.room: NDArray[np.uint8] = np.empty(n_elements * _MAX_ITEM_BYTES, np.uint8)
