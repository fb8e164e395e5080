"""`.npz` files: judged by NumPy, the zipfile module and unzip; whole, and record by record."""

from __future__ import annotations

import hashlib
import io
import shutil
import struct
import subprocess
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import Kinit
from hypothesis import given
from hypothesis import strategies as st
from written import MIXED_SPEC, assert_same, plan_of_all_dtypes, plan_text, values_of, write

from kinit_cli.digest import digest_of
from kinit_cli.dtypes import EXTENSION_DTYPES
from kinit_cli.errors import OutputError
from kinit_cli.formats.crc32 import joined_crc32
from kinit_cli.formats.npz import NpzWriter
from kinit_cli.formats.zip_records import (
    ALIGNMENT,
    TAIL_BYTES,
    Member,
    central_directory,
    end_records,
    find_directory,
)
from kinit_cli.inspect import inspect_file
from kinit_cli.manifest import parse_manifest

TINY = "seed: 1\nlayers: [{name: é, weights: {k: {shape: [2], initializer: ones}}}]"
GIB = 2**30


@pytest.mark.parametrize("separator", [".", "/", "::"])
def test_numpy_reads_every_value(tmp_path: Path, separator: str) -> None:
    for plan in (plan_text(MIXED_SPEC), plan_of_all_dtypes(*EXTENSION_DTYPES)):
        path = tmp_path / f"{len(plan.tensors)}.npz"
        write(plan, path, NpzWriter(separator))
        expected = {p.replace("/", separator): v for p, v in values_of(plan).items()}
        with np.load(path) as found:
            assert found.files == [*expected, "kinit.json"]
            for name, values in expected.items():
                assert_same(found[name], values)
            manifest = parse_manifest(found["kinit.json"].decode(), "w.npz")
        assert [record.name or path for path, record in manifest.tensors.items()] == list(expected)


def test_other_zip_readers_find_nothing_wrong(tmp_path: Path) -> None:
    write(plan_text(MIXED_SPEC), tmp_path / "w.npz", NpzWriter())
    with zipfile.ZipFile(tmp_path / "w.npz") as archive:
        assert archive.testzip() is None
        for info in archive.infolist():
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert (info.create_system, info.compress_type) == (3, zipfile.ZIP_STORED)
            assert info.external_attr >> 16 == 0o100644
    if shutil.which("unzip"):
        found = subprocess.run(["unzip", "-tqq", tmp_path / "w.npz"], capture_output=True)
        assert (found.returncode, found.stdout, found.stderr) == (0, b"", b"")


def test_elements_are_aligned(tmp_path: Path) -> None:
    plan = plan_text(MIXED_SPEC)
    write(plan, tmp_path / "w.npz", NpzWriter())
    data = (tmp_path / "w.npz").read_bytes()
    for path, values in values_of(plan).items():
        if values.nbytes > 1000:
            start = data.index(values.tobytes()[:1000])
            assert (path, start % ALIGNMENT) == (path, 0)


def test_a_whole_file(tmp_path: Path) -> None:
    write(plan_text(TINY), tmp_path / "w.npz", NpzWriter())
    saved = io.BytesIO()
    np.save(saved, np.ones(2, np.float32))
    manifest = (
        '{"kinit":1,"stream":1,"seed":1,"spec":{"seed":1,"layers":[{"name":"é","weights":{"k":'
        '{"shape":[2],"initializer":"ones"}}}]},"tensors":{"é/k":{"dtype":"float32","shape":[2],'
        f'"digest":"{digest_of(np.ones(2, np.float32))}","name":"é.k"}}}}}}\n'
    ).encode()
    parts = []
    records = []
    for name, content, flags in (
        ("é.k.npy".encode(), saved.getvalue(), b"\0\x08"),
        (b"kinit.json", manifest, b"\0\0"),
    ):
        offset = sum(map(len, parts))
        n_padding = -(offset + 30 + len(name)) % 64
        n_padding += 64 if n_padding < 6 else 0
        extra = struct.pack("<HHH", 0xD935, n_padding - 4, 64) + bytes(n_padding - 6)
        # No compression, at midnight of 1980-01-01; the sum and both sizes.
        common = flags + b"\0\0\0\0\x21\0"
        common += struct.pack("<III", zlib.crc32(content), len(content), len(content))
        parts.append(b"PK\3\4\x14\0" + common + struct.pack("<HH", len(name), len(extra)))
        parts.append(name + extra + content)
        lengths = struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0o100644 << 16, offset)
        records.append(b"PK\1\2\x14\3\x14\0" + common + lengths + name)
    directory, start = b"".join(records), sum(map(len, parts))
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 2, 2, len(directory), start, 0)
    assert (tmp_path / "w.npz").read_bytes() == b"".join(parts) + directory + end


