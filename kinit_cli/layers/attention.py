"""Attention layers."""

from __future__ import annotations

import string

from kinit_cli.layers.args import ONLY, LayerArgs
from kinit_cli.layers.base import LayerType, LayerWeight, Shape, Written, within
from kinit_cli.layers.dense import KERNEL_ARGUMENTS, einsum_weights

_HEADS = ("dropout", "sliding_window", "flash_attention", "use_gate", "seed", *KERNEL_ARGUMENTS)


def _multi_head_attention(args: LayerArgs) -> list[LayerWeight]:
    query, value, key = _query_value_key(args)
    heads, key_dim = args.whole("num_heads"), args.whole("key_dim")
    value_dim = args.whole("value_dim", key_dim)
    if not args.has("output_shape"):
        output_shape: tuple[int, ...] = (args.size(query, -1),)
    else:
        raw = args.source.config["output_shape"]
        output_shape = args.sizes("output_shape", len(raw) if isinstance(raw, list) else 1)
    projections = [("query", query, key_dim), ("key", key, key_dim)]
    if args.flag("use_gate", False):
        projections.append(("gate", query, value_dim))
    projections.append(("value", value, value_dim))
    weights = [
        weight
        for name, shape, width in projections
        for weight in _projection(args, name, shape, 1, (heads, width))
    ]
    attended = (*query[:-1], heads, value_dim)
    return weights + _projection(args, "attention_output", attended, 2, output_shape)


def _grouped_query_attention(args: LayerArgs) -> list[LayerWeight]:
    query, value, key = _query_value_key(args)
    head_dim, heads = args.whole("head_dim"), args.whole("num_query_heads")
    groups = args.whole("num_key_value_heads")
    if heads % groups and args.is_sound:
        args.fail("num_key_value_heads", f"a divisor of the {heads} query heads", f"{groups}")
    projections = [("query", query, heads), ("key", key, groups)]
    if args.flag("use_gate", False):
        projections.append(("gate", query, heads))
    projections.append(("value", value, groups))
    weights = [
        weight
        for name, shape, count in projections
        for weight in _projection(args, name, shape, 1, (count, head_dim), is_hidden=True)
    ]
    attended = (*query[:-1], heads, head_dim)
    width = (args.size(query, -1),)
    return weights + _projection(args, "attention_output", attended, 2, width, is_hidden=True)


def _query_value_key(args: LayerArgs) -> tuple[Shape, Shape, Shape]:
    shapes = args.source.shapes
    if ONLY in shapes:
        shape = args.shape(min_rank=3)  # of self-attention, where they are all the same
        return shape, shape, shape
    for name in shapes:
        if name not in ("query", "value", "key"):
            args.fail_shape("the shapes of query, value and key", repr(name))
    value = args.shape("value", min_rank=3)
    key = args.shape("key", min_rank=3) if "key" in shapes else value
    return args.shape("query", min_rank=3), value, key


def _projection(
    args: LayerArgs,
    name: str,
    shape: Shape,
    n_bound: int,
    output: tuple[int, ...],
    *,
    is_hidden: bool = False,
) -> list[LayerWeight]:
    """Give the weights of a projection of the last axes of a shape to other ones."""
    n_free = len(shape) - n_bound
    letters = string.ascii_letters
    if len(shape) + len(output) > len(letters):
        args.fail_shape(f"at most {len(letters) - len(output)} sizes", f"{len(shape) - 1}")
        return []
    free, bound = letters[:n_free], letters[n_free : len(shape)]
    made = letters[len(shape) : len(shape) + len(output)]
    weights = einsum_weights(
        args,
        f"{free}{bound},{bound}{made}->{free}{made}",
        (*(None,) * (n_free - 1), *output),
        made if args.flag("use_bias", True) else None,
        shape,
    )
    attribute = "output" if name == "attention_output" else name
    group = f"_{attribute}_dense" if is_hidden or name == "gate" else f"{attribute}_dense"
    return within(name, group, weights)


def _attention(args: LayerArgs) -> list[LayerWeight]:
    weights = []
    if args.flag("use_scale", False):
        weights.append(args.weight("scale", (), Written(raw="ones")))
    if args.choice("score_mode", ("dot", "concat")) == "concat":
        weights.append(args.weight("concat_score_weight", (), Written(raw="ones")))
    return weights


def _additive_attention(args: LayerArgs) -> list[LayerWeight]:
    if not args.flag("use_scale", True):
        return []
    size = args.size(args.shape(), -1)
    return [args.weight("scale", (size,), Written(raw="glorot_uniform"))]


ATTENTION_TYPES = (
    LayerType(
        class_name="MultiHeadAttention",
        arguments=(
            "num_heads", "key_dim", "value_dim", "output_shape", "attention_axes", *_HEADS,
        ),
        weights=_multi_head_attention,
    ),
    LayerType(
        class_name="GroupedQueryAttention",
        arguments=("head_dim", "num_query_heads", "num_key_value_heads", *_HEADS),
        weights=_grouped_query_attention,
    ),
    LayerType(
        class_name="Attention",
        arguments=("use_scale", "score_mode", "dropout", "seed"),
        weights=_attention,
    ),
    LayerType(
        class_name="AdditiveAttention",
        arguments=("use_scale", "dropout", "seed"),
        weights=_additive_attention,
    ),
)  # fmt: skip
