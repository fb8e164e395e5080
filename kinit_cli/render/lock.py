"""Showing what `lock --check` found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinit_cli.compare.locking import fmt_change
from kinit_cli.render.rows import MAX_ROWS, print_outcome, print_rows
from kinit_cli.render.text import make_console, plural

if TYPE_CHECKING:
    from rich.console import Console

    from kinit_cli.compare.locking import LockCheck


def render_lock_check(check: LockCheck, name: str, *, console: Console | None = None) -> None:
    """Print the tensors that are not as the lock `name` has them, and the outcome."""
    console = console or make_console()
    changes = check.changes
    if changes:
        rows = [(change.path, fmt_change(change)) for change in changes[:MAX_ROWS]]
        print_rows(console, ("tensor", "change"), rows, n_rows=len(changes))
    n_tensors = plural(len(check.made.tensors), "tensor")
    print_outcome(console, f"{name}: {_outcome(check, n_tensors)}", is_good=check.is_up_to_date)


def _outcome(check: LockCheck, n_tensors: str) -> str:
    if check.is_up_to_date:
        return f"up to date, {n_tensors}"
    if check.changes:
        verb = "is" if len(check.changes) == 1 else "are"
        return f"{plural(len(check.changes), 'tensor')} {verb} not as locked; {_cause(check)}"
    return f"{_cause(check)}, though every tensor is as locked; lock it anew"


def _cause(check: LockCheck) -> str:
    locked, made = check.locked, check.made
    if locked.stream != made.stream:
        return f"the lock is of stream version {locked.stream}, this is {made.stream}"
    if check.is_spec_changed:
        return "the spec has changed"
    return "the spec has not changed" if check.changes else "the lock's seed is not the spec's"
