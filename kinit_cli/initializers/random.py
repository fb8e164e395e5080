"""RandomNormal, RandomUniform, TruncatedNormal and Orthogonal: the same for every shape."""

from __future__ import annotations

from kinit_cli.draw import Draw, Normal, Orthogonal, TruncatedNormal, Uniform
from kinit_cli.initializers.base import (
    SEED,
    Args,
    Argument,
    ArgumentError,
    InitializerType,
    Target,
)

_MEAN = Argument(name="mean", kind="number", default=0.0)
_STDDEV = Argument(name="stddev", kind="number", default=0.05, lowest=0.0)


def _normal(args: Args, target: Target) -> Draw:
    return Normal(mean=args["mean"], stddev=args["stddev"])


def _truncated_normal(args: Args, target: Target) -> Draw:
    return TruncatedNormal(mean=args["mean"], stddev=args["stddev"])


def _uniform(args: Args, target: Target) -> Draw:
    minval, maxval = args["minval"], args["maxval"]
    if minval >= maxval:
        raise ArgumentError(
            "maxval",
            f"more than minval = {minval}",
            f"{maxval}",
            "the interval is [minval, maxval)",
        )
    return Uniform(minval=minval, maxval=maxval)


def _orthogonal(args: Args, target: Target) -> Draw:
    if len(target.shape) < 2:
        raise ArgumentError(
            None,
            "a shape of 2 or more dimensions, for an orthogonal matrix",
            f"{len(target.shape)}",
        )
    return Orthogonal(gain=args["gain"])


RANDOM_TYPES = (
    InitializerType(
        class_name="RandomNormal",
        names=("random_normal", "normal"),
        arguments=(_MEAN, _STDDEV, SEED),
        resolve=_normal,
        summary="Normal with `mean` and `stddev`.",
    ),
    InitializerType(
        class_name="RandomUniform",
        names=("random_uniform", "uniform"),
        arguments=(
            Argument(name="minval", kind="number", default=-0.05),
            Argument(name="maxval", kind="number", default=0.05),
            SEED,
        ),
        resolve=_uniform,
        summary="Uniform on [minval, maxval).",
    ),
    InitializerType(
        class_name="TruncatedNormal",
        names=("truncated_normal",),
        arguments=(_MEAN, _STDDEV, SEED),
        resolve=_truncated_normal,
        summary="Normal with `mean` and `stddev`, cut at 2 `stddev` from the mean.",
    ),
    InitializerType(
        class_name="Orthogonal",
        names=("orthogonal", "OrthogonalInitializer"),
        arguments=(Argument(name="gain", kind="number", default=1.0), SEED),
        resolve=_orthogonal,
        summary="`gain` times a Haar-distributed orthogonal matrix (Stewart, 1980).",
    ),
)
