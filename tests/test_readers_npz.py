"""Reading `.npz` files of others: stored, deflated, damaged and hostile."""

from __future__ import annotations

import io
import struct
import threading
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from weights_files import RNG, assert_reads, entry_of, refusal

from kinit_cli.errors import WeightsFileError
from kinit_cli.formats import inflate, npz_reader
from kinit_cli.formats.inflate import Inflater
from kinit_cli.formats.readers import open_weights
from kinit_cli.inspect import inspect_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "w.npz"


def npy(values: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=True)
    return stream.getvalue()


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)


def patched(path: Path, old: bytes, new: bytes, count: int = -1) -> None:
    data = path.read_bytes()
    assert old in data
    assert len(old) == len(new)
    path.write_bytes(data.replace(old, new, count))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read(path: Path, save: Any) -> None:
    values = {
        "a.b/c": RNG.standard_normal((70, 30)), "i": np.arange(-5, 5, dtype=">i4"),
        "scalar": np.float16(3), "none": np.zeros((0, 3)), "flags": np.array([True, False]),
        "fortran": np.asfortranarray(RNG.standard_normal((7, 5, 3))), "é": np.arange(3),
    }  # fmt: skip
    save(path, **values)
    for name, expected in values.items():
        assert_reads(path, name, np.asarray(expected), step=17)
    summary = inspect_file(path)
    assert (summary.format, summary.layout, summary.notes) == ("npz", "flat", ())


def test_tiles_of_a_deflated_member_may_come_in_any_order(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inflate, "_PIECE_BYTES", 1000)
    monkeypatch.setattr(inflate, "_MAX_PIECES", 3)
    monkeypatch.setattr(inflate, "_READ_BYTES", 100)
    values = RNG.integers(0, 50, 4000)
    np.savez_compressed(path, a=values)
    starts = list(range(0, 4000, 333))
    with open_weights(path) as file:
        entry = entry_of(file, "a")
        for order in (starts, starts[::-1], list(RNG.permutation(starts))):
            for start in map(int, order):
                stop = min(start + 333, 4000)
                assert (file.read(entry, start, stop) == values[start:stop]).all()


