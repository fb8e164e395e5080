"""PyTorch's initializers that scale with the fans: Kaiming and Xavier, normal and uniform.

    std = gain / sqrt(fan)  or  gain * sqrt(2 / (fan_in + fan_out));  bound = sqrt(3) * std

He et al., ICCV 2015; Glorot and Bengio, AISTATS 2010. The normals are not truncated.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from kinit_cli.draw import Draw, Normal, Uniform
from kinit_cli.initializers.base import (
    SEED,
    Args,
    Argument,
    ArgumentError,
    Target,
    torch_type,
)
from kinit_cli.initializers.fans import compute_fans

_LINEAR = (
    "linear",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "sigmoid",
)
NONLINEARITIES = (*_LINEAR, "tanh", "relu", "leaky_relu", "selu")

_KAIMING_ARGUMENTS = (
    Argument(name="a", kind="number", default=0.0),
    Argument(name="mode", kind="choice", default="fan_in", choices=("fan_in", "fan_out")),
    Argument(name="nonlinearity", kind="choice", default="leaky_relu", choices=NONLINEARITIES),
    SEED,
)
_XAVIER_ARGUMENTS = (
    Argument(name="gain", kind="number", default=1.0, lowest=0.0, is_lowest_excluded=True),
    SEED,
)


def calculate_gain(nonlinearity: str, slope: float = 0.0) -> float:
    """Give PyTorch's gain for a nonlinearity; `slope` is that of leaky_relu below zero.

    >>> calculate_gain("leaky_relu", 1.0)
    1.0
    """
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1 + slope * slope))
    return 3.0 / 4 if nonlinearity == "selu" else 1.0


def _fans(target: Target) -> tuple[int, int]:
    if len(target.shape) < 2:
        raise ArgumentError(
            None,
            "a shape of 2 or more dimensions, as PyTorch does for fans",
            f"{len(target.shape)}",
            "he_normal and glorot_uniform take any",
        )
    return compute_fans(target.shape, layout=target.fans_layout)


def _kaiming_std(args: Args, target: Target) -> float:
    fan = _fans(target)[0 if args["mode"] == "fan_in" else 1]
    # A fan of 0 is that of a tensor without elements.
    return calculate_gain(args["nonlinearity"], args["a"]) / math.sqrt(max(1, fan))


def _xavier_std(args: Args, target: Target) -> float:
    gain: float = args["gain"]
    return gain * math.sqrt(2.0 / max(1, sum(_fans(target))))


def _normal(std: Callable[[Args, Target], float], args: Args, target: Target) -> Draw:
    return Normal(mean=0.0, stddev=std(args, target))


def _uniform(std: Callable[[Args, Target], float], args: Args, target: Target) -> Draw:
    bound = math.sqrt(3.0) * std(args, target)
    return Uniform(minval=-bound, maxval=bound)


TORCH_SCALING_TYPES = (
    torch_type(
        "kaiming_uniform",
        _KAIMING_ARGUMENTS,
        functools.partial(_uniform, _kaiming_std),
        "Uniform on [-bound, bound), bound = sqrt(3) gain / sqrt(fan).",
    ),
    torch_type(
        "kaiming_normal",
        _KAIMING_ARGUMENTS,
        functools.partial(_normal, _kaiming_std),
        "Normal with standard deviation gain / sqrt(fan), not truncated.",
    ),
    torch_type(
        "xavier_uniform",
        _XAVIER_ARGUMENTS,
        functools.partial(_uniform, _xavier_std),
        "Uniform on [-bound, bound), bound = sqrt(3) gain sqrt(2 / (fan_in + fan_out)).",
    ),
    torch_type(
        "xavier_normal",
        _XAVIER_ARGUMENTS,
        functools.partial(_normal, _xavier_std),
        "Normal with standard deviation gain sqrt(2 / (fan_in + fan_out)), not truncated.",
    ),
)
