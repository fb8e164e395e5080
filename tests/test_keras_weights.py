"""`.weights.h5` files: every value, and what Keras would not find is refused."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from written import assert_same, plan_text, values_of, write

from kinit_cli.errors import OutputError
from kinit_cli.formats.keras_weights import KerasWeightsSetWriter, KerasWeightsWriter
from kinit_cli.inspect import inspect_file
from kinit_cli.plan import Plan

SPEC = """\
seed: 4
layers:
- {name: conv, weights: {kernel: {shape: [3, 3, 1, 4]}, bias: {shape: [4]}}}
- {name: out, weights: {kernel: {shape: [144, 5]}, bias: {shape: [5]}}}
"""
OBJECTS = {"conv": "layers/conv2d", "out": "layers/dense"}


def placed(text: str, objects: dict[str, str]) -> Plan:
    """Plan a spec, each layer's weights being the variables of an object of Keras."""
    plan = plan_text(text)
    numbers: Counter[str] = Counter()
    tensors = []
    for tensor in plan.tensors:
        number = numbers[tensor.layer]
        numbers[tensor.layer] += 1
        place = f"{objects[tensor.layer]}/vars/{number}"
        tensors.append(replace(tensor, keras_path=place))
    return replace(plan, tensors=tuple(tensors))


def test_every_value_is_where_keras_looks(tmp_path: Path) -> None:
    plan = placed(SPEC, OBJECTS)
    write(plan, tmp_path / "w.weights.h5", KerasWeightsWriter())
    values = values_of(plan)
    with h5py.File(tmp_path / "w.weights.h5") as file:
        found: list[str] = []
        file.visititems(lambda name, node: found.append(name) if hasattr(node, "dtype") else None)
        assert sorted(found) == sorted(str(tensor.keras_path) for tensor in plan.tensors)
        for tensor in plan.tensors:
            assert_same(file[tensor.keras_path][()], values[tensor.path])
        assert file["layers/dense/vars"].attrs["name"] == "out"
        assert list(file.attrs) == ["kinit"]


def test_a_part_of_a_layer_does_not_get_the_layers_name(tmp_path: Path) -> None:
    text = "layers: [{name: rnn, weights: {kernel: {shape: [3, 4]}}}]"
    plan = placed(text, {"rnn": "layers/lstm/cell"})
    write(plan, tmp_path / "w.weights.h5", KerasWeightsWriter())
    with h5py.File(tmp_path / "w.weights.h5") as file:
        assert list(file["layers/lstm/cell/vars"].attrs) == []


def test_inspect_maps_the_manifest_to_keras_paths(tmp_path: Path) -> None:
    plan = placed(SPEC, OBJECTS)
    write(plan, tmp_path / "w.weights.h5", KerasWeightsWriter())
    write(plan, tmp_path / "set", KerasWeightsSetWriter(200))
    for target, format_name in (("w.weights.h5", "hdf5"), ("set", "hdf5-set")):
        found = inspect_file(tmp_path / target)
        assert (found.format, found.layout) == (format_name, "keras3-weights")
        assert (found.seed, found.notes) == (4, ())
        assert [t.path for t in found.tensors] == [t.keras_path for t in plan.tensors]
        assert [t.initializer for t in found.tensors] == ["glorot_uniform", "zeros"] * 2


def test_the_number_of_threads_changes_no_byte(tmp_path: Path) -> None:
    for jobs in (1, 4):
        write(placed(SPEC, OBJECTS), tmp_path / str(jobs), KerasWeightsSetWriter(200), jobs)
    names = sorted(path.name for path in (tmp_path / "1").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "4").iterdir())
    for name in names:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "4" / name).read_bytes()


def test_a_set_has_the_index_that_keras_reads(tmp_path: Path) -> None:
    plan = placed(SPEC, OBJECTS)
    write(plan, tmp_path / "set", KerasWeightsSetWriter(2885))
    index = json.loads((tmp_path / "set" / "model.weights.json").read_text())
    files = [f"model_{number:05}.weights.h5" for number in range(3)]
    assert index["weight_map"] == {
        "/layers/conv2d/vars": [files[0]],
        "/layers/dense/vars": [files[1], files[2]],
    }
    assert index["metadata"]["total_size"] == plan.n_bytes
    assert {path.name for path in (tmp_path / "set").iterdir()} == {*files, "model.weights.json"}


def test_without_places_it_is_refused_with_a_remedy(tmp_path: Path) -> None:
    for writer in (KerasWeightsWriter(), KerasWeightsSetWriter()):
        with pytest.raises(OutputError) as caught:
            write(plan_text(SPEC), tmp_path / "w.weights.h5", writer)
        assert "where Keras looks for conv/kernel, conv/bias, out/kernel and 1 more" in str(
            caught.value
        )
        assert "layer types (type: Dense) or a Keras model as the spec" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (["layers/dense/vars/0", "layers/dense/vars/0"], r"to be 0, 1, \.\.\., got \[0, 0\]"),
        (["layers/dense/vars/0", "layers/dense/vars/2"], r"got \[0, 2\]"),
        (["layers/dense/kernel", "layers/dense/vars/0"], "got 'layers/dense/kernel'"),
        (["/layers/dense/vars/0", "layers/dense/vars/1"], "got '/layers/dense/vars/0'"),
        (["layers/dense/vars/00", "layers/dense/vars/1"], "got 'layers/dense/vars/00'"),
    ],
)
def test_places_that_are_not_sound_are_refused(
    tmp_path: Path, places: list[str], message: str
) -> None:
    plan = plan_text("layers: [{name: a, weights: {b: {shape: [1]}, c: {shape: [1]}}}]")
    tensors = [replace(t, keras_path=p) for t, p in zip(plan.tensors, places, strict=True)]
    with pytest.raises(OutputError, match=message):
        write(replace(plan, tensors=tuple(tensors)), tmp_path / "w", KerasWeightsWriter())


def test_bfloat16_is_stored_as_keras_stores_it_and_float8_is_refused(tmp_path: Path) -> None:
    plan = placed(f"dtype: bfloat16\n{SPEC}", OBJECTS)
    write(plan, tmp_path / "w.weights.h5", KerasWeightsWriter())
    with h5py.File(tmp_path / "w.weights.h5") as file:
        dataset = file["layers/dense/vars/0"]
        assert (dataset.dtype, dataset.attrs["dtype"]) == (np.dtype("V2"), "bfloat16")
    plan = placed(f"dtype: float8_e5m2\n{SPEC}", OBJECTS)
    with pytest.raises(OutputError, match="float8_e5m2, which HDF5 cannot hold"):
        write(plan, tmp_path / "v.weights.h5", KerasWeightsWriter())
