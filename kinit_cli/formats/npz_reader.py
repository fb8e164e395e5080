"""Reading `.npz`: zip archives of `.npy` members, stored or deflated; never a pickle.

Names of members are names and nothing is unpacked. What the directory says is compared with the
members' own headers before anything is believed.
"""

from __future__ import annotations

import io
import struct
import threading
import zipfile
import zlib
from collections import OrderedDict
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from kinit_cli.formats.crc32 import RunningCrc32
from kinit_cli.formats.fortran_order import read_fortran
from kinit_cli.formats.inflate import Inflater, inflated_head
from kinit_cli.formats.manifest_names import MANIFEST_MEMBER, max_manifest_bytes
from kinit_cli.formats.npy_reader import (
    NpyHeader,
    parse_npy_header,
)
from kinit_cli.formats.weights_file import (
    TensorEntry,
    WeightsFile,
    file_error,
    iter_boxes,
    natural_key,
    read_at,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from kinit_cli.errors import WeightsFileError

#: A header of NumPy's is shorter; what is longer NumPy does not read either.
_MAX_HEADER_BYTES = 2**16
#: kinit does not deflate its manifest, so that it has no more bytes than its file.
_INFLATED_BYTES, _INFLATED_BYTES_PER_MEMBER, _MAX_INFLATED_BYTES = 2**20, 2**16, 2**26
_MAX_INFLATERS = 4
#: A deflated array in Fortran order is held in memory whole.
MAX_FORTRAN_BYTES = 256 * 2**20
#: Beyond this declared size, at least a thousandth must really be stored.
MAX_SPARSE_BYTES = 4 * 2**30

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_ENCRYPTED = 1
_UTF8 = 0x800
_SUM_PIECE_BYTES = 2**20
_DIRECTORY_ERRORS = (
    zipfile.BadZipFile, NotImplementedError, OSError, ValueError, OverflowError, struct.error,
    IndexError, EOFError, MemoryError,
)  # fmt: skip
_READ_ERRORS = (OSError, ValueError, EOFError)
_DAMAGED = "it is truncated or damaged: copy or generate it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """Where a member is, and what stands in it.

    Attributes
    ----------
    offset : int
        Of the member's first byte, deflated or not.
    header : NpyHeader or None
        None if it is no array.
    sum : RunningCrc32 or None
        Of what was read; None if that is told otherwise.
    """

    info: zipfile.ZipInfo
    offset: int
    header: NpyHeader | None = None
    sum: RunningCrc32 | None = None

    @property
    def stop(self) -> int:
        return self.offset + self.info.compress_size

    @property
    def is_deflated(self) -> bool:
        return self.info.compress_type != zipfile.ZIP_STORED

    def make_inflater(self, path: Path) -> Inflater:
        return Inflater(
            path,
            offset=self.offset,
            n_packed_bytes=self.info.compress_size,
            n_bytes=self.info.file_size,
            crc=self.info.CRC,
        )


class NpzFile(WeightsFile):
    """An `.npz` file; it is opened only while it is read."""

    format = "npz"
    layout = "flat"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stored: dict[str, _Stored] = {}
        self._inflaters: OrderedDict[str, Inflater] = OrderedDict()
        self._summed: set[str] = set()
        self._lock = threading.Lock()
        self.manifest_text = None
        entries: list[TensorEntry] = []
        others: list[str] = []
        infos = self._directory()
        for stored in self._find_all(infos, others):
            if stored.info.filename == MANIFEST_MEMBER:
                self.manifest_text = self._text(stored, len(infos))
            else:
                entries.append(self._entry(stored))
        if not entries and self.manifest_text is None:
            raise file_error(
                path,
                expected="a zip archive with .npy members, an .npz file",
                got=f"a zip archive with {', '.join(map(repr, others[:3])) or 'nothing in it'}",
                hint="unpack it and inspect what is inside",
            )
        self.entries = tuple(sorted(entries, key=lambda entry: natural_key(entry.path)))
        self.notes = (f"members that are no arrays are left out: {len(others)}",) if others else ()

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def read(
        self, entry: TensorEntry, start: int, stop: int, memory: NDArray[np.uint8] | None = None
    ) -> NDArray[Any]:
        """Give elements [start, stop) in C order; see `WeightsFile.read`."""
        if entry.element is None:
            raise TypeError(f"{entry.path} has no numbers to read")
        stored = self._stored[entry.path]
        assert stored.header is not None
        try:
            if stored.is_deflated:
                inflater = self._inflater(entry.path, stored)
                return _read_inflated(inflater, stored.header, entry, start, stop)
            offset = stored.offset + stored.header.n_bytes
            if stored.header.is_fortran:
                self._check_fortran(stored)
                return read_fortran(self.path, offset, entry, start, stop)
            with self.path.open("rb", buffering=0) as file:
                elements = read_at(
                    file.fileno(),
                    self.path,
                    entry.element,
                    offset=offset + start * entry.element.itemsize,
                    n_elements=stop - start,
                    memory=memory,
                )
            if stored.sum is not None:
                self._check_sum(stored, stored.sum.add(start, elements))
            return elements
        except _READ_ERRORS as error:
            raise self._error(f"to read {entry.path!r}", str(error)) from error

    def _inflater(self, path: str, stored: _Stored) -> Inflater:
        """Give a member's inflater; each holds much memory, so there are few at a time."""
        with self._lock:
            inflater = self._inflaters.pop(path, None) or stored.make_inflater(self.path)
            self._inflaters[path] = inflater
            if len(self._inflaters) > _MAX_INFLATERS:
                self._inflaters.popitem(last=False)
            return inflater

    def _directory(self) -> list[zipfile.ZipInfo]:
        """List the members, each name once."""
        try:
            self._n_file_bytes = self.path.stat().st_size
            with zipfile.ZipFile(self.path) as archive:
                infos = archive.infolist()
        except _DIRECTORY_ERRORS as error:
            raise self._error("a complete zip archive", str(error)) from error
        seen: set[str] = set()
        for info in infos:
            fault = _name_fault(info.orig_filename)
            if fault:
                hint = "whoever unpacks it would write outside of its folder"
                raise self._error("names of members within a folder", fault, hint)
            if info.filename in seen:
                raise self._error("members with names of their own", f"{info.filename!r} twice")
            seen.add(info.filename)
        return infos

    def _find_all(self, infos: list[zipfile.ZipInfo], others: list[str]) -> list[_Stored]:
        """Find arrays and the manifest, none of them over another; name what else there is."""
        found: list[_Stored] = []
        for info in infos:
            if info.filename.endswith(".npy") or info.filename == MANIFEST_MEMBER:
                found.append(self._find(info))
            else:
                others.append(info.filename)
        in_order = sorted(found, key=lambda stored: stored.info.header_offset)
        for first, second in pairwise(in_order):
            if second.info.header_offset < first.stop:
                raise self._error(
                    "members that lie one after the other",
                    f"{second.info.filename!r} within {first.info.filename!r}",
                    "it is damaged, or made to exhaust its reader",
                )
        return found

    def _entry(self, stored: _Stored) -> TensorEntry:
        info, name = stored.info, stored.info.filename
        try:
            head = self._head(stored)
            header = parse_npy_header(io.BytesIO(head))
        except _READ_ERRORS as error:
            raise self._error(f"an array in {name!r}", str(error)) from error
        entry = header.entry(name.removesuffix(".npy"))
        if header.dtype.hasobject:
            # A pickle, of any length, which is listed and never loaded.
            entry = replace(entry, n_bytes=info.file_size - header.n_bytes)
        elif header.n_bytes + header.n_data_bytes != info.file_size:
            n_bytes = header.n_bytes + header.n_data_bytes
            raise self._error(f"{n_bytes} bytes in {name!r}", f"{info.file_size}")
        if stored.is_deflated and header.is_fortran and entry.n_bytes > MAX_FORTRAN_BYTES:
            raise self._error(
                f"at most {MAX_FORTRAN_BYTES} bytes in {name!r}, deflated and in Fortran order",
                f"{entry.n_bytes}",
                "save it with numpy.savez, or in C order",
            )
        is_summed = not (stored.is_deflated or header.is_fortran)
        crc = RunningCrc32(head[: header.n_bytes], entry.n_elements) if is_summed else None
        self._stored[entry.path] = replace(stored, header=header, sum=crc)
        if is_summed and not entry.n_elements:
            self._check_sum(stored, zlib.crc32(head))
        return entry

    def _check_fortran(self, stored: _Stored) -> None:
        """Sum up a member whose elements are not read in their order, once."""
        with self._lock:
            if stored.info.filename in self._summed:
                return
            crc = 0
            for start in range(stored.offset, stored.stop, _SUM_PIECE_BYTES):
                n_bytes = min(_SUM_PIECE_BYTES, stored.stop - start)
                crc = zlib.crc32(self._read_packed(start, n_bytes), crc)
            self._check_sum(stored, crc)
            self._summed.add(stored.info.filename)

    def _check_sum(self, stored: _Stored, crc: int | None) -> None:
        if crc is None or crc == stored.info.CRC:
            return
        name = stored.info.filename
        error = self._error(f"the CRC-32 {stored.info.CRC:08x} of {name!r}", f"{crc:08x}")
        if self.sum_errors is None:
            raise error
        self.sum_errors[name.removesuffix(".npy")] = error

    def _head(self, stored: _Stored) -> bytes:
        n_bytes = min(stored.info.compress_size, _MAX_HEADER_BYTES)
        head = self._read_packed(stored.offset, n_bytes)
        return inflated_head(head, _MAX_HEADER_BYTES) if stored.is_deflated else head

    def _find(self, info: zipfile.ZipInfo) -> _Stored:
        """Give where a member's bytes begin, if what is said of it can be true."""
        shown = repr(info.filename)
        self._check_method(info)
        name = info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437")
        start = info.header_offset
        self._check_place(shown, start, _LOCAL.size + len(name))
        try:
            head = self._read_packed(start, _LOCAL.size + len(name))
        except _READ_ERRORS as error:
            raise self._error(f"the member {shown}", str(error)) from error
        if head[:4] != b"PK\x03\x04":
            raise self._error(f"the member {shown}", "something else at its place")
        *_, n_name_bytes, n_extra_bytes = _LOCAL.unpack(head[: _LOCAL.size])
        if n_name_bytes != len(name) or head[_LOCAL.size :] != name:
            raise self._error(f"the member {shown}", "one of another name at its place")
        offset = start + _LOCAL.size + n_name_bytes + n_extra_bytes
        self._check_place(shown, offset, info.compress_size)
        return _Stored(info=info, offset=offset)

    def _check_place(self, shown: str, offset: int, n_bytes: int) -> None:
        if offset < 0 or offset + n_bytes > self._n_file_bytes:
            raise self._error(
                f"{n_bytes} bytes of {shown} at offset {offset}",
                f"a file of {self._n_file_bytes} bytes",
            )

    def _check_method(self, info: zipfile.ZipInfo) -> None:
        name = repr(info.filename)
        if info.flag_bits & _ENCRYPTED:
            raise self._error("members that are not encrypted", name, "decrypt the archive")
        if info.compress_type == zipfile.ZIP_STORED:
            if info.compress_size != info.file_size:
                raise self._error(f"{info.file_size} bytes in {name}", f"{info.compress_size}")
        elif info.compress_type != zipfile.ZIP_DEFLATED:
            raise self._error(
                "members that are stored or deflated, as NumPy writes them",
                f"{name} packed by method {info.compress_type}",
                "save it again with NumPy",
            )
        elif info.file_size > MAX_SPARSE_BYTES and info.compress_size * 1000 < info.file_size:
            raise self._error(
                f"stored bytes in {name}, which declares {info.file_size}",
                f"{info.compress_size} bytes stored",
                "it is nothing but one value, or is made to exhaust its reader",
            )

    def _text(self, stored: _Stored, n_members: int) -> str:
        info = stored.info
        n_most = max_manifest_bytes(n_members)
        if stored.is_deflated:
            n_inflated = _INFLATED_BYTES + _INFLATED_BYTES_PER_MEMBER * n_members
            n_most = min(n_inflated, _MAX_INFLATED_BYTES)
        if info.file_size > n_most:
            raise self._error(f"at most {n_most} bytes in {info.filename!r}", f"{info.file_size}")
        try:
            if stored.is_deflated:
                data = stored.make_inflater(self.path).read(0, info.file_size)
            else:
                data = self._read_packed(stored.offset, info.file_size)
                self._check_sum(stored, zlib.crc32(data))
            return data.decode("utf-8")
        except _READ_ERRORS as error:
            raise self._error(f"text in {info.filename!r}", str(error)) from error

    def _read_packed(self, offset: int, n_bytes: int) -> bytes:
        with self.path.open("rb", buffering=0) as file:
            element = np.dtype(np.uint8)
            data = read_at(file.fileno(), self.path, element, offset=offset, n_elements=n_bytes)
        return data.tobytes()

    def _error(self, expected: str, got: str, hint: str = _DAMAGED) -> WeightsFileError:
        return file_error(self.path, expected=expected, got=got, hint=hint)


def _name_fault(name: str) -> str:
    """Say what is wrong with a member's name if it leads out of the folder; "" if nothing is."""
    parts = name.replace("\\", "/").split("/")
    is_outside = parts[0] == "" or ".." in parts or "\0" in name
    return repr(name[:80]) if is_outside else ""


def _read_inflated(
    inflater: Inflater, header: NpyHeader, entry: TensorEntry, start: int, stop: int
) -> NDArray[Any]:
    assert entry.element is not None
    size = entry.element.itemsize
    if not header.is_fortran:
        data = inflater.read(header.n_bytes + start * size, header.n_bytes + stop * size)
        return np.frombuffer(data, entry.element)
    data = inflater.read(header.n_bytes, header.n_bytes + entry.n_bytes)
    whole = np.frombuffer(data, entry.element).reshape(entry.shape, order="F")
    parts = [whole[box].reshape(-1) for box in iter_boxes(entry.shape, start, stop)]
    return np.concatenate(parts) if parts else np.empty(0, entry.element)
