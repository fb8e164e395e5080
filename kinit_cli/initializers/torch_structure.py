"""PyTorch's initializers of a given structure: eye and dirac."""

from __future__ import annotations

from kinit_cli.draw import Dirac, Draw, Eye, channels
from kinit_cli.initializers.base import Args, Argument, ArgumentError, Target, torch_type


def _eye(args: Args, target: Target) -> Draw:
    if len(target.shape) != 2:
        raise ArgumentError(
            None, "a shape of 2 dimensions, for an identity matrix", f"{len(target.shape)}"
        )
    return Eye(gain=1.0)


def _dirac(args: Args, target: Target) -> Draw:
    if len(target.shape) not in (3, 4, 5):
        raise ArgumentError(
            None,
            "a shape of 3, 4 or 5 dimensions, for the kernel of a convolution",
            f"{len(target.shape)}",
        )
    groups = args["groups"]
    _, outputs = channels(target.shape, target.fans_layout)
    if outputs % groups:
        raise ArgumentError(
            "groups", f"a divisor of the {outputs} output channels", f"{groups}", is_of_shape=True
        )
    return Dirac(groups=groups, layout=target.fans_layout)


TORCH_STRUCTURE_TYPES = (
    torch_type("eye", (), _eye, "1 on the main diagonal of a matrix, 0 elsewhere."),
    torch_type(
        "dirac",
        (Argument(name="groups", kind="count", default=1),),
        _dirac,
        "A convolution's kernel that passes its input channels through, group by group.",
    ),
)
