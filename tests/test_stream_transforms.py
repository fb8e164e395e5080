"""Transforms: the fast way is the plain way, at every edge of the table and of the dtypes."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from stream_vectors import assert_same_bits, poisoned

from kinit_cli.dtypes import numpy_dtype
from kinit_cli.stream import reference
from kinit_cli.stream.transforms import (
    ELEMENTS_PER_STEP,
    Affine,
    Transforms,
    cast_float64,
    largest_below,
    normal_affine,
    uniform_affine,
)

FLOAT_DTYPES = ["float64", "float32", "float16", "bfloat16"]
UNITS = Affine(scale=1.0, offset=0.0)
FLOATS_32 = st.floats(-(2.0**100), 2.0**100, width=32)
SCALES = st.floats(2.0**-100, 2.0**100, width=32)


def words_at_segment_edges() -> np.ndarray:
    """Give words on both sides of every segment's edge, for both normals, with both signs."""
    edges = np.array([(64 + j) << e >> 6 for e in range(32) for j in range(64)], np.int64)
    plain = (edges - 1) // 2
    tail = reference.TAIL_AT_2
    truncated = ((np.maximum(edges, tail) - tail) << 31) // (2**32 - tail)
    near = np.concatenate([plain, truncated])[:, np.newaxis] + np.arange(-2, 3)
    v = np.unique(np.clip(near, 0, 2**31 - 1))
    return np.concatenate([v, v + 2**31]).astype(np.uint64)


def in_steps(transform, words: np.ndarray, dtype, *arguments) -> np.ndarray:
    out = poisoned(words.size, dtype)
    for start in range(0, words.size, ELEMENTS_PER_STEP):
        step = slice(start, start + ELEMENTS_PER_STEP)
        transform(words[step].copy(), out[step], *arguments)
    return out


def some_words(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**32, count, np.uint64)


EDGES = words_at_segment_edges()
RANDOM = some_words(0, 1 << 18)


@pytest.mark.parametrize("words", [EDGES, RANDOM], ids=["edges", "random"])
def test_normal_units_are_the_reference(words: np.ndarray) -> None:
    actual = in_steps(Transforms().normal, words, np.float64, UNITS)
    assert_same_bits(actual, reference.normal_units(words.astype(np.uint32)).astype(np.float64))


@pytest.mark.parametrize("words", [EDGES, RANDOM], ids=["edges", "random"])
def test_truncated_normal_units_are_the_reference(words: np.ndarray) -> None:
    actual = in_steps(Transforms().truncated_normal, words, np.float64, UNITS)
    expected = reference.truncated_normal_units(words.astype(np.uint32))
    assert_same_bits(actual, expected.astype(np.float64))


@pytest.mark.parametrize("dtype_name", FLOAT_DTYPES)
@settings(max_examples=50)
@given(mean=FLOATS_32, stddev=SCALES, seed=st.integers(0, 2**32))
def test_both_normals_are_the_reference(
    dtype_name: str, mean: float, stddev: float, seed: int
) -> None:
    dtype, words = numpy_dtype(dtype_name), some_words(seed, 300)
    u = words.astype(np.uint32)
    transforms, affine = Transforms(), normal_affine(mean, stddev)
    with np.errstate(over="ignore"):
        normal = reference.rounded(reference.normal(u, mean, stddev), dtype)
        truncated = reference.rounded(reference.truncated_normal(u, mean, stddev), dtype)
    assert_same_bits(in_steps(transforms.normal, words, dtype, affine), normal)
    assert_same_bits(in_steps(transforms.truncated_normal, words, dtype, affine), truncated)


@pytest.mark.parametrize("dtype_name", FLOAT_DTYPES)
@settings(max_examples=50)
@given(minval=FLOATS_32, width=SCALES, seed=st.integers(0, 2**32))
def test_uniform_is_the_reference_and_never_reaches_maxval(
    dtype_name: str, minval: float, width: float, seed: int
) -> None:
    dtype, maxval = numpy_dtype(dtype_name), minval + width
    words = np.append(some_words(seed, 300), np.uint64(2**32 - 1))
    affine, highest = uniform_affine(minval, maxval), largest_below(maxval, dtype)
    actual = in_steps(Transforms().uniform, words, dtype, affine, highest)
    u = words.astype(np.uint32)
    with np.errstate(over="ignore"):
        assert_same_bits(actual, reference.uniform_rounded(u, minval, maxval, dtype))
    assert np.all(actual.astype(np.float64) < maxval)


@pytest.mark.parametrize(
    ("dtype_name", "minval", "maxval"),
    [
        ("float32", 0.0, 1.0),
        ("float16", 0.0, 1.0),
        ("bfloat16", 0.0, 1.0),
        ("bfloat16", -0.05, 0.05),
        ("float16", -0.05, 0.05),
        ("float64", -0.05, 0.05),
        ("bfloat16", -3.0, 5.5),
        ("bfloat16", 255.0, 257.0),
    ],
)
def test_rounding_alone_would_reach_maxval(dtype_name: str, minval: float, maxval: float) -> None:
    dtype, top = numpy_dtype(dtype_name), np.array([2**32 - 1], np.uint32)
    in_dtype = reference.rounded(np.array([maxval]), dtype)
    assert reference.rounded(reference.uniform(top, minval, maxval), dtype) >= in_dtype
    out = poisoned(1, dtype)
    highest = largest_below(maxval, dtype)
    Transforms().uniform(top.astype(np.uint64), out, uniform_affine(minval, maxval), highest)
    assert out < in_dtype
    assert float(out[0]) < maxval
    assert out == np.nextafter(in_dtype, np.array([-np.inf], dtype))


