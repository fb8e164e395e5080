"""What the writers write: judged by h5py and NumPy, and compared with the engine's own values."""

from __future__ import annotations

import hashlib
import io
import json
import time
from pathlib import Path

import h5py
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from written import MIXED_SPEC, assert_same, plan_text, values_of, write

from kinit_cli.digest import TILE_ELEMENTS, digest_of
from kinit_cli.dtypes import DTYPES, EXTENSION_DTYPES, numpy_dtype
from kinit_cli.errors import OutputError, WeightsFileError
from kinit_cli.formats.base import Writer
from kinit_cli.formats.hdf5 import ATTRIBUTE_LIMIT, Hdf5Writer
from kinit_cli.formats.keras_weights import KerasWeightsSetWriter, KerasWeightsWriter
from kinit_cli.formats.npy import NpyDirectoryWriter, NpyFileWriter, npy_header
from kinit_cli.formats.npz import NpzWriter
from kinit_cli.formats.registry import choose_writer
from kinit_cli.formats.safetensors import SafetensorsWriter
from kinit_cli.formats.safetensors_set import SafetensorsSetWriter
from kinit_cli.manifest import expectations, parse_manifest, plan_of
from kinit_cli.plan import Plan


@pytest.fixture(scope="module")
def mixed() -> Plan:
    return plan_text(MIXED_SPEC)


def test_hdf5_holds_every_value(mixed: Plan, tmp_path: Path) -> None:
    write(mixed, tmp_path / "w.h5", Hdf5Writer())
    with h5py.File(tmp_path / "w.h5") as file:
        found: list[str] = []
        file.visititems(lambda name, node: found.append(name) if is_dataset(node) else None)
        assert sorted(found) == sorted(tensor.path for tensor in mixed.tensors)
        for path, expected in values_of(mixed).items():
            assert_same(np.asarray(file[path][()]), expected)


def is_dataset(node: object) -> bool:
    return isinstance(node, h5py.Dataset)


def test_npy_directory_holds_every_value(mixed: Plan, tmp_path: Path) -> None:
    write(mixed, tmp_path / "w", NpyDirectoryWriter())
    for path, expected in values_of(mixed).items():
        assert_same(np.load(tmp_path / "w" / f"{path}.npy", allow_pickle=False), expected)
    files = {str(p.relative_to(tmp_path / "w")) for p in (tmp_path / "w").rglob("*") if p.is_file()}
    assert files == {"kinit.json", *(f"{tensor.path}.npy" for tensor in mixed.tensors)}


@pytest.mark.parametrize("dtype", sorted(set(DTYPES) - set(EXTENSION_DTYPES)))
def test_one_npy_file_is_what_numpy_saves(tmp_path: Path, dtype: str) -> None:
    plan = plan_text(f"layers: [{{name: a, weights: {{b: {{shape: [7, 3], dtype: {dtype}}}}}}}]")
    write(plan, tmp_path / "w.npy", NpyFileWriter())
    np.save(tmp_path / "n.npy", values_of(plan)["a/b"])
    assert (tmp_path / "w.npy").read_bytes() == (tmp_path / "n.npy").read_bytes()


def test_one_npy_file_has_its_manifest_beside_it(tmp_path: Path) -> None:
    plan = plan_text("seed: 3\nlayers: [{name: a, weights: {kernel: {shape: [7, 3]}}}]")
    write(plan, tmp_path / "w.npy", NpyFileWriter())
    manifest = parse_manifest((tmp_path / "w.npy.kinit.json").read_text(), "w.npy")
    assert manifest.seed == 3
    assert manifest.tensors["a/kernel"].digest == digest_of(np.load(tmp_path / "w.npy"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["w.npy", "w.npy.kinit.json"]


def test_a_manifest_that_stands_beside_is_not_overwritten_without_force(tmp_path: Path) -> None:
    plan = plan_text("seed: 3\nlayers: [{name: a, weights: {kernel: {shape: [7, 3]}}}]")
    sidecar = tmp_path / "w.npy.kinit.json"
    sidecar.write_text("precious")
    with pytest.raises(OutputError, match=r"w\.npy\.kinit\.json exists; use --force"):
        write(plan, tmp_path / "w.npy", NpyFileWriter())
    assert [path.name for path in tmp_path.iterdir()] == [sidecar.name]
    assert sidecar.read_text() == "precious"


@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3, 4), (10**12, 3)])
@pytest.mark.parametrize("dtype", ["float32", "bool", "int8", "uint64"])
def test_npy_header_reads_back(dtype: str, shape: tuple[int, ...]) -> None:
    stream = io.BytesIO(npy_header(dtype, shape))
    assert np.lib.format.read_magic(stream) == (1, 0)
    found = np.lib.format.read_array_header_1_0(stream)
    assert found == (shape, False, numpy_dtype(dtype))
    assert stream.read() == b""
    assert stream.tell() % 64 == 0


