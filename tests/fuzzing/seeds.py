"""Files to begin with: sound ones of every format, and odd ones that are allowed; no clock in any.

An input is a few files; the one that is read is called "main", a sound one beside it "other".
"""

from __future__ import annotations

import functools
import io
import json
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import kinit_cli

SPEC = """\
seed: 3
params: {d: 4, e: "2*d"}
defaults: {kernel: {random_normal: {stddev: 1e-2}}}
layers:
  - {repeat: 2, index: i, layers: [{name: "b{i}", weights: {kernel: {shape: [d, e]}}}]}
  - name: c
    weights: {w: {shape: [3, 3], dtype: float16, initializer: orthogonal}, n: {shape: []}}
  - {name: d, type: Dense, input_shape: [4], config: {units: 3}}
"""
VALUES = np.arange(24, dtype="<f4").reshape(4, 6)


@functools.cache
def generated(name: str, **options: Any) -> dict[str, bytes]:
    """Give the files that kinit writes for `SPEC`, by their names."""
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder, "spec.yaml")
        spec.write_text(SPEC)
        out = Path(folder, "out")
        out.mkdir()
        # As a text: a "/" at its end asks for a directory.
        kinit_cli.generate(spec, f"{out}/{name}", engine="numpy", **options)
        files = [path for path in out.rglob("*") if path.is_file()]
        return {str(path.relative_to(out)): path.read_bytes() for path in files}


@functools.cache
def hdf5_seeds() -> tuple[bytes, ...]:
    """Give HDF5 files: each in the oldest and the newest version of the format."""
    built = [_hdf5(build, version) for build in _BUILDERS for version in ("earliest", "latest")]
    return (generated("main.h5")["main.h5"], *built)


def _hdf5(build: Callable[[h5py.File], None], version: str) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=version) as file:
        build(file)
    return buffer.getvalue()


def _legacy(file: h5py.File) -> None:
    file["a/kernel"] = VALUES
    file.attrs["layer_names"] = [b"a"]
    file["a"].attrs["weight_names"] = ["kernel"]
    file.attrs["kinit"] = "{}"
    half = file.create_dataset("b", data=np.arange(10, dtype="u2").view("V2"))
    half.attrs["dtype"] = "bfloat16"


def _chunked(file: h5py.File) -> None:
    values = np.arange(60, dtype="i4").reshape(6, 10)
    for number, options in enumerate(
        (
            {"compression": "gzip", "shuffle": True},
            {"compression": "lzf", "fletcher32": True},
            {"scaleoffset": 0},
            {"maxshape": (None, 10)},
            {"maxshape": (None, None), "compression": "gzip"},
        )
    ):
        file.create_dataset(f"x{number}", data=values, chunks=(2, 3), **options)
    file.create_dataset("sparse", (100, 100), "f4", chunks=(10, 10))[5] = 1


def _odd_types(file: h5py.File) -> None:
    file["text"] = ["a", "bc"]
    file["compound"] = np.zeros(3, [("x", "i4"), ("y", "f8")])
    file["enum"] = np.array([True, False])
    file.create_dataset("reference", data=file["text"].ref, dtype=h5py.ref_dtype)
    file.create_dataset("ragged", (2,), h5py.vlen_dtype(np.int32))[0] = [1, 2]
    file["complex"] = np.ones(3, complex)
    file["array"] = np.zeros(2, "(2,3)f4")
    file["big"] = VALUES.astype(">f8")
    file["empty"] = h5py.Empty("f4")
    file["zero"] = np.zeros((0, 5))
    file["scalar"] = np.float32(3)
    file["kind"] = np.dtype("f8")
    file.create_dataset("committed", data=VALUES, dtype=file["kind"])


def _links(file: h5py.File) -> None:
    group = file
    for depth in range(20):
        group = group.create_group(f"g{depth}", track_order=bool(depth % 2))
    for number in range(20):  # more than are kept in a header
        group[f"x{number}"] = np.float32(number)
        group.attrs[f"a{number}"] = number
    group["up"] = file["g0"]
    file["soft"] = h5py.SoftLink("/g0/g1")
    file["hard"] = group["x1"]


def _odd_attributes(file: h5py.File) -> None:
    file.attrs["kinit"] = [1, 2]
    file.attrs["layer_names"] = np.arange(4).reshape(2, 2)
    file["x"] = VALUES.astype("u1")
    file["x"].attrs["dtype"] = ["float8_e5m2"]
    file["layers/dense/vars/0"] = VALUES


_BUILDERS = (_legacy, _chunked, _odd_types, _links, _odd_attributes)


def pack_safetensors(header: Any, data: bytes, length: int | None = None) -> bytes:
    """Write a safetensors file whose header may say anything."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", (len(text) if length is None else length) % 2**64) + text + data


@functools.cache
def safetensors_parts() -> tuple[dict[str, Any], bytes]:
    """Give the header and the data of a file that kinit wrote."""
    content = generated("main.safetensors")["main.safetensors"]
    n_bytes = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + n_bytes]), content[8 + n_bytes :]


def npy(array: np.ndarray[Any, Any]) -> bytes:
    """Give an array as a `.npy` file; objects are pickled."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=True)
    return buffer.getvalue()


