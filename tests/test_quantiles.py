"""Exact quantiles, judged by NumPy's `inverted_cdf` over all the finite elements at once."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kinit_cli.digest import TILE_ELEMENTS
from kinit_cli.statistics.quantiles import PERCENTS, exact_quantiles, rank_of

DTYPES = (
    "float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", ">f4", ">f8",
    "longdouble", "int8", "int16", "int32", ">i4", "int64", "uint8", "uint16", "uint32", "uint64",
    "bool",
)  # fmt: skip


def dtype_of(name: str) -> np.dtype[Any]:
    return np.dtype(getattr(ml_dtypes, name, name))


def quantiles(values: Any, jobs: int = 2) -> tuple[float | int, ...]:
    n_finite = int(np.count_nonzero(np.isfinite(values.astype(np.float64))))
    return exact_quantiles(
        lambda start, stop, room: values[start:stop], values.size, n_finite, jobs=jobs
    )


def judge(values: Any) -> list[Any]:
    """Sort by NumPy; integers are no floats, so that none is rounded."""
    if values.dtype.kind not in "iub":
        values = values.astype(np.float64)
        values = values[np.isfinite(values)]
    if values.dtype.kind == "b":
        values = values.astype(np.uint8)
    q = np.array(PERCENTS) / 100
    return [x.item() for x in np.quantile(values, q, method="inverted_cdf")]


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("size", [1, 2, 7, 100, 1001])
def test_every_dtype_has_the_quantiles_of_numpy(name: str, size: int) -> None:
    rng = np.random.default_rng(size)
    values: Any
    if dtype_of(name).kind in "iu":
        limits = np.iinfo(dtype_of(name))
        low, high = int(limits.min), int(limits.max)
        values = rng.integers(low, high, size, dtype_of(name).newbyteorder("="), endpoint=True)
    else:
        values = rng.normal(0, 3, size) * np.exp(rng.normal(0, 3, size))
        values = np.clip(values, -400, 400) > 0 if name == "bool" else np.clip(values, -400, 400)
    values = values.astype(dtype_of(name))
    assert list(quantiles(values)) == judge(values)


def test_a_tensor_of_several_tiles_has_the_quantiles_of_numpy() -> None:
    rng = np.random.default_rng(3)
    values = rng.standard_normal(2 * TILE_ELEMENTS + 12345).astype(np.float32)
    values[::1000] = np.nan
    values[1::1000] = -np.inf
    values[2::7] = 0.25
    for jobs in (1, 2):
        assert list(quantiles(values, jobs)) == judge(values)


@given(arrays(np.float64, st.integers(1, 60), elements=st.floats(width=64)))
def test_any_numbers_have_the_quantiles_of_numpy(values: Any) -> None:
    if np.isfinite(values).any():
        assert list(quantiles(values)) == judge(values)


@given(arrays(np.float32, st.integers(1, 60), elements=st.floats(width=32)))
def test_any_singles_have_the_quantiles_of_numpy(values: Any) -> None:
    if np.isfinite(values).any():
        assert list(quantiles(values)) == judge(values)


def test_whole_numbers_stay_whole_numbers() -> None:
    values = np.array([2**63 - 1, -(2**63), 2**53 + 1], np.int64)
    found = quantiles(values)
    assert found[0] == -(2**63)
    assert found[4] == 2**53 + 1
    assert found[8] == 2**63 - 1
    assert all(type(value) is int for value in found)


def test_no_zero_is_negative() -> None:
    found = quantiles(np.array([-0.0, -0.0], np.float32))
    assert [math.copysign(1, value) for value in found] == [1.0] * len(PERCENTS)


def test_ranks_are_exact() -> None:
    # 0.07 * 100 is more than 7 in binary fractions, and its ceiling thus 8.
    assert [rank_of(percent, 100) for percent in range(101)] == [1, *range(1, 101)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_zeros_are_between_the_least_of_numbers(dtype: type[Any]) -> None:
    least = np.finfo(dtype).smallest_subnormal
    values = np.array([least, -0.0, -least, 0.0, -0.0, least, -least, np.nan, -0.0], dtype)
    assert list(quantiles(values)) == judge(values)
    assert list(quantiles(values)).count(0) == 2
