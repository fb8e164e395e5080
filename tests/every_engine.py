"""The engines that must give the same bits, for tests that run on each, and specs for them."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import kinit_cli
from kinit_cli.draw import Normal
from kinit_cli.engines import get_engine
from kinit_cli.engines.base import Engine
from kinit_cli.engines.tensorflow_devices import choose_devices, load_tensorflow
from kinit_cli.engines.whole import make_tensor
from kinit_cli.stream.identity import StreamKey

if TYPE_CHECKING:
    from kinit_cli.engines.tensorflow_programs import Mode

needs_numba = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="Numba is not installed"
)

needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"
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


def tensorflow_engine(*modes: Mode, device: str = "cpu", **options: Any) -> Engine:
    """Give the TensorFlow engine, even for one element; a mode that fails fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what TensorFlow says of others is not judged here
        tf = load_tensorflow()
    from kinit_cli.engines.tensorflow import TensorFlowEngine

    return TensorFlowEngine(
        get_engine("numpy"),
        pytest.fail,
        choose_devices(tf, device),
        **{"modes": modes or ("xla",), "min_elements": 1, "block_elements": 2**18, **options},
    )


class _Late:
    """An engine made when it is first used: TensorFlow takes seconds to import."""

    def __init__(self, make: Callable[[], Engine]) -> None:
        self._make = lru_cache(maxsize=1)(make)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._make(), name)


every_engine = pytest.mark.parametrize(
    "engine",
    [
        pytest.param(get_engine("numpy"), id="numpy"),
        pytest.param(
            numba_engine() if importlib.util.find_spec("numba") else None,
            id="numba",
            marks=needs_numba,
        ),
        pytest.param(
            _Late(tensorflow_engine),
            id="tensorflow",
            marks=[pytest.mark.tensorflow, needs_tensorflow],
        ),
    ],
)

#: A weight for every kernel.
ALL_KERNELS = """\
seed: 3
layers:
  - name: a
    weights:
      normal: {shape: [37, 61], initializer: he_normal}
      uniform: {shape: [61, 5], initializer: glorot_uniform, dtype: float64}
      normal16: {shape: [300], initializer: {random_normal: {mean: 1}}, dtype: float16}
      uniform16: {shape: [300], initializer: random_uniform, dtype: bfloat16}
      zeros: {shape: [7], initializer: zeros}
      matrix: {shape: [5, 9], initializer: orthogonal}
"""
ONE_KERNEL = "seed: 3\nlayers: [{name: a, weights: {kernel: {shape: [37, 61]}}}]\n"


def stub_numba(folder: Path, text: str) -> str:
    """Give a search path on which `import numba` runs `text`."""
    (folder / "stubs" / "numba").mkdir(parents=True)
    (folder / "stubs" / "numba" / "__init__.py").write_text(text, encoding="utf-8")
    return os.pathsep.join([str(folder / "stubs"), str(Path(kinit_cli.__file__).parents[1])])