def test_the_number_of_threads_and_the_tiles_change_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums = set()
    for run, jobs in enumerate((1, 4, 4)):
        write(plan_text(MIXED_SPEC), tmp_path / str(run), NpzWriter(), jobs)
        sums.add(hashlib.sha256((tmp_path / str(run)).read_bytes()).hexdigest())
    assert len(sums) == 1


def test_inspect_reads_it(tmp_path: Path) -> None:
    summary = write(plan_text(MIXED_SPEC), tmp_path / "w.npz", NpzWriter())
    found = inspect_file(tmp_path / "w.npz")
    assert (found.format, found.layout, found.seed, found.notes) == ("npz", "flat", 11, ())
    for ours, theirs in zip(summary.tensors, found.tensors, strict=True):
        assert theirs.path == ours.path.replace("/", ".")
        assert (ours.stats, ours.initializer) == (theirs.stats, theirs.initializer)
        assert (ours.expected_std, ours.digest) == (theirs.expected_std, theirs.recorded_digest)


def test_more_members_than_an_old_archive_can_count(tmp_path: Path) -> None:
    plan = plan_text(
        "seed: 1\nlayers: [{repeat: 65600, layers: [{name: 'l{i}', weights: {b: {shape: [1],"
        " initializer: ones}}}]}]"
    )
    write(plan, tmp_path / "w.npz", NpzWriter())
    with np.load(tmp_path / "w.npz") as found:
        assert len(found.files) == 65601
        assert found["l65599.b"].tolist() == [1.0]
        assert len(parse_manifest(found["kinit.json"].decode(), "w").tensors) == 65600


@pytest.mark.parametrize("dtype", EXTENSION_DTYPES)
def test_types_that_numpy_has_not_are_refused(tmp_path: Path, dtype: str) -> None:
    plan = plan_text(f"layers: [{{name: a, weights: {{k: {{shape: [9], dtype: {dtype}}}}}}}]")
    with pytest.raises(OutputError, match=rf"'a/k' is {dtype}, which \.npz cannot name"):
        write(plan, tmp_path / "w.npz", NpzWriter())
    assert list(tmp_path.iterdir()) == []


def test_names_that_become_one_or_are_too_long_are_refused(tmp_path: Path) -> None:
    plan = plan_text(
        "layers: [{name: a.b, weights: {c: {shape: [1]}}}, {name: a, weights: {b.c: {shape: [1]}}}]"
    )
    with pytest.raises(OutputError, match="would both be named"):
        write(plan, tmp_path / "w.npz", NpzWriter())
    with pytest.raises(OutputError, match="too long for a member's name"):
        write(plan, tmp_path / "w.npz", NpzWriter("x" * 65540))


