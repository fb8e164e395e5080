"""Showing the tensors of a file by groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from kinit_cli.render.summary import footer_lines
from kinit_cli.render.text import fmt_bytes, fmt_number, make_console, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from kinit_cli.grouping import TensorGroup
    from kinit_cli.summary import FileSummary

_NUMBERS = ("tensors", "parameters", "size", "share", "L2 norm")


def render_groups(
    summary: FileSummary, groups: Sequence[TensorGroup], *, console: Console | None = None
) -> None:
    """Print a row for each group, then what is printed of any file."""
    console = console or make_console()
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("group", overflow="fold")
    for header in _NUMBERS:
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("dtype", overflow="fold")
    for group in groups:
        table.add_row(_name_and_flags(group), *_cells(group, summary.n_bytes))
    console.print(table)
    console.print()
    for line in footer_lines(summary):
        console.print(line, soft_wrap=True)


def _cells(group: TensorGroup, n_bytes: int) -> tuple[str, ...]:
    return (
        f"{group.n_tensors:,}",
        f"{group.n_parameters:,}",
        fmt_bytes(group.n_bytes).split(" (")[0],
        f"{100 * group.n_bytes / n_bytes:.1f} %" if n_bytes else "-",
        fmt_number(group.l2_norm),
        printable(", ".join(group.dtypes)),
    )


def _name_and_flags(group: TensorGroup) -> Text:
    counts = (
        (group.n_nan, "NaN"),
        (group.n_inf, "Inf"),
        (group.n_failed, "failed"),
    )
    flags = ", ".join(f"{count:,} {what}" for count, what in counts if count)
    name = Text(printable(group.path))
    return name.append(f"\n{flags}", style="bold red") if flags else name
