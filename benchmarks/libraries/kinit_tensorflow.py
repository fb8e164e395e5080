"""kinit with the TensorFlow engine on the CPU, in the process and by the Python of the peers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.libraries.kinit import draw_of
from kinit_cli import __version__
from kinit_cli.dtypes import numpy_dtype
from kinit_cli.engines.numpy import NumpyEngine
from kinit_cli.engines.tensorflow import TensorFlowEngine
from kinit_cli.engines.tensorflow_devices import choose_devices
from kinit_cli.engines.whole import make_tensor
from kinit_cli.stream.identity import explicit_stream_key


def versions() -> dict[str, str]:
    return {"kinit": __version__, "tensorflow": tf.__version__}


def make(
    what: str, variant: str, shape: tuple[int, int], n_threads: int
) -> Callable[[], np.ndarray[Any, Any]]:
    """Prepare a fill of a new array; the variants are the modes, `xla` and `eager`."""
    engine = TensorFlowEngine(
        NumpyEngine(),
        lambda text: sys.exit(text),
        choose_devices(tf, "cpu"),
        modes=[variant],  # type: ignore[list-item]
    )
    draw, key = draw_of(what, shape), explicit_stream_key(1)
    engine.prepare([(type(draw), numpy_dtype("float32"))])
    return lambda: make_tensor(engine, draw, key, shape, "float32", jobs=n_threads)
