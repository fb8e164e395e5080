"""The records of a zip archive whose members are stored as they are.

Every field is fixed by the members' names, sizes and sums: no clock, no owner, the same on every
system. Sizes and offsets of 4 GiB and more, and more than 65,535 members, are written as ZIP64.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

#: Each member's bytes begin at a multiple of this.
ALIGNMENT = 64
#: Longest name of a member, in UTF-8.
MAX_NAME_BYTES = 2**16 - 1

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END64 = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR64 = struct.Struct("<4sIQI")
_END = struct.Struct("<4sHHHHIIH")

#: Longest end of an archive, after its directory.
TAIL_BYTES = _END64.size + _LOCATOR64.size + _END.size

_MAX32 = 2**32 - 1
_MAX16 = 2**16 - 1
#: 1980-01-01, the first day that a zip archive can name, at midnight.
_DATE, _TIME = 0x21, 0
_UNIX = 3 << 8
_FILE_MODE = 0o100644 << 16
_VERSION, _VERSION64 = 20, 45
_UTF8_FLAG = 1 << 11
_EXTRA64, _EXTRA_PADDING = 0x0001, 0xD935
_CRC_OFFSET = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of an archive.

    Attributes
    ----------
    offset : int
        Of its local header.
    """

    name: str
    offset: int
    n_bytes: int
    crc: int = 0

    def local_header(self) -> bytes:
        """Give what stands before the member's bytes, padded so that they are aligned."""
        name = self.name.encode("utf-8")
        is_large = self.n_bytes >= _MAX32
        size = _MAX32 if is_large else self.n_bytes
        # Both sizes are in the field, needed or not.
        extra = _extra64(self.n_bytes, self.n_bytes) if is_large else b""
        extra += _padding(self.offset + _LOCAL.size + len(name) + len(extra))
        version = _VERSION64 if is_large else _VERSION
        fields = (_flags(name), 0, _TIME, _DATE, self.crc, size, size, len(name), len(extra))
        return _LOCAL.pack(b"PK\x03\x04", version, *fields) + name + extra

    @property
    def crc_offset(self) -> int:
        """Where in the archive the local header has the sum."""
        return self.offset + _CRC_OFFSET

    def central_record(self) -> bytes:
        """Give the member's record in the central directory."""
        name = self.name.encode("utf-8")
        is_large, is_far = self.n_bytes >= _MAX32, self.offset >= _MAX32
        large = (self.n_bytes, self.n_bytes) if is_large else ()
        far = (self.offset,) if is_far else ()
        extra = _extra64(*large, *far) if large or far else b""
        version = _VERSION64 if extra else _VERSION
        size = _MAX32 if is_large else self.n_bytes
        head = (_UNIX | version, version, _flags(name), 0, _TIME, _DATE, self.crc, size, size)
        tail = (len(name), len(extra), 0, 0, 0, _FILE_MODE, _MAX32 if is_far else self.offset)
        return _CENTRAL.pack(b"PK\x01\x02", *head, *tail) + name + extra


def end_records(n_members: int, offset: int, n_bytes: int) -> bytes:
    """Give what stands after the central directory, which has so many bytes at `offset`."""
    records = b""
    if n_members >= _MAX16 or offset >= _MAX32 or n_bytes >= _MAX32:
        versions = (_UNIX | _VERSION64, _VERSION64)
        counts = (0, 0, n_members, n_members)
        records += _END64.pack(b"PK\x06\x06", _END64.size - 12, *versions, *counts, n_bytes, offset)
        records += _LOCATOR64.pack(b"PK\x06\x07", 0, offset + n_bytes, 1)
    n_shown = min(n_members, _MAX16)
    places = (min(n_bytes, _MAX32), min(offset, _MAX32))
    return records + _END.pack(b"PK\x05\x06", 0, 0, n_shown, n_shown, *places, 0)


def central_directory(members: Sequence[Member], offset: int) -> bytes:
    """Give everything from the first record at `offset` to the end of the archive."""
    records = b"".join(member.central_record() for member in members)
    return records + end_records(len(members), offset, len(records))


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """Where an archive's central directory is."""

    n_members: int
    offset: int
    n_bytes: int


def find_directory(tail: bytes) -> Directory:
    """Find the central directory of an archive that ends as `central_directory` ends it.

    Parameters
    ----------
    tail : bytes
        The archive's last `TAIL_BYTES` bytes, or all of it.
    """
    _, _, _, _, n_members, n_bytes, offset, _ = _END.unpack(tail[-_END.size :])
    if n_members == _MAX16 or _MAX32 in (n_bytes, offset):
        n_members, n_bytes, offset = _END64.unpack(tail[-TAIL_BYTES:][: _END64.size])[-3:]
    return Directory(n_members=n_members, offset=offset, n_bytes=n_bytes)


def _extra64(*values: int) -> bytes:
    return struct.pack(f"<HH{len(values)}Q", _EXTRA64, 8 * len(values), *values)


def _padding(offset: int) -> bytes:
    """Give an extra field, as Android's tools write it, that ends at an aligned offset."""
    n_bytes = -offset % ALIGNMENT
    if not n_bytes:
        return b""
    if n_bytes < 6:
        n_bytes += ALIGNMENT
    return struct.pack("<HHH", _EXTRA_PADDING, n_bytes - 4, ALIGNMENT) + bytes(n_bytes - 6)


def _flags(name: bytes) -> int:
    return 0 if name.isascii() else _UTF8_FLAG
