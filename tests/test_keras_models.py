"""Keras models as specs, read without Keras: what is refused, and where it is said to stand."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
from spec_texts import places_of, problems_of, replaced

from kinit_cli.cli.main import run
from kinit_cli.errors import SpecError
from kinit_cli.planner import make_plan
from kinit_cli.spec import document as document_module
from kinit_cli.spec import keras_model
from kinit_cli.spec.load import Overrides, load_spec, parse_spec

POLICY = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}}


def initializer(name: str, **config: Any) -> dict[str, Any]:
    return {"module": "keras.initializers", "class_name": name, "config": config}


def layer(class_name: str, name: str, shape: list[Any] | None, **config: Any) -> dict[str, Any]:
    made = {
        "module": "keras.layers",
        "class_name": class_name,
        "config": {"name": name, "trainable": True, "dtype": POLICY, **config},
        "registered_name": None,
    }
    return made if shape is None else {**made, "build_config": {"input_shape": shape}}


def model(*layers: dict[str, Any], class_name: str = "Sequential") -> dict[str, Any]:
    config = {"name": "m", "trainable": True, "layers": list(layers)}
    return {"module": "keras", "class_name": class_name, "config": config}


INPUT = layer("InputLayer", "in", None, batch_shape=[None, 4])
DENSE = layer(
    "Dense",
    "fc",
    [None, 4],
    units=3,
    activation="relu",
    use_bias=True,
    kernel_initializer=initializer("HeNormal", seed=7, input_axes=None, output_axes=None),
    bias_initializer=initializer("Zeros"),
    kernel_regularizer={"class_name": "L2", "config": {"l2": 0.01}},
)


def archive(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return file.getvalue()


def problems(data: Any) -> list[str]:
    return problems_of(json.dumps(data), "m.json")


def test_what_is_recorded_is_a_spec() -> None:
    spec = parse_spec(json.dumps(model(INPUT, DENSE)).encode(), "m.json", Overrides(seed=1))
    assert spec.document == {
        "name": "m",
        "layers": [
            {
                "name": "fc",
                "type": "Dense",
                "input_shape": [4],
                "config": {"units": 3, "kernel_initializer": {"HeNormal": {"seed": 7}}},
            }
        ],
        "seed": 1,
    }
    assert [tensor.initializer.seed for tensor in make_plan(spec).tensors] == [7, None]


def test_a_name_with_braces_is_not_filled() -> None:
    named = {**DENSE, "config": {**DENSE["config"], "name": "a{i}{{"}}
    plan = make_plan(parse_spec(json.dumps(model(named)).encode(), "m.json"))
    assert [tensor.path for tensor in plan.tensors] == ["a{i}{{/kernel", "a{i}{{/bias"]


def test_the_dtype_of_a_model_in_float32_may_be_set() -> None:
    half = {**DENSE, "config": {**DENSE["config"], "name": "half", "dtype": "float16"}}
    raw = json.dumps(model(DENSE, half)).encode()
    plan = make_plan(parse_spec(raw, "m.json", Overrides(dtype="bfloat16")))
    assert [tensor.dtype.name for tensor in plan.tensors] == ["bfloat16"] * 2 + ["float16"] * 2


def test_operations_and_layers_without_weights_are_left_out() -> None:
    operation = {"module": "keras.src.ops.numpy", "class_name": "Multiply", "config": {"name": "x"}}
    code = layer("Lambda", "l", None, function={"class_name": "__lambda__", "config": {}})
    spec = parse_spec(json.dumps(model(operation, code, DENSE)).encode(), "m.json")
    assert [layer["name"] for layer in spec.document["layers"]] == ["fc"]


def test_problems_name_the_layer() -> None:
    inner = model(layer("LSTM", "rnn", [None, 5, 3], units="x"), class_name="Functional")
    inner["config"]["name"] = "inner"
    found = problems(
        model(
            layer("Mine", "own", [None, 4]),
            layer("Conv2D", "c", [None, 8, 8, 3], filters=4),
            layer("Dense", "d", None, units=2),
            layer("Dense", "e", [None, 4], units=2, kernel_initializer=initializer("Mine")),
            inner,
            layer("Dense", "f", [None, None], units=2),
            {"class_name": "Dense"},
        )
    )
    assert found == [
        "m.json: expected layer 'own': one of Keras's own classes, got 'Mine'; `kinit import` has "
        "Keras build the model and writes it as a spec; or write one that lists this layer's "
        "weights with their shapes",
        "m.json: expected layer 'd': a layer that is built, got no shapes in its build_config; "
        "call model.build(input_shape) or the model itself before model.to_json()",
        "m.json: expected a layer {class_name, config}, got a mapping of 1",
        "m.json (layer 'c'): layers[0].config: expected the argument 'kernel_size', got none; "
        "Conv2D needs it",
        "m.json (layer 'inner/rnn'): layers[2].layers[0].config.units: expected a number, got 'x'",
        "m.json (layer 'f'): layers[3].input_shape: expected a size that is known (the last one), "
        "got null",
        "m.json (layer 'e'): layers[1].config.kernel_initializer: expected a known initializer, "
        "got 'Mine'; known: constant, delta_orthogonal, dirac, eye, glorot_normal, glorot_uniform, "
        "he_normal, he_uniform, identity, kaiming_normal, kaiming_uniform, lecun_normal, "
        "lecun_uniform, ones, orthogonal, orthogonal_, random_normal, random_uniform, sparse, "
        "stft, trunc_normal, truncated_normal, variance_scaling, xavier_normal, xavier_uniform, "
        "zeros; for code of your own: --allow-code MODULE:Mine",
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"class_name": "Mine", "config": {}}, "got one of the class 'Mine'; the JSON of another"),
        ({"class_name": 3}, "got one of the class 3"),
        ({"class_name": "Sequential"}, "a model's config with 'layers', got nothing"),
        ({"class_name": "Sequential", "config": {"layers": 3}}, "got a mapping of 1"),
        (model(INPUT), "layers: expected at least one weight, got none"),
        (model(layer("Dense", "", [None, 4], units=1)), "m.json: expected a layer with a name"),
        (model({**DENSE, "build_config": {"input_shape": [None, "x y"]}}), "input_shape[0]"),
        (model({**DENSE, "build_config": {"input_shape": [None, [3]]}}), "that is built"),
        (model({**DENSE, "build_config": {"shapes_dict": {"a": 3}}}), "that is built"),
        (model({**DENSE, "build_config": {"input_shape": [None, True]}}), "expected sizes"),
        (model(layer("Dense", "x", [None, 4], units=1, dtype={"class_name": "Q"})), "a dtype"),
    ],
)
def test_what_is_no_model_is_refused(data: Any, expected: str) -> None:
    assert expected in problems(data)[0]


def test_an_archive_is_read_from_a_file_and_from_stdin(tmp_path: Path) -> None:
    raw = archive({"metadata.json": b"{}", "config.json": json.dumps(model(DENSE)).encode()})
    path = tmp_path / "a.keras"
    path.write_bytes(raw)
    assert load_spec(path).document == parse_spec(raw, "<stdin>").document
    assert run(["generate", str(path), "-o", str(tmp_path / "a.h5"), "--seed", "1", "-q"]) == 0


def encrypted(raw: bytes) -> bytes:
    """Set the flag of encryption in both headers of an archive's only member."""
    raw = bytearray(raw)
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    return bytes(raw)


