"""A Keras model with variables from Keras's initializers, saved with `save_weights`.

    python -m benchmarks.scripts.keras_script OUT.weights.h5 MODEL

TF_NUM_INTRAOP_THREADS tells TensorFlow its threads.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import keras

from benchmarks.models import iter_tensors


class Weights(keras.layers.Layer):  # type: ignore[misc]
    """A layer that only has variables."""

    def __init__(self, tensors: list[Any], **options: Any) -> None:
        super().__init__(**options)
        for path, shape, kind, number in tensors:
            self.add_weight(
                shape=shape, initializer=_initializer(kind, number), name=path.rpartition("/")[2]
            )
        self.built = True


class Model(keras.Model):  # type: ignore[misc]
    """A model of such layers."""

    def __init__(self, model: str) -> None:
        super().__init__()
        layers: dict[str, list[Any]] = {}
        for tensor in iter_tensors(model):
            layers.setdefault(tensor[0].rpartition("/")[0], []).append(tensor)
        self.all_layers = [
            Weights(tensors, name=path.replace("/", "_")) for path, tensors in layers.items()
        ]
        self.built = True


def _initializer(kind: str, number: float) -> Any:
    if kind == "constant":
        return keras.initializers.Constant(number)
    if kind == "he_normal":
        return keras.initializers.HeNormal()
    return keras.initializers.RandomNormal(0.0, number)


def main() -> None:
    """Write the file."""
    started = time.perf_counter()
    keras.utils.set_random_seed(42)
    Model(sys.argv[2]).save_weights(sys.argv[1])
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