@pytest.mark.parametrize(
    ("bound", "dtype_name", "expected"),
    [
        (1.0, "float64", 1 - 2.0**-53),
        (1.0, "float32", 1 - 2.0**-24),
        (1.0, "float16", 1 - 2.0**-11),
        (1.0, "bfloat16", 1 - 2.0**-8),
        (0.05, "float32", 0.04999999701976776),
        # float16 rounds 0.05 down, to 1638 / 2^15, and that is what is never reached.
        (0.05, "float16", 1637 / 2**15),
        (1e9, "float16", 65504.0),
        (0.0, "float32", -(2.0**-149)),
        (-1.0, "bfloat16", -(1 + 2.0**-7)),
    ],
)
def test_largest_below(bound: float, dtype_name: str, expected: float) -> None:
    assert largest_below(bound, numpy_dtype(dtype_name)) == expected


def test_truncated_never_passes_two_stddev() -> None:
    words = np.concatenate([EDGES, RANDOM])
    for stddev in (1.0, 0.05, 0.3, 1e-30):
        actual = in_steps(
            Transforms().truncated_normal, words, np.float64, normal_affine(0.0, stddev)
        )
        limit = 2 * float(np.float32(stddev))
        assert np.max(actual) == limit
        assert np.min(actual) == -limit


def test_a_negative_zero_mean_keeps_the_definition() -> None:
    zeros = np.array([0x7FFFFFFF, 0xFFFFFFFF], np.uint32)
    for mean, stddev in ((-0.0, 1.0), (0.0, 1.0), (-0.0, 0.0), (0.0, 0.0)):
        out = poisoned(2, np.float64)
        Transforms().normal(zeros.astype(np.uint64), out, normal_affine(mean, stddev))
        assert_same_bits(out, reference.normal(zeros, mean, stddev))


def test_the_table_is_the_normal_quantile() -> None:
    w = np.concatenate([np.arange(1, 4096), EDGES[EDGES < 2**31].astype(np.int64) * 2 + 1])
    z = reference.half_normal(w) * 2.0**-26
    assert np.max(np.abs(z - stats.norm.isf(w / 2.0**33))) < 3e-8


def test_half_normal_falls_over_the_whole_range() -> None:
    w = np.unique(np.linspace(1, 2**32 - 1, 1 << 18).astype(np.int64))
    assert np.all(np.diff(reference.half_normal(w)) <= 0)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_narrow_is_float32_rounded_again(name: str) -> None:
    # One float64 ulp above a tie of the narrow type: float32 loses it, and the tie goes to even.
    ulp = 2.0**-10 if name == "float16" else 2.0**-7
    tie = 1 + ulp / 2
    x = np.array([np.nextafter(tie, 2), tie, tie + ulp, -np.nextafter(tie, 2)])
    out = poisoned(4, numpy_dtype(name))
    cast_float64(x, out)
    assert out.astype(np.float64).tolist() == [1.0, 1.0, 1 + 2 * ulp, -1.0]


def test_cast_rounds_to_nearest_even_without_warnings() -> None:
    x = np.array([1 + 2.0**-24, 1 + 3 * 2.0**-24, 1e300, -1e300, 2.0**-150, 5e-324])
    out = poisoned(6, np.float32)
    cast_float64(x, out)
    assert out.tolist() == [1.0, 1 + 2.0**-22, math.inf, -math.inf, 0.0, 0.0]
    narrow = poisoned(6, np.float16)
    cast_float64(x, narrow)
    assert narrow.tolist() == [1.0, 1.0, math.inf, -math.inf, 0.0, 0.0]


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_cast_of_a_long_matrix(name: str) -> None:
    x = np.random.default_rng(1).standard_normal((3, ELEMENTS_PER_STEP))
    out = poisoned(x.size, numpy_dtype(name)).reshape(x.shape)
    cast_float64(x, out)
    narrow = np.float16 if name == "float16" else ml_dtypes.bfloat16
    assert_same_bits(out, x.astype(np.float32).astype(narrow))


def test_cast_refuses_a_narrow_array_it_could_not_write() -> None:
    with pytest.raises(ValueError, match="C-contiguous"):
        cast_float64(np.ones((2, 3)), np.empty((3, 2), np.float16).T)


@pytest.mark.parametrize("dtype_name", FLOAT_DTYPES)
def test_huge_parameters_do_not_warn(dtype_name: str) -> None:
    words, dtype = some_words(3, 100), numpy_dtype(dtype_name)
    u = words.astype(np.uint32)
    with np.errstate(all="ignore"):
        expected = reference.rounded(reference.normal(u, 3e38, 3e38), dtype)
    assert_same_bits(
        in_steps(Transforms().normal, words, dtype, normal_affine(3e38, 3e38)), expected
    )
