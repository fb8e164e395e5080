"""The tensors of a file as a table, with totals and notes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kinit_cli.render.text import (
    fmt_bytes,
    fmt_number,
    fmt_scaled,
    fmt_shape,
    make_console,
    plural,
    printable,
)
from kinit_cli.render.textplot import draw_histogram

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kinit_cli.summary import FileSummary, TensorSummary, VerdictCounts

_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII_BLOCKS = ".:-=+*#@"
_WIDE_CELLS, _NARROW_CELLS = 16, 10
_MIN_PATH_WIDTH = 16
#: Characters between two columns.
_GAP = 2
_MAX_FAULTS = 20


@dataclass(frozen=True, kw_only=True)
class _Column:
    header: str
    cells: tuple[Text, ...]
    is_number: bool = True

    @cached_property
    def width(self) -> int:
        lines = (line for cell in self.cells for line in cell.plain.split("\n"))
        return max(len(self.header), *map(cell_len, lines))


def render_summary(
    summary: FileSummary, *, console: Console | None = None, limit_rows: int | None = None
) -> None:
    """Print a file's tensors as a table, with totals and notes.

    Parameters
    ----------
    summary
        What `generate` or `inspect` found.
    console : rich.console.Console, optional
        Where to print; standard output if absent.
    limit_rows : int, optional
        Show at most this many tensors, the first and the last ones.
    """
    console = console or make_console()
    first, last = _split_rows(summary.tensors, limit_rows)
    shown = (*first, *last)
    if shown:
        table = _table(shown, len(first) if last else None, console)
        console.print(table)
    n_hidden = len(summary.tensors) - len(shown)
    if n_hidden:
        console.print(Text(f"({n_hidden:,} of {len(summary.tensors):,} tensors are not shown)"))
    if summary.tensors:
        console.print()
    for line in footer_lines(summary):
        console.print(line, soft_wrap=True)


def footer_lines(summary: FileSummary) -> Iterator[Text]:
    """Give what stands below a file's tensors: totals, the file, tests and notes, a line each."""
    totals = [
        plural(len(summary.tensors), "tensor"),
        plural(summary.n_parameters, "parameter"),
        fmt_bytes(summary.n_bytes),
        f"{summary.seconds:.2f} s",
    ]
    if summary.seconds > 0 and summary.n_bytes:
        totals.append(f"{fmt_scaled(int(summary.n_bytes / summary.seconds), 1000, 'B')}/s")
    yield Text(", ".join(totals), style="bold")
    about = [f"{summary.format} ({summary.layout})"]
    dtype = _common_dtype(summary.tensors)
    if dtype is not None:
        about.append(f"all {printable(dtype)}")
    for name in ("seed", "stream", "engine"):
        value = getattr(summary, name)
        if value is not None:
            about.append(f"{name} {printable(str(value))}")
    if summary.origin:
        about.append(f"values {printable(str(summary.origin))}")
    yield Text(f"{printable(summary.source)}: {', '.join(about)}")
    n_flagged = sum(1 for tensor in summary.tensors if _bad_values(tensor))
    if n_flagged:
        yield Text(f"NaN or Inf in {plural(n_flagged, 'tensor')}", style="bold red")
    if summary.tests:
        yield from _test_lines(summary, summary.tests)
    for note in summary.notes:
        yield Text(f"note: {printable(note, limit=2000)}", style="yellow")


def flags_of(tensor: TensorSummary) -> str:
    """Name what is wrong with a tensor, in a few words."""
    flags = [_bad_values(tensor)]
    if tensor.test and tensor.test.verdict == "fail":
        flags.append("fails its test")
    return ", ".join(filter(None, flags))


def _split_rows(
    tensors: Sequence[TensorSummary], limit: int | None
) -> tuple[Sequence[TensorSummary], Sequence[TensorSummary]]:
    if limit is None or len(tensors) <= limit:
        return tensors, ()
    n_last = limit // 2
    return tensors[: limit - n_last], tensors[len(tensors) - n_last :]


def _table(tensors: Sequence[TensorSummary], gap_after: int | None, console: Console) -> Table:
    columns = _columns(tensors, console)
    room = console.width - sum(column.width + _GAP for column in columns[1:])
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        is_path = column is columns[0]
        table.add_column(
            column.header,
            justify="right" if column.is_number else "left",
            overflow="fold",
            no_wrap=not is_path,
            width=min(column.width, max(room, 8)) if is_path else column.width,
        )
    for index, row in enumerate(zip(*(column.cells for column in columns), strict=True)):
        table.add_row(*row, end_section=index + 1 == gap_after)
    return table


