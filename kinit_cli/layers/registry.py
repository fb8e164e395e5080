"""The known layer types by name, and the weights of a layer of one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from kinit_cli.errors import suggest
from kinit_cli.layers.args import LayerArgs, LayerSource
from kinit_cli.layers.attention import ATTENTION_TYPES
from kinit_cli.layers.base import LayerType, LayerWeight
from kinit_cli.layers.conv import CONV_TYPES
from kinit_cli.layers.dense import DENSE_TYPES
from kinit_cli.layers.dtype_policy import variable_dtype
from kinit_cli.layers.normalization import NORMALIZATION_TYPES
from kinit_cli.layers.recurrent import RECURRENT_TYPES
from kinit_cli.layers.weightless import WEIGHTLESS_TYPES
from kinit_cli.layers.wrappers import WRAPPER_TYPES
from kinit_cli.spec.problems import ProblemList, TreePath, fmt_value

LAYER_TYPES: tuple[LayerType, ...] = (
    *DENSE_TYPES,
    *CONV_TYPES,
    *NORMALIZATION_TYPES,
    *RECURRENT_TYPES,
    *WRAPPER_TYPES,
    *ATTENTION_TYPES,
    *WEIGHTLESS_TYPES,
)

#: Other names that Keras gives its classes.
_ALIASES = {
    "GroupQueryAttention": "GroupedQueryAttention",
    **{f"Convolution{rank}D": f"Conv{rank}D" for rank in (1, 2, 3)},
    **{f"Convolution{rank}DTranspose": f"Conv{rank}DTranspose" for rank in (1, 2, 3)},
    **{f"SeparableConvolution{rank}D": f"SeparableConv{rank}D" for rank in (1, 2)},
    **{
        f"{short}{rank}D": f"{long}{rank}D"
        for rank in (1, 2, 3)
        for short, long in (
            ("AvgPool", "AveragePooling"),
            ("MaxPool", "MaxPooling"),
            ("GlobalAvgPool", "GlobalAveragePooling"),
            ("GlobalMaxPool", "GlobalMaxPooling"),
        )
    },
}
_BY_CLASS = {kind.class_name: kind for kind in LAYER_TYPES}

BY_NAME: Mapping[str, LayerType] = MappingProxyType(
    {**_BY_CLASS, **{alias: _BY_CLASS[name] for alias, name in _ALIASES.items()}}
)

#: What any layer of Keras may be given.
COMMON = frozenset(
    ("name", "trainable", "dtype", "autocast", "activity_regularizer", "batch_shape",
     "batch_input_shape")
)  # fmt: skip


def find_type(name: Any, path: TreePath, problems: ProblemList) -> LayerType | None:
    """Give the layer type of a name, or None after noting that there is none."""
    kind = BY_NAME.get(name) if isinstance(name, str) else None
    if kind is None:
        close = suggest(name, BY_NAME) if isinstance(name, str) else ""
        advice = "list the layer's weights with their shapes"
        hint = f"{close} If not, {advice}" if close else advice
        problems.add(path, "a layer type that is known", fmt_value(name), hint)
    return kind


def layer_weights(kind: LayerType, source: LayerSource) -> list[LayerWeight]:
    """List the weights of a layer in the order in which Keras makes them.

    An empty list may mean that there are none, or that there were problems, which are noted.
    """
    for name in source.config:
        if name not in COMMON and name not in kind.arguments:
            known = (*kind.arguments, *sorted(COMMON))
            hint = suggest(name, known) or f"known: {', '.join(kind.arguments) or 'none'}"
            expected = f"an argument of {kind.class_name}"
            path = (*source.path, name)
            source.problems.add(path, expected, fmt_value(name), hint, is_key=True)
    if kind.weights is None:
        return []
    dtype = variable_dtype(
        source.config.get("dtype"), source.dtype, (*source.path, "dtype"), source.problems
    )
    args = LayerArgs(replace(source, dtype=dtype or source.dtype))
    weights = kind.weights(args)
    return weights if args.is_sound and dtype else []
