"""The sample specs are the architectures that they claim to be."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import h5py
import pytest

from kinit_cli.cli.main import run
from kinit_cli.plan import Plan
from kinit_cli.planner import make_plan
from kinit_cli.spec.load import Overrides, load_spec

FOLDER = Path(__file__).parents[1] / "sample_configs"
SAMPLES = sorted(FOLDER.glob("*.yaml"))

#: Published counts; sample_configs/README.md names the sources.
N_PARAMETERS = {
    "gpt2_small": 124_439_808,
    "lenet5": 61_706,
    "lstm_classifier": 2_691_713,
    "mnist_mlp": 669_706,
    "vgg16": 138_357_544,
    "vit_b16": 86_567_656,
}


def dense(n_in: int, n_out: int) -> int:
    return n_in * n_out + n_out


def conv(side: int, n_in: int, n_out: int) -> int:
    return side * side * n_in * n_out + n_out


def lstm(n_in: int, n_units: int) -> int:
    return 4 * (n_in * n_units + n_units * n_units + n_units)


#: Counts of layers from textbook formulas.
N_PARAMETERS_BY_LAYER = {
    "lenet5": {
        "conv_1": conv(5, 1, 6),
        "conv_2": conv(5, 6, 16),
        "dense_1": dense(400, 120),
        "dense_2": dense(120, 84),
        "output": dense(84, 10),
    },
    "lstm_classifier": {
        "embedding": 20_000 * 128,
        "lstm": lstm(128, 128),
        "dense": dense(128, 1),
    },
    "mnist_mlp": {
        "dense": dense(784, 512),
        "dense_1": dense(512, 512),
        "dense_2": dense(512, 10),
    },
    "vgg16": {
        "block1_conv1": conv(3, 3, 64),
        "block1_conv2": conv(3, 64, 64),
        "block2_conv1": conv(3, 64, 128),
        "block2_conv2": conv(3, 128, 128),
        "block3_conv1": conv(3, 128, 256),
        "block3_conv2": conv(3, 256, 256),
        "block3_conv3": conv(3, 256, 256),
        "block4_conv1": conv(3, 256, 512),
        "block4_conv2": conv(3, 512, 512),
        "block4_conv3": conv(3, 512, 512),
        "block5_conv1": conv(3, 512, 512),
        "block5_conv2": conv(3, 512, 512),
        "block5_conv3": conv(3, 512, 512),
        "fc1": dense(7 * 7 * 512, 4096),
        "fc2": dense(4096, 4096),
        "predictions": dense(4096, 1000),
    },
    "vit_b16": {
        "patches": conv(16, 3, 768),
        "tokens": 768 + 197 * 768,
        # A model within the model counts as one layer.
        **{
            f"block_{i:02}": 2 * 2 * 768 + 4 * dense(768, 768) + dense(768, 3072) + dense(3072, 768)
            for i in range(1, 13)
        },
        "norm": 2 * 768,
        "head": dense(768, 1000),
    },
    "gpt2_small": {
        "wte": 50_257 * 768,
        "wpe": 1024 * 768,
        **{
            f"h{i}/{part}": count
            for i in range(12)
            for part, count in (
                ("ln_1", 2 * 768),
                ("attn/c_attn", dense(768, 3 * 768)),
                ("attn/c_proj", dense(768, 768)),
                ("ln_2", 2 * 768),
                ("mlp/c_fc", dense(768, 4 * 768)),
                ("mlp/c_proj", dense(4 * 768, 768)),
            )
        },
        "ln_f": 2 * 768,
    },
}


def plan_sample(name: str, **params: str) -> Plan:
    return make_plan(load_spec(FOLDER / f"{name}.yaml", Overrides(params=params)))


def test_every_sample_has_its_published_count() -> None:
    assert {path.stem for path in SAMPLES} == set(N_PARAMETERS) == set(N_PARAMETERS_BY_LAYER)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_count(path: Path) -> None:
    plan = make_plan(load_spec(path))
    assert plan.n_elements == N_PARAMETERS[path.stem]
    counts: Counter[str] = Counter()
    for tensor in plan.tensors:
        counts[tensor.layer] += tensor.n_elements
    assert list(counts.items()) == list(N_PARAMETERS_BY_LAYER[path.stem].items())


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_says_who_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert f"{N_PARAMETERS[path.stem]:,}" in text.partition("kinit: 1")[0]
    plan = make_plan(load_spec(path))
    assert plan.name is not None
    assert plan.name.replace("-", "") == path.stem.replace("_", "")
    assert not plan.is_seed_drawn
    assert not plan.notes


def test_the_list_of_samples_is_complete() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| [")]
    assert len(rows) == len(SAMPLES)
    for row, path in zip(rows, SAMPLES, strict=True):
        assert f"[`{path.name}`]({path.name})" in row
        assert f"{N_PARAMETERS[path.stem]:,}" in row


@pytest.mark.parametrize(
    ("d", "n_layers", "n_parameters"),
    [(1024, 24, 354_823_168), (1280, 36, 774_030_080), (1600, 48, 1_557_611_200)],
)
def test_the_larger_gpt2(d: int, n_layers: int, n_parameters: int) -> None:
    plan = plan_sample("gpt2_small", d=str(d), n_layers=str(n_layers))
    assert plan.n_elements == n_parameters
    assert f"{n_parameters:,}" in (FOLDER / "gpt2_small.yaml").read_text(encoding="utf-8")


# --- judged by Keras ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip("keras", reason="Keras, which judges here, is not installed")


def keras_mnist_mlp(keras):
    layers = keras.layers
    return [
        keras.Input((784,)),
        layers.Dense(512, activation="relu"),
        layers.Dropout(0.2),
        layers.Dense(512, activation="relu"),
        layers.Dropout(0.2),
        layers.Dense(10, activation="softmax"),
    ]


def keras_lenet5(keras):
    layers = keras.layers
    return [
        keras.Input((28, 28, 1)),
        layers.Conv2D(6, 5, padding="same", activation="tanh"),
        layers.AveragePooling2D(2),
        layers.Conv2D(16, 5, activation="tanh"),
        layers.AveragePooling2D(2),
        layers.Flatten(),
        layers.Dense(120, activation="tanh"),
        layers.Dense(84, activation="tanh"),
        layers.Dense(10, activation="softmax"),
    ]


def keras_lstm_classifier(keras):
    layers = keras.layers
    return [
        keras.Input((None,), dtype="int32"),
        layers.Embedding(20_000, 128),
        layers.LSTM(128, unit_forget_bias=False),
        layers.Dense(1, activation="sigmoid"),
    ]


@pytest.mark.oracle
@pytest.mark.parametrize(
    "build",
    [keras_mnist_mlp, keras_lenet5, keras_lstm_classifier],
    ids=lambda build: build.__name__,
)
def test_keras_loads_the_file(keras, build, tmp_path: Path) -> None:
    name = build.__name__.removeprefix("keras_")
    model = keras.Sequential(build(keras))
    assert model.count_params() == N_PARAMETERS[name]
    file = tmp_path / f"{name}.h5"
    assert run(["generate", str(FOLDER / f"{name}.yaml"), "-o", str(file), "--quiet"]) == 0
    for weight in model.weights:
        weight.assign(weight.numpy() + 1)
    model.load_weights(file)
    plan = plan_sample(name)
    assert [tuple(w.shape) for w in model.weights] == [tensor.shape for tensor in plan.tensors]
    with h5py.File(file) as h5:
        for weight, tensor in zip(model.weights, plan.tensors, strict=True):
            assert weight.name == tensor.weight.split("/")[-1]
            assert weight.numpy().tobytes() == h5[tensor.path][()].tobytes(), tensor.path


@pytest.mark.oracle
def test_the_defaults_of_lstm_classifier_are_keras_own(keras) -> None:
    written = {
        t.path: t.initializer.type.class_name for t in plan_sample("lstm_classifier").tensors
    }
    _, embedding, lstm_layer, dense_layer = keras_lstm_classifier(keras)
    assert written == {
        "embedding/embeddings": type(embedding.embeddings_initializer).__name__,
        "lstm/lstm_cell/kernel": type(lstm_layer.kernel_initializer).__name__,
        "lstm/lstm_cell/recurrent_kernel": type(lstm_layer.recurrent_initializer).__name__,
        "lstm/lstm_cell/bias": type(lstm_layer.bias_initializer).__name__,
        "dense/kernel": type(dense_layer.kernel_initializer).__name__,
        "dense/bias": type(dense_layer.bias_initializer).__name__,
    }


@pytest.mark.oracle
def test_vgg16_has_keras_own_variables_in_order(keras) -> None:
    model = keras.applications.VGG16(weights=None)
    assert model.count_params() == N_PARAMETERS["vgg16"]
    assert [(w.path, tuple(w.shape)) for w in model.weights] == [
        (tensor.path, tensor.shape) for tensor in plan_sample("vgg16").tensors
    ]
