"""The bytes of HDF5 files with thousands of layers.

What HDF5's cache holds shows in such files: it decides which message of a full object header
moves. So the library must be asked the same things in the same order, ever since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from h5py import h5a, h5s, h5t

from kinit_cli.formats import hdf5
from kinit_cli.plan import Plan, TensorPlan
from kinit_cli.planner import make_plan
from kinit_cli.spec.load import parse_spec


def plan_of_layers(n_layers: int, weights: Sequence[str]) -> Plan:
    listed = ", ".join(f"{weight}: {{shape: [10, 10]}}" for weight in weights)
    layer = f"{{name: 'layer_{{i}}', weights: {{{listed}}}}}"
    text = f"seed: 1\nlayers: [{{repeat: {n_layers}, layers: [{layer}]}}]"
    return make_plan(parse_spec(text.encode(), "test.yaml"))


def write_names_plainly(file: h5py.File, tensors: Sequence[TensorPlan]) -> None:
    """Write the attributes with nothing shared, step by step as h5py's `attrs` does."""
    names: dict[str, list[str]] = {}
    for tensor in tensors:
        names.setdefault(tensor.layer, []).append(tensor.weight)
    for layer, weights in names.items():
        write_list(file[layer], "weight_names", weights)
    write_list(file, "layer_names", list(names))
    file.attrs["keras_version"] = np.bytes_(b"2.0.0")


def write_list(group: Any, name: str, texts: list[str]) -> None:
    whole = np.array([text.encode() for text in texts])
    if whole.nbytes <= hdf5.ATTRIBUTE_LIMIT:
        write_one(group, name, whole)
        return
    step = hdf5.ATTRIBUTE_LIMIT // whole.itemsize
    for part, start in enumerate(range(0, len(whole), step)):
        write_one(group, f"{name}{part}", whole[start : start + step])


def write_one(group: Any, name: str, texts: Any) -> None:
    assert not h5a.exists(group.id, name.encode())
    kind = h5t.py_create(texts.dtype, logical=True)
    attribute = h5a.create(group.id, name.encode(), kind, h5s.create_simple(texts.shape))
    attribute.write(texts, mtype=h5t.py_create(texts.dtype))
    attribute.close()


@pytest.mark.parametrize(
    ("n_layers", "weights"),
    [(1, ["kernel"]), (3, ["kernel", "bias", "層/д"]), (10_000, ["kernel"])],
)
def test_attributes_have_the_bytes_that_they_have_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_layers: int, weights: list[str]
) -> None:
    plan = plan_of_layers(n_layers, weights)
    found, expected = tmp_path / "found.h5", tmp_path / "expected.h5"
    for path in (found, expected):
        path.touch()
    hdf5.Hdf5Writer().lay_out(plan, found).close()
    monkeypatch.setattr(hdf5, "_write_names", write_names_plainly)
    hdf5.Hdf5Writer().lay_out(plan, expected).close()
    assert found.read_bytes() == expected.read_bytes()
    assert found.stat().st_size > plan.n_bytes


def test_the_bytes_of_a_structure_that_is_larger_than_the_cache(tmp_path: Path) -> None:
    # As HDF5 1.14.2, 1.14.6 and 2.0 wrote it.
    path = tmp_path / "large.h5"
    path.touch()
    hdf5.Hdf5Writer().lay_out(plan_of_layers(20_000, ["kernel"]), path).close()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest == "b8836785bd58a03b091df5d185b7dac157b7c25803337b711bc83199e1c6e576"


def test_more_shapes_and_lists_of_names_than_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = ", ".join(
        f"{{name: l{i}, weights: {{k{i % 4}: {{shape: [{1 + i % 5}]}}}}}}" for i in range(40)
    )
    plan = make_plan(parse_spec(f"seed: 1\nlayers: [{listed}]".encode(), "test.yaml"))
    contents = []
    for n_shared in (1024, 2):
        monkeypatch.setattr(hdf5, "_MAX_SHARED", n_shared)
        path = tmp_path / f"{n_shared}.h5"
        path.touch()
        hdf5.Hdf5Writer().lay_out(plan, path).close()
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    with h5py.File(tmp_path / "2.h5") as file:
        assert [file[f"l{i}/k{i % 4}"].shape for i in range(40)] == [
            (1 + i % 5,) for i in range(40)
        ]
        assert all(file[f"l{i}"].attrs["weight_names"].tolist() == [b"k%d" % (i % 4)]
                   for i in range(40))  # fmt: skip
