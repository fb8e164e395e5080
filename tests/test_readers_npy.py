"""Reading `.npy` files and directories of them, sound and hostile."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from weights_files import RNG, assert_reads, read_all, refusal

from kinit_cli.errors import WeightsFileError
from kinit_cli.formats import npy_reader
from kinit_cli.formats.readers import open_weights


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "i1", "<u8", "?"])
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (3, 4, 5)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(tmp_path: Path, dtype: str, shape: tuple[int, ...], order: Any) -> None:
    values = RNG.integers(0, 2, shape).astype(dtype)
    np.save(tmp_path / "w.npy", np.asarray(values, order=order))
    assert_reads(tmp_path / "w.npy", "w", values)
    assert_reads(tmp_path / "w.npy", "w", values, step=7)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_npy_header_versions(tmp_path: Path, version: tuple[int, int]) -> None:
    values = np.arange(4, dtype="<f4")
    with (tmp_path / "w").open("wb") as file:
        np.lib.format.write_array(file, values, version)
    assert_reads(tmp_path / "w", "w", values)


def test_npy_written_by_python_2(tmp_path: Path) -> None:
    values = np.arange(4, dtype="<f4")
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (4L,), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + values.tobytes()
    (tmp_path / "w.npy").write_bytes(content)
    assert_reads(tmp_path / "w.npy", "w", values)


def test_npy_structured_is_listed_without_elements(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.zeros(3, [("a", "f4")]))
    with open_weights(tmp_path / "w.npy") as opened:
        assert opened.entries[0].element is None
        assert opened.entries[0].n_bytes == 12
        with pytest.raises(TypeError, match="no numbers"):
            opened.read(opened.entries[0], 0, 1)


class Bomb:
    """Unpickling it would end the process."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (66,)


def test_npy_with_pickled_objects_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.array([Bomb()], object))
    assert "got pickled Python objects" in refusal(tmp_path / "w.npy")


def test_npy_cut_or_grown_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.npy"
    np.save(path, np.arange(100, dtype="f4"))
    content = path.read_bytes()
    for length in range(0, len(content), 13):
        path.write_bytes(content[:length])
        refusal(path)
    path.write_bytes(content + b"\0")
    assert "expected 528 bytes, for float32 of shape (100,), got 529" in refusal(path)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (True,), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': 3, }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (9" + b"9" * 5000 + b",), }",
        b"{'descr': '<q9', 'fortran_order': False, 'shape': (1,), }",
        b"{'descr': ('<f4', 3, 4), 'fortran_order': False, 'shape': (1,), }",
        b"{'descr': '<f4'}",
        b"[" * 3000,
        b"__import__('os')._exit(66)",
        b"\xff\xfe",
        b"",
    ],
)
def test_npy_with_a_bad_header_is_refused(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "w.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(4))
    refusal(path)


@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_that_shrinks_while_open_is_an_error(tmp_path: Path, order: Any) -> None:
    path = tmp_path / "w.npy"
    np.save(path, np.zeros((100, 100), order=order))
    with open_weights(path) as opened:
        os.truncate(path, 1000)
        with pytest.raises(WeightsFileError):
            read_all(opened, "w")


def test_npy_manifest_is_beside_it(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.zeros(3))
    with open_weights(tmp_path / "w.npy") as opened:
        assert opened.manifest_text is None
        assert (opened.format, opened.layout) == ("npy", "flat")
    (tmp_path / "w.npy.kinit.json").write_text('{"kinit":1}')
    with open_weights(tmp_path / "w.npy") as opened:
        assert opened.manifest_text == '{"kinit":1}'


# --- a directory of npy -----------------------------------------------------------------------


def test_npy_directory(tmp_path: Path) -> None:
    (tmp_path / "b10").mkdir()
    (tmp_path / "b9" / "deep").mkdir(parents=True)
    np.save(tmp_path / "b10" / "k.npy", np.zeros(3))
    np.save(tmp_path / "b9" / "deep" / "k.npy", np.ones((2, 2), "f4"))
    (tmp_path / "kinit.json").write_text("{}")
    (tmp_path / "readme.txt").write_text("")
    with open_weights(tmp_path) as opened:
        assert (opened.format, opened.layout) == ("npy-directory", "flat")
        assert [entry.path for entry in opened.entries] == ["b9/deep/k", "b10/k"]
        assert read_all(opened, "b9/deep/k").tolist() == [1] * 4
        assert opened.manifest_text == "{}"
        assert opened.notes == ()


def test_npy_directory_symbolic_links_are_not_followed(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    np.save(outside / "secret.npy", np.zeros(3))
    np.save(inside / "x.npy", np.zeros(3))
    (inside / "y.npy").symlink_to(outside / "secret.npy")
    (inside / "folder").symlink_to(outside)
    (inside / "kinit.json").symlink_to(outside / "secret.npy")
    with open_weights(inside) as opened:
        assert [entry.path for entry in opened.entries] == ["x"]
        assert opened.notes == ("symbolic links are not followed: 2",)
        assert opened.manifest_text is None


def test_npy_directory_manifest_that_is_not_text_is_noted(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3))
    (tmp_path / "kinit.json").write_bytes(b"\xff\xfe")
    with open_weights(tmp_path) as opened:
        assert opened.manifest_text is None
        assert len(opened.notes) == 1
        assert opened.notes[0].startswith("kinit.json cannot be read")


def test_npy_directory_without_npy_is_refused(tmp_path: Path) -> None:
    assert "expected .npy files in this directory, got none" in refusal(tmp_path)


def test_npy_directory_with_a_damaged_file_names_it(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(WeightsFileError, match=r"x\.npy"):
        open_weights(tmp_path)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("9" * 4500, "got "),
        ("9" * 4000, "a shape with sizes that no array has"),
        (f"{2**62}, 2", "a shape of more elements than an array has"),
        ("1, " * 64 + "1", "65 dimensions, more than 64"),
        ("-1", "a shape with sizes that no array has"),
        ("1, " * 5000 + "1", "a header that is longer than NumPy reads; it is"),
    ],
)
def test_what_is_wrong_with_a_header_is_told_in_a_line(
    tmp_path: Path, shape: str, message: str
) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape},), }}".encode()
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(4))
    found = refusal(path).removeprefix(str(path))
    assert message in found
    assert len(found) < 260
    assert "max_header_size" not in found


def test_as_many_dimensions_as_numpy_has_are_read(tmp_path: Path) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {(1,) * 64}, }}".encode()
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(4))
    with open_weights(path) as opened:
        assert read_all(opened, "a").tolist() == [0]


def test_a_manifest_that_is_too_long_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "w.npy", np.zeros(3))
    (tmp_path / "w.npy.kinit.json").write_text(" " * 100)
    for n_most, notes in (
        (100, ()),
        (99, ("w.npy.kinit.json cannot be read: 100 bytes, more than 99",)),
    ):
        monkeypatch.setattr(npy_reader, "max_manifest_bytes", lambda n_tensors, most=n_most: most)
        with open_weights(tmp_path / "w.npy") as opened:
            assert opened.notes == notes
            assert (opened.manifest_text is None) == bool(notes)


def test_what_is_wrong_with_a_header_is_told_alike_in_every_run(tmp_path: Path) -> None:
    header = b"{'descr': name, 'fortran_order': False, 'shape': (3,), }".ljust(117) + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with pytest.raises(WeightsFileError, match=r"complete \.npy header") as caught:
        open_weights(path)
    assert " at 0x" not in str(caught.value)
    assert "ast.Name object" in str(caught.value)
