"""`--engine keras` gives what calling Keras gives, bit for bit, on every backend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import Kinit
from keras_cases import (
    OTHER_BACKENDS,
    SEED,
    Case,
    cases,
    need_backend,
    run_program,
    spec_text,
    stored_bytes,
)
from oracles import import_oracle
from spec_texts import one_weight, plan_of, tensor_of

import kinit_cli
from kinit_cli.draw import expected_moments
from kinit_cli.engines import get_engine
from kinit_cli.engines.keras import keras_plan
from kinit_cli.errors import InitializerError, UnavailableError
from kinit_cli.formats.hdf5 import Hdf5Writer
from kinit_cli.initializers.registry import INITIALIZER_TYPES
from kinit_cli.inspect import inspect_file
from kinit_cli.manifest import parse_manifest
from kinit_cli.manifest import plan_of as plan_of_manifest
from kinit_cli.pipeline import Output, generate
from kinit_cli.plan import Plan
from kinit_cli.summary import FileSummary

keras = import_oracle("keras")

pytestmark = [
    pytest.mark.oracle,
    # TensorFlow's tensors, when NumPy asks for a copy of one.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]
SEEDLESS = one_weight("shape: [20, 10], initializer: he_normal")


def write(plan: Plan, path: Path, *, jobs: int = 2) -> FileSummary:
    output = Output(target=path, writer=Hdf5Writer(), force=True)
    return generate(plan, output, engine=get_engine("numpy"), jobs=jobs)


def bytes_by_keras(config: dict[str, Any], shape: list[int], dtype: str) -> bytes:
    made = keras.initializers.get(config)(tuple(shape), dtype=dtype)
    assert tuple(made.shape) == tuple(shape)
    # Flat, since of a bfloat16 scalar Keras cannot make a NumPy array.
    return bytes(keras.ops.convert_to_numpy(keras.ops.reshape(made, (-1,))).tobytes())


def has_axes() -> bool:
    return "input_axes" in keras.initializers.HeNormal().get_config()


# --- bits ---------------------------------------------------------------------------------------


def test_every_initializer_is_as_keras_makes_it(tmp_path: Path) -> None:
    tensors = cases(qr_dtypes=("float32", "float16", "float64"))
    assert {case.initializer["class_name"] for case in tensors} == {
        kind.class_name for kind in INITIALIZER_TYPES if kind.library == "keras"
    }
    write(keras_plan(plan_of(spec_text(tensors))), tmp_path / "a.h5")
    found = stored_bytes(tmp_path / "a.h5", tensors)
    for case in tensors:
        expected = bytes_by_keras(case.seeded(), case.shape, case.dtype)
        assert found[case.path] == expected, case


_EXPECTED = """
import json, sys
import keras
for config, shape, dtype in json.load(sys.stdin):
    made = keras.initializers.get(config)(tuple(shape), dtype=dtype)
    print(keras.ops.convert_to_numpy(made).tobytes().hex())
