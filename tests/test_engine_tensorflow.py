"""The TensorFlow engine gives the NumPy engine's bits, eager and compiled, on CPU and GPU."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
from every_engine import needs_tensorflow, tensorflow_engine
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_vectors import (
    as_bits,
    assert_same_bits,
    case_draw,
    case_id,
    case_key,
    hex_bits,
    load_vectors,
)
from tensorflow_fills import (
    BLOCK,
    DRAWS,
    FLOAT_DTYPES,
    REFERENCE,
    check,
    engine_of,
    every_draw,
    every_dtype,
    every_mode,
    filled,
)

from kinit_cli.draw import Draw, Normal, TruncatedNormal, Uniform
from kinit_cli.dtypes import numpy_dtype
from kinit_cli.engines.base import Engine
from kinit_cli.engines.tensorflow_devices import Device
from kinit_cli.stream.identity import StreamKey

pytestmark = [pytest.mark.tensorflow, needs_tensorflow]

# --- values -------------------------------------------------------------------------------------


@every_mode
@pytest.mark.parametrize("case", load_vectors()["values"], ids=case_id)
def test_the_vectors(case: dict, mode: str, launched: list[tuple[str, int]]) -> None:
    out = filled(engine_of(mode), case_draw(case), case["dtype"], 1 << 20, key=case_key(case))
    assert hex_bits(out[:8]) == case["first8_bits"]
    assert hex_bits(out[1000003:1000008]) == case["at_1000003_bits"]
    assert hashlib.sha256(as_bits(out).tobytes()).hexdigest() == case["sha256_first_2^20"]
    assert {used for used, _ in launched} == {mode}


@every_mode
def test_the_edge_words(mode: str) -> None:
    import tensorflow as tf

    from kinit_cli.engines import tensorflow_programs

    expected = load_vectors()["edge_words"]
    words = tf.constant([int(word, 16) for word in expected["words"]], tf.int64)
    programs = tensorflow_programs.Programs(Device(label="cpu"))

    def values(transform: Any, scale: float, highest: float = 0.0) -> np.ndarray:
        run = tf.function(transform, jit_compile=True) if mode == "xla" else transform
        # Only this offset tells -0.0, which an integer is not, from 0.0.
        arguments = [tf.constant(number, tf.float64) for number in (scale, -0.0, highest)]
        return run(words, *arguments).numpy()

    normal = values(programs._normal, 1.0)
    assert normal.tolist() == expected["normal_q26"]
    assert (normal == 0).any()
    assert not np.signbit(normal[normal == 0]).any()
    truncated = values(programs._truncated_normal, 2.0**-26)
    assert [value.hex() for value in truncated.tolist()] == expected["truncated_0_1_f64"]
    uniform = values(tensorflow_programs._uniform, 2.0**-29, 1 - 2.0**-24)
    assert hex_bits(uniform.astype(np.float32)) == expected["uniform_0_1_f32"]


FINITE = st.floats(-1e4, 1e4)
ANY_DRAW = st.one_of(
    st.builds(lambda low, width: Uniform(minval=low, maxval=low + width), FINITE, st.floats(1, 9)),
    st.builds(lambda mean, stddev: Normal(mean=mean, stddev=stddev), FINITE, st.floats(0, 9)),
    st.builds(
        lambda mean, stddev: TruncatedNormal(mean=mean, stddev=stddev), FINITE, st.floats(0, 1e-3)
    ),
)
ANY_START = st.one_of(
    st.integers(0, 2**66 - 6000),
    *(
        st.integers(-3000, 3000).map(lambda d, at=at: at + d)
        for at in (2**32, 2**33, 2**34, 2**64, 2**65)
    ),
    st.integers(0, 5000),
)


@every_mode
@every_dtype
@settings(max_examples=60)
@given(
    draw=ANY_DRAW,
    key=st.integers(0, 2**64 - 1),
    nonce=st.integers(0, 2**64 - 1),
    start=ANY_START,
    count=st.one_of(st.integers(1, 9), st.integers(1, 5000)),
)
def test_any_slice_is_the_numpy_engines(
    mode: str, dtype: str, draw: Draw, key: int, nonce: int, start: int, count: int
) -> None:
    check(engine_of(mode), draw, dtype, count, start, StreamKey(key=key, nonce=nonce))


@every_mode
@every_dtype
@every_draw
@pytest.mark.parametrize("lane", [0, 1, 3])
def test_slices_of_several_blocks(mode: str, dtype: str, draw: Draw, lane: int) -> None:
    # Over a carry from the first counter word to the second.
    check(engine_of(mode), draw, dtype, 3 * BLOCK + 17, 2**34 - BLOCK - 4 + lane)


@every_mode
@every_draw
def test_the_last_words_of_a_stream(mode: str, draw: Draw) -> None:
    # The blocks are rounded up beyond the last counter, and cut.
    for count in (1, 4, 5, BLOCK + 3):
        check(engine_of(mode), draw, "float32", count, 2**66 - count)
    with pytest.raises(ValueError, match="outside"):
        filled(engine_of(mode), draw, "float32", 5, 2**66 - 4)


@every_mode
@every_dtype
@pytest.mark.parametrize(
    "draw",
    [
        Normal(mean=-0.0, stddev=0.0),
        Normal(mean=-0.0, stddev=1.0),
        Normal(mean=-0.0, stddev=1e-44),
        Normal(mean=1e-40, stddev=1e-42),
        Normal(mean=1e-38, stddev=1e-38),
        Normal(mean=6e4, stddev=1e4),
        Normal(mean=0.0, stddev=1e-7),
        Normal(mean=1e-5, stddev=1e-5),
        Uniform(minval=0.0, maxval=6e-8),
        Uniform(minval=0.0, maxval=3e-38),
        Uniform(minval=-65504.0, maxval=65504.0),
        Uniform(minval=0.0, maxval=1.0),
        TruncatedNormal(mean=0.0, stddev=3e-8),
        TruncatedNormal(mean=3e38, stddev=1e37),
    ],
    ids=repr,
)
def test_values_at_the_edges_of_the_dtypes(draw: Draw, dtype: str, mode: str) -> None:
    check(engine_of(mode), draw, dtype, 70_001, 3)


@every_mode
def test_subnormal_float16_are_the_numpy_engines(
    mode: str, launched: list[tuple[str, int]]
) -> None:
    draw = Normal(mean=0.0, stddev=2e-6)
    values = filled(engine_of(mode), draw, "float16", BLOCK)
    assert launched
    assert np.count_nonzero(np.abs(values.astype(np.float64)) < 2.0**-14) > BLOCK * 0.9
    assert_same_bits(values, filled(REFERENCE, draw, "float16", BLOCK))


@pytest.mark.parametrize(
    ("least", "make"),
    [
        (2.0**-77, lambda x: Normal(mean=0.0, stddev=x)),
        (2.0**-77, lambda x: TruncatedNormal(mean=1.0, stddev=x)),
        (2.0**-103, lambda x: Normal(mean=-x, stddev=1.0)),
        (2.0**-74, lambda x: Uniform(minval=0.0, maxval=x)),
    ],
)
def test_tensorflow_draws_no_float32_that_may_be_subnormal(
    least: float, make: Callable[[float], Draw], launched: list[tuple[str, int]]
) -> None:
    engine = engine_of("xla")
    engine.prepare([(type(make(least)), numpy_dtype(name)) for name in FLOAT_DTYPES])
    for parameter, is_launched in ((least, True), (least * (1 - 2.0**-20), False)):
        for dtype in FLOAT_DTYPES:
            launched.clear()
            check(engine, make(parameter), dtype, 1000, 5)
            assert bool(launched) == (is_launched or dtype == "float64"), (parameter, dtype)


def test_threads_share_a_device() -> None:
    engine = tensorflow_engine("xla", block_elements=BLOCK)
    cases = [(draw, dtype, start) for draw in DRAWS for dtype in FLOAT_DTYPES for start in (0, 7)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda case: filled(engine, *case[:2], 100_003, case[2]), cases))
    for values, (draw, dtype, start) in zip(found, cases, strict=True):
        assert_same_bits(values, filled(REFERENCE, draw, dtype, 100_003, start))


# --- on a GPU -----------------------------------------------------------------------------------


@cache
def gpu_engine(mode: str) -> Engine:
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        pytest.skip("TensorFlow sees no GPU")
    return tensorflow_engine(mode, device="gpu", block_elements=None)


@pytest.mark.gpu
@every_mode
def test_the_vectors_on_a_gpu(mode: str) -> None:
    engine = gpu_engine(mode)
    for case in load_vectors()["values"]:
        out = filled(engine, case_draw(case), case["dtype"], 1 << 20, key=case_key(case))
        found = hashlib.sha256(as_bits(out).tobytes()).hexdigest()
        assert found == case["sha256_first_2^20"], case_id(case)


@pytest.mark.gpu
@every_mode
def test_slices_on_a_gpu(mode: str) -> None:
    from kinit_cli.engines.tensorflow import GPU_BLOCK_ELEMENTS, GPU_SPAN_ELEMENTS

    engine = gpu_engine(mode)
    assert engine.span_elements == GPU_SPAN_ELEMENTS
    starts = (0, 5, 2**34 - GPU_BLOCK_ELEMENTS - 3, 2**66 - GPU_SPAN_ELEMENTS - 9)
    for draw, dtype, start in product(DRAWS, FLOAT_DTYPES, starts):
        check(engine, draw, dtype, GPU_SPAN_ELEMENTS + 9, start)


@pytest.mark.gpu
@every_mode
def test_subnormal_float16_on_a_gpu(mode: str) -> None:
    check(gpu_engine(mode), Normal(mean=0.0, stddev=2e-6), "float16", 2**20, 0)
