"""Zeros, Ones, Constant and Identity."""

from __future__ import annotations

from kinit_cli.draw import Constant, ConstantArray, Draw, Eye, Nested
from kinit_cli.initializers.base import Args, Argument, ArgumentError, InitializerType, Target


def _zeros(args: Args, target: Target) -> Draw:
    return Constant(value=0)


def _ones(args: Args, target: Target) -> Draw:
    return Constant(value=1)


def _constant(args: Args, target: Target) -> Draw:
    values: Nested = args["value"]
    if not isinstance(values, tuple):
        return Constant(value=values)
    value_shape = _shape_of(values)
    if not _can_broadcast(value_shape, target.shape):
        raise ArgumentError(
            "value",
            f"values that broadcast to the shape {list(target.shape)}",
            f"values of shape {list(value_shape)}",
            is_of_shape=True,
        )
    return ConstantArray(values=values)


def _identity(args: Args, target: Target) -> Draw:
    if len(target.shape) != 2:
        raise ArgumentError(
            None, "a shape of 2 dimensions, for an identity matrix", f"{len(target.shape)}"
        )
    return Eye(gain=args["gain"])


def _shape_of(values: Nested) -> tuple[int, ...]:
    shape = []
    while isinstance(values, tuple):
        shape.append(len(values))
        if not values:
            break
        values = values[0]
    return tuple(shape)


def _can_broadcast(source: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    if len(source) > len(shape):
        return False
    tail = shape[len(shape) - len(source) :]
    return all(size in (1, wanted) for size, wanted in zip(source, tail, strict=True))


CONSTANT_TYPES = (
    InitializerType(
        class_name="Zeros",
        names=("zeros", "zero"),
        arguments=(),
        resolve=_zeros,
        summary="Every element is 0.",
    ),
    InitializerType(
        class_name="Ones",
        names=("ones", "one"),
        arguments=(),
        resolve=_ones,
        summary="Every element is 1.",
    ),
    InitializerType(
        class_name="Constant",
        names=("constant",),
        arguments=(Argument(name="value", kind="values", default=0.0),),
        resolve=_constant,
        summary="Every element is `value`; nested lists are broadcast to the shape.",
    ),
    InitializerType(
        class_name="Identity",
        names=("identity", "IdentityInitializer"),
        arguments=(Argument(name="gain", kind="number", default=1.0),),
        resolve=_identity,
        summary="`gain` on the main diagonal of a matrix, 0 elsewhere.",
    ),
)
