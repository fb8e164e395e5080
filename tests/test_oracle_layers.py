"""Keras as the judge of layer types: weights, shapes, dtypes, order, defaults and paths."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from keras_models import assert_same_variables, plan_of, unfilled
from keras_models import saved_variables as saved_by
from oracles import import_oracle

from kinit_cli.layers.registry import BY_NAME, COMMON, LAYER_TYPES

keras = import_oracle("keras")

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(
        tuple(map(int, keras.__version__.split(".")[:2])) < (3, 15),
        reason="layer types are those of Keras 3.15",
    ),
]

HE = {"class_name": "HeNormal", "config": {"seed": 3}}
BF16 = {"class_name": "DTypePolicy", "config": {"name": "mixed_bfloat16"}}

#: (type, config, input shape without the batch axis)
CASES: list[tuple[str, dict[str, Any], Any]] = [
    ("Dense", {"units": 4}, [3]),
    ("Dense", {"units": 4, "use_bias": False, "kernel_initializer": "he_normal"}, [None, 3]),
    ("Dense", {"units": 4, "kernel_initializer": HE, "bias_initializer": "ones"}, [3]),
    ("Dense", {"units": 4, "dtype": BF16}, [3]),
    ("Dense", {"units": 4, "dtype": "bfloat16", "trainable": False}, [3]),
    ("Dense", {"units": 4, "kernel_initializer": None}, [3]),
    ("EinsumDense", {"equation": "ab,bc->ac", "output_shape": 7, "bias_axes": "c"}, [5]),
    ("EinsumDense", {"equation": "...x,xy->...y", "output_shape": 7, "bias_axes": "y"}, [5]),
    ("EinsumDense", {"equation": "...x,xy->...y", "output_shape": [7]}, [4, 5]),
    (
        "EinsumDense",
        {"equation": "abc,cde->abde", "output_shape": [None, 2, 6], "bias_axes": "de"},
        [4, 5],
    ),
    ("EinsumDense", {"equation": "abcd,cde->abe", "output_shape": [None, 6]}, [4, 5, 3]),
    (
        "EinsumDense",
        {"equation": "abc,bde->ade", "output_shape": [3, 6], "bias_axes": "d",
         "kernel_initializer": {"class_name": "VarianceScaling", "config": {"seed": 5}}},
        [4, 5],
    ),
    ("EinsumDense", {"equation": "ab...,bc->ac...", "output_shape": 7, "bias_axes": "c"}, [5, 2]),
    (
        "EinsumDense",
        {"equation": "ab,bc->ac", "output_shape": 7, "kernel_initializer": "random_normal"},
        [5],
    ),
    (
        "EinsumDense",
        {"equation": "ab,bc->ac", "output_shape": 7, "kernel_initializer": {
            "class_name": "HeNormal", "config": {"input_axes": [1], "output_axes": [0]}}},
        [5],
    ),
    ("Embedding", {"input_dim": 10, "output_dim": 4}, [6]),
    ("Embedding", {"input_dim": 10, "output_dim": 4, "embeddings_initializer": "zeros"}, [6]),
    ("ReversibleEmbedding", {"input_dim": 10, "output_dim": 4}, [6]),
    ("ReversibleEmbedding", {"input_dim": 10, "output_dim": 4, "tie_weights": False}, [6]),
    *(
        (kind, {**extra, "kernel_size": size, **more}, [*shape, 6])
        for rank, shape in ((1, [None]), (2, [16, None]), (3, [16, 16, 16]))
        for size in (3, [3] * rank)
        for kind, extra in (
            (f"Conv{rank}D", {"filters": 4}),
            (f"Conv{rank}DTranspose", {"filters": 4}),
        )
        for more in ({}, {"use_bias": False}, {"strides": 2, "padding": "same"})
    ),
    *(
        (f"{kind}{rank}D", {**extra, "kernel_size": 3, **more}, [16] * rank + [6])
        for rank in (1, 2)
        for kind, extra in (("DepthwiseConv", {}), ("SeparableConv", {"filters": 4}))
        for more in (
            {},
            {"depth_multiplier": 2},
            {"use_bias": False, "depthwise_initializer": HE},
        )
    ),
    ("Conv2D", {"filters": 4, "kernel_size": [2, 3], "groups": 2}, [8, 8, 6]),
    ("Conv2D", {"filters": 4, "kernel_size": 1, "data_format": "channels_first"}, [6, 8, 8]),
    ("Conv2DTranspose", {"filters": 4, "kernel_size": 1, "data_format": "channels_first"},
     [6, 8, 8]),
    ("SeparableConv2D", {"filters": 4, "kernel_size": 1, "data_format": "channels_first",
                         "pointwise_initializer": "orthogonal"}, [6, 8, 8]),
    ("BatchNormalization", {}, [4, 5]),
    ("BatchNormalization", {"axis": 1}, [4, 5]),
    ("BatchNormalization", {"center": False}, [5]),
    ("BatchNormalization", {"scale": False, "trainable": False}, [5]),
    ("BatchNormalization", {"gamma_initializer": "zeros", "moving_mean_initializer": "ones",
                            "moving_variance_initializer": HE, "dtype": "float16"}, [5]),
    ("LayerNormalization", {}, [4, 5]),
    ("LayerNormalization", {"axis": [-2, -1]}, [4, 5]),
    ("LayerNormalization", {"axis": [2, 1], "scale": False}, [4, 5]),
    ("LayerNormalization", {"center": False}, [4, 5]),
    *((kind, {"axis": axes}, [4, 5]) for kind in ("LayerNormalization", "RMSNormalization")
      for axes in ([1, 1], [-1, 2], [-1, 1], 1)),
    ("GroupNormalization", {"groups": 3}, [4, 6]),
    ("GroupNormalization", {"groups": -1, "axis": 1, "center": False}, [4, 6]),
    ("GroupNormalization", {"groups": 2, "scale": False, "beta_initializer": "ones"}, [4, 6]),
    ("RMSNormalization", {}, [4, 6]),
    ("RMSNormalization", {"axis": [1, 2]}, [4, 6]),
    ("UnitNormalization", {}, [4, 6]),
    ("Normalization", {}, [4, 6]),
    ("Normalization", {"axis": [1, -1]}, [4, 6]),
    ("Normalization", {"axis": None}, [4, 6]),
    ("Normalization", {"mean": 1.0, "variance": 2.0}, [4, 6]),
    ("PReLU", {}, [4, 6]),
    ("PReLU", {"shared_axes": [1], "alpha_initializer": HE}, [None, 6]),
    *(("PReLU", {"shared_axes": axes}, [4, 5, 6]) for axes in ([-1], [0], [-2, 3], 2)),
    ("PReLU", {"shared_axes": [0]}, [6]),
    ("PReLU", {"shared_axes": [-1]}, [4, None, 6]),
    *(
        (kind, {"units": 3, **more}, [None, 5])
        for kind in ("LSTM", "GRU", "SimpleRNN")
        for more in (
            {},
            {"use_bias": False},
            {"go_backwards": True, "return_sequences": True, "dtype": BF16},
            {"kernel_initializer": HE, "recurrent_initializer": "glorot_normal"},
            {"dropout": 0.5, "recurrent_dropout": 0.5},
        )
    ),
    ("LSTM", {"units": 3, "unit_forget_bias": False, "bias_initializer": "random_normal"},
     [2, 5]),
    ("LSTM", {"units": 3, "bias_initializer": {"class_name": "Constant",
                                               "config": {"value": 0.5}}}, [2, 5]),
    ("GRU", {"units": 3, "reset_after": False, "bias_initializer": "ones"}, [2, 5]),
    ("MultiHeadAttention", {"num_heads": 2, "key_dim": 3}, {"query": [4, 6], "value": [4, 6]}),
    (
        "MultiHeadAttention",
        {"num_heads": 2, "key_dim": 3, "value_dim": 5, "use_gate": True, "output_shape": 8,
         "kernel_initializer": HE, "bias_initializer": "ones"},
        {"query": [None, 6], "value": [None, 7], "key": [None, 9]},
    ),
    (
        "MultiHeadAttention",
        {"num_heads": 2, "key_dim": 3, "use_bias": False, "output_shape": [2, 4],
         "attention_axes": [1, 2]},
        {"query": [4, 5, 6], "value": [4, 5, 6]},
    ),
    (
        "GroupedQueryAttention",
        {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2},
        {"query": [4, 6], "value": [5, 6]},
    ),
    (
        "GroupedQueryAttention",
        {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2, "use_gate": True,
         "use_bias": False, "kernel_initializer": "lecun_uniform"},
        {"query": [4, 6], "value": [5, 6], "key": [5, 8]},
    ),
]  # fmt: skip


def built(kind: str, config: dict[str, Any], shape: Any) -> Any:
    """Give Keras's model of one layer."""
    names = {"GroupedQueryAttention": "GroupQueryAttention"}
    layer = getattr(keras.layers, names.get(kind, kind)).from_config({"name": "it", **config})
    if isinstance(shape, dict):
        inputs = {name: keras.Input(sizes) for name, sizes in shape.items()}
        return keras.Model(list(inputs.values()), layer(**inputs))
    inputs = keras.Input(shape)
    return keras.Model(inputs, layer(inputs))


