"""keras.initializers on TensorFlow, which give a new tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


def versions() -> dict[str, str]:
    return {"keras": keras.__version__, "tensorflow": tf.__version__}


def make(what: str, variant: str, shape: tuple[int, int], n_threads: int) -> Callable[[], Any]:
    """Prepare a fill; there is one variant. Reading an element waits for the tensor."""
    initializers = keras.initializers
    initializer = {
        "uniform": initializers.RandomUniform(-0.05, 0.05, seed=1),
        "normal": initializers.RandomNormal(0.0, 0.05, seed=1),
        "truncated normal": initializers.TruncatedNormal(0.0, 0.05, seed=1),
        "HeNormal": initializers.HeNormal(seed=1),
        "orthogonal": initializers.Orthogonal(seed=1),
    }[what]

    def fill() -> Any:
        tensor = initializer(shape, dtype="float32")
        float(tensor[-1, -1])
        return tensor

    return fill
