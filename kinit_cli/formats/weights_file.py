"""An opened weights file: what every reader offers.

A reader looks at headers when it opens a file, and at elements only in `read`. It trusts
nothing: sizes are checked against the file before anything is allocated, no pickle is loaded,
nothing outside the file is followed.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kinit_cli.errors import WeightsFileError

if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray
    from typing_extensions import Self

#: More NumPy has not either.
MAX_DIMENSIONS = 64

_MAX_SHOWN = 600
_DIGITS = re.compile(r"([0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorEntry:
    """One tensor of a file.

    Attributes
    ----------
    dtype : str
        As shown to the user.
    n_bytes : int
        Size of the elements when uncompressed.
    element : numpy.dtype or None
        Of the arrays that `read` gives; None for what is not real numbers.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    n_elements: int
    n_bytes: int
    element: np.dtype[Any] | None


class WeightsFile(ABC):
    """An opened file, to be closed; use it as a context manager.

    Attributes
    ----------
    path : Path
    format : str
        "hdf5", "hdf5-set", "npy", "npy-directory", "npz", "safetensors", "safetensors-set".
    layout : str
        "keras-legacy", "keras3-weights" or "flat".
    entries : tuple of TensorEntry
        In natural order of their paths: `block_2` before `block_10`.
    manifest_text : str or None
        What kinit wrote about the file, unparsed.
    notes : tuple of str
        What was left out, and why.
    sum_errors : dict of str to WeightsFileError, or None
        For who compares the elements and so tells better what is wrong with them: `read` puts the
        error of a tensor whose checksum is wrong here, by its path, instead of raising it.
    """

    path: Path
    format: str
    layout: str
    entries: tuple[TensorEntry, ...]
    manifest_text: str | None
    notes: tuple[str, ...]
    sum_errors: dict[str, WeightsFileError] | None = None

    @abstractmethod
    def read(
        self, entry: TensorEntry, start: int, stop: int, memory: NDArray[np.uint8] | None = None
    ) -> NDArray[Any]:
        """Give elements [start, stop) in C order, 1-D, of dtype `entry.element`.

        May be called from several threads. The array may be in any byte order.

        Parameters
        ----------
        memory : 1-D array, optional
            Where the elements may be put, if there are enough bytes; the next call that is given
            it overwrites them. Memory that is used again need not be mapped again.

        Raises
        ------
        WeightsFileError
            If the elements cannot be read.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the file; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def settle_sums(file: WeightsFile, differing: Container[str]) -> list[str]:
    """Tell of the wrong checksums that were found in tensors which differ anyway.

    Parameters
    ----------
    differing
        Paths, as `file` has them.

    Raises
    ------
    WeightsFileError
        The checksum of a tensor that does not differ is wrong.
    """
    errors = file.sum_errors or {}
    for path, error in errors.items():
        if path not in differing:
            raise error
    return [str(error) for error in errors.values()]


def file_error(path: Path, *, expected: str, got: str, hint: str) -> WeightsFileError:
    """Make the error for a file that is not as it should be; a name may be of any length."""
    return WeightsFileError(f"{path}: expected {_shown(expected)}, got {_shown(got)}; {hint}")


def _shown(text: str) -> str:
    half = _MAX_SHOWN // 2
    return text if len(text) <= _MAX_SHOWN else f"{text[:half]}...{text[-half:]}"


def natural_key(path: str) -> list[tuple[int, str]]:
    """Give a sort key that orders the numbers in names by value.

    >>> sorted(["b10/k", "b9/k", "a"], key=natural_key)
    ['a', 'b9/k', 'b10/k']
    """
    return [
        (len(token.lstrip("0")), token.lstrip("0")) if index % 2 else (0, token)
        for index, token in enumerate(_DIGITS.split(path))
    ]


def read_at(
    descriptor: int,
    path: Path,
    element: np.dtype[Any],
    *,
    offset: int,
    n_elements: int,
    memory: NDArray[np.uint8] | None = None,
) -> NDArray[Any]:
    """Read elements that lie one after the other at a byte offset; `memory` as in `read`."""
    n_bytes = n_elements * element.itemsize
    if memory is None or memory.size < n_bytes:
        memory = np.empty(n_bytes, np.uint8)
    data = memory[:n_bytes]
    n_read = 0
    while n_read < n_bytes:
        n_got = os.preadv(descriptor, [data[n_read:].data], offset + n_read)
        if not n_got:
            raise file_error(
                path,
                expected=f"{n_bytes} bytes at offset {offset}",
                got=f"{n_read}",
                hint="the file became shorter while it was read; run again on a finished file",
            )
        n_read += n_got
    return data.view(element)


def iter_boxes(shape: tuple[int, ...], start: int, stop: int) -> Iterator[tuple[slice, ...]]:
    """Cut a range of flat C-order indices into boxes, in order.

    Every box is a tuple of slices, one per axis; read in C order one after the other they give
    the range. There are at most 2 * len(shape) - 1 of them.

    >>> list(iter_boxes((2, 3), 1, 6)) == [
    ...     (slice(0, 1), slice(1, 3)), (slice(1, 2), slice(0, 3))]
    True
    """
    if start >= stop:
        return
    if len(shape) <= 1:
        yield (slice(start, stop),) * len(shape)
        return
    inner_size = int(np.prod(shape[1:], dtype=object))
    first, inner_start = divmod(start, inner_size)
    last, inner_stop = divmod(stop, inner_size)
    if first == last:
        yield from _boxes_of_row(shape, first, inner_start, inner_stop)
        return
    if inner_start:
        yield from _boxes_of_row(shape, first, inner_start, inner_size)
        first += 1
    if first < last:
        yield (slice(first, last), *(slice(0, size) for size in shape[1:]))
    yield from _boxes_of_row(shape, last, 0, inner_stop)


def _boxes_of_row(
    shape: tuple[int, ...], row: int, start: int, stop: int
) -> Iterator[tuple[slice, ...]]:
    for box in iter_boxes(shape[1:], start, stop):
        yield (slice(row, row + 1), *box)
