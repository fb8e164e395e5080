"""The half-normal table: segments of the normal quantile function (docs/stream.md, 3).

`scripts/make_half_normal_table.py` makes the file.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kinit_cli.errors import KinitError

if TYPE_CHECKING:
    from numpy.typing import NDArray

N_OCTAVES = 32
SEGMENTS_PER_OCTAVE = 64
N_SEGMENTS = N_OCTAVES * SEGMENTS_PER_OCTAVE
#: The table's numbers are in units of 2^-COEFFICIENT_BITS.
COEFFICIENT_BITS = 28
TABLE_PATH = Path(__file__).with_name("half_normal_q28.npy")
#: SHA-256 of the table's elements as little-endian int32 in C order, without the file's header.
TABLE_SHA256 = "198b865a95638bd9675d2aedf59037ccfa4cba8d4b9adab251a39da2046da97a"


@lru_cache(maxsize=1)
def half_normal_table() -> NDArray[np.int32]:
    """Load the table and check that it is the one the stream is defined by.

    Returns
    -------
    array of int32, shape (N_SEGMENTS, 3), read-only
        Columns c0, c1, c2 of each segment.

    Raises
    ------
    KinitError
        If the installed file is missing or damaged: no value could be trusted.
    """
    try:
        table: NDArray[np.int32] = np.load(TABLE_PATH, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise KinitError(f"{TABLE_PATH}: cannot be read ({error}); reinstall kinit") from error
    if not _is_genuine(table):
        raise KinitError(f"{TABLE_PATH}: is not the table of this version; reinstall kinit")
    table.setflags(write=False)
    return table


def _is_genuine(table: NDArray[np.int32]) -> bool:
    if table.dtype != np.int32 or table.shape != (N_SEGMENTS, 3):
        return False
    return hashlib.sha256(table.astype("<i4").tobytes()).hexdigest() == TABLE_SHA256
