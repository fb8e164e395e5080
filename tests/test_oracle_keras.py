"""Keras as the judge of initializers: names, arguments, fans, parameters, what is refused."""

from __future__ import annotations

import inspect
import json
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracles import import_oracle
from spec_texts import one_weight, problems_of, tensor_of, values_of

from kinit_cli.draw import Draw, Normal, TruncatedNormal, Uniform
from kinit_cli.initializers.fans import compute_fans
from kinit_cli.initializers.registry import BY_NAME as EVERY_NAME
from kinit_cli.initializers.registry import INITIALIZER_TYPES

keras = import_oracle("keras")
from keras.src import initializers as keras_initializers  # noqa: E402
from keras.src.initializers import random_initializers  # noqa: E402

pytestmark = [
    pytest.mark.oracle,
    # TensorFlow's tensors, when NumPy asks for a copy of one.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]

KERAS_TYPES = [kind for kind in INITIALIZER_TYPES if kind.library == "keras"]
BY_NAME = {name: kind for name, kind in EVERY_NAME.items() if kind.library == "keras"}
#: Names of Keras that kinit does not know: there is nothing to make.
ABSTRACT = {"Initializer", "initializer"}
#: A shape for those that do not take a matrix.
SHAPES_OF = {"STFT": "[8, 1, 5]"}
#: Names that Keras knows but cannot make without arguments.
NEEDS_A_VALUE = {"Constant", "constant"}

RANDOM_CLASSES = [
    kind.class_name
    for kind in KERAS_TYPES
    if any(argument.name == "seed" for argument in kind.arguments)
]
FAN_CLASSES = [name for name in RANDOM_CLASSES if name.startswith(("Var", "Glo", "He", "Lec"))]
#: Keras 3.15 brought the axes.
HAS_AXES = "input_axes" in inspect.signature(random_initializers.compute_fans).parameters
needs_axes = pytest.mark.skipif(not HAS_AXES, reason="this Keras has no input_axes (3.15 does)")


def made_by_keras(initializer: Any) -> Any:
    return keras.initializers.get(initializer)


def values_by_keras(initializer: Any, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    made = made_by_keras(initializer)(shape, dtype=dtype)
    values: NDArray[Any] = keras.ops.convert_to_numpy(made)
    return values


# --- names and arguments ------------------------------------------------------------------------


def test_every_name_of_keras_is_known() -> None:
    names = {name for name in keras_initializers.ALL_OBJECTS_DICT if name is not None}
    assert names - set(BY_NAME) == ABSTRACT


@pytest.mark.parametrize("name", sorted(set(BY_NAME) - NEEDS_A_VALUE))
def test_every_known_name_is_one_of_keras(name: str) -> None:
    made = made_by_keras(name)
    assert type(made).__name__ == BY_NAME[name].class_name
    assert type(made_by_keras({"class_name": name, "config": {}})) is type(made)


@pytest.mark.parametrize("name", sorted(NEEDS_A_VALUE))
def test_a_constant_without_a_value(name: str) -> None:
    with pytest.raises(KeyError, match="value"):
        made_by_keras(name)
    made = made_by_keras({"class_name": name, "config": {"value": 3}})
    assert type(made).__name__ == BY_NAME[name].class_name
    assert inspect.signature(type(made)).parameters["value"].default == 0.0


def test_every_name_of_tf_keras_is_known_but_its_version_twos() -> None:
    import_oracle("tf_keras")
    from tf_keras.src import initializers as tf_initializers

    tf_initializers.populate_deserializable_objects()
    names = set(tf_initializers.LOCAL.ALL_OBJECTS)
    assert names >= {"he_normal", "HeNormalV2"}
    assert {name for name in names if not name.endswith("V2")} - set(BY_NAME) == ABSTRACT


@pytest.mark.parametrize("kind", KERAS_TYPES, ids=lambda kind: kind.class_name)
def test_arguments_and_their_defaults(kind: Any) -> None:
    parameters = inspect.signature(getattr(keras.initializers, kind.class_name)).parameters
    known = {argument.name: argument.default for argument in kind.arguments}
    if not HAS_AXES:
        known = {name: default for name, default in known.items() if not name.endswith("_axes")}
    assert {name: parameter.default for name, parameter in parameters.items()} == known
    assert list(parameters) == list(known)


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_what_keras_serializes_is_read(name: str) -> None:
    made = getattr(keras.initializers, BY_NAME[name].class_name)()
    serialized = keras.initializers.serialize(made)
    shape = SHAPES_OF.get(BY_NAME[name].class_name, "[6, 4]")
    assert tensor_of(serialized, shape).draw == tensor_of(name, shape).draw
    assert json.loads(json.dumps(serialized)) == serialized


@pytest.mark.parametrize("name", sorted(set(BY_NAME) - NEEDS_A_VALUE))
def test_what_kinit_writes_is_read_by_keras(name: str) -> None:
    shape = SHAPES_OF.get(BY_NAME[name].class_name, "[6, 4]")
    config = json.loads(json.dumps(tensor_of(name, shape).initializer.config()))
    if not HAS_AXES:
        config["config"] = {k: v for k, v in config["config"].items() if not k.endswith("_axes")}
    assert type(made_by_keras(config)) is type(made_by_keras(name))


def test_seeds_and_arrays_as_keras_serializes_them() -> None:
    made = keras.initializers.HeNormal(seed=keras.random.SeedGenerator(5))
    tensor = tensor_of(keras.initializers.serialize(made))
    assert tensor.initializer.seed == 5
    made = keras.initializers.Constant(np.array([1.5, 2.5, 3.5, 4.5]))
    tensor = tensor_of(keras.initializers.serialize(made))
    assert values_of(tensor).tolist() == [[1.5, 2.5, 3.5, 4.5]] * 6


# --- fans and parameters ------------------------------------------------------------------------

SHAPES = st.lists(st.integers(0, 12), max_size=6).map(tuple)


@given(SHAPES)
def test_fans(shape: tuple[int, ...]) -> None:
    assert compute_fans(shape) == random_initializers.compute_fans(shape)


@needs_axes
@given(SHAPES.filter(bool), st.data())
def test_fans_of_named_axes(shape: tuple[int, ...], data: st.DataObject) -> None:
    axes = st.none() | st.lists(st.integers(-len(shape), len(shape) - 1), max_size=4)
    chosen = {"input_axes": data.draw(axes), "output_axes": data.draw(axes)}
    assert compute_fans(shape, **chosen) == random_initializers.compute_fans(shape, **chosen)


@needs_axes
def test_an_axis_out_of_range() -> None:
    for function in (compute_fans, random_initializers.compute_fans):
        with pytest.raises(IndexError):
            function((2, 3), input_axes=[2], output_axes=[0])


def draw_by_keras(initializer: Any, shape: tuple[int, ...]) -> Draw:
    """Give the distribution that Keras asks its random module for, before any value is drawn."""
    calls: list[Draw] = []

    def uniform(shape: Any, *, minval: float, maxval: float, **_: Any) -> None:
        calls.append(Uniform(minval=minval, maxval=maxval))

    def normal(shape: Any, *, mean: float, stddev: float, **_: Any) -> None:
        calls.append(Normal(mean=mean, stddev=stddev))

    def truncated_normal(shape: Any, *, mean: float, stddev: float, **_: Any) -> None:
        calls.append(TruncatedNormal(mean=mean, stddev=stddev))

    made = made_by_keras(initializer)
    with mock.patch.multiple(
        random_initializers.random,
        uniform=uniform,
        normal=normal,
        truncated_normal=truncated_normal,
    ):
        made(shape, dtype="float32")
    (call,) = calls
    return call


SMALL_SHAPES = st.lists(st.integers(0, 50), min_size=0, max_size=5).map(tuple)


@given(st.sampled_from(FAN_CLASSES), SMALL_SHAPES)
def test_scaled_parameters(name: str, shape: tuple[int, ...]) -> None:
    found = tensor_of(name, str(list(shape))).draw
    assert repr(found) == repr(draw_by_keras(name, shape))


@given(
    SMALL_SHAPES,
    st.floats(1e-3, 1e3),
    st.sampled_from(["fan_in", "fan_out", "fan_avg"]),
    st.sampled_from(["uniform", "normal", "Truncated_Normal", "untruncated_normal"]),
)
def test_variance_scaling_parameters(
    shape: tuple[int, ...], scale: float, mode: str, distribution: str
) -> None:
    config = {"scale": scale, "mode": mode, "distribution": distribution}
    initializer = {"class_name": "VarianceScaling", "config": config}
    found = tensor_of(initializer, str(list(shape))).draw
    assert repr(found) == repr(draw_by_keras(initializer, shape))


@needs_axes
@given(st.sampled_from(FAN_CLASSES), st.permutations([-1, 0, 1]), st.integers(0, 3))
def test_parameters_of_named_axes(name: str, axes: list[int], cut: int) -> None:
    config = {"input_axes": axes[:cut], "output_axes": axes[cut:]}
    initializer = {"class_name": name, "config": config}
    found = tensor_of(initializer, "[4, 6, 10]").draw
    assert repr(found) == repr(draw_by_keras(initializer, (4, 6, 10)))


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("RandomNormal", {}),
        ("RandomNormal", {"mean": 1.5, "stddev": 0.0}),
        ("TruncatedNormal", {}),
        ("TruncatedNormal", {"mean": -2.0, "stddev": 3.0}),
        ("RandomUniform", {}),
        ("RandomUniform", {"minval": -1.0, "maxval": 2.5}),
    ],
)
def test_plain_parameters(name: str, config: dict[str, float]) -> None:
    initializer = {"class_name": name, "config": config}
    assert repr(tensor_of(initializer).draw) == repr(draw_by_keras(initializer, (6, 4)))


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("initializer", "shape"),
    [
        ("identity", (3,)),
        ("identity", (2, 2, 2)),
        ("orthogonal", (3,)),
        ("orthogonal", ()),
        ("he_norml", (2, 2)),
        ("HE_NORMAL", (2, 2)),
        ("", (2, 2)),
        (5, (2, 2)),
        (True, (2, 2)),
        ([], (2, 2)),
        ({}, (2, 2)),
        ({"class_name": "Nope", "config": {}}, (2, 2)),
        ({"class_name": "HeNormal", "config": {"gain": 1}}, (2, 2)),
        ({"class_name": "HeNormal", "config": {"seed": 1.5}}, (2, 2)),
        ({"class_name": "HeNormal", "config": {"seed": "x"}}, (2, 2)),
        ({"class_name": "VarianceScaling", "config": {"scale": 0}}, (2, 2)),
        ({"class_name": "VarianceScaling", "config": {"scale": -1}}, (2, 2)),
        ({"class_name": "VarianceScaling", "config": {"mode": "fan"}}, (2, 2)),
        ({"class_name": "VarianceScaling", "config": {"mode": "FAN_IN"}}, (2, 2)),
        ({"class_name": "VarianceScaling", "config": {"distribution": "gauss"}}, (2, 2)),
        ({"class_name": "Constant", "config": {"value": [1, 2, 3]}}, (2, 2)),
        ("he_normal", (-1, 2)),
    ],
)
def test_what_keras_refuses_is_refused(initializer: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        values_by_keras(initializer, shape, "float32")
    assert type(caught.value).__name__ in ("ValueError", "TypeError", "InvalidArgumentError")
    text = f"shape: {list(shape)}, initializer: {json.dumps(initializer)}"
    assert len(problems_of(one_weight(text))) == 1


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("RandomNormal", {"stddev": -1.0}),
        ("TruncatedNormal", {"stddev": -1.0}),
        ("RandomUniform", {"minval": 1.0, "maxval": -1.0}),
        ("RandomUniform", {"minval": 1.0, "maxval": 1.0}),
    ],
)
def test_what_keras_lets_pass_is_refused_on_purpose(name: str, config: dict[str, float]) -> None:
    initializer = {"class_name": name, "config": config}
    assert values_by_keras(initializer, (2, 2), "float32").shape == (2, 2)
    assert len(problems_of(one_weight(f"shape: [2], initializer: {json.dumps(initializer)}"))) == 1
