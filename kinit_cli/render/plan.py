"""Showing a plan before anything is generated."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from kinit_cli.plan import Plan
from kinit_cli.render.text import fmt_bytes, fmt_shape, make_console, printable


def render_plan(plan: Plan) -> None:
    """Print every tensor that a plan would generate, and totals."""
    console = make_console()
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("tensor", overflow="fold")
    for header in ("shape", "dtype", "initializer"):
        table.add_column(header, overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    for tensor in plan.tensors:
        table.add_row(
            Text(printable(tensor.path)),
            Text(fmt_shape(tensor.shape, console.options.ascii_only)),
            Text(tensor.dtype.name),
            Text(printable(str(tensor.initializer))),
            Text(fmt_bytes(tensor.n_bytes).split(" (")[0]),
        )
    console.print(table)
    n_tensors = len(plan.tensors)
    totals = f"{n_tensors:,} tensors, {plan.n_elements:,} parameters, {fmt_bytes(plan.n_bytes)}"
    console.print()
    console.print(Text(totals, style="bold"), soft_wrap=True)
    origin = f", values {printable(str(plan.origin))}" if plan.origin else ""
    console.print(Text(f"seed {plan.seed}{origin}; dry run, nothing was written"), soft_wrap=True)
    for note in plan.notes:
        console.print(Text(f"note: {printable(note, limit=2000)}", style="yellow"), soft_wrap=True)
