"""Models with classes that kinit does not know: Keras lists their variables, and loads the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import pytest
from keras_models import saved_variables
from oracles import import_oracle

from kinit_cli.cli.main import run
from kinit_cli.planner import make_plan
from kinit_cli.spec.load import load_spec

keras = import_oracle("keras")
L = keras.layers

pytestmark = [
    pytest.mark.oracle,
    # TensorFlow's tensors, when NumPy asks for a copy of one.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]

MODULE = """\
import keras

@keras.saving.register_keras_serializable("mine")
class Noise(keras.initializers.Initializer):
    def __init__(self, scale=2.0):
        self.scale = scale
    def __call__(self, shape, dtype=None, **kwargs):
        return keras.ops.full(shape, self.scale, dtype)
    def get_config(self):
        return {"scale": self.scale}

@keras.saving.register_keras_serializable("mine")
class Twice(keras.layers.Layer):
    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], 2**20), name="w", initializer=Noise(3.0))
        self.b = self.add_weight(shape=(2,), name="b", initializer="ones", dtype="float16")
    def call(self, x):
        return x + keras.ops.sum(self.w)
"""


def odd() -> Any:
    inputs = keras.Input((3, 8, 8, 2))
    x = L.ConvLSTM2D(3, 3, name="a")(inputs)
    kernel = keras.initializers.HeNormal(seed=7)
    x = L.SpectralNormalization(L.Conv2D(4, 3, kernel_initializer=kernel))(x)
    inner_inputs = keras.Input((4, 4, 4))
    inner = L.SpectralNormalization(L.Conv2D(4, 1))(inner_inputs)
    x = keras.Model(inner_inputs, inner, name="in{n}er")(x)
    x = L.Reshape((16, 4))(x)
    x = L.MultiHeadAttention(2, 3)(x, x)
    return keras.Model(inputs, L.LSTM(3)(x), name="odd")


def test_keras_loads_the_file_of_a_model_of_its_own_odd_classes(
    tmp_path: Path, capsys: Any
) -> None:
    keras.utils.clear_session()
    model = odd()
    source, spec, out = (tmp_path / name for name in ("m.json", "m.yaml", "m.weights.h5"))
    source.write_text(model.to_json())
    assert run(["import", str(source), "-o", str(spec)]) == 0
    err = capsys.readouterr().err
    assert "kinit does not know ConvLSTM2D, SpectralNormalization: these are the variables" in err
    variables = saved_variables(model)
    plan = make_plan(load_spec(spec))
    found = {tensor.path: (tensor.shape, tensor.dtype.name) for tensor in plan.tensors}
    assert found == {path: (tuple(v.shape), v.dtype) for path, v in variables.items()}
    # Seeds are those of the model and not those that Keras draws for a layer without one.
    seeded = {tensor.path for tensor in plan.tensors if tensor.initializer.seed is not None}
    prefix = "layers/spectral_normalization"
    assert seeded == {f"{prefix}/layer/vars/0", f"{prefix}/vars/0"}
    biases = [tensor.draw for tensor in plan.tensors if tensor.path == "layers/lstm/cell/vars/2"]
    assert list(biases[0].values) == [0] * 3 + [1] * 3 + [0] * 6
    query = next(t for t in plan.tensors if t.path.endswith("query_dense/vars/0")).initializer
    assert (query.type.names[0], query.args["input_axes"]) == ("glorot_uniform", (0,))
    assert run(["generate", str(spec), "-o", str(out), "--seed", "3", "-q"]) == 0
    for variable in variables.values():
        variable.assign(keras.ops.full(variable.shape, 99, variable.dtype))
    model.load_weights(out)
    # SpectralNormalization keeps the kernel of its layer too, and Keras saves that one twice.
    n_distinct = len({id(variable) for variable in variables.values()})
    assert n_distinct == len(variables) - 2
    found_at: dict[int, list[str]] = {}
    with h5py.File(out) as file:
        for path, variable in variables.items():
            if keras.ops.convert_to_numpy(variable).tobytes() == file[path][()].tobytes():
                found_at.setdefault(id(variable), []).append(path)
    assert len(found_at) == n_distinct


@pytest.fixture
def custom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the JSON of a model with a class from a module that is in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_layers.py").write_text(MODULE)
    layer = {
        "module": "own_layers", "class_name": "Twice", "registered_name": "mine>Twice",
        "config": {"name": "t"}, "build_config": {"input_shape": [None, 2**15]},
    }  # fmt: skip
    start = {"module": "keras.layers", "class_name": "InputLayer",
             "config": {"name": "i", "batch_shape": [None, 2**15]}}  # fmt: skip
    config = {"name": "m", "layers": [start, layer]}
    model = {"module": "keras", "class_name": "Sequential", "config": config}
    (tmp_path / "m.json").write_text(json.dumps(model))
    return tmp_path / "m.json"


def test_a_class_of_ones_own_is_allowed_and_takes_no_memory(
    custom: Path, tmp_path: Path, capsys: Any
) -> None:
    assert run(["import", str(custom)]) == 2
    err = capsys.readouterr().err
    assert "got 'Twice'; allow it with --allow-code own_layers:Twice" in err
    assert not any("own_layers" in str(path) for path in tmp_path.glob("__pycache__/*"))
    allow = ["--allow-code", "own_layers:Twice", "--allow-code", "own_layers:Noise"]
    assert run(["import", str(custom), *allow]) == 0  # of 128 GiB
    out = capsys.readouterr().out
    assert '{shape: [32768, 1048576], initializer: {"own_layers:Noise": {scale: 3.0}}}' in out
    assert "vars/1: {shape: [2], dtype: float16, initializer: Ones}" in out


@pytest.mark.parametrize(
    ("module", "class_name"),
    [("os", "system"), ("keras.utils", "get_file"), ("keras.src.saving", "x"), (None, "Twice")],
)
def test_other_modules_are_never_looked_at(
    module: str | None, class_name: str, custom: Path, capsys: Any
) -> None:
    data = json.loads(custom.read_text())
    data["config"]["layers"][1]["config"]["activity_regularizer"] = {
        "module": module, "class_name": class_name, "config": {}, "registered_name": class_name,
    }  # fmt: skip
    data["config"]["layers"][1] |= {"module": "keras.layers", "class_name": "ConvLSTM2D"}
    custom.write_text(json.dumps(data))
    assert run(["import", str(custom)]) == 2
    assert f"got {class_name!r}; allow it with --allow-code" in capsys.readouterr().err


def test_a_lambda_beside_an_unknown_class_is_refused(tmp_path: Path, capsys: Any) -> None:
    model = keras.Sequential(
        [keras.Input((8, 8, 2)), L.Lambda(lambda x: x), L.SpectralNormalization(L.Conv2D(1, 1))]
    )
    (tmp_path / "m.json").write_text(model.to_json())
    assert run(["import", str(tmp_path / "m.json")]) == 2
    assert "expected a model without code in it, got a Lambda" in capsys.readouterr().err


def test_what_keras_cannot_build_is_one_message(tmp_path: Path, capsys: Any) -> None:
    unbuilt = keras.Sequential([L.SpectralNormalization(L.Dense(3))])
    (tmp_path / "m.json").write_text(unbuilt.to_json())
    assert run(["import", str(tmp_path / "m.json")]) == 2
    assert "expected a model that is built, got no variables" in capsys.readouterr().err
    data = json.loads(odd().to_json())
    data["config"]["layers"][1]["config"]["filters"] = "many"
    (tmp_path / "m.json").write_text(json.dumps(data))
    assert run(["import", str(tmp_path / "m.json")]) == 2
    err = capsys.readouterr().err
    assert "expected a model that the installed Keras can build, got" in err
    assert "Traceback" not in err


def test_building_leaves_nothing_behind(tmp_path: Path) -> None:
    from keras.src.backend.common import global_state

    (tmp_path / "m.json").write_text(odd().to_json())
    assert run(["import", str(tmp_path / "m.json"), "-o", str(tmp_path / "m.yaml")]) == 0
    # What stood here Keras would fill with values as soon as it traced anything else.
    assert not global_state.get_global_attribute("uninitialized_variables")
