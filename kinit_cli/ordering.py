"""Orders of a file's tensors other than that of the spec."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from kinit_cli.grouping import TensorGroup
    from kinit_cli.summary import TensorSummary

SortKey: TypeAlias = Literal["name", "size", "mean", "std", "min", "max"]
SORT_KEYS: tuple[SortKey, ...] = ("name", "size", "mean", "std", "min", "max")
#: Those that groups of tensors have as well.
GROUP_SORT_KEYS: tuple[SortKey, ...] = ("name", "size")


def sort_tensors(tensors: Iterable[TensorSummary], key: SortKey) -> tuple[TensorSummary, ...]:
    """Sort by name, `block_2` before `block_10`, or by a number, the largest first.

    `size` is that in bytes. Tensors without the number come last, and equal ones keep their order.
    """
    if key == "name":
        # It needs NumPy, which `--help` does not wait for.
        from kinit_cli.formats.weights_file import natural_key

        return tuple(sorted(tensors, key=lambda tensor: natural_key(tensor.path)))
    return tuple(sorted(tensors, key=lambda tensor: -_number(tensor, key)))


def sort_groups(groups: Iterable[TensorGroup], key: SortKey | None) -> tuple[TensorGroup, ...]:
    """Sort by size in bytes, the largest first; for any other key the order is right already."""
    if key != "size":
        return tuple(groups)
    return tuple(sorted(groups, key=lambda group: -group.n_bytes))


def _number(tensor: TensorSummary, key: SortKey) -> float:
    if key == "size":
        return tensor.n_bytes
    found: float | None = getattr(tensor.stats, key) if tensor.stats else None
    return -math.inf if found is None else found
