"""`KinitInitializer` gives a live model what the file holds, on every backend of Keras."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_cases import OTHER_BACKENDS, SEED, cases, need_backend, run_program, spec_text
from oracles import import_oracle
from spec_texts import plan_of, values_of

from kinit_cli.engines import get_engine
from kinit_cli.formats.hdf5 import Hdf5Writer
from kinit_cli.pipeline import Output, generate
from kinit_cli.returned import as_numpy

keras = import_oracle("keras")
from kinit_cli.integrations.keras import KinitInitializer  # noqa: E402

pytestmark = [
    pytest.mark.oracle,
    # TensorFlow's tensors, when NumPy asks for a copy of one.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]


def kinit(initializer: Any, path: str, seed: int = SEED) -> KinitInitializer:
    return KinitInitializer(initializer, seed, path)


def file_values(initializer: Any, path: str, shape: list[int], dtype: str = "float32") -> Any:
    """Generate one tensor of a spec."""
    layer, _, weight = path.partition("/")
    weights = {weight: {"shape": shape, "dtype": dtype, "initializer": initializer}}
    spec = {"seed": SEED, "layers": [{"name": layer, "weights": weights}]}
    return values_of(plan_of(json.dumps(spec)).tensors[0])


def assert_same(found: Any, expected: Any) -> None:
    found = as_numpy(found)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    assert found.tobytes() == expected.tobytes()


# --- values -------------------------------------------------------------------------------------


def test_every_initializer_is_as_in_the_file() -> None:
    tensors = cases(qr_dtypes=("float32", "float16", "bfloat16", "float64"))
    for case, tensor in zip(tensors, plan_of(spec_text(tensors)).tensors, strict=True):
        live = kinit(case.initializer, case.path)(tuple(case.shape), dtype=case.dtype)
        assert isinstance(live, import_oracle("tensorflow").Tensor)
        assert_same(live, values_of(tensor))


_LIVE = """
import json, sys
import keras
from kinit_cli.integrations.keras import KinitInitializer
from kinit_cli.returned import as_numpy
for initializer, path, shape, dtype in json.load(sys.stdin):
    live = KinitInitializer(initializer, %d, path)(tuple(shape), dtype=dtype)
    assert keras.backend.standardize_dtype(live.dtype) == dtype
    assert tuple(live.shape) == tuple(shape)
    print(as_numpy(live).tobytes().hex())
"""


@pytest.mark.parametrize("backend", OTHER_BACKENDS)
def test_other_backends(backend: str, tmp_path: Path) -> None:
    need_backend(backend)
    tensors = cases(("float32", "float16", "bfloat16"), ("float32", "float16", "bfloat16"))
    asked = [(case.initializer, case.path, case.shape, case.dtype) for case in tensors]
    lines = run_program(_LIVE % SEED, backend, tmp_path, json.dumps(asked)).split("\n")
    assert len(lines) == len(tensors) + 1
    for tensor, line in zip(plan_of(spec_text(tensors)).tensors, lines, strict=False):
        assert values_of(tensor).tobytes().hex() == line, tensor


def test_large_tensors_are_cut_into_tiles() -> None:
    live = kinit("he_normal", "a/kernel")((1000, 700))
    assert_same(live, file_values("he_normal", "a/kernel", [1000, 700]))


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (keras.initializers.HeNormal(), "he_normal"),
        (keras.initializers.HeNormal(seed=5), {"he_normal": {"seed": 5}}),
        (keras.initializers.Identity(gain=2.5), {"identity": {"gain": 2.5}}),
        (
            keras.initializers.Constant(np.array([1.5, 2.5, 3.5])),
            {"constant": {"value": [1.5, 2.5, 3.5]}},
        ),
        (keras.initializers.Orthogonal(gain=0.5), {"orthogonal": {"gain": 0.5}}),
        (
            {"uniform": {"minval": "-1/2", "maxval": "sqrt(2)"}},
            {"uniform": {"minval": "-1/2", "maxval": "sqrt(2)"}},
        ),
    ],
)
def test_ways_to_name_an_initializer(given: Any, written: Any) -> None:
    made = kinit(given, "a/kernel")
    assert_same(made((3, 3)), file_values(written, "a/kernel", [3, 3]))
    assert_same(made.clone()((3, 3)), file_values(written, "a/kernel", [3, 3]))


def test_only_seed_and_path_matter() -> None:
    values = {
        (seed, path): as_numpy(kinit("he_normal", path, seed)((4, 5))).tobytes()
        for seed in (0, 1, 2**64 - 1)
        for path in ("a/kernel", "b/kernel")
    }
    assert len(set(values.values())) == 6
    own = {"he_normal": {"seed": 9}}
    assert_same(kinit(own, "a/b", 1)((4, 5)), as_numpy(kinit(own, "c/d", 2)((4, 5))))
    assert kinit("zeros", "a/b", np.int64(3)).get_config()["seed"] == 3  # type: ignore[arg-type]


def test_dtypes_by_default() -> None:
    kernel = kinit("he_normal", "a/kernel")
    assert_same(kernel((4, 5)), file_values("he_normal", "a/kernel", [4, 5]))
    keras.config.set_floatx("float16")
    try:
        assert_same(kernel((4, 5)), file_values("he_normal", "a/kernel", [4, 5], "float16"))
    finally:
        keras.config.set_floatx("float32")
    for policy, dtype in (("bfloat16", "bfloat16"), ("mixed_float16", "float32")):
        layer = keras.layers.Dense(5, kernel_initializer=kernel, dtype=policy)
        layer.build((None, 4))
        assert_same(layer.kernel.value, file_values("he_normal", "a/kernel", [4, 5], dtype))


# --- models -------------------------------------------------------------------------------------

SPEC = """
seed: 11
layers:
  - {name: embedding, weights: {embeddings: {shape: [12, 6]}}}
  - name: both
    weights:
      forward_lstm/lstm_cell/kernel: {shape: [6, 20]}
      forward_lstm/lstm_cell/recurrent_kernel: {shape: [5, 20]}
      forward_lstm/lstm_cell/bias: {shape: [20], initializer: random_normal}
      backward_lstm/lstm_cell/kernel: {shape: [6, 20]}
      backward_lstm/lstm_cell/recurrent_kernel: {shape: [5, 20]}
      backward_lstm/lstm_cell/bias: {shape: [20], initializer: random_normal}
  - name: dense
    weights:
      kernel: {shape: [10, 3], initializer: lecun_uniform}
      bias: {shape: [3], initializer: {constant: {value: 0.25}}}
