"""Reading safetensors files and sets of others, sound and not."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest
from conftest import Kinit
from weights_files import RNG, assert_reads, entry_of, read_all, refusal

from kinit_cli.errors import WeightsFileError
from kinit_cli.formats import safetensors_reader
from kinit_cli.formats.readers import open_weights
from kinit_cli.inspect import inspect_file


def f32(start: int, stop: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [(stop - start) // 4], "data_offsets": [start, stop]}


def pack(header: object, data: bytes, *, padding: int = 0) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * padding
    return struct.pack("<Q", len(text)) + text + data


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "w.safetensors"


def test_any_order_and_names_and_odd_offsets_are_read(path: Path) -> None:
    header = {
        "b/é.10": {"dtype": "F32", "shape": [2], "data_offsets": [3, 11]},
        "b/é.9": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
        "../../etc": {"dtype": "F16", "shape": [], "data_offsets": [11, 13]},
        "none": {"dtype": "I64", "shape": [0, 7], "data_offsets": [11, 11]},
    }
    data = bytes([1, 2, 3]) + np.array([1.5, -2], "<f4").tobytes() + np.float16(3).tobytes()
    path.write_bytes(pack(header, data))
    with open_weights(path) as file:
        assert [entry.path for entry in file.entries] == ["../../etc", "b/é.9", "b/é.10", "none"]
        assert (file.format, file.layout, file.manifest_text) == ("safetensors", "flat", None)
        assert read_all(file, "b/é.10").tolist() == [1.5, -2]
        assert read_all(file, "b/é.9", step=2).tolist() == [1, 2, 3]
        assert read_all(file, "../../etc").tolist() == [3]
        assert read_all(file, "none").size == 0


def test_what_the_library_writes_is_read(path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    values = {
        "f": RNG.standard_normal((40, 30)).astype(np.float32), "i": np.arange(-5, 5),
        "b": np.array([True, False]), "h": np.arange(9.0).astype(ml_dtypes.bfloat16),
        "e": np.arange(9.0).astype(ml_dtypes.float8_e4m3fn),
    }  # fmt: skip
    numpy.save_file(values, path, {"by": "someone"})
    for name, expected in values.items():
        assert_reads(path, name, expected, step=7)


def test_a_length_that_looks_like_json_is_a_length(path: Path) -> None:
    # 31,520 is a space and a brace.
    header = json.dumps({"a": f32(0, 4)}).encode()
    path.write_bytes(pack(header, bytes(4), padding=31520 - len(header)))
    assert path.read_bytes()[:2] == b" {"
    assert_reads(path, "a", np.zeros(1, np.float32))


def test_unknown_types_are_listed_and_not_measured(path: Path) -> None:
    header = {
        "c": {"dtype": "C64", "shape": [2], "data_offsets": [0, 16]},
        "n": {"dtype": "F4", "shape": [4], "data_offsets": [16, 18]},
        "q": {"dtype": "Q9_X", "shape": [100], "data_offsets": [18, 20]},
        "f": f32(20, 24),
    }
    path.write_bytes(pack(header, bytes(24)))
    summary = inspect_file(path)
    assert [(t.path, t.dtype, t.stats is None) for t in summary.tensors] == [
        ("c", "C64", True), ("f", "float32", False), ("n", "F4", True), ("q", "Q9_X", True),
    ]  # fmt: skip
    assert summary.notes == ("listed and not measured: C64, F4, Q9_X",)
    with open_weights(path) as file, pytest.raises(TypeError):
        file.read(entry_of(file, "q"), 0, 1)


DAMAGED: list[tuple[str, bytes, str]] = [
    ("short", b"\x01\0\0\0\0\0\0\0{", "a sound safetensors header, got text that is not JSON"),
    (
        "beyond",
        struct.pack("<Q", 50) + b"{}",
        "a safetensors header of 50 bytes, got a file of 10 bytes",
    ),
    ("huge", struct.pack("<Q", 2**63) + b"{}", f"a safetensors header of {2**63} bytes"),
    ("not JSON", pack(b"{nope}", b""), "text that is not JSON"),
    ("not UTF-8", pack(b'{"\xff":1}', b""), "bytes that are not UTF-8 at 2"),
    ("deep", pack(b'{"a":' * 20000, b""), "JSON nested too deeply"),
    ("NaN", pack(b'{"a":NaN}', b""), "the number NaN"),
    ("endless", pack(b'{"a":' + b"1" * 5000 + b"}", b""), "text that is not JSON"),
    ("twice", pack(b'{"a":{},"a":{}}', b""), "the key 'a' twice"),
    ("twice within", pack(b'{"a":{"dtype":"F32","dtype":"F32"}}', b""), "the key 'dtype' twice"),
    ("metadata", pack({"__metadata__": {"a": 1}}, b""), "does not map texts to texts"),
    ("metadata list", pack({"__metadata__": []}, b""), "does not map texts to texts"),
    ("field", pack({"a": 1}, b""), "'a' without dtype, shape and data_offsets"),
    ("no dtype", pack({"a": {"shape": [], "data_offsets": [0, 4]}}, bytes(4)), "without dtype"),
    ("dtype", pack({"a": {**f32(0, 4), "dtype": 7}}, bytes(4)), "dtype that is no name"),
    ("code", pack({"a": {**f32(0, 4), "dtype": "\x1b[1m"}}, bytes(4)), "dtype that is no name"),
    ("shape", pack({"a": {**f32(0, 4), "shape": [1.0]}}, bytes(4)), "shape that is no list of"),
    ("bool", pack({"a": {**f32(0, 4), "shape": [True]}}, bytes(4)), "shape that is no list of"),
    ("negative", pack({"a": {**f32(0, 4), "shape": [-1, -1]}}, bytes(4)), "shape that is no list"),
    ("offsets", pack({"a": {**f32(0, 4), "data_offsets": [4, 0]}}, bytes(4)), "are no range"),
    ("three", pack({"a": {**f32(0, 4), "data_offsets": [0, 4, 4]}}, bytes(4)), "are no range"),
    ("overflow", pack({"a": {**f32(0, 4), "shape": [2**62, 2**62]}}, bytes(4)), "many elements"),
    (
        "dimensions",
        pack({"a": {**f32(0, 4), "shape": [1] * 65}}, bytes(4)),
        "'a' with 65 dimensions, more than 64",
    ),
    ("size", pack({"a": {**f32(0, 4), "shape": [2]}}, bytes(4)), "with 4 bytes for F32 of shape"),
    (
        "half",
        pack({"a": {"dtype": "F4", "shape": [3], "data_offsets": [0, 2]}}, bytes(2)),
        "for F4",
    ),
    ("gap", pack({"a": f32(0, 4), "b": f32(8, 12)}, bytes(12)), "a gap before 'b', at byte 8"),
    ("first gap", pack({"a": f32(4, 8)}, bytes(8)), "a gap before 'a'"),
    ("overlap", pack({"a": f32(0, 8), "b": f32(4, 12)}, bytes(12)), "an overlap before 'b'"),
    ("shared", pack({"a": f32(0, 4), "b": f32(0, 4)}, bytes(4)), "an overlap before 'b'"),
    ("outside", pack({"a": f32(0, 400)}, bytes(12)), "12 bytes after the header, 400 of them"),
    ("rest", pack({"a": f32(0, 4)}, bytes(5)), "5 bytes after the header, 4 of them"),
]


@pytest.mark.parametrize(
    ("content", "message"), [case[1:] for case in DAMAGED], ids=[case[0] for case in DAMAGED]
)
def test_a_header_that_lies_is_one_error(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    assert message in refusal(path)


def test_the_library_refuses_what_we_refuse(path: Path) -> None:
    library = pytest.importorskip("safetensors", reason="safetensors is not installed")
    # It takes any number for a shape's, and any number of them; it ignores keys that it does not
    # know, and the first of two.
    lenient = {"twice", "twice within", "dimensions"}
    for name, content, _ in DAMAGED:
        path.write_bytes(content)
        if name not in lenient:
            with pytest.raises(Exception, match=r"."):
                library.safe_open(path, "numpy")


def test_a_header_longer_than_the_limit_is_not_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safetensors_reader, "MAX_HEADER_BYTES", 100)
    path.write_bytes(pack({"a": f32(0, 4)}, bytes(4), padding=100))
    assert "header of at most 100 bytes" in refusal(path)


def test_a_file_that_shrinks_is_one_error(path: Path) -> None:
    path.write_bytes(pack({"a": f32(0, 4000)}, bytes(4000)))
    with open_weights(path) as file:
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(WeightsFileError, match="became shorter"):
            read_all(file, "a")


def test_the_exit_code_is_two(kinit: Kinit, path: Path) -> None:
    path.write_bytes(pack({"a": f32(4, 8)}, bytes(8)))
    found = kinit("inspect", "w.safetensors")
    assert (found.returncode, found.stdout) == (2, b"")
    assert b"a gap before 'a'" in found.stderr


# --- sets -----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.safetensors").write_bytes(pack({"x": f32(0, 4)}, np.float32(1).tobytes()))
    header = {"y": f32(0, 8), "z": f32(8, 12)}
    (tmp_path / "b.safetensors").write_bytes(pack(header, np.arange(3, dtype="<f4").tobytes()))
    return tmp_path


def write_index(folder: Path, weight_map: object, name: str = "m.safetensors.index.json") -> Path:
    index = {"metadata": {"total_size": 1.5}, "weight_map": weight_map}
    (folder / name).write_text(json.dumps(index))
    return folder / name


def test_a_set_is_read_as_one(folder: Path) -> None:
    index = write_index(folder, {"y": "b.safetensors", "x": "a.safetensors"})
    for name in (index, folder):
        with open_weights(name) as file:
            assert (file.format, file.path) == ("safetensors-set", index)
            assert [entry.path for entry in file.entries] == ["x", "y"]
            assert read_all(file, "x").tolist() == [1]
            assert read_all(file, "y").tolist() == [0, 1]
            assert file.notes == ("in the files and not in their index, left out: 1 tensors",)


@pytest.mark.parametrize(
    "name", ["../a.safetensors", "/etc/passwd", "..", ".", "sub/a.safetensors", "a\\b", "a\0b"]
)
def test_files_outside_the_folder_are_never_opened(folder: Path, name: str) -> None:
    index = write_index(folder, {"x": name})
    assert "which may be outside of its folder" in refusal(index)


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"x": 7}, "does not name files"),
        ({"x": [""]}, "does not name files"),
        ({}, "no weight_map that lists tensors"),
        ([], "no weight_map that lists tensors"),
        ({"x": "b.safetensors"}, "'x' in b.safetensors, got none there"),
        ({"w": "a.safetensors"}, "'w' in a.safetensors, got none there"),
    ],
)
def test_an_index_that_lies_is_one_error(folder: Path, weight_map: object, message: str) -> None:
    assert message in refusal(write_index(folder, weight_map))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x" * 256, "whose name is longer than one can be"),
        ("a\ud800", "does not name files"),
        ("a\nb", "does not name files"),
    ],
)
def test_a_name_that_no_file_has_is_one_error(folder: Path, name: str, message: str) -> None:
    assert message in refusal(write_index(folder, {"x": name}))


def test_a_missing_or_recursive_file_of_a_set_is_one_error(folder: Path) -> None:
    index = write_index(folder, {"x": "gone.safetensors"})
    with pytest.raises(WeightsFileError, match=r"gone\.safetensors: expected this file of a set"):
        open_weights(index)
    index = write_index(folder, {"x": "m.safetensors.index.json"})
    with pytest.raises(WeightsFileError, match="expected an HDF5"):
        open_weights(index)


def test_a_tensor_in_two_files_is_one_error(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with h5py.File(tmp_path / f"{name}.weights.h5", "w") as file:
            file["layers/dense/vars/0"] = np.ones(2)
    index = write_index(
        tmp_path, {"/layers/dense/vars": ["a.weights.h5", "b.weights.h5"]}, "m.weights.json"
    )
    assert "'layers/dense/vars/0' in one file" in refusal(index)


def test_files_of_two_formats_are_one_error(folder: Path) -> None:
    with h5py.File(folder / "c.h5", "w") as file:
        file["layers/dense/vars/0"] = np.ones(2)
    index = write_index(folder, {"/layers/dense/vars": "c.h5", "x": "a.safetensors"})
    assert "files of one format, got hdf5 and safetensors" in refusal(index)


def test_json_that_is_no_index_is_one_error(tmp_path: Path) -> None:
    for content, message in (
        (b'{"a": 1}', "no weight_map"),
        (b'{"weight_map"', "not JSON"),
        (b'{"weight_map": {"a": "b", "a": "c"}}', "the key 'a' twice"),
        (b'{"weight_map": {"a": "\xff"}}', "not UTF-8"),
    ):
        (tmp_path / "config.json").write_bytes(content)
        assert message in refusal(tmp_path / "config.json")


def test_a_folder_with_one_file_or_with_too_many(folder: Path) -> None:
    assert "one model in this directory, got a.safetensors, b.safetensors" in refusal(folder)
    (folder / "b.safetensors").unlink()
    with open_weights(folder) as file:
        assert [entry.path for entry in file.entries] == ["x"]
    write_index(folder, {"x": "a.safetensors"}, "p.safetensors.index.json")
    write_index(folder, {"x": "a.safetensors"}, "q.safetensors.index.json")
    assert "one model in this directory, got p.safet" in refusal(folder)


def test_the_files_of_a_set_may_be_links(tmp_path: Path, folder: Path) -> None:
    # As in the cache of Hugging Face's libraries.
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "model.safetensors").symlink_to(folder / "a.safetensors")
    with open_weights(tmp_path / "snapshot") as file:
        assert read_all(file, "x").tolist() == [1]