def test_bfloat16_in_hdf5_is_as_keras_stores_it(tmp_path: Path) -> None:
    plan = plan_text("layers: [{name: a, weights: {kernel: {shape: [64, 9], dtype: bfloat16}}}]")
    write(plan, tmp_path / "w.h5", Hdf5Writer())
    with h5py.File(tmp_path / "w.h5") as file:
        dataset = file["a/kernel"]
        assert dataset.dtype == np.dtype("V2")
        assert dataset.attrs["dtype"] == "bfloat16"
        assert_same(dataset[()].view(ml_dtypes.bfloat16), values_of(plan)["a/kernel"])


@pytest.mark.parametrize("dtype", EXTENSION_DTYPES)
def test_types_that_numpy_has_not_are_refused_in_npy(tmp_path: Path, dtype: str) -> None:
    plan = plan_text(f"layers: [{{name: a, weights: {{kernel: {{shape: [9], dtype: {dtype}}}}}}}]")
    for writer in (NpyFileWriter(), NpyDirectoryWriter()):
        with pytest.raises(OutputError, match=rf"{dtype}, which \.npy cannot name; use --dtype"):
            write(plan, tmp_path / "w.npy", writer)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("writer", [Hdf5Writer(), NpyDirectoryWriter()])
def test_the_number_of_threads_changes_no_byte(mixed: Plan, tmp_path: Path, writer: Writer) -> None:
    digests = set()
    for jobs in (1, 2, 3, 8):
        write(mixed, tmp_path / f"w{jobs}", writer, jobs)
        whole = hashlib.sha256()
        files = sorted((tmp_path / f"w{jobs}").rglob("*")) or [tmp_path / f"w{jobs}"]
        for file in files:
            whole.update(file.read_bytes() if file.is_file() else b"")
        digests.add(whole.hexdigest())
    assert len(digests) == 1