@pytest.mark.parametrize(
    ("kind", "config", "shape"), CASES, ids=lambda x: x if isinstance(x, str) else ""
)
def test_weights(kind: str, config: dict[str, Any], shape: Any) -> None:
    model = unfilled(lambda: built(kind, config, shape))
    written = next(layer for layer in model.layers if layer.name == "it").get_config()
    assert set(written) <= set(BY_NAME[kind].arguments) | COMMON
    layer = {"name": "it", "type": kind, "config": config, "input_shape": shape}
    other = {"name": "other", "type": "Dense", "config": {"units": 1}, "input_shape": [1]}
    document = {"layers": [layer]}
    if not saved_by(model):
        # A spec must have a weight.
        document = {"layers": [layer, other]}
        plan = plan_of(document)
        assert [tensor.layer for tensor in plan.tensors] == ["other", "other"]
        return
    plan = assert_same_variables(document, model, is_frozen=config.get("trainable") is False)
    paths = {variable.path for variable in saved_by(model).values()}
    assert {tensor.path for tensor in plan.tensors} == paths


# --- every class and every argument ---------------------------------------------------------

#: Keras's classes that are not known here: they hold tables, models of other frameworks, or
#: weights in ways of their own.
NOT_KNOWN = {
    "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "FlaxLayer", "IntegerLookup", "JaxLayer", "Layer",
    "Pipeline", "STFTSpectrogram", "SpectralNormalization", "StringLookup",
    "TFSMLayer", "TextVectorization", "TorchModuleWrapper", "Wrapper",
}  # fmt: skip
#: Arguments of base classes that a layer passes on by itself.
PASSED_ON = {"rank", "pool_dimensions", "pool_mode", "cell", "layers"}


