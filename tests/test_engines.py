"""What every engine does: any tiling is one tile, in any order, on any thread; and constants."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from every_engine import every_engine
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_vectors import assert_same_bits, poisoned

from kinit_cli.draw import (
    BoundedNormal,
    Constant,
    ConstantArray,
    Dirac,
    Draw,
    Eye,
    Normal,
    Orthogonal,
    TruncatedNormal,
    Uniform,
    expected_moments,
)
from kinit_cli.dtypes import numpy_dtype
from kinit_cli.engines.base import Engine
from kinit_cli.engines.whole import fill_tensor, make_tensor
from kinit_cli.stream import reference
from kinit_cli.stream.identity import explicit_stream_key, named_stream_key
from kinit_cli.stream.philox import WORDS_PER_CHUNK

KEY = named_stream_key(42, "dense/kernel")
RANDOM_DRAWS = [
    Uniform(minval=-0.05, maxval=0.05),
    Normal(mean=0.25, stddev=1.5),
    TruncatedNormal(mean=0.0, stddev=0.02),
    BoundedNormal(mean=0.25, stddev=1.5, low=-0.5, high=5.0),
]
NESTED = ((1.5, -2.0, 3.0), (0.1, 5.0, -0.0))
TILED_DRAWS = [*RANDOM_DRAWS, Constant(value=0.1), Eye(gain=2.5), ConstantArray(values=NESTED)]
FLOAT_DTYPES = ["float64", "float32", "float16", "bfloat16"]
INT_DTYPES = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]


def bounded(draw: BoundedNormal) -> dict[str, float]:
    return {"mean": draw.mean, "stddev": draw.stddev, "low": draw.low, "high": draw.high}


def fill(
    engine: Engine, draw: Draw, start: int, count: int, shape: tuple[int, ...], dtype: str
) -> np.ndarray:
    out = poisoned(count, numpy_dtype(dtype))
    engine.fill(out, draw, KEY, start=start, shape=shape)
    return out


@every_engine
@pytest.mark.parametrize("dtype", FLOAT_DTYPES)
@pytest.mark.parametrize("draw", TILED_DRAWS, ids=lambda draw: type(draw).__name__)
@settings(max_examples=25)
@given(rows=st.integers(0, 400), cuts=st.lists(st.integers(0, 1200), max_size=6))
def test_any_tiling_is_one_tile(
    engine: Engine, draw: Draw, dtype: str, rows: int, cuts: list[int]
) -> None:
    if isinstance(draw, ConstantArray):
        rows = max(2, rows - rows % 2)
        shape = (rows // 2, 2, 3)
    else:
        shape = (rows, 3)
    size = rows * 3
    edges = sorted({0, size, *(min(cut, size) for cut in cuts)})
    tiles = [fill(engine, draw, a, b - a, shape, dtype) for a, b in pairwise(edges)]
    joined = np.concatenate([poisoned(0, numpy_dtype(dtype)), *tiles])
    assert_same_bits(joined, fill(engine, draw, 0, size, shape, dtype))


@every_engine
@pytest.mark.parametrize("draw", RANDOM_DRAWS, ids=lambda draw: type(draw).__name__)
@pytest.mark.parametrize("start", [0, 5, 2**34 - WORDS_PER_CHUNK - 1, 10**12 + 3])
def test_large_tiles_are_the_reference(engine: Engine, draw: Draw, start: int) -> None:
    count = 2 * WORDS_PER_CHUNK + 11
    u = reference.words(KEY, start, count)
    match draw:
        case Uniform():
            expected = reference.uniform_rounded(u, draw.minval, draw.maxval, np.float32)
        case Normal():
            expected = reference.normal(u, draw.mean, draw.stddev).astype(np.float32)
        case TruncatedNormal():
            expected = reference.truncated_normal(u, draw.mean, draw.stddev).astype(np.float32)
        case BoundedNormal():
            expected = reference.bounded_normal_rounded(u, **bounded(draw), dtype=np.float32)
    assert_same_bits(fill(engine, draw, start, count, (2**41,), "float32"), expected)


@every_engine
@pytest.mark.parametrize("draw", RANDOM_DRAWS, ids=lambda draw: type(draw).__name__)
@settings(max_examples=30)
@given(start=st.one_of(st.integers(0, 2**62), st.integers(2**34 - 300, 2**34 + 8)))
def test_any_start(engine: Engine, draw: Draw, start: int) -> None:
    whole = fill(engine, draw, start, 300, (2**63,), "float32")
    for skipped in (1, 2, 3, 4, 250):
        tail = fill(engine, draw, start + skipped, 300 - skipped, (2**63,), "float32")
        assert_same_bits(tail, whole[skipped:])


@every_engine
@pytest.mark.parametrize("draw", [RANDOM_DRAWS[1], RANDOM_DRAWS[2]], ids=["normal", "truncated"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_is_the_float32_tensor_cast(engine: Engine, draw: Draw, dtype: str) -> None:
    wide = fill(engine, draw, 0, 1 << 18, (1 << 18,), "float32")
    narrow = fill(engine, draw, 0, 1 << 18, (1 << 18,), dtype)
    assert_same_bits(narrow, wide.astype(numpy_dtype(dtype)))


@every_engine
@pytest.mark.parametrize("draw", RANDOM_DRAWS, ids=lambda draw: type(draw).__name__)
def test_float32_is_the_float64_tensor_cast(engine: Engine, draw: Draw) -> None:
    wide = fill(engine, draw, 7, 1 << 18, (1 << 20,), "float64")
    assert_same_bits(fill(engine, draw, 7, 1 << 18, (1 << 20,), "float32"), wide.astype(np.float32))


@every_engine
@pytest.mark.parametrize("dtype", FLOAT_DTYPES)
def test_uniform_stays_in_its_interval(engine: Engine, dtype: str) -> None:
    values = fill(engine, Uniform(minval=0.0, maxval=1.0), 0, 1 << 20, (1 << 20,), dtype)
    assert 0 <= values.min() < 1e-4
    assert 0.99 < values.max() < 1


@every_engine
def test_threads_do_not_disturb_each_other(engine: Engine) -> None:
    tile, n_tiles = 200_003, 12
    draws = [RANDOM_DRAWS[i % 3] for i in range(n_tiles)]
    outs = [poisoned(tile, np.float32) for _ in range(n_tiles)]

    def work(i: int) -> None:
        engine.fill(outs[i], draws[i], KEY, start=i * tile, shape=(n_tiles * tile,))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(n_tiles)))
    for i in range(n_tiles):
        alone = fill(engine, draws[i], i * tile, tile, (n_tiles * tile,), "float32")
        assert_same_bits(outs[i], alone)


@every_engine
@pytest.mark.parametrize("dtype", INT_DTYPES)
def test_the_extreme_integers_are_exact(engine: Engine, dtype: str) -> None:
    target = np.dtype(dtype)
    info = np.iinfo(np.uint8) if dtype == "bool" else np.iinfo(target)
    extremes = (0, 1) if dtype == "bool" else (int(info.min), int(info.max))
    for value in extremes:
        expected = np.array([value] * 5, target)
        assert_same_bits(fill(engine, Constant(value=value), 3, 5, (9,), dtype), expected)
    actual = fill(engine, ConstantArray(values=extremes), 0, 6, (3, 2), dtype)
    assert_same_bits(actual, np.array(extremes * 3, target))


@every_engine
@pytest.mark.parametrize(
    ("dtype", "value"),
    [("int8", 128), ("uint8", -1), ("int32", 0.5), ("uint64", 2**64), ("bool", 2)],
)
def test_an_integer_dtype_refuses_what_it_cannot_hold(
    engine: Engine, dtype: str, value: float
) -> None:
    with pytest.raises(ValueError, match=f"{dtype} cannot hold"):
        fill(engine, Constant(value=value), 0, 1, (1,), dtype)


@every_engine
def test_whole_floats_are_fine_in_an_integer_dtype(engine: Engine) -> None:
    assert fill(engine, Constant(value=3.0), 0, 2, (2,), "int16").tolist() == [3, 3]


@every_engine
@pytest.mark.parametrize("dtype", FLOAT_DTYPES)
def test_a_constant_is_rounded_as_the_stream_says(engine: Engine, dtype: str) -> None:
    # A double rounding by way of float32 is part of the definition.
    for value in (0.1, -0.0, 1 + 2.0**-11 + 2.0**-40, 2**24 + 1, 1e300):
        with np.errstate(over="ignore"):
            expected = reference.rounded(np.full(4, value, np.float64), numpy_dtype(dtype))
        assert_same_bits(fill(engine, Constant(value=value), 0, 4, (4,), dtype), expected)


@every_engine
def test_constant_array_broadcasts_as_numpy(engine: Engine) -> None:
    values = ((1.0,), (2.0,))
    expected = np.broadcast_to(np.array(values), (5, 2, 3)).reshape(-1).astype(np.float32)
    actual = fill(engine, ConstantArray(values=values), 4, 20, (5, 2, 3), "float32")
    assert_same_bits(actual, expected[4:24])


@every_engine
def test_constant_array_needs_no_whole_tensor(engine: Engine) -> None:
    shape = (2**38, 3)
    actual = fill(engine, ConstantArray(values=(1.0, 2.0, 3.0)), 3 * 2**37 + 1, 4, shape, "float32")
    assert actual.tolist() == [2.0, 3.0, 1.0, 2.0]


@every_engine
@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3), (1, 5), (5, 1), (0, 4), (4, 0)])
def test_eye_is_numpys(engine: Engine, shape: tuple[int, int]) -> None:
    size = shape[0] * shape[1]
    for start in range(size + 1):
        actual = fill(engine, Eye(gain=-1.5), start, size - start, shape, "float32")
        expected = np.eye(*shape, dtype=np.float32).reshape(-1)[start:]
        # A zero is +0.0 whatever the gain's sign.
        assert_same_bits(actual, np.where(expected, np.float32(-1.5), np.float32(0)))


@every_engine
@pytest.mark.parametrize(
    ("shape", "groups", "ones"),
    [
        # (output, input, point): by hand from PyTorch's description.
        ((4, 3, 3), 1, [(0, 0, 1), (1, 1, 1), (2, 2, 1)]),
        ((4, 3, 4), 2, [(0, 0, 2), (1, 1, 2), (2, 0, 2), (3, 1, 2)]),
        ((2, 5, 1), 1, [(0, 0, 0), (1, 1, 0)]),
        ((3, 2, 2, 3), 3, [(0, 0, 1, 1), (1, 0, 1, 1), (2, 0, 1, 1)]),
        ((2, 2, 1, 2, 5), 1, [(0, 0, 0, 1, 2), (1, 1, 0, 1, 2)]),
        ((0, 3, 3), 2, []),
        ((3, 0, 3), 3, []),
    ],
)
def test_dirac(
    engine: Engine, shape: tuple[int, ...], groups: int, ones: list[tuple[int, ...]]
) -> None:
    expected = np.zeros(shape, np.float32)
    for where in ones:
        expected[where] = 1
    moved = np.ascontiguousarray(np.moveaxis(expected, (1, 0), (-2, -1)))
    for layout, values in (("torch", expected), ("keras", moved)):
        draw, flat = Dirac(groups=groups, layout=layout), values.reshape(-1)
        for start in range(flat.size + 1):
            found = fill(engine, draw, start, flat.size - start, values.shape, "float32")
            assert_same_bits(found, flat[start:])
        cut = fill(engine, draw, 1, max(0, flat.size - 2), values.shape, "int8")
        assert cut.tolist() == flat[1:-1].tolist()
        if flat.size:
            found = expected_moments(draw, values.shape)
            assert found.mean == pytest.approx(flat.mean(dtype=np.float64), rel=1e-14)
            assert found.stddev == pytest.approx(flat.std(dtype=np.float64), rel=1e-14)


@every_engine
def test_eye_of_integers_and_of_a_huge_matrix(engine: Engine) -> None:
    assert fill(engine, Eye(gain=3.0), 0, 4, (2, 2), "int32").tolist() == [3, 0, 0, 3]
    side = 2**31
    start = (side + 1) * 12345 - 1
    assert fill(engine, Eye(gain=1.0), start, 3, (side, side), "float32").tolist() == [
        0.0,
        1.0,
        0.0,
    ]


@every_engine
def test_an_orthogonal_tensor_has_no_tiles(engine: Engine) -> None:
    with pytest.raises(TypeError, match="Orthogonal"):
        fill(engine, Orthogonal(gain=1.0), 0, 4, (2, 2), "float32")


@every_engine
def test_orthogonal_flattens_all_axes_but_the_last(engine: Engine) -> None:
    key = explicit_stream_key(5)
    matrix = engine.orthogonal(Orthogonal(gain=1.0), key, (2, 3, 4))
    assert_same_bits(matrix, engine.orthogonal(Orthogonal(gain=1.0), key, (6, 4)))


@every_engine
@pytest.mark.parametrize("start", [-1, 2**66 - 3])
def test_there_are_no_more_words_than_the_stream_has(engine: Engine, start: int) -> None:
    with pytest.raises(ValueError, match=re.escape("outside [0, 2**66)")):
        fill(engine, RANDOM_DRAWS[1], start, 4, (2**67,), "float32")


@every_engine
def test_an_index_may_be_one_of_numpys_integers(engine: Engine) -> None:
    expected = fill(engine, RANDOM_DRAWS[1], 5, 9, (2**40,), "float32")
    for kind in (np.int32, np.int64, np.uint8):
        found = fill(engine, RANDOM_DRAWS[1], kind(5), 9, (2**40,), "float32")
        assert_same_bits(found, expected)
    assert fill(engine, RANDOM_DRAWS[1], 2**66, 0, (2**66,), "float32").size == 0


@every_engine
def test_a_read_only_array_is_not_filled(engine: Engine) -> None:
    out = np.zeros(4, np.float32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        engine.fill(out, RANDOM_DRAWS[0], KEY, start=0, shape=(4,))


@every_engine
@pytest.mark.parametrize("dtype", FLOAT_DTYPES)
def test_the_last_words(engine: Engine, dtype: str) -> None:
    start = 2**66 - 4099
    for draw in RANDOM_DRAWS:
        u = reference.words(KEY, start, 4099)
        match draw:
            case Uniform():
                expected = reference.uniform_rounded(
                    u, draw.minval, draw.maxval, numpy_dtype(dtype)
                )
            case Normal():
                values = reference.normal(u, draw.mean, draw.stddev)
                expected = reference.rounded(values, numpy_dtype(dtype))
            case TruncatedNormal():
                values = reference.truncated_normal(u, draw.mean, draw.stddev)
                expected = reference.rounded(values, numpy_dtype(dtype))
            case BoundedNormal():
                expected = reference.bounded_normal_rounded(
                    u, **bounded(draw), dtype=numpy_dtype(dtype)
                )
        assert_same_bits(fill(engine, draw, start, 4099, (2**66,), dtype), expected)


@every_engine
def test_whole_tensors_on_any_number_of_threads(engine: Engine) -> None:
    shape = (3, 700_001)
    for dtype, draw in (("float32", RANDOM_DRAWS[1]), ("bfloat16", RANDOM_DRAWS[0])):
        expected = fill(engine, draw, 0, 3 * 700_001, shape, dtype).reshape(shape)
        for jobs in (1, 3):
            found = make_tensor(engine, draw, KEY, shape, dtype, jobs=jobs)
            assert_same_bits(found, expected)
    assert make_tensor(engine, RANDOM_DRAWS[0], KEY, (0, 3), "float16").shape == (0, 3)
    with pytest.raises(ValueError, match="C-contiguous"):
        fill_tensor(np.empty((4, 4)).T, engine, Constant(value=1), KEY)


@every_engine
def test_a_whole_orthogonal_tensor(engine: Engine) -> None:
    draw = Orthogonal(gain=0.5)
    found = make_tensor(engine, draw, KEY, (2, 3, 4), "float32", jobs=2)
    assert_same_bits(found, engine.orthogonal(draw, KEY, (6, 4)).astype("f4").reshape(2, 3, 4))


def test_naming_engines_imports_no_numpy() -> None:
    code = "import sys, kinit_cli.engines, kinit_cli.stream; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
