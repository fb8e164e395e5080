"""The contract of a writer: lay the file out first, fill it in any order, then seal it.

A writer makes a skeleton in which every tensor's place is known, so that tiles can be written
with `os.pwrite` from many threads; the manifest, whose digests are known only at the end, is
added last. Writers know the plan and nothing of engines.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

from kinit_cli.plan import Plan

#: Bytes to be written: C-contiguous, one byte an item.
Buffer: TypeAlias = "bytes | bytearray | memoryview"


class OpenLayout(Protocol):
    """A skeleton that is open for filling."""

    def write(self, tensor_index: int, byte_offset: int, data: Buffer) -> None:
        """Write bytes of a tensor at an offset in it; from any thread, in any order."""
        ...

    def close(self) -> None:
        """Give the file handles back."""
        ...


class Writer(Protocol):
    """Writes one file format."""

    #: What `inspect` calls a file of this format.
    name: str
    #: The output is a directory of files.
    is_directory: bool
    #: The manifest goes to a file of its own beside the output.
    has_sidecar: bool
    #: What a reader of the file calls its arrangement of names.
    layout_name: str

    def validate(self, plan: Plan) -> Sequence[str]:
        """List what this format cannot hold of the plan, each with a remedy."""
        ...

    def stored_names(self, plan: Plan) -> Mapping[str, str]:
        """Give the names, by path, of tensors that are not stored under their path."""
        ...

    def estimate_bytes(self, plan: Plan) -> int:
        """Give a size in bytes that the output will not exceed."""
        ...

    def lay_out(self, plan: Plan, path: Path) -> OpenLayout:
        """Write the skeleton at `path`, an empty file or directory, and open it for filling."""
        ...

    def seal(self, path: Path, manifest_text: str) -> None:
        """Add the manifest, after all tiles are written."""
        ...


def pwrite_all(descriptor: int, data: Buffer, offset: int) -> None:
    """Write all of `data` at `offset`, however often the system takes only a part."""
    view = memoryview(data)
    while view.nbytes:
        n_written = os.pwrite(descriptor, view, offset)
        view = view[n_written:]
        offset += n_written