"""


def live_lstm(name: str) -> Any:
    cell = f"both/{name}/lstm_cell"
    return keras.layers.LSTM(
        5,
        kernel_initializer=kinit("glorot_uniform", f"{cell}/kernel"),
        recurrent_initializer=kinit("orthogonal", f"{cell}/recurrent_kernel"),
        bias_initializer=kinit("random_normal", f"{cell}/bias"),
        unit_forget_bias=False,
        go_backwards=name.startswith("backward"),
        name=name,
    )


def live_model() -> Any:
    model = keras.Sequential(
        [
            keras.Input((7,)),
            keras.layers.Embedding(
                12, 6, embeddings_initializer=kinit("random_uniform", "embedding/embeddings")
            ),
            keras.layers.Bidirectional(
                live_lstm("forward_lstm"), backward_layer=live_lstm("backward_lstm"), name="both"
            ),
            keras.layers.Dense(
                3,
                kernel_initializer=kinit("lecun_uniform", "dense/kernel"),
                bias_initializer=kinit({"constant": {"value": 0.25}}, "dense/bias"),
            ),
        ]
    )
    model.build((None, 7))
    return model


def test_a_live_model_is_the_one_that_loads_the_file(tmp_path: Path) -> None:
    model = live_model()
    fresh = [weight.copy() for weight in model.get_weights()]
    output = Output(target=tmp_path / "a.h5", writer=Hdf5Writer())
    generate(plan_of(SPEC), output, engine=get_engine("numpy"), jobs=1)
    model.set_weights([np.full_like(weight, 9) for weight in fresh])
    model.load_weights(tmp_path / "a.h5")
    assert len(fresh) == 9
    for weight, loaded in zip(fresh, model.get_weights(), strict=True):
        assert_same(weight, loaded)


def test_attention_passes_one_initializer_on() -> None:
    layer = keras.layers.MultiHeadAttention(2, 4, kernel_initializer=kinit("he_normal", "a/kernel"))
    layer.build((None, 6, 8), (None, 6, 8))
    kernels = [weight for weight in layer.weights if weight.path.endswith("kernel")]
    assert [tuple(kernel.shape) for kernel in kernels] == [(8, 2, 4)] * 3 + [(2, 4, 8)]
    for kernel in kernels:
        expected = file_values("he_normal", "a/kernel", list(kernel.shape))
        assert_same(kernel.value, expected)


def test_a_saved_model_holds_it(tmp_path: Path) -> None:
    model = live_model()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    kernel = loaded.layers[-1].kernel_initializer
    assert type(kernel) is KinitInitializer
    assert kernel.get_config() == model.layers[-1].kernel_initializer.get_config()
    clone = keras.models.clone_model(loaded)
    for weight, other in zip(model.get_weights(), clone.get_weights(), strict=True):
        assert_same(other, weight)


# --- configs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "initializer",
    [
        "he_normal",
        {"class_name": "VarianceScaling", "config": {"input_axes": [0], "output_axes": [1]}},
        {"constant": {"value": [[1, 2, 3], [4, 5, 6]]}},
        {"orthogonal": {"seed": 2**64 - 1}},
    ],
)
def test_a_config_makes_the_same(initializer: Any) -> None:
    made = kinit(initializer, "a/kernel", 2**64 - 1)
    config = made.get_config()
    assert list(config) == ["initializer", "seed", "path"]
    assert json.loads(json.dumps(config)) == config
    serialized = json.loads(json.dumps(keras.initializers.serialize(made)))
    assert serialized["registered_name"] == "kinit>KinitInitializer"
    expected = as_numpy(made((2, 3)))
    for other in (
        KinitInitializer.from_config(config),
        keras.initializers.deserialize(serialized),
        keras.initializers.get(serialized),
        made.clone(),
        copy.deepcopy(made),
    ):
        assert type(other) is KinitInitializer
        assert other.get_config() == config
        assert_same(other((2, 3)), expected)


def test_it_can_be_traced_by_tensorflow() -> None:
    tensorflow = import_oracle("tensorflow")
    traced = tensorflow.function(lambda: kinit("he_normal", "a/kernel")((3, 4), "bfloat16"))
    assert_same(traced(), file_values("he_normal", "a/kernel", [3, 4], "bfloat16"))


def test_it_can_be_traced_by_jax(tmp_path: Path) -> None:
    program = (
        "import jax, numpy as np\nfrom kinit_cli.integrations.keras import KinitInitializer\n"
        "make = KinitInitializer('he_normal', 11, 'a/kernel')\n"
        "print(np.asarray(jax.jit(lambda: make((3, 4)))()).tobytes().hex())"
    )
    found = run_program(program, "jax", tmp_path).strip()
    assert found == file_values("he_normal", "a/kernel", [3, 4]).tobytes().hex()


A_SEED = "seed: expected a whole number from 0 to 2**64 - 1"
A_PATH = "path: expected a tensor's path 'layer/weight'"


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("he_norml", 1, "a/b"),
            "initializer: expected a known initializer, got 'he_norml'; did you mean 'he_normal'?",
        ),
        (
            ({"he_normal": {"sed": 1}}, 1, "a/b"),
            "initializer.he_normal.sed: expected an argument of he_normal, "
            "got 'sed'; did you mean 'seed'?",
        ),
        ((None, 1, "a/b"), "initializer: expected an initializer: a name"),
        ((3, 1, "a/b"), "initializer: expected an initializer: a name"),
        (("zeros", -1, "a/b"), f"{A_SEED}, got -1"),
        (("zeros", 2**64, "a/b"), f"{A_SEED}, got 18446744073709551616"),
        (("zeros", True, "a/b"), f"{A_SEED}, got the boolean true"),
        (("zeros", 1.0, "a/b"), f"{A_SEED}, got 1.0"),
        (("zeros", None, "a/b"), f"{A_SEED}, got nothing"),
        (("zeros", 1, "kernel"), f"{A_PATH}, got 'kernel' without a '/'"),
        (("zeros", 1, "a//b"), f"{A_PATH}, got an empty part"),
        (("zeros", 1, ""), f"{A_PATH}, got an empty name"),
        (("zeros", 1, 3), f"{A_PATH}, got 3"),
    ],
)
def test_arguments_that_are_refused(arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ValueError, match="KinitInitializer: ") as caught:
        KinitInitializer(*arguments)
    assert str(caught.value).startswith(f"KinitInitializer: {said}")


@pytest.mark.parametrize(
    ("initializer", "shape", "dtype", "said"),
    [
        (
            "orthogonal",
            (3,),
            "float32",
            "a/b: orthogonal: expected a shape of 2 or more dimensions, "
            "for an orthogonal matrix, got 1",
        ),
        (
            "he_normal",
            (3,),
            "int32",
            "a/b: he_normal: expected zeros, ones, constant, identity or dirac "
            "for the dtype int32, got random real numbers; choose a float dtype",
        ),
        (
            {"constant": {"value": 1e6}},
            (3,),
            "float16",
            "a/b: constant(value=1e+06): expected values that float16 can hold "
            "(up to 65504), got 1e+06",
        ),
        ("zeros", (3,), "complex64", "a/b: zeros: expected a dtype: float64, float32"),
    ],
)
def test_weights_that_are_refused(initializer: Any, shape: Any, dtype: str, said: str) -> None:
    made = kinit(initializer, "a/b")
    with pytest.raises(ValueError, match="a/b: ") as caught:
        made(shape, dtype=dtype)
    assert str(caught.value).startswith(said)
