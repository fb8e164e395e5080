"""JAX's delta_orthogonal, which Keras and PyTorch lack (Xiao et al., ICML 2018)."""

from __future__ import annotations

from kinit_cli.draw import DeltaOrthogonal, Draw, channels
from kinit_cli.initializers.base import (
    SEED,
    Args,
    Argument,
    ArgumentError,
    InitializerType,
    Target,
)


def _delta_orthogonal(args: Args, target: Target) -> Draw:
    if len(target.shape) not in (3, 4, 5):
        raise ArgumentError(
            None,
            "a shape of 3, 4 or 5 dimensions, for the kernel of a convolution",
            f"{len(target.shape)}",
        )
    n_inputs, n_outputs = channels(target.shape, target.fans_layout)
    if n_inputs > n_outputs:
        raise ArgumentError(
            None,
            "no more input than output channels, for a kernel that keeps lengths",
            f"{n_inputs} and {n_outputs}",
        )
    return DeltaOrthogonal(gain=args["scale"], layout=target.fans_layout)


JAX_TYPES = (
    InitializerType(
        class_name="delta_orthogonal",
        names=("delta_orthogonal",),
        arguments=(Argument(name="scale", kind="number", default=1.0), SEED),
        resolve=_delta_orthogonal,
        summary="`scale` times an orthogonal matrix in the middle of a kernel, 0 elsewhere.",
        library="jax",
    ),
)
