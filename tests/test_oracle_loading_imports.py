"""Files from imported specs, loaded by those they are for: PyTorch, JAX, NumPy, tf_keras, Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import ZipFile

import h5py
import numpy as np
import pytest
from oracles import import_oracle
from test_oracle_keras_models import (
    application,
    gru_tagger,
    lstm_classifier,
    transformer,
    with_normalizations,
)

from kinit_cli.cli.main import run

pytestmark = [
    pytest.mark.oracle,
    # TensorFlow's tensors, when NumPy asks for a copy of one.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]


def imported(source: Path, out: Path, *options: str) -> Path:
    """Import a file and generate from it another one of the same kind, with other values."""
    spec = source.with_suffix(".yaml")
    command = ["import", str(source), "-o", str(spec)]
    assert run([*command, "--initializer", "*={random_normal: {stddev: 1}}", *options]) == 0
    assert run(["generate", str(spec), "-o", str(out), "--seed", "3", "-q"]) == 0
    return out


# --- Keras 3's .weights.h5, from a model's JSON -------------------------------------------------

MODELS = [
    lstm_classifier, gru_tagger, transformer, with_normalizations,
    # Without its 120 M parameters at the top, of which test_oracle_keras_models sees the plan.
    application("VGG16", include_top=False, input_shape=(32, 32, 3)),
    application("ResNet50V2"),
    application("MobileNetV3Small"),
    application("EfficientNetV2B0"),
    application("DenseNet121"),
    application("Xception"),
    application("ConvNeXtTiny"),
]  # fmt: skip


@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
def test_keras_loads_weights_h5_of_a_model(build: Any, tmp_path: Path) -> None:
    keras = import_oracle("keras")
    from keras_models import saved_variables

    keras.utils.clear_session()
    model = build()
    (tmp_path / "m.json").write_text(model.to_json())
    source, spec = str(tmp_path / "m.json"), str(tmp_path / "m.yaml")
    assert run(["import", source, "-o", spec]) == 0
    outs = [tmp_path / "m.weights.h5", tmp_path / "set"]
    command = ["generate", spec, "--seed", "4", "-q", "-o"]
    assert run([*command, str(outs[0])]) == 0
    sharded = ["--format", "weights.h5", "--max-shard-size", "40MB"]
    assert run([*command, f"{outs[1]}/", *sharded]) == 0
    variables = saved_variables(model)
    for out in (outs[0], outs[1] / "model.weights.json"):
        for variable in variables.values():
            variable.assign(keras.ops.full(variable.shape, 99, variable.dtype))
        model.load_weights(out)
        with h5py.File(outs[0]) as file:
            for path, variable in variables.items():
                found = keras.ops.convert_to_numpy(variable)
                assert found.tobytes() == file[path][()].tobytes(), path


def test_an_archive_of_keras_takes_the_weights(tmp_path: Path) -> None:
    """A `.keras` file whose weights are replaced by kinit's is a whole model again."""
    keras = import_oracle("keras")
    from keras_models import saved_variables

    lstm_classifier().save(tmp_path / "old.keras")
    weights = tmp_path / "m.weights.h5"
    command = ["generate", str(tmp_path / "old.keras"), "--seed", "4", "-q", "-o", str(weights)]
    assert run(command) == 0
    with ZipFile(tmp_path / "old.keras") as old, ZipFile(tmp_path / "new.keras", "w") as new:
        for name in old.namelist():
            is_weights = name == "model.weights.h5"
            new.writestr(name, weights.read_bytes() if is_weights else old.read(name))
    model = keras.models.load_model(tmp_path / "new.keras")
    with h5py.File(weights) as file:
        for path, variable in saved_variables(model).items():
            found = keras.ops.convert_to_numpy(variable)
            assert found.tobytes() == file[path][()].tobytes(), path


# --- the formats of others, from files that they wrote ------------------------------------------


