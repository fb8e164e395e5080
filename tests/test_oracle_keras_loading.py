"""Files of kinit in Keras 3 and in tf_keras: `load_weights` gives back the same bits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from oracles import import_oracle
from spec_texts import plan_of

from kinit_cli.engines import get_engine
from kinit_cli.formats.hdf5 import ATTRIBUTE_LIMIT, Hdf5Writer
from kinit_cli.pipeline import Output, generate

keras = import_oracle("keras")
from keras.src.legacy.saving import legacy_h5_format  # noqa: E402

pytestmark = [
    pytest.mark.oracle,
    # TensorFlow's tensors, when NumPy asks for a copy of one.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]

Shapes = dict[str, dict[str, tuple[int, ...]]]

#: Layers of `every_layer_model` with their weights, in the order in which Keras lists them.
EVERY_LAYER: Shapes = {
    "embedding": {"embeddings": (50, 8)},
    "conv1d": {"kernel": (3, 8, 6), "bias": (6,)},
    "conv2d": {"kernel": (3, 3, 1, 4), "bias": (4,)},
    "batch_norm": {"gamma": (4,), "beta": (4,), "moving_mean": (4,), "moving_variance": (4,)},
    "lstm": {
        "lstm_cell/kernel": (16, 20),
        "lstm_cell/recurrent_kernel": (5, 20),
        "lstm_cell/bias": (20,),
    },
    "dense": {"kernel": (5, 7), "bias": (7,)},
}


def every_layer_model(library: Any, dtype: str) -> Any:
    layers = library.layers
    model = library.Sequential(
        [
            layers.Embedding(50, 8, name="embedding", dtype=dtype),
            layers.Conv1D(6, 3, name="conv1d", dtype=dtype),
            layers.Reshape((10, 6, 1), name="reshape_1", dtype=dtype),
            layers.Conv2D(4, 3, name="conv2d", dtype=dtype),
            layers.BatchNormalization(name="batch_norm", dtype=dtype),
            layers.Reshape((8, 16), name="reshape_2", dtype=dtype),
            layers.LSTM(5, name="lstm", dtype=dtype),
            layers.Dense(7, name="dense", dtype=dtype),
        ]
    )
    model.build((None, 12))
    return model


@pytest.fixture(params=["keras", "tf_keras"])
def library(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    module = import_oracle(request.param)
    yield module
    module.backend.clear_session()


def write(path: Path, shapes: Shapes, dtype: str = "float32") -> Path:
    """Generate a file in which no tensor is constant, whatever its name."""
    random = {"random_normal": {"stddev": 1}}
    layers = [
        {
            "name": name,
            "weights": {
                weight: {"shape": list(shape), "initializer": random}
                for weight, shape in weights.items()
            },
        }
        for name, weights in shapes.items()
    ]
    plan = plan_of(json.dumps({"seed": 5, "dtype": dtype, "layers": layers}))
    generate(plan, Output(target=path, writer=Hdf5Writer()), engine=get_engine("numpy"), jobs=2)
    return path


def stored(path: Path, shapes: Shapes) -> dict[str, list[NDArray[Any]]]:
    with h5py.File(path, "r") as file:
        return {
            layer: [file[f"{layer}/{weight}"][()] for weight in weights]
            for layer, weights in shapes.items()
        }


def loaded(model: Any) -> dict[str, list[NDArray[Any]]]:
    return {
        layer.name: [np.asarray(weight) for weight in layer.get_weights()]
        for layer in model.layers
        if layer.weights
    }


def assert_same_bits(
    found: dict[str, list[NDArray[Any]]], expected: dict[str, list[NDArray[Any]]]
) -> None:
    assert list(found) == list(expected)
    for layer, arrays in expected.items():
        assert len(found[layer]) == len(arrays)
        for one, other in zip(found[layer], arrays, strict=True):
            assert one.dtype == other.dtype
            unsigned = np.dtype(f"u{other.itemsize}")
            np.testing.assert_array_equal(one.view(unsigned), other.view(unsigned))


# --- load_weights -------------------------------------------------------------------------------


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_every_layer(library: ModuleType, dtype: str, by_name: bool, tmp_path: Path) -> None:
    path = write(tmp_path / "weights.h5", EVERY_LAYER, dtype)
    model = every_layer_model(library, dtype)
    before = loaded(model)
    model.load_weights(str(path), **({"by_name": True} if by_name else {}))
    expected = stored(path, EVERY_LAYER)
    if library.__name__ == "tf_keras" and dtype == "float16":
        # Its normalisation keeps float32 then, in which every float16 is exact.
        expected["batch_norm"] = [array.astype("f4") for array in expected["batch_norm"]]
    assert_same_bits(loaded(model), expected)
    assert all(
        (one != other).mean() > 0.9
        for layer, arrays in expected.items()
        for one, other in zip(before[layer], arrays, strict=True)
    )


def two_layer_model(library: Any, names: list[str]) -> Any:
    model = library.Sequential([library.layers.Dense(4, name=name) for name in names])
    model.build((None, 4))
    return model


def test_names_decide_by_name_and_order_otherwise(library: ModuleType, tmp_path: Path) -> None:
    shapes: Shapes = {name: {"kernel": (4, 4), "bias": (4,)} for name in ("first", "second")}
    path = write(tmp_path / "weights.h5", shapes)
    expected = stored(path, shapes)
    model = two_layer_model(library, ["second", "first"])
    model.load_weights(str(path), by_name=True)
    assert_same_bits(loaded(model), {name: expected[name] for name in ("second", "first")})
    model.load_weights(str(path))
    swapped = {"second": expected["first"], "first": expected["second"]}
    assert_same_bits(loaded(model), swapped)


def test_a_layer_of_another_name_is_left_alone_by_name(library: ModuleType, tmp_path: Path) -> None:
    shapes: Shapes = {name: {"kernel": (4, 4), "bias": (4,)} for name in ("first", "second")}
    path = write(tmp_path / "weights.h5", shapes)
    model = two_layer_model(library, ["first", "third"])
    before = loaded(model)
    model.load_weights(str(path), by_name=True)
    assert_same_bits(
        loaded(model), {"first": stored(path, shapes)["first"], "third": before["third"]}
    )


NESTED = ["block_0/attn/dense", "block_0/attn", "head/b"]


def test_layer_names_with_slashes(library: ModuleType, tmp_path: Path) -> None:
    shapes: Shapes = {name: {"kernel": (4, 4), "bias": (4,)} for name in NESTED}
    path = write(tmp_path / "weights.h5", shapes)
    # Keras 3 has no such names, but loads the file by order; tf_keras has them.
    names = NESTED if library.__name__ == "tf_keras" else ["a", "b", "c"]
    model = two_layer_model(library, names)
    model.load_weights(str(path))
    expected = dict(zip(names, stored(path, shapes).values(), strict=True))
    assert_same_bits(loaded(model), expected)
    if library.__name__ == "tf_keras":
        again = two_layer_model(library, NESTED[::-1])
        again.load_weights(str(path), by_name=True)
        assert_same_bits(loaded(again), {name: expected[name] for name in NESTED[::-1]})


def test_a_file_that_does_not_suit_the_model_is_refused(
    library: ModuleType, tmp_path: Path
) -> None:
    shapes: Shapes = {"first": {"kernel": (4, 5), "bias": (5,)}}
    path = write(tmp_path / "weights.h5", shapes)
    with pytest.raises(ValueError, match=r"(?i)shape"):
        two_layer_model(library, ["first"]).load_weights(str(path))


# --- what else Keras reads ----------------------------------------------------------------------


def test_more_names_than_one_attribute_holds(tmp_path: Path) -> None:
    names = [f"layer_with_a_long_name_{number:04}/sub_layer" for number in range(3000)]
    assert {len(name) for name in names} == {37}
    shapes: Shapes = {name: {"w": (1,)} for name in names}
    shapes["wide"] = {f"weight_{number:04}_{'x' * 20}": (1,) for number in range(3000)}
    path = write(tmp_path / "weights.h5", shapes)
    read = legacy_h5_format.load_attributes_from_hdf5_group
    with h5py.File(path, "r") as file:
        assert "layer_names" not in file.attrs
        assert [file.attrs[f"layer_names{part}"].nbytes for part in (0, 1)] == [
            ATTRIBUTE_LIMIT // 37 * 37,
            (3001 - ATTRIBUTE_LIMIT // 37) * 37,
        ]
        assert read(file, "layer_names") == [*names, "wide"]
        assert read(file["wide"], "weight_names") == list(shapes["wide"])
        assert read(file[names[7]], "weight_names") == ["w"]


@pytest.mark.parametrize("n_more", [0, 1])
def test_names_are_split_where_keras_splits_them(n_more: int, tmp_path: Path) -> None:
    n_names = ATTRIBUTE_LIMIT // 36 + n_more
    names = [f"layer_{number:030}" for number in range(n_names)]
    path = write(tmp_path / "ours.h5", {name: {"w": ()} for name in names})
    with h5py.File(tmp_path / "keras.h5", "w") as file:
        encoded = [name.encode() for name in names]
        legacy_h5_format.save_attributes_to_hdf5_group(file, "layer_names", encoded)
    with h5py.File(path, "r") as ours, h5py.File(tmp_path / "keras.h5", "r") as theirs:
        attributes = {name for name in ours.attrs if name.startswith("layer_names")}
        assert attributes == set(theirs.attrs)
        assert len(attributes) == 1 + n_more


def keras_3_names(dtype: str) -> tuple[Shapes, Callable[[], Any]]:
    """Give a spec in Keras 3's own arrangement, and the model that it is for."""
    shapes: Shapes = {"layers/dense/vars": {"0": (4, 5), "1": (5,)}}

    def make() -> Any:
        model = keras.Sequential([keras.layers.Dense(5, dtype=dtype)])
        model.build((None, 4))
        return model

    return shapes, make


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_keras_3_reads_every_dtype(dtype: str, tmp_path: Path) -> None:
    shapes, make = keras_3_names(dtype)
    path = write(tmp_path / "model.weights.h5", shapes, dtype)
    model = make()
    model.load_weights(str(path))
    found = [np.asarray(weight) for weight in model.layers[-1].get_weights()]
    assert [array.dtype.name for array in found] == [dtype, dtype]
    with h5py.File(path, "r") as file:
        for array, name in zip(found, ("0", "1"), strict=True):
            dataset = file[f"layers/dense/vars/{name}"]
            assert array.tobytes() == dataset[()].tobytes()
            assert len(set(array.ravel().tolist())) > 3


def test_bfloat16_is_stored_as_keras_stores_it(tmp_path: Path) -> None:
    shapes, make = keras_3_names("bfloat16")
    path = write(tmp_path / "ours.weights.h5", shapes, "bfloat16")
    make().save_weights(str(tmp_path / "keras.weights.h5"))
    kinds = []
    for name in ("ours", "keras"):
        with h5py.File(tmp_path / f"{name}.weights.h5", "r") as file:
            dataset = file["layers/dense/vars/0"]
            kind = dataset.id.get_type()
            kinds.append((type(kind), kind.get_size(), dataset.shape, dataset.attrs["dtype"]))
    assert path.exists()
    assert kinds[0] == kinds[1]
    assert kinds[0][0] is h5py.h5t.TypeOpaqueID