def test_many_threads_read_one_deflated_member(path: Path) -> None:
    values = RNG.standard_normal(400_000)
    np.savez_compressed(path, a=values)
    found: dict[int, Any] = {}
    with open_weights(path) as file:
        entry = entry_of(file, "a")
        threads = [
            threading.Thread(
                target=lambda i=i: found.update({i: file.read(entry, i * 50_000, (i + 1) * 50_000)})
            )
            for i in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (np.concatenate([found[i] for i in range(8)]) == values).all()


def test_pickles_are_listed_and_never_loaded(path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("unpickled",))

    archive(path, {"o.npy": npy(np.array([Trap()], object)), "f.npy": npy(np.ones(3))})
    summary = inspect_file(path)
    assert [(t.path, t.dtype, t.stats is None) for t in summary.tensors] == [
        ("f", "float64", False),
        ("o", "object", True),
    ]


@pytest.mark.parametrize(
    "name", ["../../etc/passwd.npy", "a/../b.npy", "/root.npy", "..\\x.npy", "\\x.npy", "../x.txt"]
)
def test_names_that_lead_out_of_a_folder_are_refused(path: Path, name: str) -> None:
    archive(path, {"a.npy": npy(np.ones(2)), name: npy(np.ones(1))})
    assert f"names of members within a folder, got {name!r}" in refusal(path)


def test_names_are_only_names(path: Path) -> None:
    archive(path, {"w:0.npy": npy(np.ones(2)), "[/]..b\x1b.npy": npy(np.ones(1))})
    with open_weights(path) as file:
        assert {entry.path for entry in file.entries} == {"w:0", "[/]..b\x1b"}


def test_a_long_name_is_shortened_in_a_message(path: Path) -> None:
    archive(path, {f"{'x' * 10_000}.npy": npy(np.ones(9))[:-1]})
    assert "x...x" in refusal(path)
    assert len(refusal(path)) < 1000


def test_other_members_are_noted(path: Path) -> None:
    archive(path, {"a.npy": npy(np.ones(2)), "readme.txt": b"x", "dir/": b""})
    assert inspect_file(path).notes == ("members that are no arrays are left out: 2",)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "got a zip archive with nothing in it"),
        ({"archive/data.pkl": b"x"}, "got a zip archive with 'archive/data.pkl'"),
        ({"a.npy": b""}, "an array in 'a.npy'"),
        ({"a.npy": b"PK hello there"}, "an array in 'a.npy'"),
        ({"a.npy": npy(np.ones(9))[:-1]}, "200 bytes in 'a.npy', got 199"),
        ({"a.npy": npy(np.ones(9)) + b"x"}, "200 bytes in 'a.npy', got 201"),
    ],
)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_that_are_not_what_they_should_be(
    path: Path, members: dict[str, bytes], message: str, method: int
) -> None:
    archive(path, members, method)
    assert message in refusal(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_members_are_refused(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.npy", npy(np.ones(2)))
        file.writestr("a.npy", npy(np.zeros(2)))
    assert "members with names of their own, got 'a.npy' twice" in refusal(path)


def test_encrypted_members_are_refused(path: Path) -> None:
    archive(path, {"a.npy": npy(np.ones(2))})
    patched(path, b"PK\1\2\x14\3\x14\0\0\0", b"PK\1\2\x14\3\x14\0\1\0")
    assert "members that are not encrypted, got 'a.npy'" in refusal(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_are_refused(path: Path, method: int) -> None:
    archive(path, {"a.npy": npy(np.ones(2))}, method)
    assert f"'a.npy' packed by method {method}" in refusal(path)


@pytest.mark.parametrize("cut", [1, 22, 60, 150])
def test_truncated_archives_are_refused(path: Path, cut: int) -> None:
    archive(path, {"a.npy": npy(np.ones(2))})
    path.write_bytes(path.read_bytes()[:-cut])
    assert "expected a complete zip archive" in refusal(path)


def test_a_member_that_is_elsewhere_or_longer_than_the_file(path: Path) -> None:
    archive(path, {"a.npy": npy(np.ones(2))})
    n_bytes = len(npy(np.ones(2)))
    sizes = struct.pack("<II", n_bytes, n_bytes)
    content = path.read_bytes()
    start = content.index(b"PK\1\2")
    for old, new, message in (
        (sizes, struct.pack("<II", 10**6, 10**6), "1000000 bytes of 'a.npy' at offset"),
        (sizes, struct.pack("<II", n_bytes, n_bytes + 1), "145 bytes in 'a.npy', got 144"),
    ):
        path.write_bytes(content[:start] + content[start:].replace(old, new))
        assert message in refusal(path)
    # The directory points at the first byte of something that is no member's header.
    path.write_bytes(
        content[:start] + content[start:].replace(bytes(4) + b"a.npy", b"\1\0\0\0a.npy")
    )
    assert "the member 'a.npy', got something else at its place" in refusal(path)


# --- deflated texts that are not what they are said to be -------------------------------------


def deflated(text: bytes) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return stream.compress(text) + stream.flush()


def inflater(path: Path, packed: bytes, n_bytes: int, crc: int) -> Inflater:
    path.write_bytes(b"??" + packed + b"after")
    return Inflater(path, offset=2, n_packed_bytes=len(packed), n_bytes=n_bytes, crc=crc)


TEXT = bytes(RNG.integers(0, 9, 3 * 2**20 + 5, dtype=np.uint8))


@pytest.mark.parametrize("n_bytes", [1, 2**20 - 1, 2**20, 2**20 + 1, len(TEXT)])
def test_any_range_of_a_deflated_text(path: Path, n_bytes: int) -> None:
    text = TEXT[:n_bytes]
    found = inflater(path, deflated(text), n_bytes, zlib.crc32(text))
    for start, stop in ((0, n_bytes), (n_bytes // 2, n_bytes), (0, 1), (n_bytes, n_bytes + 9)):
        assert found.read(start, stop) == text[start:stop]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda packed, n, crc: (packed, n + 1, crc), "an end before"),
        (lambda packed, n, crc: (packed, n - 1, crc), "more than the"),
        (lambda packed, n, crc: (packed, n, crc ^ 1), "by their CRC-32"),
        (lambda packed, n, crc: (packed[:-1], n, crc), "an end"),
        (lambda packed, n, crc: (packed[:1000], n, crc), "an end before"),
        (lambda packed, n, crc: (packed[:500] + b"\xff" * 400 + packed[900:], n, crc), "damaged"),
        (lambda packed, n, crc: (b"", n, crc), "an end before"),
    ],
)
def test_a_text_that_is_not_as_promised_is_an_error(path: Path, change: Any, message: str) -> None:
    packed, n_bytes, crc = change(deflated(TEXT), len(TEXT), zlib.crc32(TEXT))
    with pytest.raises(ValueError, match=message):
        inflater(path, packed, n_bytes, crc).read(0, n_bytes)


def test_a_bomb_is_refused_by_its_ratio_and_read_in_little_memory(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(path, a=np.zeros(2 * 10**6))
    assert inspect_file(path).tensors[0].n_bytes == 16 * 10**6
    monkeypatch.setattr(npz_reader, "MAX_SPARSE_BYTES", 10**6)
    assert "stored bytes in 'a.npy', which declares 16000128" in refusal(path)


def test_a_member_that_inflates_to_less_is_one_error(path: Path) -> None:
    archive(path, {"a.npy": npy(RNG.standard_normal(1000))}, zipfile.ZIP_DEFLATED)
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + b"\0" * 50 + content[middle + 50 :])
    with pytest.raises(WeightsFileError, match="expected to read 'a', got"):
        inspect_file(path)


def test_damage_where_a_deflated_member_begins_is_one_error(path: Path) -> None:
    archive(path, {"a.npy": npy(np.ones(9))}, zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    content[30 + len("a.npy")] = 0
    path.write_bytes(content)
    assert "an array in 'a.npy', got damaged bytes" in refusal(path)


def test_a_large_deflated_array_in_fortran_order_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npz_reader, "MAX_FORTRAN_BYTES", 100)
    np.savez_compressed(path, a=np.asfortranarray(np.ones((5, 5))))
    assert "deflated and in Fortran order, got 200" in refusal(path)
