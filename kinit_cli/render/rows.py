"""A table of the tensors that differ, a bounded number of them, with names shown verbatim."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.segment import Segments
from rich.table import Table
from rich.text import Text

from kinit_cli.render.text import fmt_shape, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

#: A table longer than this shows its beginning; `--json` has it all.
MAX_ROWS = 40
_MIN_PATH_WIDTH = 16
_MIN_TABLE_WIDTH = 64
_UNBROKEN = ("max abs", "max rel", "at")


def print_rows(
    console: Console, headers: Sequence[str], rows: Sequence[Sequence[str]], *, n_rows: int
) -> None:
    """Print a table, and how many of its `n_rows` rows are not among these."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    # The paths get what the other columns leave, but never too little to be read.
    width = max(map(cell_len, [headers[0], *(row[0] for row in rows)]))
    table.add_column(headers[0], overflow="fold", min_width=min(width, _MIN_PATH_WIDTH))
    for header in headers[1:]:
        table.add_column(header, overflow="fold", no_wrap=header in _UNBROKEN)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    # A terminal that is narrower breaks the lines itself; squeezed further, columns would vanish.
    width = max(console.width, _MIN_TABLE_WIDTH)
    options = console.options.update(width=width)
    lines = console.render_lines(table, options, pad=False, new_lines=True)
    console.print(Segments(chain.from_iterable(lines)), soft_wrap=True, end="")
    if n_rows > len(rows):
        hidden = f"({n_rows - len(rows):,} of {n_rows:,} are not shown; --json has them all)"
        console.print(Text(hidden))
    console.print()


def print_notes(console: Console, notes: Sequence[str]) -> None:
    """Print remarks, a line each."""
    for note in notes:
        console.print(Text(f"note: {printable(note, limit=2000)}", style="yellow"), soft_wrap=True)


def print_outcome(console: Console, line: str, *, is_good: bool) -> None:
    """Print the line that says how it ended."""
    style = "bold" if is_good else "bold red"
    console.print(Text(printable(line, limit=2000), style=style), soft_wrap=True)


def fmt_kind(shape: tuple[int, ...] | None, dtype: str | None, console: Console) -> str:
    """Write a tensor's dtype and shape."""
    return f"{dtype} {fmt_shape(shape or (), console.options.ascii_only)}"


def fmt_index(index: tuple[int, ...]) -> str:
    """Write the place of an element.

    >>> fmt_index((3, 17))
    '[3,17]'
    """
    return f"[{','.join(map(str, index))}]"
