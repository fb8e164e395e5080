"""One tensor, large, on a terminal: histogram and expected curve, quantiles, first values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from kinit_cli.close_up import expected_quantiles
from kinit_cli.panels import expected_marginal, make_panel
from kinit_cli.render.summary import flags_of, footer_lines
from kinit_cli.render.text import fmt_bytes, fmt_number, fmt_shape, make_console, plural, printable
from kinit_cli.render.textplot import draw_large
from kinit_cli.statistics.quantiles import PERCENTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from kinit_cli.panels import Panel
    from kinit_cli.statistics.tensor_stats import TensorStats
    from kinit_cli.summary import FileSummary, TensorSummary

_N_ROWS = 12
_MAX_COLUMNS = 96
#: Columns from one tick of the axis to the next, at least.
_TICK_COLUMNS = 20
_BAR_STYLE, _CURVE_STYLE, _BOTH_STYLE = "cyan", "bold red", "bold red on cyan"
_NAMES_OF_QUANTILES = {0: "0 % (min)", 50: "50 % (median)", 100: "100 % (max)"}


def render_close_up(summary: FileSummary, *, console: Console | None = None) -> None:
    """Print the only tensor of a summary, with its close-up if it has one, and the totals."""
    console = console or make_console()
    (tensor,) = summary.tensors
    for line in _iter_lines(summary, tensor, console):
        console.print(line, soft_wrap=True)
    console.print()
    for line in footer_lines(summary):
        console.print(line, soft_wrap=True)


def _iter_lines(summary: FileSummary, tensor: TensorSummary, console: Console) -> Iterator[Text]:
    is_ascii = console.options.ascii_only
    yield Text(printable(tensor.path), style="bold")
    flags = flags_of(tensor)
    if flags:
        yield Text(flags, style="bold red")
    kind = f"{printable(tensor.dtype)} {fmt_shape(tensor.shape, is_ascii)}"
    n = tensor.n_elements
    yield Text(f"{kind}, {n:,} element{'' if n == 1 else 's'}, {fmt_bytes(tensor.n_bytes)}")
    if tensor.initializer:
        yield Text(f"initializer: {printable(tensor.initializer)}")
    if tensor.stats is None:
        yield Text("no statistics: the elements are no real numbers")
        return
    if tensor.stats.histogram is not None:
        panel = make_panel(tensor, is_ours=summary.origin is None)
        yield Text()
        yield from _picture(panel, console)
        yield Text()
        yield from _numbers(summary, tensor, tensor.stats)
    yield Text(_counts(tensor.stats))
    if tensor.close_up and tensor.close_up.first_values:
        first = tensor.close_up.first_values
        rest = "" if len(first) == n else ", ..."
        yield from _wrapped(f"first values: {', '.join(first)}{rest}", console.width)


def _wrapped(text: str, width: int) -> Iterator[Text]:
    import textwrap

    for line in textwrap.wrap(text, max(width, 30), subsequent_indent="  "):
        yield Text(line)


def _counts(stats: TensorStats) -> str:
    counts = ((stats.n_zero, "zero"), (stats.n_nan, "NaN"), (stats.n_inf, "Inf"))
    return f"of {plural(stats.count, 'element')}: " + ", ".join(
        f"{count:,} {what}" for count, what in counts
    )


# --- the picture ----------------------------------------------------------------------------


def _picture(panel: Panel, console: Console) -> Iterator[Text]:
    is_ascii = console.options.ascii_only
    n_columns = max(min(console.width - 1, _MAX_COLUMNS), 8)
    blocks, dot = (".:#", "o") if is_ascii else ("▁▂▃▄▅▆▇█", "•")
    rows = draw_large(panel, n_rows=_N_ROWS, n_columns=n_columns, blocks=blocks, dot=dot)
    for row in rows:
        line = Text()
        for char, is_inside in row:
            style = (_BOTH_STYLE if is_inside else _CURVE_STYLE) if char == dot else _BAR_STYLE
            line.append(char, style="" if char == " " else style)
        line.rstrip()
        yield line
    yield from _axis(panel, n_columns, is_ascii)
    legend = Text().append(blocks[-1], _BAR_STYLE).append(" found")
    if panel.curve:
        legend.append("   ").append(dot, _CURVE_STYLE).append(" expected of the initializer")
    yield legend


def _axis(panel: Panel, n_columns: int, is_ascii: bool) -> Iterator[Text]:
    """Draw the axis, and below it the values at its ends and between, as far as they fit."""
    line, tick = ("-", "+") if is_ascii else ("─", "┬")
    n_gaps = max(1, min(4, n_columns // _TICK_COLUMNS))
    places = [round(index * (n_columns - 1) / n_gaps) for index in range(n_gaps + 1)]
    axis = "".join(tick if column in places else line for column in range(n_columns))
    yield Text(axis)
    cells = [" "] * n_columns
    width = panel.high - panel.low
    for index, place in enumerate(places):
        value = panel.low + width * (index / n_gaps)
        label = fmt_number(0.0 if abs(value) < 1e-9 * width else value)
        start = min(max(place - len(label) // 2, 0), n_columns - len(label))
        cells[start : start + len(label)] = label
    yield Text("".join(cells).rstrip())


# --- the numbers ----------------------------------------------------------------------------


def _numbers(summary: FileSummary, tensor: TensorSummary, stats: TensorStats) -> Iterator[Text]:
    """Give a table of what was found and what is expected."""
    rows = [
        ("mean", fmt_number(stats.mean), fmt_number(tensor.expected_mean)),
        ("std", fmt_number(stats.std), fmt_number(tensor.expected_std)),
        ("L2 norm", fmt_number(stats.l2_norm), "-"),
    ]
    found = tensor.close_up.quantiles if tensor.close_up else ()
    if found:
        marginal = expected_marginal(tensor, is_ours=summary.origin is None)
        n_finite = stats.count - stats.n_nan - stats.n_inf
        expected = expected_quantiles(marginal, n_finite) if marginal else (None,) * len(found)
        for percent, value, wanted in zip(PERCENTS, found, expected, strict=True):
            name = _NAMES_OF_QUANTILES.get(percent, f"{percent} %")
            rows.append((name, _fmt(value), "-" if wanted is None else _fmt(wanted)))
    return _table(("", "found", "expected"), rows)


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[Text]:
    if all(row[-1] == "-" for row in rows):
        header, rows = header[:-1], [row[:-1] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(header, *rows, strict=True)]
    for index, row in enumerate((header, *rows)):
        first, *others = row
        cells = [first.ljust(widths[0]), *map(str.rjust, others, widths[1:])]
        yield Text("  ".join(cells), style="" if index else "bold")


def _fmt(value: float | int) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