def keras_classes() -> dict[str, type]:
    found = {name: getattr(keras.layers, name) for name in dir(keras.layers)}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, type) and issubclass(value, keras.layers.Layer)
    }


def test_every_class_of_keras_is_known_under_every_name() -> None:
    classes = keras_classes()
    assert set(classes) - set(BY_NAME) == NOT_KNOWN
    for name in set(classes) & set(BY_NAME):
        assert BY_NAME[name].class_name == classes[name].__name__


@pytest.mark.parametrize("kind", LAYER_TYPES, ids=lambda kind: kind.class_name)
def test_every_argument_is_known(kind: Any) -> None:
    classes = {value.__name__: value for value in keras_classes().values()}
    cls = classes.get(kind.class_name)
    if cls is None:
        assert kind.class_name in ("LayerScale", "StochasticDepth")  # of keras.applications
        return
    known = set(kind.arguments) | COMMON
    parameters = {
        name
        for base in cls.__mro__
        if base.__module__.startswith("keras.src.layers") and base is not keras.layers.Layer
        for name, parameter in inspect.signature(base.__init__).parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and name != "self"
    }
    # Of a base class that is a layer itself, a part may be what this one makes.
    own = set(inspect.signature(cls.__init__).parameters) - {"self", "kwargs", "args"}
    assert own <= known
    assert parameters - known <= PASSED_ON | {"score_mode", "layer"}
