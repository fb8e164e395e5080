"""Fills by the TensorFlow engine beside the NumPy engine's, for its tests."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from every_engine import tensorflow_engine
from stream_vectors import assert_same_bits, poisoned

from kinit_cli.draw import Draw, Normal, TruncatedNormal, Uniform
from kinit_cli.dtypes import numpy_dtype
from kinit_cli.engines.base import Engine
from kinit_cli.engines.numpy import NumpyEngine
from kinit_cli.stream.identity import StreamKey

REFERENCE = NumpyEngine()
KEY = StreamKey(key=0xFFFFFFFF00000001, nonce=0x8000000000000000)
FLOAT_DTYPES = ["float64", "float32", "float16", "bfloat16"]
DRAWS: list[Draw] = [
    Uniform(minval=-0.05, maxval=0.05),
    Normal(mean=0.25, stddev=1.5),
    TruncatedNormal(mean=0.0, stddev=0.02),
]
MODES = ["xla", "eager"]
BLOCK = 2**16
every_mode = pytest.mark.parametrize("mode", MODES)
every_dtype = pytest.mark.parametrize("dtype", FLOAT_DTYPES)
every_draw = pytest.mark.parametrize("draw", DRAWS, ids=lambda draw: type(draw).__name__)


@cache
def engine_of(mode: str) -> Engine:
    return tensorflow_engine(mode, block_elements=BLOCK)


def filled(
    engine: Engine, draw: Draw, dtype: str, count: int, start: int = 0, key: StreamKey = KEY
) -> np.ndarray:
    out = poisoned(count, numpy_dtype(dtype))
    engine.fill(out, draw, key, start=start, shape=(2**66,))
    return out


def check(engine: Engine, draw: Draw, dtype: str, count: int, start: int, key=KEY) -> None:
    found = filled(engine, draw, dtype, count, start, key)
    assert_same_bits(found, filled(REFERENCE, draw, dtype, count, start, key))
