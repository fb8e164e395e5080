"""Skeletons to be filled, for formats in which a tensor's bytes lie one after the other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from kinit_cli.formats.base import Buffer, pwrite_all


class FileLayout:
    """One file, open all the time.

    Parameters
    ----------
    offsets : sequence of int
        Where each tensor's bytes begin in the file, in the order of the plan.
    """

    def __init__(self, path: Path, offsets: Sequence[int]) -> None:
        self._offsets = offsets
        self._descriptor = os.open(path, os.O_RDWR)

    def write(self, tensor_index: int, byte_offset: int, data: Buffer) -> None:
        """Write bytes of a tensor at an offset in it."""
        pwrite_all(self._descriptor, data, self._offsets[tensor_index] + byte_offset)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class FilesLayout:
    """Many files; each write opens its file, since there may be more than handles.

    Parameters
    ----------
    files, offsets : sequences
        The file of each tensor, and where in it the tensor's bytes begin.
    """

    def __init__(self, files: Sequence[str], offsets: Sequence[int]) -> None:
        self._files = files
        self._offsets = offsets

    def write(self, tensor_index: int, byte_offset: int, data: Buffer) -> None:
        """Write bytes of a tensor at an offset in it."""
        descriptor = os.open(self._files[tensor_index], os.O_RDWR)
        try:
            pwrite_all(descriptor, data, self._offsets[tensor_index] + byte_offset)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Do nothing: no file is open between writes."""