def lying(raw: bytes) -> bytes:
    """Let an archive say that its only member is small."""
    raw = bytearray(raw)
    central = raw.index(b"PK\x01\x02")
    raw[22:26] = raw[central + 24 : central + 28] = struct.pack("<I", 10)
    return bytes(raw)


CONFIG = archive({"config.json": json.dumps(model(DENSE)).encode()})


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (archive({"model.weights.h5": b"x"}), "expected a .keras archive with config.json, got"),
        (encrypted(CONFIG), "expected a config.json that is not encrypted, got an encrypted one"),
        (CONFIG[:-30], "expected a .keras archive (zip), got File is not a zip file"),
        (CONFIG.replace(b"config.json", b"config.jsom", 1), "expected a .keras archive (zip), got"),
        (lying(CONFIG), "expected a .keras archive (zip), got Bad CRC-32"),
        (archive({"config.json": b"{"}), "expected YAML 1.2 or JSON"),
        (archive({"config.json": CONFIG}), "expected"),
    ],
)
def test_a_damaged_archive_is_refused(raw: bytes, expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        make_plan(parse_spec(raw, "a.keras"))
    assert str(caught.value).startswith(f"a.keras: {expected}".partition(": expected Y")[0])
    assert expected in str(caught.value)


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    from kinit_cli.spec import keras_archive

    monkeypatch.setattr(keras_archive, "MAX_BYTES", 1000)
    raw = archive({"config.json": b" " * 100_000})
    with pytest.raises(SpecError, match=r"a config\.json of at most 1000 bytes, got more"):
        parse_spec(raw, "a.keras")
    assert document_module.MAX_BYTES == 64 * 2**20


def test_import_writes_a_spec_that_reads_as_the_model(tmp_path: Path, capsys: Any) -> None:
    path, out = tmp_path / "m.json", tmp_path / "m.yaml"
    norm = layer("BatchNormalization", "bn: 1", [None, 3], axis=1, scale=False)
    path.write_text(json.dumps(model(INPUT, DENSE, norm)))
    assert run(["import", str(path), "-o", str(out)]) == 0
    assert (
        out.read_text()
        == """\
# m: 24 parameters.
kinit: 1
name: m
layers:
  - name: fc
    type: Dense
    input_shape: [4]
    config: {units: 3, kernel_initializer: {HeNormal: {seed: 7}}}
  - name: 'bn: 1'
    type: BatchNormalization
    input_shape: [3]
    config: {axis: 1, scale: false}
"""
    )
    one, other = (make_plan(load_spec(file, Overrides(seed=3))) for file in (path, out))
    assert one.tensors == other.tensors
    assert run(["import", str(path)]) == 0
    assert capsys.readouterr().out == out.read_text()
    assert run(["import", str(path), "-o", str(out)]) == 2
    assert "exists; use --force to replace it" in capsys.readouterr().err
    assert run(["import", str(path), "-o", str(out), "-f"]) == 0
    assert run(["import", str(out)]) == 2
    assert (
        "expected a Keras model or weights, got a spec; kinit generate reads it"
        in capsys.readouterr().err
    )


# --- nonsense -----------------------------------------------------------------------------------


LARGE = model(
    DENSE,
    layer(
        "Bidirectional",
        "b",
        [None, 5, 3],
        layer=layer("LSTM", "rnn", [None, 5, 3], units=2),
        backward_layer=layer("GRU", "back", [None, 5, 3], units=2),
    ),
    layer("RNN", "r", [None, 5, 3], cell=layer("StackedRNNCells", "s", None, cells=[
        layer("LSTMCell", "one", None, units=2), layer("GRUCell", "two", None, units=2)])),
    {**layer("MultiHeadAttention", "m", None, num_heads=2, key_dim=3, output_shape=[2]),
     "build_config": {"shapes_dict": {"query_shape": [None, 4, 6], "value_shape": [None, 4, 6]}}},
    layer("EinsumDense", "e", [None, 4], equation="ab,bc->ac", output_shape=[2], bias_axes="c"),
    layer("LayerNormalization", "n", [None, 4], axis=[1]),
    layer("TimeDistributed", "t", [None, 5, 4], layer=model(DENSE)),
    model(layer("Conv2D", "c", [None, 4, 4, 2], filters=2, kernel_size=[1, 2])),
)  # fmt: skip


@pytest.mark.parametrize(
    "value", [None, True, -1, 1e300, "", "é", [], {}, [[1]], {"a": 1}, "zeros", [None] * 60]
)
def test_nonsense_anywhere_is_a_problem_or_nothing(value: Any) -> None:
    assert not problems(LARGE)
    paths = list(places_of(LARGE))
    assert len(paths) > 150
    for path in paths:
        for problem in problems(replaced(LARGE, path, value)):
            assert problem.startswith("m.json"), path


def test_a_long_name_is_shortened_where_it_is_a_place() -> None:
    long = layer("Dense", "x" * 10_000, [None, 4], units=-1)
    unsound = problems(model(long))
    unknown = problems(model({**long, "class_name": "Nope"}))
    assert unsound
    assert unknown
    for problem in unsound + unknown:
        assert f"layer '{'x' * 100}...{'x' * 100}'" in problem
        assert len(problem) < 700


@pytest.mark.parametrize("depth", [10, 100, 300, 600, 3000])
def test_nesting_has_an_end(depth: int) -> None:
    before = '{"class_name": "Sequential", "config": {"name": "m", "layers": ['
    text = before * depth + json.dumps(DENSE) + "]}}" * depth
    found = problems_of(text, "m.json")
    assert bool(found) == (depth > 10)
    assert all("nesting" in problem for problem in found)


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"units": "3*2"}, "config.units: expected a number, got '3*2'"),
        (
            {"kernel_initializer": initializer("RandomNormal", stddev="1/4")},
            "config.kernel_initializer.RandomNormal.stddev: expected a number, got '1/4'",
        ),
    ],
)
def test_a_text_is_no_expression(changed: dict[str, Any], where: str) -> None:
    written = {**DENSE, "config": {**DENSE["config"], **changed}}
    assert problems(model(written)) == [f"m.json (layer 'fc'): layers[0].{where}"]
    (problem,) = problems(model({**DENSE, "build_config": {"input_shape": [None, "2*2"]}}))
    assert problem == "m.json (layer 'fc'): layers[0].input_shape[0]: expected a number, got '2*2'"


