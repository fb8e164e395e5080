"""What a layer makes of the initializer that it is given, before it calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinit_cli.draw import Constant, ConstantArray, Draw
from kinit_cli.initializers.base import (
    Args,
    Argument,
    ArgumentError,
    Initializer,
    InitializerType,
    Target,
)

if TYPE_CHECKING:
    from kinit_cli.layers.base import LayerWeight

#: The bias of an LSTM is listed element by element.
_MAX_FORGET_BIAS = 2**22


def adapted(initializer: Initializer, weight: LayerWeight) -> Initializer:
    """Give the initializer that the layer really calls for one of its weights.

    Raises
    ------
    ArgumentError
        The layer cannot use this initializer.
    """
    if weight.is_forget_bias:
        return _forget_bias(initializer)
    if weight.fan_axes is None or "input_axes" not in initializer.args:
        return initializer
    args = initializer.args
    if args["input_axes"] is not None and args["output_axes"] is not None:
        return initializer
    axes = dict(zip(("input_axes", "output_axes"), weight.fan_axes, strict=True))
    return Initializer(type=initializer.type, args={**args, **axes})


def _forget_bias(initializer: Initializer) -> Initializer:
    draw = initializer.draw(Target(shape=(1,), fans_layout="keras"))
    if not isinstance(draw, Constant):
        raise ArgumentError(
            None,
            "zeros, ones or constant for the bias of an LSTM with unit_forget_bias",
            str(initializer),
            "set unit_forget_bias: false",
        )
    return Initializer(type=_FORGET_BIAS, args={"value": draw.value})


def _resolve_forget_bias(args: Args, target: Target) -> Draw:
    (size,) = target.shape
    if size > _MAX_FORGET_BIAS:
        raise ArgumentError(
            None, f"at most {_MAX_FORGET_BIAS:,} elements with unit_forget_bias", f"{size:,}"
        )
    n_units = size // 4
    value = args["value"]
    return ConstantArray(values=(*(value,) * n_units, *(1.0,) * n_units, *(value,) * 2 * n_units))


#: A spec cannot name it: it comes with a layer.
_FORGET_BIAS = InitializerType(
    class_name="UnitForgetBias",
    names=("unit_forget_bias",),
    arguments=(Argument(name="value", kind="number", default=0),),
    resolve=_resolve_forget_bias,
    summary="1 for the forget gate, the second quarter; `value` for the others.",
)
