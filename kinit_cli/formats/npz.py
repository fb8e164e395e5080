"""NumPy's `.npz`: a zip archive of `.npy` members, stored and not compressed.

The archive is written by hand, so that its bytes are the same everywhere. A member's sum stands
before it and in the directory, but is known only when all of its tiles are: each tile is summed
where it is written, and the sums are joined at the end.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kinit_cli.formats.base import Buffer, pwrite_all
from kinit_cli.formats.crc32 import joined_crc32
from kinit_cli.formats.joined_names import (
    DEFAULT_SEPARATOR,
    changed_names,
    joined_names,
    name_faults,
)
from kinit_cli.formats.manifest_names import MANIFEST_MEMBER
from kinit_cli.formats.npy import npy_dtype_faults, npy_header
from kinit_cli.formats.zip_records import (
    MAX_NAME_BYTES,
    TAIL_BYTES,
    Member,
    central_directory,
    end_records,
    find_directory,
)
from kinit_cli.plan import Plan

_SUM_BYTES = 4
#: Of a tensor in both headers, the directory and the manifest, besides its name, at the most.
_BYTES_PER_TENSOR = 2048


class NpzWriter:
    """Writes one `.npz` file, the manifest its last member.

    Parameters
    ----------
    separator : str
        Stands for the '/' of a path in the member's name.
    """

    name = "npz"
    is_directory = False
    has_sidecar = False
    layout_name = "flat"

    def __init__(self, separator: str = DEFAULT_SEPARATOR) -> None:
        self._separator = separator

    def validate(self, plan: Plan) -> list[str]:
        """Find names that are not unique or too long, and dtypes that NumPy cannot name."""
        faults = npy_dtype_faults(plan, ".npz") + name_faults(plan, self._separator)
        for name in joined_names(plan, self._separator).values():
            if len(f"{name}.npy".encode()) > MAX_NAME_BYTES:
                faults.append(f"{name[:80]!r}... is too long for a member's name; rename it")
        return faults

    def stored_names(self, plan: Plan) -> Mapping[str, str]:
        """Give the names of tensors whose path has several parts, which is every tensor's."""
        return changed_names(plan, self._separator)

    def estimate_bytes(self, plan: Plan) -> int:
        """Allow for headers, the directory and the manifest."""
        names = sum(
            4 * len(tensor.path.encode()) * (1 + len(self._separator.encode()))
            for tensor in plan.tensors
        )
        return plan.n_bytes + names + _BYTES_PER_TENSOR * len(plan.tensors) + 2**16

    def lay_out(self, plan: Plan, path: Path) -> NpzLayout:
        """Write every member's headers and set the archive's size up to its directory."""
        names = joined_names(plan, self._separator)
        places: list[_Place] = []
        stop = 0
        descriptor = os.open(path, os.O_WRONLY)
        try:
            for tensor in plan.tensors:
                header = npy_header(tensor.dtype.name, tensor.shape)
                n_bytes = len(header) + tensor.n_bytes
                member = Member(name=f"{names[tensor.path]}.npy", offset=stop, n_bytes=n_bytes)
                start = member.local_header() + header
                pwrite_all(descriptor, start, stop)
                places.append(
                    _Place(member=member, offset=stop + len(start), header_crc=zlib.crc32(header))
                )
                stop += len(start) + tensor.n_bytes
            os.ftruncate(descriptor, stop)
        finally:
            os.close(descriptor)
        return NpzLayout(path, places, stop)

    def seal(self, path: Path, manifest_text: str) -> None:
        """Put the manifest between the last tensor and the directory, as a member."""
        data = manifest_text.encode("utf-8") + b"\n"
        descriptor = os.open(path, os.O_RDWR)
        try:
            n_file_bytes = os.fstat(descriptor).st_size
            n_tail_bytes = min(TAIL_BYTES, n_file_bytes)
            old = find_directory(os.pread(descriptor, n_tail_bytes, n_file_bytes - n_tail_bytes))
            records = _read(descriptor, old.offset, old.n_bytes)
            member = Member(
                name=MANIFEST_MEMBER, offset=old.offset, n_bytes=len(data), crc=zlib.crc32(data)
            )
            records += member.central_record()
            start = member.local_header() + data
            offset = old.offset + len(start)
            end = end_records(old.n_members + 1, offset, len(records))
            pwrite_all(descriptor, start + records + end, old.offset)
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a tensor is in the archive.

    Attributes
    ----------
    offset : int
        Of the tensor's first byte, after both headers.
    header_crc : int
        Sum of the `.npy` header, with which the member begins.
    """

    member: Member
    offset: int
    header_crc: int


class NpzLayout:
    """An archive with every member in place; when all are full, it gets its directory."""

    def __init__(self, path: Path, places: Sequence[_Place], n_bytes: int) -> None:
        self._places = places
        self._n_bytes = n_bytes
        self._descriptor = os.open(path, os.O_RDWR)
        # Tensor, offset in it, sum, length; appending is safe from any thread.
        self._sums: list[tuple[int, int, int, int]] = []

    def write(self, tensor_index: int, byte_offset: int, data: Buffer) -> None:
        """Write bytes of a tensor at an offset in it, and sum them up."""
        pwrite_all(self._descriptor, data, self._places[tensor_index].offset + byte_offset)
        n_bytes = memoryview(data).nbytes
        self._sums.append((tensor_index, byte_offset, zlib.crc32(data), n_bytes))

    def close(self) -> None:
        """Write the sums and the directory, and close the file."""
        try:
            members = [
                replace(place.member, crc=crc)
                for place, crc in zip(self._places, self._joined_sums(), strict=True)
            ]
            for member in members:
                data = member.crc.to_bytes(_SUM_BYTES, "little")
                pwrite_all(self._descriptor, data, member.crc_offset)
            pwrite_all(self._descriptor, central_directory(members, self._n_bytes), self._n_bytes)
        finally:
            os.close(self._descriptor)

    def _joined_sums(self) -> list[int]:
        sums = [place.header_crc for place in self._places]
        for tensor_index, _, crc, n_bytes in sorted(self._sums):
            sums[tensor_index] = joined_crc32(sums[tensor_index], crc, n_bytes)
        return sums


def _read(descriptor: int, offset: int, n_bytes: int) -> bytes:
    parts: list[bytes] = []
    while n_bytes and (part := os.pread(descriptor, n_bytes, offset)):
        parts.append(part)
        offset += len(part)
        n_bytes -= len(part)
    return b"".join(parts)
