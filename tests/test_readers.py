"""Reading weights files that others wrote with plain h5py and NumPy, sound and hostile."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import pickle
import struct
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kinit_cli.errors import WeightsFileError
from kinit_cli.formats import npy_reader
from kinit_cli.formats.readers import open_weights
from kinit_cli.formats.weights_file import TensorEntry, WeightsFile, iter_boxes

RNG = np.random.default_rng(7)


@pytest.fixture
def h5(tmp_path: Path) -> Path:
    return tmp_path / "w.h5"


def entry_of(file: WeightsFile, path: str) -> TensorEntry:
    (entry,) = [entry for entry in file.entries if entry.path == path]
    return entry


def read_all(file: WeightsFile, path: str, step: int | None = None) -> NDArray[Any]:
    entry = entry_of(file, path)
    step = step or max(entry.n_elements, 1)
    starts = range(0, entry.n_elements, step)
    parts = [file.read(entry, start, min(start + step, entry.n_elements)) for start in starts]
    return np.concatenate(parts, dtype=parts[0].dtype) if parts else file.read(entry, 0, 0)


def assert_reads(path: Path, name: str, expected: NDArray[Any], step: int | None = None) -> None:
    with open_weights(path) as file:
        entry = entry_of(file, name)
        assert entry.shape == expected.shape
        assert entry.dtype == expected.dtype.name
        assert entry.n_elements == expected.size
        assert entry.n_bytes == expected.nbytes
        got = read_all(file, name, step)
    assert got.dtype == expected.dtype
    assert got.tobytes() == expected.tobytes()


def refusal(path: Path) -> str:
    with pytest.raises(WeightsFileError) as caught:
        open_weights(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "expected" in message
    assert "got" in message
    assert "; " in message
    return message


# --- HDF5: what is in it ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", ["<f4", ">f4", "<f8", "<f2", "i1", "<u2", ">i4", "<i8", "<u8", "?"]
)
@pytest.mark.parametrize("options", [{}, {"chunks": (3, 2)}, {"chunks": (3, 5), "compression": 4}])
def test_hdf5_dtypes_and_storage(h5: Path, dtype: str, options: dict[str, Any]) -> None:
    values = RNG.integers(0, 2 if dtype == "?" else 100, (7, 5)).astype(dtype)
    with h5py.File(h5, "w") as file:
        file.create_dataset("a/b/c", data=values, **options)
    assert_reads(h5, "a/b/c", values)
    assert_reads(h5, "a/b/c", values, step=4)


def test_hdf5_compact_dataset(h5: Path) -> None:
    values = np.arange(5, dtype="<f4")
    with h5py.File(h5, "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((5,))
        dataset = h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, properties)
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, values)
    assert_reads(h5, "x", values, step=2)


def test_hdf5_scalar_and_empty(h5: Path) -> None:
    with h5py.File(h5, "w") as file:
        file["scalar"] = np.float32(2.5)
        file["zero_size"] = np.zeros((0, 3), "f4")
        file["null"] = h5py.Empty("f4")
    assert_reads(h5, "scalar", np.array(2.5, "f4"))
    assert_reads(h5, "zero_size", np.zeros((0, 3), "f4"))
    assert_reads(h5, "null", np.zeros(0, "f4"))


@pytest.mark.parametrize("userblock", [0, 512, 4096])
def test_hdf5_after_a_user_block(h5: Path, userblock: int) -> None:
    values = np.arange(50, dtype="<f4")
    with h5py.File(h5, "w", userblock_size=userblock) as file:
        file["x"] = values
        file.create_dataset("never", (3,), "<f4")
    assert_reads(h5, "x", values)
    assert_reads(h5, "never", np.zeros(3, "<f4"))


def test_hdf5_never_written_reads_as_its_fill_value(h5: Path) -> None:
    with h5py.File(h5, "w") as file:
        file.create_dataset("c", (40, 50), "<f4", fillvalue=2.5)
        file.create_dataset("k", (40, 50), "<f4", fillvalue=1.5, chunks=(10, 10))
    assert_reads(h5, "c", np.full((40, 50), 2.5, "<f4"), step=333)
    assert_reads(h5, "k", np.full((40, 50), 1.5, "<f4"), step=333)


@pytest.mark.parametrize("options", [{}, {"chunks": (4,), "compression": "gzip"}])
def test_hdf5_bfloat16_as_keras_writes_it(h5: Path, options: dict[str, Any]) -> None:
    values = RNG.standard_normal(11).astype(ml_dtypes.bfloat16)
    with h5py.File(h5, "w") as file:
        file.create_dataset("k", data=values.view("V2"), **options)
        file["k"].attrs["dtype"] = "bfloat16"
    assert_reads(h5, "k", values, step=3)


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2"])
def test_hdf5_float8_in_bytes(h5: Path, name: str) -> None:
    values = RNG.standard_normal(11).astype(getattr(ml_dtypes, name))
    with h5py.File(h5, "w") as file:
        file["k"] = values.view("u1")
        file["k"].attrs["dtype"] = name
    assert_reads(h5, "k", values)


def test_hdf5_dtype_attribute_that_does_not_fit_is_ignored(h5: Path) -> None:
    with h5py.File(h5, "w") as file:
        file["bytes"] = np.arange(3, dtype="u1")
        file["bytes"].attrs["dtype"] = "bfloat16"
        file["opaque"] = np.zeros(3, "V2")
        file["opaque"].attrs["dtype"] = [1, 2]
    assert_reads(h5, "bytes", np.arange(3, dtype="u1"))
    with open_weights(h5) as file:
        assert entry_of(file, "opaque").element is None


def test_hdf5_float_formats_that_numpy_lacks_are_converted(h5: Path) -> None:
    with h5py.File(h5, "w") as file:
        native = h5py.h5t.IEEE_F32LE.copy()
        native.set_fields(15, 7, 8, 0, 7)
        native.set_size(2)
        native.set_ebias(127)
        h5py.h5d.create(file.id, b"x", native, h5py.h5s.create_simple((3,)))
        file["x"][...] = [1, -2, 0.5]
    with open_weights(h5) as opened:
        entry = entry_of(opened, "x")
        assert (entry.dtype, entry.n_bytes) == ("float32", 6)
        assert opened.read(entry, 0, 3).tolist() == [1, -2, 0.5]


def test_hdf5_what_is_not_numbers_is_listed_without_elements(h5: Path) -> None:
    with h5py.File(h5, "w") as file:
        file["fixed"] = np.array([b"ab", b"c"])
        file["text"] = "hello"
        file["pair"] = np.zeros(2, [("a", "f4"), ("b", "i4")])
        file["complex"] = np.zeros(2, "c8")
        file["opaque"] = np.zeros(2, "V5")
        file["reference"] = np.array([file["text"].ref], h5py.ref_dtype)
        file.create_dataset("ragged", (2,), h5py.vlen_dtype("i4"))
        file.create_dataset("rows", (2,), np.dtype(("f4", (3,))))
        time = h5py.h5t.UNIX_D32LE.copy()
        h5py.h5d.create(file.id, b"time", time, h5py.h5s.create_simple((2,)))
        file["named_type"] = np.dtype("f4")
    with open_weights(h5) as opened:
        shown = {entry.path: entry.dtype for entry in opened.entries if entry.element is None}
        with pytest.raises(TypeError, match="no numbers"):
            opened.read(entry_of(opened, "text"), 0, 1)
    assert shown == {
        "fixed": "string",
        "text": "string",
        "pair": "compound",
        "complex": "complex64",
        "opaque": "opaque5",
        "reference": "object",
        "ragged": "object",
        "rows": "array",
        "time": "unsupported",
    }


def test_hdf5_enum_is_its_integers(h5: Path) -> None:
    with h5py.File(h5, "w") as file:
        file.create_dataset("e", data=[1, 2], dtype=h5py.enum_dtype({"a": 1, "b": 2}, "<i2"))
    with open_weights(h5) as opened:
        assert read_all(opened, "e").tolist() == [1, 2]


def test_hdf5_paths_are_in_natural_order(h5: Path) -> None:
    with h5py.File(h5, "w") as file:
        for name in ("b10/k", "b9/k", "b1/z", "a", "b1/k"):
            file[name] = [1.0]
    with open_weights(h5) as opened:
        assert [entry.path for entry in opened.entries] == ["a", "b1/k", "b1/z", "b9/k", "b10/k"]


@pytest.mark.parametrize(
    ("names", "attributes", "expected"),
    [
        (["d/kernel"], {"layer_names": [b"d"]}, "keras-legacy"),
        (["d/kernel"], {"layer_names0": [b"d"]}, "keras-legacy"),
        (["layers/dense/vars/0"], {}, "keras3-weights"),
        (["_layer_checkpoint_dependencies/dense/vars/0"], {}, "keras3-weights"),
        (["layers/dense/kernel", "vars/0"], {}, "flat"),
    ],
)
def test_hdf5_layout(h5: Path, names: list[str], attributes: dict[str, Any], expected: str) -> None:
    with h5py.File(h5, "w") as file:
        for name in names:
            file[name] = [1.0]
        file.attrs.update(attributes)
    with open_weights(h5) as opened:
        assert (opened.format, opened.layout) == ("hdf5", expected)


def test_hdf5_layout_of_a_whole_saved_model(h5: Path) -> None:
    with h5py.File(h5, "w") as file:
        file["model_weights/d/kernel"] = [1.0]
        file["model_weights"].attrs["layer_names"] = [b"d"]
    with open_weights(h5) as opened:
        assert opened.layout == "keras-legacy"


@pytest.mark.parametrize("text", ['{"kinit":1}', np.bytes_(b'{"kinit":1}')])
def test_hdf5_manifest(h5: Path, text: Any) -> None:
    with h5py.File(h5, "w") as file:
        file.attrs["kinit"] = text
    with open_weights(h5) as opened:
        assert opened.manifest_text == '{"kinit":1}'


@pytest.mark.parametrize("value", [7, [1.0, 2.0]])
def test_hdf5_manifest_of_another_kind_is_none(h5: Path, value: Any) -> None:
    with h5py.File(h5, "w") as file:
        file.attrs["kinit"] = value
    with open_weights(h5) as opened:
        assert opened.manifest_text is None


def test_hdf5_name_that_is_not_utf8(h5: Path) -> None:
    with h5py.File(h5, "w") as file:
        h5py.h5d.create(file.id, b"a\xff", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((2,))).write(
            h5py.h5s.ALL, h5py.h5s.ALL, np.ones(2, "f4")
        )
        file.create_dataset("z", data=np.ones(2), chunks=(1,))
        file.id.links.move(b"z", file.id, b"z\xfe")
    with open_weights(h5) as opened:
        assert [entry.path for entry in opened.entries] == ["a\\xff", "z\\xfe"]
        assert read_all(opened, "z\\xfe").tolist() == [1, 1]


def test_threads_may_read_at_once(h5: Path) -> None:
    values = RNG.standard_normal((64, 1000))
    with h5py.File(h5, "w") as file:
        for index in range(4):
            file.create_dataset(f"c{index}", data=values + index, chunks=(7, 300), compression=1)
            file.create_dataset(f"p{index}", data=values + index)
    with open_weights(h5) as opened, ThreadPoolExecutor(8) as pool:

        def read(task: tuple[str, int]) -> bool:
            name, start = task
            got = opened.read(entry_of(opened, name), start, start + 999)
            expected = (values + int(name[1])).reshape(-1)[start : start + 999]
            return bool((got == expected).all())

        names = [entry.path for entry in opened.entries]
        tasks = [(name, start) for start in range(0, 60_000, 5000) for name in names]
        assert all(pool.map(read, tasks))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(1, 5), max_size=4).map(tuple), st.data())
def test_boxes_give_the_flat_range(shape: tuple[int, ...], data: st.DataObject) -> None:
    values = np.arange(math.prod(shape)).reshape(shape)
    start = data.draw(st.integers(0, values.size))
    stop = data.draw(st.integers(start, values.size))
    boxes = list(iter_boxes(shape, start, stop))
    flat = [x for box in boxes for x in values[box].reshape(-1).tolist()]
    assert flat == list(range(start, stop))
    assert len(boxes) <= max(1, 2 * len(shape) - 1)


# --- HDF5: what is refused --------------------------------------------------------------------


def test_hdf5_soft_links_are_skipped_with_a_note(h5: Path) -> None:
    with h5py.File(h5, "w") as file:
        file["x"] = [1.0]
        file["alias"] = h5py.SoftLink("/x")
        file["dangling"] = h5py.SoftLink("/nowhere")
    with open_weights(h5) as opened:
        assert [entry.path for entry in opened.entries] == ["x"]
        assert opened.notes == ("soft links are not followed: alias, dangling",)


def test_hdf5_cycles_end_and_other_names_of_a_group_are_noted(h5: Path) -> None:
    with h5py.File(h5, "w") as file:
        file["a/x"] = [1.0]
        file["a/up"] = file["/"]
        file["a/self"] = file["a"]
        file["hard"] = file["a/x"]
    with open_weights(h5) as opened:
        assert [entry.path for entry in opened.entries] == ["a/x", "hard"]
        assert opened.notes == ("further names of groups are not followed: a/self, a/up",)


def test_hdf5_many_names_of_groups_do_not_multiply(h5: Path) -> None:
    with h5py.File(h5, "w") as file:
        group = file.create_group("g")
        for _ in range(60):
            inner = group.create_group("l")
            group["r"] = inner
            group = inner
        group["x"] = [1.0]
    with open_weights(h5) as opened:
        assert len(opened.entries) == 1


def test_hdf5_external_link_is_refused(h5: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = [1.0]
    with h5py.File(h5, "w") as file:
        file["g/e"] = h5py.ExternalLink("other.h5", "/secret")
    assert "an external link at 'g/e'" in refusal(h5)


def test_hdf5_external_storage_is_refused(h5: Path, tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(bytes(16))
    with h5py.File(h5, "w") as file:
        file.create_dataset("x", (4,), "f4", external=[("raw", 0, 16)])
    assert "external storage at 'x'" in refusal(h5)


def test_hdf5_virtual_dataset_is_refused(h5: Path) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
    with h5py.File(h5, "w") as file:
        file.create_virtual_dataset("v", layout)
    assert "a virtual dataset at 'v'" in refusal(h5)


@pytest.mark.parametrize("options", [{}, {"chunks": (1000, 1000), "compression": "gzip"}])
def test_hdf5_giant_that_was_never_written_is_refused(h5: Path, options: dict[str, Any]) -> None:
    with h5py.File(h5, "w") as file:
        file.create_dataset("x", (10**7, 10**7), "f4", **options)
    assert "400000000000000 bytes, got 0 bytes stored" in refusal(h5)


def test_hdf5_giant_chunk_is_refused(h5: Path) -> None:
    with h5py.File(h5, "w") as file:
        file.create_dataset("x", (2**16, 2**13), "f4", chunks=(2**14, 2**13))
    assert "chunks of at most" in refusal(h5)


def test_hdf5_damaged_chunk_is_an_error_when_read(h5: Path) -> None:
    values = RNG.standard_normal((100, 100))
    with h5py.File(h5, "w") as file:
        file.create_dataset("x", data=values, chunks=(50, 100), compression="gzip")
        offset = file["x"].id.get_chunk_info(1).byte_offset
    content = bytearray(h5.read_bytes())
    content[offset : offset + 100] = bytes(100)
    h5.write_bytes(content)
    with open_weights(h5) as opened:
        entry = entry_of(opened, "x")
        assert opened.read(entry, 0, 5000).tolist() == values.reshape(-1)[:5000].tolist()
        with pytest.raises(WeightsFileError, match="HDF5 error"):
            opened.read(entry, 5000, 10000)


def test_hdf5_cut_at_any_length_is_refused(h5: Path) -> None:
    with h5py.File(h5, "w") as file:
        file["a/b"] = np.arange(1000, dtype="f4")
    content = h5.read_bytes()
    for length in {*range(0, len(content), 97), 8, 9, 95, 96, len(content) - 1}:
        h5.write_bytes(content[:length])
        refusal(h5)


def test_hdf5_that_shrinks_while_open_is_an_error(h5: Path) -> None:
    with h5py.File(h5, "w") as file:
        file["x"] = np.arange(10_000, dtype="f4")
    with open_weights(h5) as opened:
        os.truncate(h5, 10_000)
        with pytest.raises(WeightsFileError, match="became shorter"):
            read_all(opened, "x")


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_hdf5_with_damaged_bytes_is_read_or_refused(
    data: st.DataObject, small_hdf5: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(small_hdf5)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.h5"
    path.write_bytes(content)
    with contextlib.suppress(WeightsFileError), open_weights(path) as opened:
        for entry in opened.entries:
            if entry.element is not None:
                n_read = min(entry.n_elements, 1000)
                assert opened.read(entry, 0, n_read).shape == (n_read,)


@pytest.fixture(scope="module")
def small_hdf5(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("small") / "s.h5"
    with h5py.File(path, "w") as file:
        file["a/kernel"] = np.arange(20, dtype="f4").reshape(4, 5)
        file.create_dataset("b", data=np.arange(20), chunks=(5,), compression="gzip")
        # Fixed-length text: on damaged variable-length text, HDF5 1.14 can loop without end.
        file["b"].attrs["dtype"] = np.bytes_(b"bfloat16")
        file.attrs["kinit"] = np.bytes_(b"{}")
    return path.read_bytes()


# --- npy --------------------------------------------------------------------------------------


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


# --- dispatch ---------------------------------------------------------------------------------


def test_content_counts_and_not_the_name(tmp_path: Path) -> None:
    with (tmp_path / "a.h5").open("wb") as file:
        np.save(file, np.zeros(3))
    with h5py.File(tmp_path / "b.npy", "w") as hdf5:
        hdf5["x"] = [1.0]
    with open_weights(tmp_path / "a.h5") as first, open_weights(str(tmp_path / "b.npy")) as second:
        assert (first.format, second.format) == ("npy", "hdf5")


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"", "an empty file"),
        (b"hello world", "begins with b'hello wo'"),
        (b"PK\x03\x04....", "a zip archive"),
        (pickle.dumps([1]), "a Python pickle"),
        (b"\x1f\x8b....", "a gzip archive"),
        (b"GGUF....", "a GGUF file"),
        (struct.pack("<Q", 20) + b'{"a":{}}', "a safetensors file"),
        (bytes(5000), "begins with b'\\x00"),
    ],
)
def test_foreign_files_are_named(tmp_path: Path, content: bytes, got: str) -> None:
    (tmp_path / "w.h5").write_bytes(content)
    assert got in refusal(tmp_path / "w.h5")


def test_missing_file(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "missing.h5")


def test_name_with_nul() -> None:
    with pytest.raises(WeightsFileError, match="null"):
        open_weights("a\0b")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_file_without_permission(tmp_path: Path) -> None:
    (tmp_path / "w.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (tmp_path / "w.h5").chmod(0)
    assert "Permission denied" in refusal(tmp_path / "w.h5")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "a special file" in refusal(tmp_path / "pipe")


@pytest.fixture
def open_descriptors() -> Callable[[], int]:
    if sys.platform != "linux":
        pytest.skip("counts descriptors in /proc")
    return lambda: len(os.listdir("/proc/self/fd"))


def test_nothing_stays_open(tmp_path: Path, h5: Path, open_descriptors: Callable[[], int]) -> None:
    with h5py.File(h5, "w") as file:
        file.create_dataset("x", data=np.zeros((10, 10)), chunks=(5, 5))
        file["y"] = [1.0]
    bad = tmp_path / "bad.h5"
    with h5py.File(bad, "w") as file:
        file["e"] = h5py.ExternalLink("other.h5", "/x")
    np.save(tmp_path / "w.npy", np.zeros((3, 3), order="F"))
    before = open_descriptors()
    for path, _ in itertools.product((h5, tmp_path / "w.npy"), range(3)):
        with open_weights(path) as opened:
            for entry in opened.entries:
                opened.read(entry, 0, 1)
        opened.close()
    for _ in range(3):
        refusal(bad)
    assert open_descriptors() == before


def test_manifest_names_are_those_that_generate_writes() -> None:
    manifest = pytest.importorskip("kinit_cli.manifest")
    assert npy_reader.MANIFEST_NAME == manifest.MANIFEST_FILE
    assert f".{npy_reader.MANIFEST_NAME}" == manifest.SIDECAR_SUFFIX
