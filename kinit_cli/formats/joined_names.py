"""Names for formats whose tensors lie in no folders: the parts of a path, joined by a separator."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kinit_cli.plan import Plan

DEFAULT_SEPARATOR = "."


def joined_names(plan: Plan, separator: str) -> dict[str, str]:
    """Give each tensor's name by its path, in the order of the plan."""
    return {tensor.path: tensor.path.replace("/", separator) for tensor in plan.tensors}


def changed_names(plan: Plan, separator: str) -> dict[str, str]:
    """Give the names of tensors that are not named by their path."""
    names = joined_names(plan, separator)
    return {path: name for path, name in names.items() if name != path}


def name_faults(plan: Plan, separator: str) -> list[str]:
    """Find tensors that would have the same name."""
    path_by_name: dict[str, str] = {}
    return [
        f"{path_by_name[name]!r} and {path!r} would both be named {name!r}; "
        "rename one, or choose another --separator"
        for path, name in joined_names(plan, separator).items()
        if path_by_name.setdefault(name, path) != path
    ]
