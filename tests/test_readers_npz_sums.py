"""`.npz` archives whose sums, directory or manifest are not as they should be."""

from __future__ import annotations

import io
import re
import struct
import threading
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Kinit
from weights_files import RNG, entry_of, refusal

import kinit_cli
from kinit_cli.compare.verification import verify_digests
from kinit_cli.errors import WeightsFileError
from kinit_cli.formats.crc32 import RunningCrc32
from kinit_cli.formats.readers import open_weights
from kinit_cli.inspect import inspect_file

#: More than one tile of 2**20 elements.
LARGE = RNG.integers(0, 99, 2**21 + 12345, dtype=np.int16)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "w.npz"


def npy(values: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def change_last_byte(path: Path, content: bytes) -> None:
    """Change the last byte of a stored member with this content."""
    data = bytearray(path.read_bytes())
    data[data.index(content) + len(content) - 1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "values",
    [LARGE, np.ones(3), np.ones((), ">f4"), np.asfortranarray(RNG.standard_normal((70, 90)))],
)
@pytest.mark.parametrize("jobs", [1, 4])
def test_a_stored_member_that_was_changed_is_one_error(path: Path, values: Any, jobs: int) -> None:
    np.savez(path, other=np.zeros(5), a=values)
    inspect_file(path, jobs=jobs)
    change_last_byte(path, npy(values))
    with pytest.raises(zipfile.BadZipFile, match="Bad CRC-32"), np.load(path) as file:
        file["a"]
    with pytest.raises(WeightsFileError, match=r"expected the CRC-32 \w{8} of 'a\.npy', got"):
        inspect_file(path, jobs=jobs)
    inspect_file(path, pattern="other")


def test_a_changed_header_of_nothing_is_one_error(path: Path) -> None:
    np.savez(path, a=np.zeros((0, 3)))
    inspect_file(path)
    path.write_bytes(path.read_bytes().replace(b"(0, 3)", b"(0, 4)"))
    assert "expected the CRC-32" in refusal(path)


def test_a_wrong_sum_is_seen_by_verify_and_a_changed_manifest_by_all(
    kinit: Kinit, small_spec: Path, tmp_path: Path
) -> None:
    assert kinit("generate", str(small_spec), "-o", "w.npz", "-q").returncode == 0
    path = tmp_path / "w.npz"
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        info = archive.infolist()[0]
    sum_of_first = struct.pack("<I", info.CRC)
    path.write_bytes(content.replace(sum_of_first, struct.pack("<I", info.CRC ^ 1)))
    for arguments in (["verify"], ["verify", "--quick"], ["inspect"]):
        found = kinit(*arguments, "w.npz")
        assert found.returncode == 2
        assert (
            f"expected the CRC-32 {info.CRC ^ 1:08x} of {info.filename!r}" in found.stderr.decode()
        )
    path.write_bytes(content.replace(b'{"kinit":1,', b'{"kinit": 1'))
    assert "of 'kinit.json', got" in refusal(path)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 0, 3, 2, 1]])
def test_a_running_sum_of_parts_in_any_order(order: Sequence[int]) -> None:
    elements = np.arange(100, dtype=">i2")
    bounds = [0, 7, 50, 51, 100]
    running = RunningCrc32(b"head", 100)
    found = [running.add(bounds[i], elements[bounds[i] : bounds[i + 1]]) for i in order]
    assert [crc for crc in found if crc is not None] == [zlib.crc32(b"head" + elements.tobytes())]
    assert running.add(0, elements) is None


