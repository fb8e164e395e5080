"""Convolutions: plain, transposed, depthwise and separable, of one to three dimensions."""

from __future__ import annotations

import functools

from kinit_cli.layers.args import LayerArgs
from kinit_cli.layers.base import LayerType, LayerWeight
from kinit_cli.layers.dense import KERNEL_ARGUMENTS, TUNING

_WINDOW = (
    "kernel_size", "strides", "padding", "data_format", "dilation_rate", "activation",
)  # fmt: skip


def _conv(rank: int, args: LayerArgs) -> list[LayerWeight]:
    args.refuse(TUNING)
    n_channels = args.channels(args.shape(min_rank=rank + 2))
    groups, filters = args.whole("groups", 1), args.whole("filters")
    for name, count in (("input channels", n_channels), ("filters", filters)):
        if count % groups and args.is_sound:
            args.fail("groups", f"a divisor of the {count} {name}", f"{groups}")
    shape = (*args.sizes("kernel_size", rank), n_channels // groups, filters)
    return _kernel_and_bias(args, shape, filters, "kernel_initializer")


def _conv_transpose(rank: int, args: LayerArgs) -> list[LayerWeight]:
    n_channels = args.channels(args.shape(min_rank=rank + 2))
    filters = args.whole("filters")
    shape = (*args.sizes("kernel_size", rank), filters, n_channels)
    return _kernel_and_bias(args, shape, filters, "kernel_initializer")


def _depthwise_conv(rank: int, args: LayerArgs) -> list[LayerWeight]:
    n_channels = args.channels(args.shape(min_rank=rank + 2))
    multiplier = args.whole("depth_multiplier", 1)
    shape = (*args.sizes("kernel_size", rank), n_channels, multiplier)
    return _kernel_and_bias(args, shape, n_channels * multiplier, "depthwise_initializer")


def _separable_conv(rank: int, args: LayerArgs) -> list[LayerWeight]:
    n_channels = args.channels(args.shape(min_rank=rank + 2))
    multiplier, filters = args.whole("depth_multiplier", 1), args.whole("filters")
    depthwise_shape = (*args.sizes("kernel_size", rank), n_channels, multiplier)
    pointwise_shape = (*(1,) * rank, n_channels * multiplier, filters)
    depthwise = args.initializer("depthwise_initializer", "glorot_uniform")
    pointwise = args.initializer("pointwise_initializer", "glorot_uniform")
    return [
        args.weight("depthwise_kernel", depthwise_shape, depthwise),
        args.weight("pointwise_kernel", pointwise_shape, pointwise),
        *_bias(args, filters),
    ]


def _kernel_and_bias(
    args: LayerArgs, shape: tuple[int, ...], n_outputs: int, argument: str
) -> list[LayerWeight]:
    kernel = args.initializer(argument, "glorot_uniform")
    return [args.weight("kernel", shape, kernel), *_bias(args, n_outputs)]


def _bias(args: LayerArgs, n_outputs: int) -> list[LayerWeight]:
    if not args.flag("use_bias", True):
        return []
    return [args.weight("bias", (n_outputs,), args.initializer("bias_initializer", "zeros"))]


def _named(*parts: str) -> tuple[str, ...]:
    return tuple(f"{part}_{what}" for part in parts for what in _SETTINGS)


_SETTINGS = ("initializer", "regularizer", "constraint")
_DEPTHWISE = ("depth_multiplier", "use_bias", *_named("depthwise", "bias"))

CONV_TYPES = tuple(
    layer_type
    for rank in (1, 2, 3)
    for layer_type in (
        LayerType(
            class_name=f"Conv{rank}D",
            arguments=(
                "filters", *_WINDOW, "groups", *KERNEL_ARGUMENTS, "lora_rank", "lora_alpha",
                "quantization_config",
            ),
            weights=functools.partial(_conv, rank),
        ),
        LayerType(
            class_name=f"Conv{rank}DTranspose",
            arguments=("filters", *_WINDOW, "output_padding", *KERNEL_ARGUMENTS),
            weights=functools.partial(_conv_transpose, rank),
        ),
        LayerType(
            class_name=f"DepthwiseConv{rank}D",
            arguments=(*_WINDOW, *_DEPTHWISE),
            weights=functools.partial(_depthwise_conv, rank),
        ),
        LayerType(
            class_name=f"SeparableConv{rank}D",
            arguments=("filters", *_WINDOW, *_DEPTHWISE, *_named("pointwise")),
            weights=functools.partial(_separable_conv, rank),
        ),
    )
    if rank < 3 or not layer_type.class_name.startswith(("Depthwise", "Separable"))
)  # fmt: skip