@settings(max_examples=25)
@given(
    sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=12),
    tile=st.integers(1, 700),
    jobs=st.integers(1, 4),
)
def test_any_tile_size_and_any_threads_give_the_same_values(
    sizes: list[int], tile: int, jobs: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    weights = ", ".join(f"w{i}: {{shape: [{size}]}}" for i, size in enumerate(sizes))
    plan = plan_text(f"seed: 1\nlayers: [{{name: a, weights: {{{weights}}}}}]")
    folder = tmp_path_factory.mktemp("tiles")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kinit_cli.pipeline.TILE_ELEMENTS", tile)
        patch.setattr("kinit_cli.collecting.TILE_ELEMENTS", tile)
        write(plan, folder / "w.h5", Hdf5Writer(), jobs)
    with h5py.File(folder / "w.h5") as file:
        for path, expected in values_of(plan).items():
            assert_same(file[path][()], expected)


def test_every_digest_and_statistic_is_of_what_was_written(mixed: Plan, tmp_path: Path) -> None:
    summary = write(mixed, tmp_path / "w.h5", Hdf5Writer())
    for tensor, (path, values) in zip(summary.tensors, values_of(mixed).items(), strict=True):
        assert tensor.path == path
        assert tensor.digest == digest_of(values)
        assert tensor.stats is not None
        assert tensor.stats.count == values.size
        if values.size:
            wide = values.astype(np.float64)
            assert tensor.stats.min == wide.min()
            assert tensor.stats.max == wide.max()
            assert tensor.stats.mean == pytest.approx(wide.mean(), rel=1e-9, abs=1e-12)
            assert tensor.stats.std == pytest.approx(wide.std(), rel=1e-9, abs=1e-12)
        else:
            assert tensor.stats.mean is None


# --- attributes by which Keras loads --------------------------------------------------------


def test_layer_and_weight_names_keep_the_order_of_the_spec(mixed: Plan, tmp_path: Path) -> None:
    write(mixed, tmp_path / "w.h5", Hdf5Writer())
    with h5py.File(tmp_path / "w.h5") as file:
        assert [n.decode() for n in file.attrs["layer_names"]] == ["big", "small", "層/b"]
        names = [n.decode() for n in file["big"].attrs["weight_names"]]
        assert names == ["normal", "cut", "even", "eye", "row"]
        assert file.attrs["keras_version"] == b"2.0.0"


def test_long_lists_of_names_are_split_as_keras_does(tmp_path: Path) -> None:
    plan = plan_text(
        "layers: [{repeat: 2500, layers: [{name: 'a_layer_with_a_rather_long_name_{i:05}',"
        " weights: {b: {shape: [1]}}}]}]"
    )
    write(plan, tmp_path / "w.h5", Hdf5Writer())
    with h5py.File(tmp_path / "w.h5") as file:
        assert "layer_names" not in file.attrs
        joined: list[bytes] = []
        n_parts = 0
        while f"layer_names{n_parts}" in file.attrs:
            part = file.attrs[f"layer_names{n_parts}"]
            assert part.nbytes <= ATTRIBUTE_LIMIT
            joined.extend(part)
            n_parts += 1
        assert n_parts == 2
        assert [name.decode() for name in joined] == [tensor.layer for tensor in plan.tensors]


def test_a_layer_that_stands_twice_is_one_group(tmp_path: Path) -> None:
    plan = plan_text(
        "layers: [{name: a, weights: {b: {shape: [1]}}}, {name: c, weights: {b: {shape: [1]}}},"
        " {name: a, weights: {d: {shape: [1]}}}]"
    )
    write(plan, tmp_path / "w.h5", Hdf5Writer())
    with h5py.File(tmp_path / "w.h5") as file:
        assert list(file.attrs["layer_names"]) == [b"a", b"c"]
        assert list(file["a"].attrs["weight_names"]) == [b"b", b"d"]


@pytest.mark.parametrize(
    ("writer", "message"),
    [
        (Hdf5Writer(), "'a/b' is a tensor, and so it cannot hold 'a/b/c'"),
        (NpyFileWriter(), "an .npy file holds one tensor, and the spec has 2"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_before_anything_is_written(
    tmp_path: Path, writer: Writer, message: str
) -> None:
    plan = plan_text(
        "layers: [{name: a, weights: {b: {shape: [1]}}}, {name: a/b, weights: {c: {shape: [1]}}}]"
    )
    with pytest.raises(OutputError) as caught:
        write(plan, tmp_path / "w", writer)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_file_names_that_are_too_long_or_collide_are_refused(tmp_path: Path) -> None:
    plan = plan_text(
        f"layers: [{{name: {'x' * 300}, weights: {{b: {{shape: [1]}}}}}},"
        " {name: a, weights: {b: {shape: [1]}}}, {name: a/b.npy, weights: {c: {shape: [1]}}},"
        " {name: kinit.json, weights: {b: {shape: [1]}}}]"
    )
    with pytest.raises(OutputError) as caught:
        write(plan, tmp_path / "w", NpyDirectoryWriter())
    assert "has a part too long for a file name" in str(caught.value)
    assert "'kinit.json/b' has the manifest's name" in str(caught.value)
    assert "a folder of 'a/b.npy/c' is the file of another tensor" in str(caught.value)


@pytest.mark.parametrize(
    ("out", "format_name", "n_tensors", "kind"),
    [
        ("w.h5", None, 2, Hdf5Writer),
        ("w.HDF5", None, 2, Hdf5Writer),
        ("w.npy", None, 1, NpyFileWriter),
        ("w.npy", None, 2, NpyFileWriter),
        ("w/", None, 1, NpyDirectoryWriter),
        ("w.weights.h5", None, 2, KerasWeightsWriter),
        ("w.weights.h5", "hdf5", 2, Hdf5Writer),
        ("w/", "weights.h5", 2, KerasWeightsSetWriter),
        ("w.NPZ", None, 2, NpzWriter),
        ("-", "npz", 2, NpzWriter),
        ("w.safetensors", None, 2, SafetensorsWriter),
        ("-", "safetensors", 2, SafetensorsWriter),
        ("w", "safetensors", 2, SafetensorsWriter),
        ("w/", "safetensors", 2, SafetensorsSetWriter),
        ("w", "npy", 2, NpyDirectoryWriter),
        ("w", "npy", 1, NpyFileWriter),
        ("w.npy", "hdf5", 1, Hdf5Writer),
        ("-", "npy", 2, NpyFileWriter),
    ],
)
def test_the_writer_follows_from_the_name_or_the_option(
    out: str, format_name: str | None, n_tensors: int, kind: type
) -> None:
    assert type(choose_writer(out, format_name, n_tensors=n_tensors)) is kind


@pytest.mark.parametrize(
    ("name", "several"),
    [("w.safetensors", "safetensors"), ("w.weights.h5", "weights.h5"), ("w.h5", "npy")],
)
def test_a_directory_with_the_name_of_a_file_is_one_error(
    tmp_path: Path, name: str, several: str
) -> None:
    out = tmp_path / name
    out.mkdir()
    with pytest.raises(OutputError) as caught:
        choose_writer(str(out), None, n_tensors=2)
    assert str(caught.value) == (
        f"{out}: expected a file, by its name, got a directory; choose another name, "
        f"or -o {out}/ --format {several} for a directory of files"
    )
    assert choose_writer(f"{out}/", several, n_tensors=2).is_directory
    (tmp_path / "w.npy").mkdir()
    for directory in (tmp_path, tmp_path / "w.npy"):
        assert type(choose_writer(str(directory), None, n_tensors=2)) is NpyDirectoryWriter


# --- the manifest ---------------------------------------------------------------------------


def test_the_manifest_makes_the_same_plan_again(mixed: Plan, tmp_path: Path) -> None:
    write(mixed, tmp_path / "w.h5", Hdf5Writer())
    with h5py.File(tmp_path / "w.h5") as file:
        manifest = parse_manifest(file.attrs["kinit"], "w.h5")
    again = plan_of(manifest, "w.h5")
    assert again.tensors == mixed.tensors
    assert again.document == mixed.document
    found = expectations(manifest, "w.h5")
    assert list(found) == [tensor.path for tensor in mixed.tensors]
    assert found["big/normal"].stddev == 0.05
    assert found["big/normal"].initializer == "random_normal"
    assert found["big/normal"].digest == manifest.tensors["big/normal"].digest


def test_the_manifest_names_no_clock_version_or_path(mixed: Plan, tmp_path: Path) -> None:
    write(mixed, tmp_path / "w.h5", Hdf5Writer())
    with h5py.File(tmp_path / "w.h5") as file:
        manifest = json.loads(file.attrs["kinit"])
    assert list(manifest) == ["kinit", "stream", "seed", "spec", "tensors"]
    assert (manifest["kinit"], manifest["stream"], manifest["seed"]) == (1, 1, 11)
    assert manifest["tensors"]["small/q"] == {
        "dtype": "float32",
        "shape": [30, 50],
        "digest": digest_of(values_of(mixed)["small/q"]),
    }


def test_a_file_that_is_made_later_is_the_same(mixed: Plan, tmp_path: Path) -> None:
    write(mixed, tmp_path / "a.h5", Hdf5Writer())
    time.sleep(1.1)  # HDF5 writes whole seconds, where it writes clocks
    write(mixed, tmp_path / "b.h5", Hdf5Writer())
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", "null", "{" * 5000, f'{{"kinit": {"9" * 4000}}}',
        '{"kinit": 1}', '{"kinit": 2}',
        '{"kinit": 1, "stream": 1, "seed": -1, "spec": {}, "tensors": {}}',
        '{"kinit": 1, "stream": 1, "seed": true, "spec": {}, "tensors": {}}',
        '{"kinit": 1, "stream": 1, "seed": 1, "spec": [1], "tensors": {}}',
        '{"kinit": 1, "stream": 1, "seed": 1, "spec": {}, "tensors": {"a": {}}}',
        '{"kinit": 1, "stream": 1, "seed": 1, "spec": {}, "tensors": '
        '{"a": {"dtype": "float32", "shape": [-1], "digest": "00"}}}',
    ],
)  # fmt: skip
def test_a_damaged_manifest_is_one_error(text: str) -> None:
    with pytest.raises(WeightsFileError, match=r"^w\.h5: ") as caught:
        parse_manifest(text, "w.h5")
    assert len(str(caught.value)) < 200


def test_a_manifest_that_memory_cannot_hold_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(text: str) -> None:
        raise MemoryError

    monkeypatch.setattr("kinit_cli.manifest.json.loads", fail)
    with pytest.raises(WeightsFileError, match=r"^w\.h5: its kinit manifest is too large"):
        parse_manifest("{}", "w.h5")


def test_tiles_are_those_of_the_value_stream() -> None:
    assert TILE_ELEMENTS == 2**20
