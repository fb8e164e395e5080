"""What a user should know of a plan, though nothing is wrong with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kinit_cli.draw import Constant

if TYPE_CHECKING:
    from kinit_cli.plan import TensorPlan


def shared_seed_notes(tensors: Sequence[TensorPlan]) -> list[str]:
    """Say which tensors hold equal values because their initializers have equal seeds."""
    groups: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for tensor in tensors:
        if tensor.initializer.seed is not None and not isinstance(tensor.draw, Constant):
            key = (tensor.initializer.seed, tensor.shape, tensor.draw)
            groups[key].append(tensor.path)
    notes = []
    for (seed, *_), paths in groups.items():
        if len(paths) > 1:
            shown = ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if paths[3:] else "")
            notes.append(
                f"{shown} hold equal values: their initializers have the same seed, {seed}"
            )
    return notes
