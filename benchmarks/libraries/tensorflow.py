"""tf.random's stateless draws, which give a new tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def versions() -> dict[str, str]:
    return {"tensorflow": tf.__version__}


def make(what: str, variant: str, shape: tuple[int, int], n_threads: int) -> Callable[[], Any]:
    """Prepare a fill; there is one variant. Reading an element waits for the tensor."""
    draw = {
        "uniform": lambda: tf.random.stateless_uniform(shape, [1, 2], minval=-0.05, maxval=0.05),
        "normal": lambda: tf.random.stateless_normal(shape, [1, 2], stddev=0.05),
    }[what]

    def fill() -> Any:
        tensor = draw()
        float(tensor[-1, -1])
        return tensor

    return fill
