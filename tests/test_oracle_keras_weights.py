"""`model.load_weights` as the judge of `.weights.h5` files and sets: exact bits everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oracles import import_oracle
from test_keras_weights import placed
from written import values_of, write

from kinit_cli.formats.keras_weights import KerasWeightsSetWriter, KerasWeightsWriter

keras = import_oracle("keras")
pytestmark = pytest.mark.oracle


def sequential() -> tuple[Any, dict[str, str], list[Any]]:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)), layers.Conv2D(4, 3), layers.BatchNormalization(),
            layers.Flatten(), layers.Dense(5), layers.Dense(2),
        ]
    )  # fmt: skip
    objects = {
        "a": "layers/conv2d", "b": "layers/batch_normalization", "c": "layers/dense",
        "d": "layers/dense_1",
    }  # fmt: skip
    owners = [model.layers[0], model.layers[1], model.layers[3], model.layers[4]]
    return model, objects, owners


def nested() -> tuple[Any, dict[str, str], list[Any]]:
    layers = keras.layers
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.Dense(4)])
    model = keras.Sequential([keras.Input((3,)), inner, layers.Dense(2)])
    objects = {
        "a": "layers/sequential/layers/dense", "b": "layers/sequential/layers/dense_1",
        "c": "layers/dense",
    }  # fmt: skip
    return model, objects, [*inner.layers, model.layers[1]]


def recurrent() -> tuple[Any, dict[str, str], list[Any]]:
    layers = keras.layers
    model = keras.Sequential([keras.Input((5,)), layers.Embedding(9, 4), layers.LSTM(3)])
    objects = {"a": "layers/embedding", "b": "layers/lstm/cell"}
    return model, objects, [model.layers[0], model.layers[1].cell]


@pytest.mark.parametrize("max_shard_bytes", [None, 60, 10**6])
@pytest.mark.parametrize("make", [sequential, nested, recurrent])
def test_keras_loads_every_variable(tmp_path: Path, make: Any, max_shard_bytes: int | None) -> None:
    model, objects, owners = make()
    lines = ["seed: 3", "layers:"]
    for name, owner in zip(objects, owners, strict=True):
        variables = owner._trainable_variables + owner._non_trainable_variables
        weights = [
            f"w{number}: {{shape: {list(variable.shape)}, initializer: random_normal}}"
            for number, variable in enumerate(variables)
        ]
        lines.append(f"- {{name: {name}, weights: {{{', '.join(weights)}}}}}")
    plan = placed("\n".join(lines), objects)
    if max_shard_bytes is None:
        write(plan, tmp_path / "w.weights.h5", KerasWeightsWriter())
        model.load_weights(tmp_path / "w.weights.h5")
    else:
        write(plan, tmp_path / "set", KerasWeightsSetWriter(max_shard_bytes))
        model.load_weights(tmp_path / "set" / "model.weights.json")
    expected = values_of(plan)
    n_variables = 0
    for name, owner in zip(objects, owners, strict=True):
        variables = owner._trainable_variables + owner._non_trainable_variables
        for number, variable in enumerate(variables):
            assert np.array_equal(variable.numpy(), expected[f"{name}/w{number}"])
            n_variables += 1
    assert n_variables == len(plan.tensors) == len(model.weights)
