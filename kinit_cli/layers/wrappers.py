"""Bidirectional and TimeDistributed: layers around a layer."""

from __future__ import annotations

from kinit_cli.layers.args import LayerArgs
from kinit_cli.layers.base import LayerType, LayerWeight, within
from kinit_cli.layers.parts import part_of


def _bidirectional(args: LayerArgs) -> list[LayerWeight]:
    shape = args.shape(min_rank=3)
    forward = part_of(args, ("layer",), shape)
    if forward is None:
        return []
    name = forward.name.removeprefix("forward_")
    if args.has("backward_layer"):
        backward = part_of(args, ("backward_layer",), shape)
        if backward is None:
            return []
        backward_name = backward.name
    else:
        backward, backward_name = forward, f"backward_{forward.name.removeprefix('backward_')}"
    return [
        *within(f"forward_{name}", "forward_layer", forward.weights),
        *within(backward_name, "backward_layer", backward.weights),
    ]


def _time_distributed(args: LayerArgs) -> list[LayerWeight]:
    shape = args.shape(min_rank=3)
    inner = part_of(args, ("layer",), (shape[0], *shape[2:]))
    return [] if inner is None else within(inner.name, "layer", inner.weights)


WRAPPER_TYPES = (
    LayerType(
        class_name="Bidirectional",
        arguments=("layer", "merge_mode", "weights", "backward_layer"),
        weights=_bidirectional,
    ),
    LayerType(class_name="TimeDistributed", arguments=("layer",), weights=_time_distributed),
)
