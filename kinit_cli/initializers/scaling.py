"""VarianceScaling and its named cases: Glorot, He and Lecun, normal and uniform.

    n = fan_in, fan_out or their mean;  s = scale / max(1, n)
    truncated_normal: stddev = sqrt(s) / 0.87962566103423978;  untruncated_normal: sqrt(s)
    uniform: limit = sqrt(3 s)

Glorot and Bengio, AISTATS 2010; He et al., ICCV 2015; LeCun et al., Efficient BackProp, 1998.
"""

from __future__ import annotations

import functools
import math

from kinit_cli.draw import TRUNCATED_STDDEV, Draw, Normal, TruncatedNormal, Uniform
from kinit_cli.initializers.base import (
    SEED,
    Args,
    Argument,
    ArgumentError,
    InitializerType,
    Target,
)
from kinit_cli.initializers.fans import compute_fans

_AXES = (Argument(name="input_axes", kind="axes"), Argument(name="output_axes", kind="axes"))


def scaled_draw(scale: float, n: float, distribution: str) -> Draw:
    """Give the draw whose variance is scale / max(1, n), in float64 in the stream's order."""
    s = scale / max(1.0, n)
    if distribution == "uniform":
        limit = math.sqrt(3.0 * s)
        return Uniform(minval=-limit, maxval=limit)
    if distribution == "untruncated_normal":
        return Normal(mean=0.0, stddev=math.sqrt(s))
    return TruncatedNormal(mean=0.0, stddev=math.sqrt(s) / TRUNCATED_STDDEV)


def _fan(mode: str, args: Args, target: Target) -> float:
    for name in ("input_axes", "output_axes"):
        for axis in args[name] or ():
            if not -len(target.shape) <= axis < len(target.shape):
                expected = f"axes of a tensor of {len(target.shape)} dimensions"
                raise ArgumentError(name, expected, str(axis), is_of_shape=True)
    fan_in, fan_out = compute_fans(
        target.shape,
        layout=target.fans_layout,
        input_axes=args["input_axes"],
        output_axes=args["output_axes"],
    )
    return {"fan_in": fan_in, "fan_out": fan_out}.get(mode, (fan_in + fan_out) / 2.0)


def _variance_scaling(args: Args, target: Target) -> Draw:
    n = _fan(args["mode"], args, target)
    return scaled_draw(args["scale"], n, args["distribution"])


def _named(scale: float, mode: str, distribution: str, args: Args, target: Target) -> Draw:
    return scaled_draw(scale, _fan(mode, args, target), distribution)


def _named_type(
    author: str, scale: float, mode: str, kind: str, distribution: str, formula: str
) -> InitializerType:
    return InitializerType(
        class_name=f"{author}{kind.capitalize()}",
        names=(f"{author.lower()}_{kind}",),
        arguments=(SEED, *_AXES),
        resolve=functools.partial(_named, scale, mode, distribution),
        summary=formula,
    )


def _named_types(author: str, scale: float, mode: str, fans: str) -> list[InitializerType]:
    limit = f"Uniform on [-limit, limit), limit = sqrt({3 * scale:g} / {fans})."
    stddev = f"Normal with standard deviation sqrt({scale:g} / {fans}), truncated."
    return [
        _named_type(author, scale, mode, "uniform", "uniform", limit),
        _named_type(author, scale, mode, "normal", "truncated_normal", stddev),
    ]


SCALING_TYPES = (
    InitializerType(
        class_name="VarianceScaling",
        names=("variance_scaling",),
        arguments=(
            Argument(name="scale", kind="number", default=1.0, lowest=0.0, is_lowest_excluded=True),
            Argument(
                name="mode",
                kind="choice",
                default="fan_in",
                choices=("fan_in", "fan_out", "fan_avg"),
            ),
            Argument(
                name="distribution",
                kind="choice",
                default="truncated_normal",
                choices=("truncated_normal", "untruncated_normal", "uniform", "normal"),
            ),
            SEED,
            *_AXES,
        ),
        resolve=_variance_scaling,
        summary="Variance `scale` / n, n the fan that `mode` names, in the given distribution.",
    ),
    *_named_types("Glorot", 1.0, "fan_avg", "fan_avg"),
    *_named_types("He", 2.0, "fan_in", "fan_in"),
    *_named_types("Lecun", 1.0, "fan_in", "fan_in"),
)