def test_layers_of_one_name() -> None:
    bare = {**DENSE, "config": {**DENSE["config"], "use_bias": False}}
    assert problems(model(bare, bare)) == [
        "m.json (layer 'fc'): layers[1]: expected a tensor path that is used once, "
        "got 'fc/kernel' again; give each layer 'fc' a name of its own"
    ]


@pytest.mark.parametrize(
    "data",
    [
        {**model({**DENSE, "build_config": None}), "keras_version": "2.11.0"},
        model(
            layer("InputLayer", "in", None, batch_input_shape=[None, 4]),
            {**DENSE, "build_config": None},
            {**DENSE, "build_config": None},
        ),
    ],
)
def test_a_model_that_keras_2_saved(data: dict[str, Any]) -> None:
    assert problems(data) == [
        "m.json: expected a model saved by Keras 3, got one saved by Keras 2; "
        "load it with Keras 3 and save it again"
    ]


def test_no_more_is_read_than_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    class Faulty(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            read.append(key)
            return super().get(key, default)

    data = model(*(Faulty() for _ in range(5000)))
    with pytest.raises(SpecError):
        keras_model.keras_document(data, "m.json")
    assert len(read) < 1000
    monkeypatch.setattr(keras_model, "MAX_LAYERS", 3)
    dropout = layer("Dropout", "d", None)
    with pytest.raises(SpecError, match=r"m\.json: expected at most 3 layers, got more"):
        keras_model.keras_document(model(model(dropout, dropout), dropout), "m.json")
    keras_model.keras_document(model(dropout, DENSE, dropout), "m.json")


def test_no_text_becomes_too_many_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps(model(DENSE))
    n_nodes = text.count("[") + text.count("{")
    monkeypatch.setattr(document_module, "MAX_NODES", n_nodes)
    assert not problems_of(text, "m.json")
    monkeypatch.setattr(document_module, "MAX_NODES", n_nodes - 1)
    (problem,) = problems_of(text, "m.json")
    assert problem == f"m.json: expected at most {n_nodes - 1} lists and mappings, got more"
