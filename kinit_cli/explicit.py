"""A plan as another library must be told it: every seed and every fan's axes written out.

Nothing here imports that library, so that `inspect` can say the same of a file without it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kinit_cli.initializers.base import Args
from kinit_cli.plan import Plan, TensorPlan
from kinit_cli.stream.identity import framework_seed


def explicit_plan(plan: Plan) -> Plan:
    """Write into each initializer what only kinit knows: the tensor's seed, and PyTorch's axes.

    A random initializer without a seed of its own gets `framework_seed` of the tensor's stream.
    Under `layout: torch` one that depends on fans gets the axes that these are taken from. A plan
    that is explicit already stays as it is.
    """
    is_torch = plan.document.get("layout") == "torch"
    tensors = tuple(_explicit_tensor(tensor, is_torch=is_torch) for tensor in plan.tensors)
    return replace(plan, tensors=tensors)


def _explicit_tensor(tensor: TensorPlan, *, is_torch: bool) -> TensorPlan:
    args = tensor.initializer.args
    if tensor.initializer.type.is_custom:
        return tensor  # what its arguments mean is its own affair
    changes: dict[str, Any] = {}
    if "seed" in args and args["seed"] is None:
        changes["seed"] = framework_seed(tensor.stream_key)
    if is_torch and _takes_fans_of_layout(args, tensor.shape):
        field = range(2, len(tensor.shape))
        changes |= {"input_axes": (1, *field), "output_axes": (0, *field)}
    if tensor.dtype.kind != "float":
        # Backends multiply integers by no float.
        changes |= {name: _whole(value) for name, value in args.items()}
    if not changes:
        return tensor
    return replace(tensor, initializer=replace(tensor.initializer, args={**args, **changes}))


def _whole(value: Any) -> Any:
    """Give whole numbers for floats, nested ones too; the plan has checked that they are whole."""
    if isinstance(value, tuple):
        return tuple(map(_whole, value))
    return int(value) if isinstance(value, float) else value


def _takes_fans_of_layout(args: Args, shape: tuple[int, ...]) -> bool:
    """Tell whether the fans follow from the layout, not from axes or from the rank alone."""
    if "input_axes" not in args or len(shape) < 2:
        return False
    return args["input_axes"] is None or args["output_axes"] is None
