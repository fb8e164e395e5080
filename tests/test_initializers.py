"""Initializers: every name and way of writing one is the same draw."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from spec_texts import one_weight, plan_of, problems_of, tensor_of

from kinit_cli.draw import (
    BoundedNormal,
    Constant,
    ConstantArray,
    DeltaOrthogonal,
    Dirac,
    Draw,
    Eye,
    Normal,
    Orthogonal,
    Sparse,
    Stft,
    TruncatedNormal,
    Uniform,
)
from kinit_cli.initializers.registry import BY_NAME, INITIALIZER_TYPES

#: Class name -> every name that Keras accepts besides it, and the arguments with their defaults.
SEED = {"seed": None}
NORMAL_ARGS = {"mean": 0.0, "stddev": 0.05, **SEED}
FAN_ARGS = {"seed": None, "input_axes": None, "output_axes": None}
SCALING_ARGS = {"scale": 1.0, "mode": "fan_in", "distribution": "truncated_normal", **FAN_ARGS}
STFT_ARGS = {"side": "real", "window": "hann", "scaling": "density", "periodic": False}
KAIMING_ARGS = {"a": 0.0, "mode": "fan_in", "nonlinearity": "leaky_relu", **SEED}
KNOWN: dict[str, tuple[list[str], dict[str, Any]]] = {
    "Zeros": (["zeros", "zero"], {}),
    "Ones": (["ones", "one"], {}),
    "Constant": (["constant"], {"value": 0.0}),
    "Identity": (["identity", "IdentityInitializer"], {"gain": 1.0}),
    "RandomNormal": (["random_normal", "normal"], NORMAL_ARGS),
    "RandomUniform": (["random_uniform", "uniform"], {"minval": -0.05, "maxval": 0.05, **SEED}),
    "TruncatedNormal": (["truncated_normal"], NORMAL_ARGS),
    "Orthogonal": (["orthogonal", "OrthogonalInitializer"], {"gain": 1.0, **SEED}),
    "VarianceScaling": (["variance_scaling"], SCALING_ARGS),
    "GlorotUniform": (["glorot_uniform"], FAN_ARGS),
    "GlorotNormal": (["glorot_normal"], FAN_ARGS),
    "HeUniform": (["he_uniform"], FAN_ARGS),
    "HeNormal": (["he_normal"], FAN_ARGS),
    "LecunUniform": (["lecun_uniform"], FAN_ARGS),
    "LecunNormal": (["lecun_normal"], FAN_ARGS),
    "STFT": (["stft", "STFTInitializer"], STFT_ARGS),
    "kaiming_uniform": (["kaiming_uniform_"], KAIMING_ARGS),
    "kaiming_normal": (["kaiming_normal_"], KAIMING_ARGS),
    "xavier_uniform": (["xavier_uniform_"], {"gain": 1.0, **SEED}),
    "xavier_normal": (["xavier_normal_"], {"gain": 1.0, **SEED}),
    "trunc_normal": (["trunc_normal_"], {"mean": 0.0, "std": 1.0, "a": -2.0, "b": 2.0, **SEED}),
    "sparse": (["sparse_"], {"sparsity": 0.25, "std": 0.01, **SEED}),
    "orthogonal_": ([], {"gain": 1.0, **SEED}),
    "eye": (["eye_"], {}),
    "dirac": (["dirac_"], {"groups": 1}),
    "delta_orthogonal": ([], {"scale": 1.0, **SEED}),
}
NAMES = [(name, kind) for kind, (aliases, _) in KNOWN.items() for name in (kind, *aliases)]
C = 0.87962566103423978  # the standard deviation of a unit normal cut at 2
KAIMING_BOUND = math.sqrt(3) * (math.sqrt(2) / math.sqrt(6))
XAVIER_BOUND = math.sqrt(3) * math.sqrt(2 / 10)
MATRIX = "[6, 4]"
#: For those that do not take a matrix.
SHAPES = {"STFT": "[8, 1, 5]", "dirac": "[3, 4, 5]", "delta_orthogonal": "[3, 4, 5]"}
#: For those that have an argument without a default.
REQUIRED = {"sparse": {"sparsity": 0.25}}
#: What each draws for a (6, 4) matrix, or of its own shape, without arguments: fans 6 and 4.
DRAWS: dict[str, Draw] = {
    "Zeros": Constant(value=0),
    "Ones": Constant(value=1),
    "Constant": Constant(value=0.0),
    "Identity": Eye(gain=1.0),
    "RandomNormal": Normal(mean=0.0, stddev=0.05),
    "RandomUniform": Uniform(minval=-0.05, maxval=0.05),
    "TruncatedNormal": TruncatedNormal(mean=0.0, stddev=0.05),
    "Orthogonal": Orthogonal(gain=1.0),
    "VarianceScaling": TruncatedNormal(mean=0.0, stddev=math.sqrt(1 / 6) / C),
    "GlorotUniform": Uniform(minval=-math.sqrt(3 * (1 / 5)), maxval=math.sqrt(3 * (1 / 5))),
    "GlorotNormal": TruncatedNormal(mean=0.0, stddev=math.sqrt(1 / 5) / C),
    "HeUniform": Uniform(minval=-1.0, maxval=1.0),
    "HeNormal": TruncatedNormal(mean=0.0, stddev=math.sqrt(2 / 6) / C),
    "LecunUniform": Uniform(minval=-math.sqrt(3 * (1 / 6)), maxval=math.sqrt(3 * (1 / 6))),
    "LecunNormal": TruncatedNormal(mean=0.0, stddev=math.sqrt(1 / 6) / C),
    "STFT": Stft(side="real", window="hann", scaling="density", periodic=False),
    "kaiming_uniform": Uniform(minval=-KAIMING_BOUND, maxval=KAIMING_BOUND),
    "kaiming_normal": Normal(mean=0.0, stddev=math.sqrt(2) / math.sqrt(6)),
    "xavier_uniform": Uniform(minval=-XAVIER_BOUND, maxval=XAVIER_BOUND),
    "xavier_normal": Normal(mean=0.0, stddev=math.sqrt(2 / 10)),
    "trunc_normal": BoundedNormal(mean=0.0, stddev=1.0, low=-2.0, high=2.0),
    "sparse": Sparse(stddev=0.01, n_zeros=2),
    "orthogonal_": Orthogonal(gain=1.0),
    "eye": Eye(gain=1.0),
    "dirac": Dirac(groups=1, layout="keras"),
    "delta_orthogonal": DeltaOrthogonal(gain=1.0, layout="keras"),
}


# --- names and forms ----------------------------------------------------------------------------


def test_the_names() -> None:
    assert sorted(BY_NAME) == sorted(name for name, _ in NAMES)
    assert {name: kind.class_name for name, kind in BY_NAME.items()} == dict(NAMES)
    assert [kind.class_name for kind in INITIALIZER_TYPES] == list(KNOWN)


@pytest.mark.parametrize(("name", "kind"), NAMES)
def test_every_name_in_every_form_is_the_same(name: str, kind: str) -> None:
    arguments = dict(KNOWN[kind][1])
    forms = [
        name,
        {name: None},
        {name: {}},
        {name: arguments},
        {"class_name": name},
        {"class_name": name, "config": None},
        {"class_name": name, "config": {}},
        {"class_name": name, "config": arguments},
        {
            "module": "keras.initializers",
            "class_name": name,
            "config": arguments,
            "registered_name": None,
        },
        {
            "module": "keras.initializers",
            "class_name": name,
            "config": arguments,
            "registered_name": kind,
            "build_config": {"input_shape": [None]},
        },
    ]
    if kind in REQUIRED:
        forms = [form for form in forms if isinstance(form, dict) and arguments in form.values()]
        assert len(forms) == 4
    tensors = [tensor_of(form, SHAPES.get(kind, MATRIX)) for form in forms]
    assert [plan.draw for plan in tensors] == [DRAWS[kind]] * len(forms)
    assert [plan.initializer.args for plan in tensors] == [KNOWN[kind][1]] * len(forms)
    assert len({plan.stream_key for plan in tensors}) == 1


@pytest.mark.parametrize("kind", KNOWN)
def test_config_is_a_form_of_its_own(kind: str) -> None:
    shape = SHAPES.get(kind, MATRIX)
    first = tensor_of({kind: REQUIRED.get(kind)}, shape)
    config = json.loads(json.dumps(first.initializer.config()))
    assert config == {"class_name": kind, "config": KNOWN[kind][1]}
    assert tensor_of(config, shape) == first


@pytest.mark.parametrize(
    ("initializer", "text"),
    [
        ("Zeros", "zeros"),
        ("HeNormal", "he_normal"),
        ({"normal": {}}, "random_normal"),
        ({"normal": {"mean": 0, "stddev": 0.05}}, "random_normal"),
        ({"normal": {"stddev": 0.02}}, "random_normal(stddev=0.02)"),
        ({"normal": {"stddev": 1 / 3, "mean": -1}}, "random_normal(mean=-1, stddev=0.333333)"),
        ({"he_normal": {"seed": 7}}, "he_normal(seed=7)"),
        ({"constant": {"value": 2}}, "constant(value=2)"),
        ({"constant": {"value": [1, 2.5, 3, 4]}}, "constant(value=[1, 2.5, 3, 4])"),
        ({"identity": {"gain": 2}}, "identity(gain=2)"),
        (
            {"variance_scaling": {"scale": 2, "mode": "fan_out", "distribution": "normal"}},
            "variance_scaling(scale=2, mode=fan_out, distribution=normal)",
        ),
        (
            {"he_normal": {"input_axes": [0], "output_axes": [-1]}},
            "he_normal(input_axes=[0], output_axes=[-1])",
        ),
    ],
)
def test_str(initializer: Any, text: str) -> None:
    assert str(tensor_of(initializer).initializer) == text


@pytest.mark.parametrize(
    ("arguments", "draw"),
    [
        ({}, TruncatedNormal(mean=0.0, stddev=math.sqrt(1 / 6) / C)),
        ({"distribution": "normal"}, TruncatedNormal(mean=0.0, stddev=math.sqrt(1 / 6) / C)),
        ({"distribution": "UNIFORM"}, Uniform(minval=-math.sqrt(0.5), maxval=math.sqrt(0.5))),
        ({"distribution": "untruncated_normal"}, Normal(mean=0.0, stddev=math.sqrt(1 / 6))),
        ({"mode": "fan_out", "scale": 4}, TruncatedNormal(mean=0.0, stddev=1 / C)),
        ({"mode": "fan_avg", "scale": 5}, TruncatedNormal(mean=0.0, stddev=1 / C)),
        ({"scale": "2 * 3"}, TruncatedNormal(mean=0.0, stddev=1 / C)),
    ],
)
def test_variance_scaling(arguments: dict[str, Any], draw: Draw) -> None:
    assert tensor_of({"VarianceScaling": arguments}).draw == draw


# --- seeds --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "seed"),
    [
        (5, 5),
        (0, 0),
        (2**64 - 1, 2**64 - 1),
        (None, None),
        ("2 + 3", 5),
        ({"class_name": "SeedGenerator", "config": {"seed": 5}}, 5),
        (
            {
                "module": "keras.random",
                "class_name": "SeedGenerator",
                "config": {"name": "seed_generator_3", "seed": 5},
                "registered_name": None,
            },
            5,
        ),
        ({"class_name": "SeedGenerator", "config": {"seed": None}}, None),
    ],
)
def test_seed(written: Any, seed: int | None) -> None:
    found = tensor_of({"he_normal": {"seed": written}})
    assert found.initializer.seed == seed
    assert found.stream_key == tensor_of({"he_normal": {"seed": seed}}).stream_key


def test_initializers_without_a_seed() -> None:
    assert tensor_of("zeros").initializer.seed is None
    assert tensor_of("identity").initializer.seed is None


# --- constants ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "draw"),
    [
        (2, Constant(value=2)),
        (2.5, Constant(value=2.5)),
        (True, Constant(value=1)),
        ("1 / 4", Constant(value=0.25)),
        ([1, 2, 3, 4], ConstantArray(values=(1, 2, 3, 4))),
        ([["1/4"], *[[True]] * 5], ConstantArray(values=((0.25,), *[(1,)] * 5))),
        (
            {"class_name": "__numpy__", "config": {"value": [1.5, 2, 3, 4], "dtype": "float64"}},
            ConstantArray(values=(1.5, 2, 3, 4)),
        ),
        ({"class_name": "__numpy__", "config": {"value": 1.5}}, Constant(value=1.5)),
    ],
)
def test_constant(value: Any, draw: Draw) -> None:
    found = tensor_of({"constant": {"value": value}}).draw
    assert repr(found) == repr(draw)


@given(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=3), st.data())
def test_nested_lists_broadcast_as_in_numpy(shape: tuple[int, ...], data: st.DataObject) -> None:
    target = data.draw(
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)
        | st.just((2, *(3 if size == 1 else size for size in shape)))
    )
    values = np.arange(math.prod(shape)).reshape(shape).tolist()
    if 0 in shape[:-1]:
        return  # nested lists cannot say what follows an empty axis
    text = one_weight(
        f"shape: {list(target)}, initializer: {{constant: {{value: {json.dumps(values)}}}}}"
    )
    try:
        np.broadcast_to(np.zeros(shape), target)
    except ValueError:
        (problem,) = problems_of(text)
        expected = f"expected values that broadcast to the shape {list(target)}, "
        assert problem.endswith(f"constant.value: {expected}got values of shape {list(shape)}")
    else:
        assert isinstance(plan_of(text).tensors[0].draw, ConstantArray)