def test_stdout_gets_the_same_file(kinit: Kinit, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(TINY, encoding="utf-8")
    for name in ("npz", "safetensors"):
        assert kinit("generate", "s.yaml", "-o", f"w.{name}", "-q").returncode == 0
        found = kinit("generate", "s.yaml", "-o", "-", "--format", name, "-q")
        assert found.returncode == 0
        assert found.stdout == (tmp_path / f"w.{name}").read_bytes()


# --- records --------------------------------------------------------------------------------


@given(first=st.binary(max_size=300), second=st.binary(max_size=300))
def test_joined_sums_are_the_sum_of_all(first: bytes, second: bytes) -> None:
    joined = joined_crc32(zlib.crc32(first), zlib.crc32(second), len(second))
    assert joined == zlib.crc32(first + second)


def test_the_sum_of_a_long_part_is_joined() -> None:
    second = bytes(range(256)) * 2**14
    joined = joined_crc32(zlib.crc32(b"abc"), zlib.crc32(second), len(second))
    assert joined == zlib.crc32(b"abc" + second)


@pytest.mark.parametrize(
    ("offset", "n_bytes"),
    [
        (0, 0), (100, 4 * GIB - 2), (100, 4 * GIB - 1), (100, 4 * GIB), (4 * GIB - 2, 5),
        (4 * GIB - 1, 5), (4 * GIB, 5), (2**41, 2**43),
    ],
)  # fmt: skip
def test_large_members_and_offsets_read_back(offset: int, n_bytes: int) -> None:
    member = Member(name="wé.npy", offset=offset, n_bytes=n_bytes, crc=0x12345678)
    directory_offset = offset + len(member.local_header()) + n_bytes
    tail = central_directory([member], directory_offset)

    class Sparse(io.RawIOBase):
        """An archive of terabytes of which only the directory is there."""

        position = 0

        def seekable(self) -> bool:
            return True

        def readable(self) -> bool:
            return True

        def tell(self) -> int:
            return self.position

        def seek(self, to: int, whence: int = 0) -> int:
            self.position = to + (0, self.position, directory_offset + len(tail))[whence]
            return self.position

        def read(self, n: int = -1) -> bytes:
            start = self.position - directory_offset
            assert start >= 0
            part = tail[start:] if n < 0 else tail[start : start + n]
            self.position += len(part)
            return part

    with zipfile.ZipFile(Sparse()) as archive:  # type: ignore[call-overload]
        (info,) = archive.infolist()
    assert (info.filename, info.header_offset, info.CRC) == ("wé.npy", offset, 0x12345678)
    assert (info.file_size, info.compress_size) == (n_bytes, n_bytes)
    found = find_directory(tail[-TAIL_BYTES:])
    assert (found.n_members, found.offset) == (1, directory_offset)


@pytest.mark.parametrize("n_bytes", [4 * GIB - 2, 4 * GIB - 1, 2**43])
@pytest.mark.parametrize("offset", [0, 1, 17, 2**40 + 5])
def test_a_local_header_says_the_size_and_ends_aligned(offset: int, n_bytes: int) -> None:
    header = Member(name="weight.npy", offset=offset, n_bytes=n_bytes).local_header()
    assert (offset + len(header)) % ALIGNMENT == 0
    fields = struct.unpack("<4sHHHHHIIIHH", header[:30])
    assert fields[9:] == (10, len(header) - 40)
    extra = header[40:]
    if n_bytes < 2**32 - 1:
        assert fields[1] == 20
        assert fields[7:9] == (n_bytes, n_bytes)
    else:
        assert fields[1] == 45
        assert fields[7:9] == (2**32 - 1, 2**32 - 1)
        assert struct.unpack("<HHQQ", extra[:20]) == (1, 16, n_bytes, n_bytes)
        extra = extra[20:]
    while extra:
        kind, length = struct.unpack("<HH", extra[:4])
        assert (kind, length >= 2) == (0xD935, True)
        extra = extra[4 + length :]


@pytest.mark.parametrize("n_members", [0, 65534, 65535, 65536])
def test_the_directory_is_found_again(n_members: int) -> None:
    tail = end_records(n_members, 12345, 678)
    assert (len(tail) > 22) == (n_members >= 65535)
    found = find_directory(bytes(100) + tail)
    assert (found.n_members, found.offset, found.n_bytes) == (n_members, 12345, 678)