def test_a_running_sum_of_many_threads() -> None:
    elements = RNG.integers(0, 9, 64_000, dtype=np.uint8)
    running = RunningCrc32(b"", elements.size)
    found: list[int | None] = []

    def add(first: int) -> None:
        for start in range(first * 100, elements.size, 800):
            found.append(running.add(start, elements[start : start + 100]))

    threads = [threading.Thread(target=add, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [crc for crc in found if crc is not None] == [zlib.crc32(elements.tobytes())]


# --- directories that say otherwise -----------------------------------------------------------


def with_directory(path: Path, names: Sequence[str]) -> None:
    """Write an archive with one member whose directory lists it under several names."""
    content = npy(np.ones(9))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(names[0], content)
        first = archive.infolist()[0]
        for name in names[1:]:
            info = zipfile.ZipInfo(name)
            info.header_offset, info.CRC = first.header_offset, first.CRC
            info.compress_type, info.file_size = first.compress_type, first.file_size
            info.compress_size = first.compress_size
            archive.filelist.append(info)
            archive.NameToInfo[name] = info


def test_one_member_under_many_names_is_refused(path: Path) -> None:
    with_directory(path, [f"{index}.npy" for index in range(300)])
    assert "the member '1.npy', got one of another name at its place" in refusal(path)
    with_directory(path, ["a.npy", "aa.npy"])
    assert "the member 'aa.npy', got one of another name at its place" in refusal(path)


def test_members_within_another_are_refused(path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("b.npy", npy(np.ones(2)))
        hidden = archive.infolist()[0]
    outer = npy(np.frombuffer(inner.getvalue(), np.uint8))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", outer)
        hidden.header_offset = zipfile.sizeFileHeader + len("a.npy") + outer.index(b"PK\3\4")
        archive.filelist.append(hidden)
        archive.NameToInfo["b.npy"] = hidden
    with np.load(path) as file:
        assert file["b"].tolist() == [1, 1]
    assert "members that lie one after the other, got 'b.npy' within 'a.npy'" in refusal(path)


def test_a_member_beyond_the_end_is_named(path: Path) -> None:
    np.savez(path, a=np.ones(2))
    content = path.read_bytes()
    start = content.index(b"PK\1\2")
    directory = content[start:].replace(bytes(4) + b"a.npy", struct.pack("<I", 10**6) + b"a.npy")
    path.write_bytes(content[:start] + directory)
    message = refusal(path)
    assert f"'a.npy' at offset 1000000, got a file of {len(content)} bytes" in message
    assert "shorter while" not in message


# --- manifests --------------------------------------------------------------------------------


def test_a_deflated_manifest_may_be_as_long_as_a_model_of_so_many_members_has(path: Path) -> None:
    for n_bytes, is_read in ((2**20 + 2 * 2**16, True), (2**20 + 2 * 2**16 + 1, False)):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.npy", npy(np.ones(2)))
            archive.writestr("kinit.json", b" " * n_bytes)
        if is_read:
            with open_weights(path) as file:
                assert entry_of(file, "a").shape == (2,)
        else:
            assert "expected at most 1179648 bytes in 'kinit.json', got 1179649" in refusal(path)


def test_where_elements_are_compared_a_wrong_sum_hides_no_difference(
    path: Path, kinit: Kinit
) -> None:
    spec = {"seed": 3, "layers": [{"name": "a", "weights": {"k": {"shape": [40, 50]}}}]}
    kinit_cli.generate(spec, path)
    good = path.with_name("good.npz")
    good.write_bytes(path.read_bytes())
    values = np.load(path)["a.k"]
    change_last_byte(path, npy(values)[-len(values.tobytes()) :])
    wrong_sum = r"expected the CRC-32 \w{8} of 'a\.k\.npy', got"

    (check,) = (found := kinit_cli.verify(path)).differing
    assert check.first is not None
    assert (check.path, check.n_different, check.first.index) == ("a/k", 1, (39, 49))
    assert check.first.expected.value == str(values[39, 49])
    (quick,) = (hashed := verify_digests(path)).differing
    assert (quick.path, quick.status) == ("a/k", "values")
    compared = kinit_cli.diff(good, path)
    assert [(t.status, t.index) for t in compared.tensors] == [("different", (39, 49))]
    for notes in (found.notes, hashed.notes, compared.notes):
        assert re.search(wrong_sum, notes[-1])
    done = kinit("verify", "w.npz")
    assert (done.returncode, done.stderr) == (1, b"")

    # The elements are right and the sum in the directory is not, so that others refuse the file.
    data = bytearray(good.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 16] ^= 1
    path.write_bytes(data)
    for check_file in (kinit_cli.verify, verify_digests):
        with pytest.raises(WeightsFileError, match=wrong_sum):
            check_file(path)
    with pytest.raises(WeightsFileError, match=wrong_sum):
        kinit_cli.diff(good, path)
