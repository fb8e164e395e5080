"""Keras as the judge of its own models, read from JSON or an archive without Keras."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import pytest
from keras_models import assert_same_variables, saved_variables, unfilled
from oracles import import_oracle

from kinit_cli.cli.main import run
from kinit_cli.errors import SpecError
from kinit_cli.planner import make_plan
from kinit_cli.spec.load import load_spec, parse_spec
from kinit_cli.spec.write import spec_text

keras = import_oracle("keras")
L = keras.layers

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(
        tuple(map(int, keras.__version__.split(".")[:2])) < (3, 15),
        reason="layer types are those of Keras 3.15",
    ),
]


def lstm_classifier() -> Any:
    return keras.Sequential(
        [
            keras.Input((None,)),
            L.Embedding(1000, 16, mask_zero=True),
            L.LSTM(8, return_sequences=True, dropout=0.2),
            L.LSTM(8, recurrent_initializer="he_uniform"),
            L.Dropout(0.5),
            L.Dense(1, activation="sigmoid"),
        ],
        name="classifier",
    )


def gru_tagger() -> Any:
    inputs = keras.Input((20,))
    x = L.Embedding(50, 6)(inputs)
    x = L.Bidirectional(L.GRU(5, return_sequences=True))(x)
    other = L.LSTM(3, return_sequences=True, go_backwards=True, name="other")
    x = L.Bidirectional(L.LSTM(4, return_sequences=True, name="one"), backward_layer=other)(x)
    x = L.TimeDistributed(L.Dense(7))(x)
    return keras.Model(inputs, L.TimeDistributed(L.LayerNormalization(), name="td{x}")(x))


def transformer() -> Any:
    inputs = keras.Input((12,))
    x = L.Embedding(40, 16)(inputs)
    for _ in range(2):
        attended = L.MultiHeadAttention(4, 4, dropout=0.1)(x, x)
        x = L.LayerNormalization()(x + attended)
        hidden = L.Dense(32, activation="gelu")(x)
        x = L.LayerNormalization()(x + L.Dense(16)(hidden))
    x = L.MultiHeadAttention(2, 8, value_dim=3)(x, x, key=L.Dense(5)(x))
    x = L.GroupQueryAttention(4, 4, 2)(x, x)
    x = L.Attention(use_scale=True)([x, x])
    x = L.AdditiveAttention()([x, x, x])
    return keras.Model(inputs, L.EinsumDense("abc,cd->abd", [None, 3], bias_axes="d")(x))


def nested() -> Any:
    inputs = keras.Input((8, 6))
    inner = keras.Sequential([L.Dense(4), L.Dropout(0.1), L.Dense(4, name="last")], name="inner")
    functional_inputs = keras.Input((8, 4))
    functional = keras.Model(
        functional_inputs, L.BatchNormalization()(L.Dense(5)(functional_inputs)), name="block"
    )
    x = L.Dense(6)(inner(inputs))
    x = functional(inner(x))
    return keras.Model(inputs, L.Dense(2)(functional(L.Dense(4)(x))))


def with_normalizations() -> Any:
    """Give a model within which weights that are trained stand behind others."""
    inner = keras.Sequential(
        [
            keras.Input((4,)),
            L.BatchNormalization(),
            L.Dense(4),
            keras.Sequential([L.BatchNormalization(), L.PReLU()], name="deep"),
            L.Normalization(),
        ],
        name="inner",
    )
    inputs = keras.Input((4,))
    return keras.Model(inputs, L.BatchNormalization()(inner(L.Dense(4)(inputs))))


def shared() -> Any:
    one, two = keras.Input((8,)), keras.Input((8,))
    layer, head = L.Dense(8, name="shared"), L.Dense(3)
    x = L.Concatenate()([layer(one), layer(two), layer(layer(one))])
    return keras.Model([one, two], [head(x), L.Dense(3)(one)])


def policies_around_policies() -> Any:
    return keras.Sequential(
        [
            keras.Input((4, 5)),
            L.Bidirectional(L.LSTM(3, return_sequences=True), dtype="float16"),
            L.Bidirectional(
                L.LSTM(3, return_sequences=True, dtype="float16"),
                backward_layer=L.LSTM(3, return_sequences=True, go_backwards=True, name="back"),
                dtype="bfloat16",
            ),
            L.TimeDistributed(L.Dense(3), dtype="float16"),
            L.TimeDistributed(L.Dense(3, dtype="bfloat16")),
            L.RNN([L.LSTMCell(2), L.GRUCell(3)], dtype="bfloat16", return_sequences=True),
            L.RNN(L.GRUCell(2, dtype="float16"), dtype="bfloat16", return_sequences=True),
            L.LSTM(2, dtype="float16"),
        ]
    )


def under_a_global_policy() -> Any:
    keras.config.set_dtype_policy("bfloat16")
    try:
        return keras.Sequential(
            [keras.Input((4, 5)), L.Bidirectional(L.LSTM(3, dtype="float32")), L.Dense(2)]
        )
    finally:
        keras.config.set_dtype_policy("float32")


def models_at_each_step() -> Any:
    deep = keras.Sequential([L.Dense(3, name="a{i}"), L.BatchNormalization()], name="deep")
    step = keras.Sequential([keras.Input((5,)), L.Dense(4), L.Dropout(0.1), deep, L.Dense(2)])
    inputs = keras.Input((2,))
    functional = keras.Model(inputs, L.Dense(3, dtype="float16")(L.PReLU()(inputs)), name="f")
    layers = [L.TimeDistributed(step), L.TimeDistributed(functional, dtype="float16")]
    return keras.Sequential([keras.Input((4, 5)), *layers, L.Dense(2)])


def stacks() -> Any:
    inner = [L.GRUCell(2), L.LSTMCell(3)]
    cells = [L.GRUCell(4), L.StackedRNNCells(inner), L.GRUCell(5), L.SimpleRNNCell(2)]
    return keras.Sequential([keras.Input((4, 5)), L.RNN(L.StackedRNNCells(cells))])


def branches() -> Any:
    """Give a model whose layers are made in another order than they are used in."""
    late = L.Dense(3, name="late")
    inputs = keras.Input((8,))
    deep = L.Dense(4)(L.Dense(4)(inputs))
    return keras.Model(
        inputs, L.Add()([late(inputs), L.Dense(3)(deep), keras.ops.exp(late(inputs))])
    )


def cells() -> Any:
    inputs = keras.Input((5, 4))
    x = L.RNN([L.LSTMCell(3), L.GRUCell(4), L.LSTMCell(2)], return_sequences=True)(inputs)
    x = L.RNN(L.SimpleRNNCell(3), return_sequences=True)(x)
    return keras.Model(inputs, L.LSTM(2)(x, initial_state=[L.Dense(2)(x[:, 0])] * 2))


def mixed_dtypes() -> Any:
    return keras.Sequential(
        [
            keras.Input((8,)),
            L.Dense(4, dtype="mixed_bfloat16"),
            L.BatchNormalization(dtype="bfloat16"),
            L.Dense(4, dtype="float64", kernel_initializer=keras.initializers.HeNormal(seed=4)),
        ]
    )


def application(name: str, **arguments: Any) -> Callable[[], Any]:
    def build() -> Any:
        return getattr(keras.applications, name)(weights=None, **arguments)

    build.__name__ = name
    return build


MODELS = [
    lstm_classifier, gru_tagger, transformer, nested, with_normalizations, shared, branches,
    cells, mixed_dtypes, policies_around_policies, under_a_global_policy, stacks,
    models_at_each_step,
    application("VGG16"),
    application("ResNet50V2"),
    application("MobileNetV3Small"),
    application("EfficientNetV2B0"),
    application("EfficientNetB0"),
    application("DenseNet121"),
    application("Xception"),
    application("ConvNeXtTiny"),
    application("InceptionResNetV2"),
]  # fmt: skip


@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
def test_a_model_from_its_json(build: Callable[[], Any]) -> None:
    model = unfilled(build)
    text = model.to_json()
    spec = parse_spec(text.encode(), "model.json")
    plan = assert_same_variables(spec.document, model)
    assert plan.name == model.name
    assert plan.n_elements == sum(v.shape.num_elements() for v in saved_variables(model).values())
    # What a file records gives the same plan once more.
    again = parse_spec(json.dumps(plan.document).encode(), "spec.json")
    assert make_plan(again) == replace(plan, is_seed_drawn=False)
    # And so does what `kinit import` writes.
    text = spec_text({"seed": plan.seed, **spec.document}, "a comment")
    written = make_plan(parse_spec(text.encode(), "spec.yaml"))
    assert written.tensors == plan.tensors
    inner = ("nested", "with_normalizations", "models_at_each_step", "ConvNeXtTiny")
    if build.__name__ not in inner:
        paths = {v.path.removeprefix(f"{model.name}/") for v in saved_variables(model).values()}
        assert {tensor.path for tensor in plan.tensors} == paths


@pytest.mark.parametrize(
    "build",
    [
        lstm_classifier,
        gru_tagger,
        transformer,
        nested,
        with_normalizations,
        shared,
        cells,
        stacks,
        models_at_each_step,
    ],
    ids=lambda build: build.__name__,
)
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
def test_keras_loads_the_file(build: Callable[[], Any], tmp_path: Path) -> None:
    keras.utils.clear_session()
    model, file = build(), tmp_path / "m.h5"
    (tmp_path / "m.json").write_text(model.to_json())
    command = ["generate", str(tmp_path / "m.json"), "-o", str(file), "--seed", "4", "-q"]
    assert run(command) == 0
    plan = make_plan(load_spec(tmp_path / "m.json"))
    variables = saved_variables(model)
    for variable in variables.values():
        variable.assign(keras.ops.full(variable.shape, 99, variable.dtype))
    model.load_weights(file)
    with h5py.File(file) as h5:
        for tensor in plan.tensors:
            found = keras.ops.convert_to_numpy(variables[tensor.keras_path])
            assert found.tobytes() == h5[tensor.path][()].tobytes(), tensor.path


# TensorFlow's tensors, when NumPy asks for a copy of one.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
def test_an_archive_as_keras_saves_it(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    model = lstm_classifier()
    model.save(path)
    spec = load_spec(path)
    assert spec.document == parse_spec(model.to_json().encode(), "model.json").document
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) > 1  # its weights, which are not read


def test_a_model_that_is_not_built(tmp_path: Path) -> None:
    model = keras.Sequential([L.Dense(3, name="first"), L.Dense(2, name="second")], name="m")
    with pytest.raises(SpecError) as caught:
        make_plan(parse_spec(model.to_json().encode(), "m.json"))
    hint = "call model.build(input_shape) or the model itself before model.to_json()"
    assert [str(problem) for problem in caught.value.problems] == [
        f"m.json: expected layer 'first': a layer that is built, got no shapes in its "
        f"build_config; {hint}",
        f"m.json: expected layer 'second': a layer that is built, got no shapes in its "
        f"build_config; {hint}",
    ]
    model.build((None, 4))
    plan = make_plan(parse_spec(model.to_json().encode(), "m.json"))
    assert [tensor.shape for tensor in plan.tensors] == [(4, 3), (3,), (3, 2), (2,)]


def test_a_subclassed_model() -> None:
    class Mine(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.dense = L.Dense(2)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    model = Mine()
    model(keras.ops.ones((1, 2)))
    with pytest.raises(SpecError, match="one of the class 'Mine'; the JSON of another class"):
        parse_spec(model.to_json().encode(), "m.json")


def test_a_layer_of_a_class_of_ones_own() -> None:
    class Scale(L.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x

    model = keras.Sequential([keras.Input((2,)), Scale(name="mine"), L.Dense(2)])
    with pytest.raises(SpecError, match="layer 'mine': one of Keras's own classes, got 'Scale'"):
        make_plan(parse_spec(model.to_json().encode(), "m.json"))


def test_a_lambda_is_not_run() -> None:
    model = keras.Sequential([keras.Input((2,)), L.Lambda(lambda x: 2 * x), L.Dense(2)])
    text = model.to_json()
    assert "__lambda__" in text
    plan = make_plan(parse_spec(text.encode(), "m.json"))
    assert [tensor.keras_path for tensor in plan.tensors] == [
        "layers/dense/vars/0",
        "layers/dense/vars/1",
    ]
