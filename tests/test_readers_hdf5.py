"""Reading HDF5 files that others wrote with plain h5py."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weights_files import RNG, assert_reads, entry_of, read_all

from kinit_cli.formats.readers import open_weights
from kinit_cli.formats.weights_file import iter_boxes
from kinit_cli.inspect import inspect_file


@pytest.fixture
def h5(tmp_path: Path) -> Path:
    return tmp_path / "w.h5"


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


@pytest.mark.parametrize("options", [{}, {"chunks": (1,)}])
def test_hdf5_names_that_look_alike_are_told_apart(h5: Path, options: dict[str, Any]) -> None:
    names = [rb"\xff\xfe", b"\xff\xfe", b"\xff\\xfe", rb"\xff\xfe (3)"]
    with h5py.File(h5, "w") as file:
        for value, name in enumerate(names):
            file.create_dataset("made", data=np.full(2, float(value)), **options)
            file.id.links.move(b"made", file.id, name)
    with open_weights(h5) as opened:
        values = {entry.path: read_all(opened, entry.path)[0] for entry in opened.entries}
    shown = r"\xff\xfe"
    assert values == {shown: 0, f"{shown} (2)": 2, f"{shown} (3)": 3, f"{shown} (4)": 1}
    found = inspect_file(h5).tensors
    assert {tensor.path: tensor.stats.mean for tensor in found if tensor.stats} == values


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


@settings(max_examples=300)
@given(st.lists(st.integers(1, 5), max_size=4).map(tuple), st.data())
def test_boxes_give_the_flat_range(shape: tuple[int, ...], data: st.DataObject) -> None:
    values = np.arange(math.prod(shape)).reshape(shape)
    start = data.draw(st.integers(0, values.size))
    stop = data.draw(st.integers(start, values.size))
    boxes = list(iter_boxes(shape, start, stop))
    flat = [x for box in boxes for x in values[box].reshape(-1).tolist()]
    assert flat == list(range(start, stop))
    assert len(boxes) <= max(1, 2 * len(shape) - 1)
