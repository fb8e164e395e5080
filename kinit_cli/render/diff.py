"""Showing what `diff` found."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from kinit_cli.render.rows import (
    MAX_ROWS,
    fmt_index,
    fmt_kind,
    print_notes,
    print_outcome,
    print_rows,
)
from kinit_cli.render.text import fmt_bytes, fmt_number, make_console, plural

if TYPE_CHECKING:
    from rich.console import Console

    from kinit_cli.compare.difference import FileDiff, TensorDiff

_HEADERS = ("tensor", "differs", "max abs", "max rel", "at", "A, B")
_COUNTED = ("identical", "equal", "close")


def render_diff(diff: FileDiff, *, console: Console | None = None) -> None:
    """Print the tensors of two files that are not identical, and the outcome."""
    console = console or make_console()
    shown = [tensor for tensor in diff.tensors if tensor.status != "identical"]
    if shown:
        rows = [_row(tensor, diff, console) for tensor in shown[:MAX_ROWS]]
        print_rows(console, _HEADERS, rows, n_rows=len(shown))
    names = f"A {diff.source_a} ({diff.format_a}), B {diff.source_b} ({diff.format_b})"
    print_outcome(console, f"{names}: {_outcome(diff)}", is_good=diff.is_same)
    totals = [
        plural(len(diff.tensors), "tensor"),
        *_counts(diff),
        f"{fmt_bytes(diff.n_bytes)} compared",
        f"{diff.seconds:.2f} s",
    ]
    print_outcome(console, ", ".join(totals), is_good=True)
    if shown:
        rule = "0 equals -0; NaN is compared by its bits and equals no other NaN"
        print_outcome(console, rule, is_good=True)
    print_notes(console, [*_dtype_changes(diff), *diff.notes])


def _outcome(diff: FileDiff) -> str:
    n_differing = len(diff.differing)
    if not n_differing:
        return "the same" if diff.tolerance is None else "the same within the tolerance"
    return f"{plural(n_differing, 'tensor')} {'differs' if n_differing == 1 else 'differ'}"


def _counts(diff: FileDiff) -> list[str]:
    statuses = [tensor.status for tensor in diff.tensors]
    return [f"{statuses.count(one):,} {one}" for one in _COUNTED if one in statuses]


def _row(tensor: TensorDiff, diff: FileDiff, console: Console) -> tuple[str, ...]:
    path = tensor.path
    if tensor.a and tensor.b and tensor.a.path != tensor.b.path:
        path = f"{path} ({tensor.b.path})"
    kinds = [fmt_kind(e.shape, e.dtype, console) for e in (tensor.a, tensor.b) if e]
    match tensor.status:
        case "only_a" | "only_b":
            return path, f"only in {tensor.status[-1].upper()}", "", "", "", *kinds
        case "shape":
            return path, "shape", "", "", "", ", ".join(kinds)
        case "not_compared":
            return path, "not compared", "", "", "", ", ".join(kinds)
    found, first = tensor.distance, tensor.first
    assert found is not None
    numbers = (fmt_number(found.max_abs), fmt_number(found.max_rel)) if found.n_values else ("", "")
    if first is None or tensor.index is None:
        return path, _count(tensor, diff), *numbers, "", ", ".join(kinds)
    values = [first.a.value, first.b.value]
    if values[0] == values[1]:
        values = [f"{one.value} (0x{one.bits})" for one in (first.a, first.b)]
    return path, _count(tensor, diff), *numbers, fmt_index(tensor.index), ", ".join(values)


def _count(tensor: TensorDiff, diff: FileDiff) -> str:
    found, a = tensor.distance, tensor.a
    assert found is not None
    assert a is not None
    if tensor.status == "equal":
        return "equal values"
    if tensor.status == "close":
        return f"{found.n_values:,} close"
    return f"{found.n_beyond if diff.tolerance else found.n_values:,} of {a.n_elements:,}"


def _dtype_changes(diff: FileDiff) -> list[str]:
    """Say, for each two dtypes, how many tensors have one in A and the other in B."""
    changes = Counter((t.a.dtype, t.b.dtype) for t in diff.tensors if t.a and t.b)
    return [
        f"{plural(count, 'tensor')}: {a} in A, {b} in B"
        for (a, b), count in changes.items()
        if a != b
    ]