"""
_GENERATE = """
from kinit_cli.cli.main import run
raise SystemExit(run(["generate", "spec.yaml", "-o", "a.h5", "--engine", "keras", "--json"]))
"""


@pytest.mark.parametrize("backend", OTHER_BACKENDS)
def test_other_backends(backend: str, tmp_path: Path) -> None:
    need_backend(backend)
    # JAX has float64 only if told so, and Keras on it then makes other numbers.
    tensors = cases(("float32", "float16", "bfloat16"))
    (tmp_path / "spec.yaml").write_text(spec_text(tensors), encoding="utf-8")
    summary = json.loads(run_program(_GENERATE, backend, tmp_path))
    assert (summary["engine"], summary["stream"]) == ("keras", None)
    assert summary["origin"]["backend"] == backend
    asked = [(case.seeded(), case.shape, case.dtype) for case in tensors]
    expected = run_program(_EXPECTED, backend, tmp_path, json.dumps(asked)).split("\n")
    found = stored_bytes(tmp_path / "a.h5", tensors)
    for case, line in zip(tensors, expected, strict=False):
        assert found[case.path].hex() == line, case
    assert len(expected) == len(tensors) + 1


@pytest.mark.parametrize(
    "layers",
    [
        ["embedding", "lstm", "dense"],
        ["conv", "norm", "flat", "dense"],
    ],
    ids="-".join,
)
def test_a_model_with_the_printed_seeds_has_the_weights_of_the_file(
    layers: list[str], kinit: Kinit, tmp_path: Path
) -> None:
    shapes: dict[str, dict[str, list[int]]] = {
        "embedding": {"embeddings": [12, 6]},
        "lstm": {"lstm_cell/kernel": [6, 20], "lstm_cell/recurrent_kernel": [5, 20]},
        "conv": {"kernel": [3, 3, 2, 4], "bias": [4]},
        "norm": {"gamma": [4], "beta": [4], "moving_mean": [4], "moving_variance": [4]},
        "flat": {},
        "dense": {"kernel": [5 if "lstm" in layers else 64, 3], "bias": [3]},
    }
    spec = {
        "seed": 3,
        "layers": [
            {"name": name, "weights": {w: {"shape": s} for w, s in shapes[name].items()}}
            for name in layers
            if shapes[name]
        ],
    }
    (tmp_path / "m.yaml").write_text(json.dumps(spec), encoding="utf-8")
    planned = kinit("generate", "m.yaml", "--engine", "keras", "--dry-run", "--json")
    configs = {
        tensor["path"]: tensor["initializer_config"]
        for tensor in json.loads(planned.stdout)["tensors"]
    }
    assert kinit("generate", "m.yaml", "--engine", "keras", "-o", "m.h5").returncode == 0

    def initializer(path: str) -> Any:
        config = configs[path]["config"]
        if not has_axes():
            config = {name: value for name, value in config.items() if not name.endswith("_axes")}
        return keras.initializers.get({**configs[path], "config": config})

    made = {
        "embedding": lambda: keras.layers.Embedding(
            12, 6, embeddings_initializer=initializer("embedding/embeddings"), name="embedding"
        ),
        "lstm": lambda: keras.layers.LSTM(
            5,
            use_bias=False,
            kernel_initializer=initializer("lstm/lstm_cell/kernel"),
            recurrent_initializer=initializer("lstm/lstm_cell/recurrent_kernel"),
            name="lstm",
        ),
        "conv": lambda: keras.layers.Conv2D(
            4, 3, kernel_initializer=initializer("conv/kernel"), name="conv"
        ),
        "norm": lambda: keras.layers.BatchNormalization(name="norm"),
        "flat": lambda: keras.layers.Flatten(name="flat"),
        "dense": lambda: keras.layers.Dense(
            3, kernel_initializer=initializer("dense/kernel"), name="dense"
        ),
    }
    model = keras.Sequential([made[name]() for name in layers])
    model.build((None, 7) if "lstm" in layers else (None, 6, 6, 2))
    trained = [weight.copy() for weight in model.get_weights()]
    model.set_weights([np.full_like(weight, 9) for weight in trained])
    model.load_weights(tmp_path / "m.h5")
    assert len(trained) == sum(len(shapes[name]) for name in layers)
    for weight, loaded in zip(trained, model.get_weights(), strict=True):
        assert weight.tobytes() == loaded.tobytes()
        assert weight.size == 4 or weight.std() > 0 or not weight.any()


# --- what the plan and the file say -------------------------------------------------------------


def test_the_plan_shows_what_keras_is_asked() -> None:
    tensors = [case for case in cases(("float32",)) if case.shape == [6, 4]]
    before = plan_of(spec_text(tensors))
    after = keras_plan(before)
    assert after.origin is not None
    assert after.origin.to_json() == {
        "engine": "keras",
        "version": keras.__version__,
        "backend": "tensorflow",
        "backend_version": import_oracle("tensorflow").__version__,
    }
    assert after.document == before.document
    for old, new, case in zip(before.tensors, after.tensors, tensors, strict=True):
        assert new.initializer.seed == case.seeded()["config"]["seed"]
        assert f"seed={new.initializer.seed}" in str(new.initializer)
        assert expected_moments(new.draw, new.shape) == expected_moments(old.draw, old.shape)
        assert (new.path, new.stream_key) == (old.path, old.stream_key)
    assert keras_plan(after) is not after
    assert [t.initializer for t in keras_plan(after).tensors] == [
        t.initializer for t in after.tensors
    ]


def test_the_file_says_whose_values_it_holds(tmp_path: Path) -> None:
    plan = keras_plan(plan_of(f"seed: {SEED}\n{SEEDLESS}"))
    summary = write(plan, tmp_path / "a.h5")
    assert (summary.engine, summary.stream, summary.origin) == ("keras", None, plan.origin)
    seen = inspect_file(tmp_path / "a.h5")
    assert (seen.stream, seen.origin) == (None, plan.origin)
    (tensor,) = seen.tensors
    assert tensor.initializer == str(plan.tensors[0].initializer)
    assert "seed=" in str(tensor.initializer)
    assert tensor.expected_std == pytest.approx(0.1**0.5)


def test_the_recorded_spec_is_the_users_own(tmp_path: Path) -> None:

    plan = keras_plan(plan_of(f"seed: {SEED}\n{SEEDLESS}"))
    write(plan, tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        text = next(str(v) for k, v in file.attrs.items() if k.startswith("kinit"))
    again = keras_plan(plan_of_manifest(parse_manifest(text, "a.h5"), "a.h5"))
    assert again.tensors[0].initializer == plan.tensors[0].initializer
    write(again, tmp_path / "b.h5", jobs=1)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


# --- fans ---------------------------------------------------------------------------------------


@pytest.mark.skipif(not has_axes(), reason="this Keras has no input_axes (3.15 does)")
@pytest.mark.parametrize("shape", [[12, 4], [8, 2, 3, 3], [5], []])
def test_the_layout_of_torch_becomes_axes(shape: list[int], tmp_path: Path) -> None:
    case = Case(
        initializer={"class_name": "HeUniform", "config": {}},
        shape=shape,
        dtype="float32",
        index=0,
    )
    text = spec_text([case]).replace('"layers"', '"layout": "torch", "layers"')
    plan = plan_of(text)
    write(keras_plan(plan), tmp_path / "a.h5")
    config = case.seeded()
    if len(shape) > 1:
        fan_in, fan_out = [1, *range(2, len(shape))], [0, *range(2, len(shape))]
        config["config"] |= {"input_axes": fan_in, "output_axes": fan_out}
    expected = bytes_by_keras(config, shape, "float32")
    assert stored_bytes(tmp_path / "a.h5", [case])[case.path] == expected
    # The limit is that of kinit's own plan.
    values = np.frombuffer(expected, np.float32)
    assert abs(values).max() <= plan.tensors[0].draw.maxval  # type: ignore[union-attr]
    assert inspect_file(tmp_path / "a.h5").tensors[0].initializer == str(
        keras_plan(plan).tensors[0].initializer
    )


class OldHeNormal:
    def __init__(self, seed: int | None = None) -> None:
        """Take what Keras 3.14 took."""


def test_an_argument_that_keras_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.initializers, "HeNormal", OldHeNormal)
    keras_plan(plan_of(SEEDLESS))
    axes = "initializer: {he_normal: {input_axes: [0], output_axes: [1]}}"
    for text in (one_weight(f"shape: [2, 3], {axes}"), f"layout: torch\n{SEEDLESS}"):
        with pytest.raises(UnavailableError) as caught:
            keras_plan(plan_of(text))
        lines = str(caught.value).splitlines()
        assert [line.partition(": ")[0] for line in lines] == ["a/kernel", "a/kernel"]
        assert "does not know the argument 'input_axes' of he_normal" in lines[0]
        assert keras.__version__ in lines[0]


# --- what goes wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        ("shape: [4, 4], dtype: bfloat16, initializer: orthogonal", "initializer 'orthogonal'"),
        ("shape: [4], initializer: {he_normal: {seed: 9223372036854775808}}", "'he_normal'"),
        ("shape: [4], initializer: {he_normal: {seed: 18446744073709551615}}", "'he_normal'"),
    ],
)
def test_what_keras_cannot_do(weight: str, said: str, tmp_path: Path) -> None:
    before = one_weight("shape: [3]").replace("name: a", "name: b")
    layers = f"seed: 1\nlayers:\n- {before[9:-2]}\n- {one_weight(weight)[9:-2]}\n"
    with pytest.raises(InitializerError) as caught:
        write(keras_plan(plan_of(layers)), tmp_path / "a.h5")
    assert str(caught.value).startswith("a/kernel: initializer")
    assert said in str(caught.value)
    assert list(tmp_path.iterdir()) == []


class NarrowHeNormal(OldHeNormal):
    def __call__(self, shape: tuple[int, ...], dtype: str) -> Any:
        """Give float32, whatever is asked for."""
        return keras.ops.zeros(shape, "float32")


def test_a_dtype_that_is_not_the_one_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras.initializers, "HeNormal", NarrowHeNormal)
    text = one_weight("shape: [3], dtype: float64, initializer: he_normal")
    with pytest.raises(InitializerError) as caught:
        write(keras_plan(plan_of(text)), tmp_path / "a.h5")
    assert str(caught.value) == ("a/kernel: expected float64 from Keras on tensorflow, got float32")
    assert list(tmp_path.iterdir()) == []


def test_a_dtype_that_jax_narrows(tmp_path: Path) -> None:
    need_backend("jax")
    text = one_weight("shape: [3], dtype: float64, initializer: he_normal")
    (tmp_path / "spec.yaml").write_text(f"seed: 1\n{text}", encoding="utf-8")
    program = _GENERATE.replace("raise SystemExit(", "print(")
    document = json.loads(run_program(program, "jax", tmp_path).rpartition("\n2")[0])
    message = document["error"]["message"]
    assert message == (
        "a/kernel: expected float64 from Keras on jax, got float32; "
        "JAX_ENABLE_X64=1 lets JAX have 64 bits"
    )
    assert not (tmp_path / "a.h5").exists()


def test_what_kinit_refuses_is_refused_before_keras(kinit: Kinit, tmp_path: Path) -> None:
    text = one_weight("shape: [3], dtype: int8, initializer: {constant: {value: 200}}")
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    done = kinit("generate", "a.yaml", "-o", "a.h5", "--engine", "keras")
    assert done.returncode == 2
    assert "values that int8 can hold" in done.stderr.decode()


def test_the_command_line(kinit: Kinit, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"seed: {SEED}\n{SEEDLESS}", encoding="utf-8")
    done = kinit("generate", "a.yaml", "-o", "a.h5", "--engine", "keras")
    assert (done.returncode, done.stderr) == (0, b"")
    footer, tests = done.stdout.decode().splitlines()[-2:]
    assert tests == "tests: 1 passed"
    assert f"engine keras, values Keras {keras.__version__}'s own, on tensorflow" in footer
    piped = kinit("generate", "a.yaml", "-o", "-", "--format", "hdf5", "--engine", "keras", "-q")
    assert piped.stdout == (tmp_path / "a.h5").read_bytes()
    shown = kinit("generate", "a.yaml", "--dry-run", "--engine", "keras").stdout.decode()
    seed = tensor_of("he_normal").initializer.seed
    assert seed is None
    assert "he_normal(seed=" in shown
    assert f"values Keras {keras.__version__}'s own, on tensorflow" in shown


def test_custom_initializers_keep_their_own_values(tmp_path: Path) -> None:
    def ramp(shape: tuple[int, ...], dtype: str, seed: int | None = None) -> Any:
        return np.arange(np.prod(shape), dtype=dtype).reshape(shape) + seed % 7

    layers = [
        {
            "name": "a",
            "weights": {
                "kernel": {"shape": [3, 4], "initializer": "he_normal"},
                "ramp": {"shape": [5], "initializer": {"ramp": {"seed": None}}},
            },
        }
    ]
    spec = {"seed": 3, "layers": layers}
    alone = kinit_cli.arrays(spec, initializers={"ramp": ramp})
    found = kinit_cli.arrays(spec, initializers={"ramp": ramp}, engine="keras")
    assert found["a/ramp"].tobytes() == alone["a/ramp"].tobytes()
    assert found["a/kernel"].tobytes() != alone["a/kernel"].tobytes()
    kinit_cli.generate(spec, tmp_path / "w.h5", initializers={"ramp": ramp}, engine="keras")
    summary = inspect_file(tmp_path / "w.h5")
    assert not summary.notes
    assert summary.tensors[1].initializer is not None
    assert summary.tensors[1].initializer.startswith("ramp")


def test_initializers_that_keras_does_not_have_are_told_all_at_once() -> None:
    weights = {
        name: {"shape": [3, 4], "initializer": name}
        for name in ("kaiming_normal", "he_normal", "eye", "sparse_")
    }
    weights["sparse_"]["initializer"] = {"sparse": {"sparsity": 0.5}}
    text = json.dumps({"seed": 3, "layers": [{"name": "a", "weights": weights}]})
    with pytest.raises(UnavailableError) as caught:
        keras_plan(plan_of(text))
    version = keras.__version__
    assert str(caught.value).splitlines() == [
        f"a/kaiming_normal: Keras {version} has no initializer kaiming_normal",
        f"a/sparse_: Keras {version} has no initializer sparse",
    ]
