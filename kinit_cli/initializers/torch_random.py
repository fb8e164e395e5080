"""PyTorch's initializers that draw the same for every shape: trunc_normal."""

from __future__ import annotations

from kinit_cli.draw import BoundedNormal, Draw
from kinit_cli.initializers.base import SEED, Args, Argument, ArgumentError, Target, torch_type


def _trunc_normal(args: Args, target: Target) -> Draw:
    low, high = args["a"], args["b"]
    if low >= high:
        raise ArgumentError("b", f"more than a = {low}", f"{high}")
    return BoundedNormal(mean=args["mean"], stddev=args["std"], low=low, high=high)


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
)
