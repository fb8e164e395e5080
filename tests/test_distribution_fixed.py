"""The test of values without chance, of functions' and of other libraries' values."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest
from judged import outcome_of, values_of
from numpy.typing import NDArray

from kinit_cli.draw import (
    Called,
    Constant,
    ConstantArray,
    Eye,
    Moments,
    Normal,
    Orthogonal,
    Uniform,
    matrix_shape,
)
from kinit_cli.statistics.orthogonality import orthogonality_error, sampled
from kinit_cli.statistics.structure import Structure

FLOATS = ("float32", "float64", "bfloat16", "float16")

# --- values without chance ------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "bool"])
def test_constants(dtype: str) -> None:
    values = values_of(Constant(value=1), (300,), dtype)
    assert outcome_of(values, Constant(value=1)).verdict == "pass"
    assert outcome_of(values, Constant(value=0)).verdict == "fail"
    values[17] = 0
    assert outcome_of(values, Constant(value=1)).verdict == "fail"


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("value", [0.1, -1 / 3, 1e-7, 40000.7])
def test_a_constant_is_compared_as_the_dtype_has_it(value: float, dtype: str) -> None:
    draw = Constant(value=value)
    values = values_of(draw, (3, 5), dtype)
    assert outcome_of(values, draw).verdict == "pass"
    values[1, 1] = np.nextafter(values[1, 1], np.array(np.inf, values.dtype))
    assert outcome_of(values, draw).verdict == "fail"


def test_normals_without_spread_are_a_constant() -> None:
    draw = Normal(mean=0.5, stddev=0.0)
    assert outcome_of(np.full(100, 0.5, "f4"), draw).verdict == "pass"
    assert outcome_of(np.full(100, 0.25, "f4"), draw).verdict == "fail"


@pytest.mark.parametrize("shape", [(5, 7), (7, 5), (1, 1), (1, 4)])
@pytest.mark.parametrize("gain", [1.0, -0.1, 0.0])
def test_identity(shape: tuple[int, int], gain: float) -> None:
    draw = Eye(gain=gain)
    values = values_of(draw, shape)
    assert outcome_of(values, draw).verdict == "pass"
    if gain and max(shape) > 1:
        values[0, -1] = gain
        values[0, 0] = 0 if min(shape) > 1 else gain
        wrong = values.copy()
        wrong[-1, 0] = gain
        assert outcome_of(wrong, draw).verdict == "fail"


def test_nested_constants() -> None:
    draw = ConstantArray(values=(0.1, 0.2, 0.4))
    values = values_of(draw, (50, 3))
    assert outcome_of(values, draw).verdict == "pass"
    values[:, 1] = 0.4
    assert outcome_of(values, draw).verdict == "fail"


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(40, 30), (30, 40), (3, 3, 4, 16), (1, 1), (2, 50), (64, 64)])
def test_orthogonal(shape: tuple[int, ...], dtype: str) -> None:
    draw = Orthogonal(gain=1.5)
    values = values_of(draw, shape, dtype)
    result = outcome_of(values, draw, structure=structure(error_of(values, 1.5)))
    assert result.verdict == "pass", result
    assert result.orthogonality_error is not None
    wrong = (values.astype("f8") * 1.01).astype(values.dtype)
    assert outcome_of(wrong, draw).verdict == "fail"


@pytest.mark.parametrize("gain", [1e-5, -3e-6])
def test_an_orthogonal_matrix_of_subnormal_numbers_passes(gain: float) -> None:
    draw = Orthogonal(gain=gain)
    values = values_of(draw, (200, 150), "float16")
    error = error_of(values, gain)
    assert error > 2**-9
    assert outcome_of(values, draw, structure=structure(error)).verdict == "pass"


def structure(error: float) -> Structure:
    return Structure(orthogonality_error=error)


def error_of(values: NDArray[Any], gain: float) -> float:
    flat = values.reshape(-1)
    return orthogonality_error(lambda a, b: flat[a:b], *matrix_shape(values.shape), gain)


@pytest.mark.parametrize("shape", [(200, 30), (30, 200)])
def test_columns_that_are_no_longer_orthogonal(shape: tuple[int, int]) -> None:
    draw = Orthogonal(gain=1.0)
    values = values_of(draw, shape)
    flat = values.reshape(-1)
    np.random.default_rng(0).shuffle(flat)  # the same length, the same mean
    assert outcome_of(values, draw).verdict == "pass"
    result = outcome_of(values, draw, structure=structure(error_of(values, 1.0)))
    assert result.verdict == "fail"
    assert "not orthonormal" in result.reasons[0]


@pytest.mark.parametrize("shape", [(1500, 900), (900, 1500), (2, 2_100_000), (7, 3)])
def test_orthogonality_error_is_that_of_the_gram_matrix(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(1).standard_normal(shape) / math.sqrt(max(shape))
    columns = matrix if shape[0] >= shape[1] else matrix.T
    chosen = columns[:, sampled(min(shape))]
    exact = np.abs(chosen.T @ chosen / 4 - np.eye(chosen.shape[1])).max()
    assert error_of(matrix, 2.0) == pytest.approx(exact, rel=1e-12)


def test_sampled_columns() -> None:
    assert sampled(3).tolist() == [0, 1, 2]
    assert (sampled(1000)[0], sampled(1000)[-1], len(sampled(1000))) == (0, 999, 8)


# --- functions and other libraries ----------------------------------------------------------


def called(moments: Moments | None) -> Called:
    return Called(function=lambda shape, dtype, seed: np.zeros(shape, dtype), moments=moments)


def test_of_a_function_the_mean_is_tested_if_it_is_known() -> None:
    values = values_of(Uniform(minval=-1.0, maxval=1.0), (10_000,))
    unknown = outcome_of(values, called(None))
    assert (unknown.verdict, unknown.reasons) == ("untested", ("its distribution is not known",))
    moments = Moments(mean=0.0, stddev=math.sqrt(1 / 3))
    assert outcome_of(values, called(moments)).verdict == "pass"
    assert outcome_of(values + np.float32(0.1), called(moments)).verdict == "fail"
    assert outcome_of(values, called(None), digest_matches=True).verdict == "pass"
    assert outcome_of(values, called(None), digest_matches=False).verdict == "fail"


def test_another_library_has_its_own_way_of_rounding() -> None:
    uniform = Uniform(minval=-0.05, maxval=0.05)
    values = values_of(uniform, (2000,))
    values[3] = np.float32(0.05)
    assert outcome_of(values, uniform).verdict == "fail"
    assert outcome_of(values, uniform, is_ours=False).verdict == "pass"
    normal = Normal(mean=0.0, stddev=1.0)
    values = values_of(normal, (2000,))
    values[3] = 6.5
    assert outcome_of(values, normal).verdict == "fail"
    assert outcome_of(values, normal, is_ours=False).verdict == "pass"
    assert outcome_of(values.astype("f2"), normal, is_ours=False).verdict == "untested"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_a_constant_of_a_function_is_rounded(dtype: str) -> None:
    """The mean that is known is 0.1, which no dtype has."""
    draw = called(Moments(mean=0.1, stddev=0.0))
    values = values_of(Constant(value=0.1), (50,), dtype)
    assert outcome_of(values, draw).verdict == "pass"
    wrong = values_of(Constant(value=0.102), (50,), dtype)
    assert outcome_of(wrong, draw).verdict == "fail"


@pytest.mark.parametrize("shape", [(60, 50), (700, 700)])
def test_an_orthogonal_matrix_that_was_factorised_in_float32(shape: tuple[int, int]) -> None:
    normals = np.random.default_rng(1).standard_normal(shape, "f4")
    values = np.linalg.qr(normals)[0] * np.float32(1.5 * (1 + 1e-6))
    draw = Orthogonal(gain=1.5)
    check = functools.partial(outcome_of, is_ours=False, is_read_again=True)
    assert outcome_of(values, draw, is_read_again=True).verdict == "fail"
    assert check(values, draw).verdict == "pass"
    assert check(values * np.float32(1.01), draw).verdict == "fail"
    values[:, -1] = values[:, 0]
    assert check(values, draw).verdict == "fail"


def test_without_elements_there_is_nothing_to_test() -> None:
    assert outcome_of(np.zeros((0, 3), "f4"), Normal(mean=0.0, stddev=1.0)).verdict == "untested"
