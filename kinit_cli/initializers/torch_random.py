"""PyTorch's other random initializers: trunc_normal, sparse and orthogonal_."""

from __future__ import annotations

import math

from kinit_cli.draw import BoundedNormal, Draw, Orthogonal, Sparse
from kinit_cli.initializers.base import (
    SEED,
    Args,
    Argument,
    ArgumentError,
    InitializerType,
    Target,
    torch_type,
)

#: A row's number has 32 bits where the zeros are chosen (kinit_cli.stream.sparse).
MAX_ROWS = 1 << 32


def _trunc_normal(args: Args, target: Target) -> Draw:
    low, high = args["a"], args["b"]
    if low >= high:
        raise ArgumentError("b", f"more than a = {low}", f"{high}")
    return BoundedNormal(mean=args["mean"], stddev=args["std"], low=low, high=high)


def _sparse(args: Args, target: Target) -> Draw:
    if len(target.shape) != 2:
        raise ArgumentError(
            None, "a shape of 2 dimensions, for a sparse matrix", f"{len(target.shape)}"
        )
    rows = target.shape[0]
    if rows > MAX_ROWS:
        raise ArgumentError(None, f"up to {MAX_ROWS} rows of a sparse matrix", f"{rows}")
    return Sparse(stddev=args["std"], n_zeros=math.ceil(args["sparsity"] * rows))


def _orthogonal(args: Args, target: Target) -> Draw:
    if len(target.shape) < 2:
        raise ArgumentError(
            None,
            "a shape of 2 or more dimensions, for an orthogonal matrix",
            f"{len(target.shape)}",
        )
    is_torch = target.fans_layout == "torch"
    return Orthogonal(gain=args["gain"], has_first_axis_as_rows=is_torch)


TORCH_RANDOM_TYPES = (
    torch_type(
        "trunc_normal",
        (
            Argument(name="mean", kind="number", default=0.0),
            Argument(name="std", kind="number", default=1.0, lowest=0.0, is_lowest_excluded=True),
            Argument(name="a", kind="number", default=-2.0),
            Argument(name="b", kind="number", default=2.0),
            SEED,
        ),
        _trunc_normal,
        "Normal with `mean` and `std`, cut at the values `a` and `b`.",
    ),
    torch_type(
        "sparse",
        (
            Argument(name="sparsity", kind="number", is_required=True, lowest=0.0, highest=1.0),
            Argument(name="std", kind="number", default=0.01, lowest=0.0),
            SEED,
        ),
        _sparse,
        "Normal with `std`, and zero at ceil(sparsity * rows) places of every column.",
    ),
    InitializerType(
        class_name="orthogonal_",
        names=("orthogonal_",),
        arguments=(Argument(name="gain", kind="number", default=1.0), SEED),
        resolve=_orthogonal,
        summary="As orthogonal, but of shape[0] rows in PyTorch's layout.",
        library="torch",
    ),
)