def _columns(tensors: Sequence[TensorSummary], console: Console) -> list[_Column]:
    """Choose the columns that fit, leaving a usable width for the paths."""
    is_ascii = console.options.ascii_only
    columns = _all_columns(tensors, is_ascii)
    path = columns.pop("tensor")
    room = console.width - min(path.width, _MIN_PATH_WIDTH) - 1

    def is_too_wide() -> bool:
        return sum(column.width + _GAP for column in columns.values()) > room

    if is_too_wide() and _common_dtype(tensors):
        columns.pop("dtype")
    if is_too_wide():
        columns["histogram"] = _histogram_column(tensors, _NARROW_CELLS, is_ascii)
    for name in ("mean", "dtype", "max", "min", "expected", "histogram", "shape"):
        if is_too_wide():
            columns.pop(name, None)
    return [path, *columns.values()]


def _all_columns(tensors: Sequence[TensorSummary], is_ascii: bool) -> dict[str, _Column]:
    stats = [tensor.stats for tensor in tensors]

    def text(header: str, values: Sequence[str]) -> _Column:
        return _Column(header=header, cells=tuple(map(Text, values)), is_number=False)

    def numbers(header: str, values: Sequence[float | None]) -> _Column:
        return _Column(header=header, cells=tuple(Text(fmt_number(value)) for value in values))

    columns = {
        "tensor": _Column(
            header="tensor", cells=tuple(map(_name_and_flags, tensors)), is_number=False
        ),
        "shape": text("shape", [fmt_shape(tensor.shape, is_ascii) for tensor in tensors]),
        "dtype": text("dtype", [printable(tensor.dtype) for tensor in tensors]),
        "mean": numbers("mean", [s.mean if s else None for s in stats]),
        "std": numbers("std", [s.std if s else None for s in stats]),
        "expected": numbers("expected", [tensor.expected_std for tensor in tensors]),
        "min": numbers("min", [s.min if s else None for s in stats]),
        "max": numbers("max", [s.max if s else None for s in stats]),
        "histogram": _histogram_column(tensors, _WIDE_CELLS, is_ascii),
    }
    if all(tensor.expected_std is None for tensor in tensors):
        columns.pop("expected")
    return columns


def _histogram_column(tensors: Sequence[TensorSummary], n_cells: int, is_ascii: bool) -> _Column:
    blocks = _ASCII_BLOCKS if is_ascii else _BLOCKS
    drawn = [
        draw_histogram(tensor.stats.histogram, n_cells=n_cells, blocks=blocks)
        if tensor.stats and tensor.stats.histogram
        else ""
        for tensor in tensors
    ]
    cells = tuple(Text(line, style="cyan") for line in drawn)
    return _Column(header="histogram", cells=cells, is_number=False)


def _name_and_flags(tensor: TensorSummary) -> Text:
    name, flags = Text(printable(tensor.path)), flags_of(tensor)
    return name.append(f"\n{flags}", style="bold red") if flags else name


def _common_dtype(tensors: Sequence[TensorSummary]) -> str | None:
    dtypes = {tensor.dtype for tensor in tensors}
    return dtypes.pop() if len(dtypes) == 1 else None


def _bad_values(tensor: TensorSummary) -> str:
    if tensor.stats is None:
        return ""
    counts = ((tensor.stats.n_nan, "NaN"), (tensor.stats.n_inf, "Inf"))
    return ", ".join(f"{count:,} {what}" for count, what in counts if count)


def _test_lines(summary: FileSummary, tests: VerdictCounts) -> Iterator[Text]:
    counts = (
        (tests.n_passed, "passed"),
        (tests.n_failed, "failed"),
        (tests.n_untested, "with nothing to test"),
        (len(tests.missing), "missing"),
    )
    shown = ", ".join(f"{count:,} {what}" for count, what in counts if count)
    yield Text(f"tests: {shown or 'none'}", style="bold red" if tests.is_failure else "")
    faults = [
        *(f"{t.path}: {'; '.join(t.test.reasons)}" for t in _failed_tensors(summary) if t.test),
        *(f"{path}: the file records it and does not have it" for path in tests.missing),
    ]
    for fault in faults[:_MAX_FAULTS]:
        yield Text(printable(fault, limit=2000), style="red")
    if faults[_MAX_FAULTS:]:
        yield Text(f"and {len(faults) - _MAX_FAULTS:,} more", style="red")


def _failed_tensors(summary: FileSummary) -> list[TensorSummary]:
    return [tensor for tensor in summary.tensors if tensor.test and tensor.test.verdict == "fail"]