def test_torch_loads_a_state_dict_strictly(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    library = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")

    class Model(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.embed = torch.nn.Embedding(30, 8, dtype=torch.bfloat16)
            self.encoder = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.rnn = torch.nn.LSTM(8, 4, num_layers=2, bidirectional=True)
            self.head = torch.nn.Sequential(
                torch.nn.Conv1d(8, 6, 3), torch.nn.BatchNorm1d(6), torch.nn.Linear(6, 2)
            )
            self.scale = torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

    model = Model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    library.save_file(before, tmp_path / "old.safetensors")
    out = imported(
        tmp_path / "old.safetensors",
        tmp_path / "new.safetensors",
        "--initializer",
        "*num_batches_tracked=zeros",
    )
    loaded = library.load_file(out)
    assert {n: (v.shape, v.dtype) for n, v in loaded.items()} == {
        n: (v.shape, v.dtype) for n, v in before.items()
    }
    model.load_state_dict(loaded, strict=True)
    for name, value in model.state_dict().items():
        assert torch.equal(value, loaded[name])
        assert name.endswith("tracked") or not torch.equal(value, before[name])
    assert torch.isfinite(model.encoder(model.embed(torch.tensor([[1, 2]])).float())).all()


def test_jax_takes_a_nested_dict(tmp_path: Path) -> None:
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    library = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    shapes = {"params.Dense_0.kernel": (5, 4), "params.Dense_0.bias": (4,), "params.scale": (4,)}
    arrays = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    library.save_file(arrays, tmp_path / "old.safetensors")
    flat = library.load_file(imported(tmp_path / "old.safetensors", tmp_path / "new.safetensors"))
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *folders, last = name.split(".")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[last] = value

    @jax.jit
    def apply(params: Any, x: Any) -> Any:
        dense = params["Dense_0"]
        return (x @ dense["kernel"] + dense["bias"]) * params["scale"]

    x = np.eye(5, dtype=np.float32)
    kernel, bias, scale = (flat[name] for name in shapes)
    assert np.array_equal(apply(tree["params"], x), (kernel + bias) * scale)
    assert np.unique(kernel).size == 20


def test_numpy_loads_an_archive(tmp_path: Path) -> None:
    arrays = {"w": np.zeros((2, 3)), "layer.b": np.zeros(4, np.float16), "n": np.zeros(2, "i8")}
    np.savez(tmp_path / "old.npz", **arrays)
    out = imported(tmp_path / "old.npz", tmp_path / "new.npz", "--initializer", "n=ones")
    with np.load(out) as made:
        assert set(made.files) == {*arrays, "kinit.json"}
        for name, array in arrays.items():
            assert (made[name].shape, made[name].dtype) == (array.shape, array.dtype)
            assert made[name].all()


@pytest.mark.parametrize("name", ["tf_keras", "keras"])
@pytest.mark.parametrize("by_name", [False, True])
def test_a_legacy_file_loads(name: str, by_name: bool, tmp_path: Path) -> None:
    tf_keras, library = import_oracle("tf_keras"), import_oracle(name)

    def model(module: Any) -> Any:
        layers = module.layers
        return module.Sequential(
            [
                module.Input((6, 4)),
                layers.LSTM(3, return_sequences=True, name="z"),
                layers.BatchNormalization(name="norm"),
                layers.Dense(5, name="a"),
            ]
        )

    model(tf_keras).save_weights(tmp_path / "old.h5")
    out = imported(tmp_path / "old.h5", tmp_path / "new.h5")
    loading = model(library)
    loading.load_weights(out, by_name=by_name)
    with h5py.File(out) as file:
        for layer in loading.layers:
            group = file[layer.name]
            for weight, stored in zip(layer.weights, group.attrs["weight_names"], strict=True):
                assert np.asarray(weight).tobytes() == group[stored][()].tobytes(), stored


def test_keras_loads_what_comes_of_its_own_file(tmp_path: Path) -> None:
    keras = import_oracle("keras")
    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(4), keras.layers.Dense(3, dtype="bfloat16")]
    )
    model.save_weights(tmp_path / "old.weights.h5")
    out = imported(tmp_path / "old.weights.h5", tmp_path / "new.weights.h5")
    model.load_weights(out)
    with h5py.File(out) as file:
        for layer in ("dense", "dense_1"):
            for number, variable in enumerate(model.layers[int(layer != "dense")].variables):
                stored = file[f"layers/{layer}/vars/{number}"][()]
                assert keras.ops.convert_to_numpy(variable).tobytes() == stored.tobytes()
                assert np.any(stored != np.zeros_like(stored))