NPY = npy(VALUES)
NPY_FORTRAN = npy(np.asfortranarray(VALUES))


def npz(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """Give a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            # Of no date, so that it is the same every time.
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


@functools.cache
def npz_seeds() -> tuple[bytes, ...]:
    """Give `.npz` files: kinit's, a stored one and a deflated one."""
    members = {"a.npy": NPY, "b/c.npy": NPY_FORTRAN, "n.npy": npy(np.float64(1)), "x.txt": b"x"}
    return (
        generated("main.npz")["main.npz"],
        npz(members),
        npz(members, zipfile.ZIP_DEFLATED),
    )


@functools.cache
def sets() -> tuple[dict[str, bytes], ...]:
    """Give sets of safetensors and of HDF5 files, their index called "main.json"."""
    found = []
    for files in (generated("out/", format="safetensors", max_shard_size=100),):
        index = next(name for name in files if name.endswith(".json"))
        folder = index.rpartition("/")[0]
        inside = {name.removeprefix(f"{folder}/"): content for name, content in files.items()}
        content = inside.pop(index.rpartition("/")[2])
        found.append({"main.json": content, **inside})
    halves = {f"m_0000{number}.weights.h5": _hdf5(_vars(number), "earliest") for number in range(2)}
    weight_map = {f"/layers/d{number}/vars": f"m_0000{number}.weights.h5" for number in range(2)}
    found.append({"main.json": json.dumps({"weight_map": weight_map}).encode(), **halves})
    return tuple(found)


def _vars(number: int) -> Callable[[h5py.File], None]:
    def build(file: h5py.File) -> None:
        file[f"layers/d{number}/vars/0"] = VALUES

    return build


def layer(class_name: str, name: str, input_shape: Any, **config: Any) -> dict[str, Any]:
    """Give a layer as Keras 3 writes it."""
    return {
        "module": "keras.layers",
        "class_name": class_name,
        "config": {"name": name, "trainable": True, **config},
        "registered_name": None,
        "build_config": {"input_shape": input_shape},
    }


MODEL = {
    "module": "keras",
    "class_name": "Functional",
    "config": {
        "name": "m",
        "layers": [
            layer("InputLayer", "input", None, batch_shape=[None, 8, 4], dtype="float32"),
            layer(
                "Dense",
                "dense",
                [None, 4],
                units=3,
                dtype={"class_name": "DTypePolicy", "config": {"name": "mixed_bfloat16"}},
                kernel_initializer={
                    "module": "keras.initializers",
                    "class_name": "VarianceScaling",
                    "config": {"scale": 2.0, "mode": "fan_in", "seed": None},
                    "registered_name": None,
                },
            ),
            layer(
                "Bidirectional",
                "both",
                [None, 5, 3],
                layer=layer("LSTM", "rnn", [None, 5, 3], units=2),
                backward_layer=layer("GRU", "back", [None, 5, 3], units=2),
            ),
            layer("Conv2D", "conv", [None, 4, 4, 2], filters=2, kernel_size=[1, 2], groups=1),
            layer("EinsumDense", "e", [None, 4], equation="ab,bc->ac", output_shape=[2]),
            {
                "class_name": "Sequential",
                "config": {"name": "inner", "layers": [layer("Embedding", "em", [None, 4],
                                                             input_dim=9, output_dim=2)]},
            },
        ],
    },
    "keras_version": "3.15.1",
}  # fmt: skip


@functools.cache
def archive() -> bytes:
    """Give a `.keras` archive of `MODEL`."""
    return npz({"metadata.json": b"{}", "config.json": json.dumps(MODEL).encode()})


@functools.cache
def lock_text() -> str:
    """Give the lock of `SPEC`."""
    from kinit_cli.cli.main import run

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "spec.yaml")
        path.write_text(SPEC)
        assert run(["lock", str(path), "--quiet", "--engine", "numpy"]) == 0
        return Path(folder, "spec.yaml.lock").read_text()


def with_other(name: str, content: bytes) -> dict[str, bytes]:
    """Give an input of one weights file, and a sound one beside it."""
    return {name: content, "other.npz": npz_seeds()[1]}


def warming() -> Iterator[tuple[str, dict[str, bytes]]]:
    """Give inputs of every target, which make it import what it needs."""
    for content in hdf5_seeds():
        yield "weights", with_other("main.h5", content)
    header, data = safetensors_parts()
    yield "weights", with_other("main.safetensors", pack_safetensors(header, data))
    for content in npz_seeds():
        yield "weights", with_other("main.npz", content)
    yield "weights", with_other("main.npy", NPY_FORTRAN)
    for files in sets():
        yield "weights", {**files, "other.npz": npz_seeds()[1]}
    for text in (SPEC, "a: [", json.dumps({"layers": []})):
        yield "spec", {"main.yaml": text.encode()}
    yield "model", {"main.json": json.dumps(MODEL).encode()}
    yield "model", {"main.keras": archive()}
    yield "lock", {"main.lock": lock_text().encode(), "other.yaml": SPEC.encode()}
    yield "lock", {"main.lock": b"{}", "other.yaml": SPEC.encode()}
