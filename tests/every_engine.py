"""The engines that must give the same bits, for tests that run on each."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from kinit_cli.draw import Normal
from kinit_cli.engines import get_engine
from kinit_cli.engines.base import Engine
from kinit_cli.engines.whole import make_tensor
from kinit_cli.stream.identity import StreamKey

needs_numba = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="Numba is not installed"
)


def numba_engine() -> Engine:
    """Give the Numba engine, compiled; a part of it that does not work fails the test.

    Within a Hypothesis test, where every line is traced, compiling would take minutes.
    """
    engine = get_engine("numba", on_fault=pytest.fail)
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        make_tensor(engine, Normal(mean=0.0, stddev=1.0), StreamKey(key=1, nonce=2), (5,), dtype)
    engine.make_meter().measure(np.linspace(0, 1, 5))
    engine.make_meter().measure(np.linspace(0, 1, 5, dtype=np.float32))
    return engine


every_engine = pytest.mark.parametrize(
    "engine",
    [
        pytest.param(get_engine("numpy"), id="numpy"),
        pytest.param(
            numba_engine() if importlib.util.find_spec("numba") else None,
            id="numba",
            marks=needs_numba,
        ),
    ],
)
