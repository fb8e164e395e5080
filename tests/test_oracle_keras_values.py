"""Keras as the judge of values: exact ones bit for bit, drawn ones by their moments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from oracles import import_oracle
from spec_texts import tensor_of, values_of

from kinit_cli.draw import expected_moments
from kinit_cli.initializers.registry import INITIALIZER_TYPES
from kinit_cli.plan import TensorPlan

keras = import_oracle("keras")

pytestmark = [
    pytest.mark.oracle,
    # TensorFlow's tensors, when NumPy asks for a copy of one.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]

RANDOM_CLASSES = [
    kind.class_name
    for kind in INITIALIZER_TYPES
    if kind.library == "keras" and any(argument.name == "seed" for argument in kind.arguments)
]


def values_by_keras(initializer: Any, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    made = keras.initializers.get(initializer)(shape, dtype=dtype)
    values: NDArray[Any] = keras.ops.convert_to_numpy(made)
    return values


# --- values -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int32", "uint8"])
@pytest.mark.parametrize(
    ("initializer", "shape"),
    [
        ("zeros", (3, 2)),
        ("ones", (4,)),
        ({"class_name": "Constant", "config": {"value": 7}}, (2, 2, 2)),
        ({"class_name": "Constant", "config": {"value": [[1], [2]]}}, (2, 3)),
        ({"class_name": "Constant", "config": {"value": [1, 2, 3]}}, (2, 3)),
    ],
)
def test_exact_values(initializer: Any, shape: tuple[int, ...], dtype: str) -> None:
    expected = values_by_keras(initializer, shape, dtype)
    found = values_of(tensor_of(initializer, str(list(shape)), dtype=dtype))
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (5, 2), (0, 3)])
def test_identity(shape: tuple[int, int], dtype: str) -> None:
    made = keras.initializers.Identity(gain=2.5)(shape, dtype=dtype)
    expected = keras.ops.convert_to_numpy(made)
    found = values_of(tensor_of({"identity": {"gain": 2.5}}, str(list(shape)), dtype=dtype))
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("value", [0.1, -2.5, 1e-7, 65504.0, 1 / 3])
def test_rounding_of_constants(value: float, dtype: str) -> None:
    for initializer in (
        {"class_name": "Constant", "config": {"value": value}},
        {"class_name": "Constant", "config": {"value": [value]}},
    ):
        expected = values_by_keras(initializer, (3,), dtype)
        found = values_of(tensor_of(initializer, "[3]", dtype=dtype))
        assert found.tobytes() == expected.tobytes()


def test_a_float64_constant_is_not_rounded_to_float32_as_in_keras() -> None:
    initializer = {"class_name": "Constant", "config": {"value": 0.1}}
    assert values_of(tensor_of(initializer, "[1]", dtype="float64"))[0] == 0.1
    assert values_by_keras(initializer, (1,), "float64")[0] in (0.1, np.float32(0.1))


# --- moments ------------------------------------------------------------------------------------

#: Deviations that are believed. With 30 seeded checks a right program fails once in 58,000 times.
N_SIGMA = 5.0


def check_moments(values: NDArray[Any], tensor: TensorPlan) -> None:
    """Compare a sample with the expected moments.

    The mean of n draws has the standard error s / sqrt(n), their standard deviation
    s * sqrt((kurtosis - 1) / 4n), and no kurtosis here is above 3, the normal's.
    """
    exact = values.astype(np.float64).ravel()
    expected = expected_moments(tensor.draw, tensor.shape)
    error = expected.stddev / math.sqrt(exact.size)
    assert abs(exact.mean() - expected.mean) < N_SIGMA * error
    assert abs(exact.std() - expected.stddev) < N_SIGMA * error / math.sqrt(2)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *((name, (7, 100, 300)) for name in RANDOM_CLASSES if name != "Orthogonal"),
        ("Orthogonal", (300, 200)),
        ("Orthogonal", (200, 300)),
        ("Orthogonal", (5, 50, 200)),
    ],
)
def test_moments(name: str, shape: tuple[int, ...]) -> None:
    config = {"seed": 7}
    if name in ("RandomNormal", "TruncatedNormal"):
        config |= {"mean": 0.5, "stddev": 2.0}
    if name == "RandomUniform":
        config |= {"minval": -1.0, "maxval": 4.0}
    initializer = {"class_name": name, "config": config}
    tensor = tensor_of(initializer, str(list(shape)))
    assert expected_moments(tensor.draw, shape).stddev > 0.01
    check_moments(values_of(tensor), tensor)
    check_moments(values_by_keras(initializer, shape, "float32"), tensor)


@pytest.mark.parametrize(
    ("initializer", "shape"),
    [
        ({"identity": {"gain": 3.0}}, (4, 7)),
        ({"identity": {"gain": -1.0}}, (7, 4)),
        ({"constant": {"value": 2.5}}, (5,)),
        ({"constant": {"value": [1.0, 2.0, 4.0]}}, (5, 3)),
        ({"constant": {"value": [1e300, -1e300]}}, (2,)),
        ({"constant": {"value": [1.7e308, 1.7e308]}}, (2,)),
    ],
)
def test_moments_of_fixed_values(initializer: Any, shape: tuple[int, ...]) -> None:
    tensor = tensor_of(initializer, str(list(shape)), dtype="float64")
    values = values_of(tensor).astype(np.longdouble)
    expected = expected_moments(tensor.draw, shape)
    assert expected.mean == pytest.approx(float(values.mean()), rel=1e-14)
    assert expected.stddev == pytest.approx(float(values.std()), rel=1e-14)


@pytest.mark.parametrize("gain", [1.0, -2.5])
def test_orthogonal_is_orthogonal_in_both(gain: float) -> None:
    tensor = tensor_of({"orthogonal": {"gain": gain, "seed": 3}}, "[3, 20, 30]", dtype="float64")
    made = keras.initializers.Orthogonal(gain=gain, seed=3)((3, 20, 30), dtype="float64")
    for values in (values_of(tensor), keras.ops.convert_to_numpy(made)):
        matrix = values.reshape(60, 30)
        # 1e-5: Keras draws in float32; an entry of a matrix that is not orthogonal is off by 0.1.
        np.testing.assert_allclose(matrix.T @ matrix, gain**2 * np.eye(30), rtol=0, atol=1e-5)


# --- STFT ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(8, 1, 5), (65, 1, 51), (400, 1, 257), (1024, 1, 513)])
@pytest.mark.parametrize("side", ["real", "imag"])
@pytest.mark.parametrize(
    ("window", "scaling", "periodic"),
    [
        ("hann", "density", False),
        ("hamming", "spectrum", True),
        ("blackman", None, True),
        ("triang", "density", False),
        (None, "density", False),
    ],
)
def test_stft(shape: tuple[int, ...], side: str, window: Any, scaling: Any, periodic: bool) -> None:
    arguments = {"side": side, "window": window, "scaling": scaling, "periodic": periodic}
    made = keras.initializers.STFT(**arguments)
    tensor = tensor_of(keras.initializers.serialize(made), str(list(shape)), dtype="float64")
    found = values_of(tensor)
    largest = np.abs(found).max()
    # Keras rounds angles up to 2 pi n k / F < pi T three times in its dtype; 6 T roundings are
    # more than that and what follows.
    for dtype, unit in (("float64", 2.0**-53), ("float32", 2.0**-24)):
        expected = keras.ops.convert_to_numpy(made(shape, dtype=dtype)).astype(np.float64)
        assert np.abs(found - expected).max() < 6 * np.pi * shape[0] * unit * largest
    # In float32, Keras's float64 kernel is ours, but where the angle's error is the value.
    exact = keras.ops.convert_to_numpy(made(shape, dtype="float64"))
    is_large = np.abs(found) > 1e-4 * largest
    same = found.astype(np.float32) == exact.astype(np.float32)
    assert same[is_large].mean() > 0.999
