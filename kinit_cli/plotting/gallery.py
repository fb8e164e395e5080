"""What a picture of a file shows, in words and panels, whatever draws it.

Nothing in it depends on the clock, so that the same file gives the same picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal, TypeAlias

from kinit_cli.panels import make_sections, split_path
from kinit_cli.render.summary import flags_of
from kinit_cli.render.text import fmt_bytes, fmt_number, fmt_shape, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kinit_cli.panels import Panel, Section
    from kinit_cli.plotting import PlotFormat
    from kinit_cli.summary import FileSummary, TensorSummary

Align: TypeAlias = Literal["left", "center", "right"]

INK, FAINT, PALE = "#1f2328", "#59636e", "#d0d7de"
BARS, RED = "#9cc3e6", "#c2222d"
#: Tensors in one picture: what fits into an image, or what a viewer can still open.
MAX_TENSORS: dict[PlotFormat, int] = {"png": 2000, "svg": 2000, "pdf": 5000, "html": 20_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """The panels of a file.

    Attributes
    ----------
    title : str
        The file's name.
    facts : tuple of str
        About the file, a line each.
    dtype : str or None
        Of all tensors, if they have the same.
    n_panels : int
    notes : tuple of str
        What was left out, a sentence each.
    """

    title: str
    facts: tuple[str, ...]
    dtype: str | None
    sections: tuple[Section, ...]
    n_panels: int
    notes: tuple[str, ...]


def make_gallery(summary: FileSummary, format_name: PlotFormat) -> Gallery:
    """Make the panels of a file, of as many tensors as the format can show."""
    limit = MAX_TENSORS[format_name]
    chosen = choose_tensors(summary.tensors, limit)
    dtypes = {tensor.dtype for tensor in summary.tensors}
    return Gallery(
        title=printable(PurePath(summary.source).name or summary.source),
        facts=_facts(summary),
        dtype=dtypes.pop() if len(dtypes) == 1 else None,
        sections=make_sections(summary, chosen),
        n_panels=len(chosen),
        notes=_left_out(summary.tensors, chosen, format_name),
    )


def choose_tensors(tensors: Sequence[TensorSummary], limit: int) -> Sequence[TensorSummary]:
    """Give at most `limit` tensors in their order: the first ones, but flagged ones before all."""
    if len(tensors) <= limit:
        return tensors
    flagged = [index for index, tensor in enumerate(tensors) if flags_of(tensor)]
    others = [index for index, tensor in enumerate(tensors) if not flags_of(tensor)]
    return [tensors[index] for index in sorted([*flagged, *others][:limit])]


def describe_name(panel: Panel) -> str:
    """Name a tensor within its layer."""
    return printable(split_path(panel.tensor.path)[1])


def describe_kind(panel: Panel, gallery: Gallery) -> str:
    """Give a tensor's shape, and its dtype if not all have the same."""
    shape = fmt_shape(panel.tensor.shape, is_ascii=False)
    return shape if gallery.dtype else f"{shape} {printable(panel.tensor.dtype)}"


def describe_moments(panel: Panel) -> tuple[str, str]:
    """Give a tensor's mean and standard deviation, the expected ones in brackets."""
    tensor = panel.tensor
    stats = tensor.stats

    def words(name: str, found: float | None, expected: float | None) -> str:
        wanted = f" ({fmt_number(expected)})" if expected is not None else ""
        return f"{name} {fmt_number(found)}{wanted}"

    return (
        words("mean", stats.mean if stats else None, tensor.expected_mean),
        words("std", stats.std if stats else None, tensor.expected_std),
    )


def describe_absence(panel: Panel) -> str:
    """Say why there are no bars; an empty text if there are some."""
    stats = panel.tensor.stats
    if panel.edges:
        return ""
    if stats is None:
        return "no numbers"
    return "no finite elements" if stats.count else "no elements"


def axis_labels(panel: Panel) -> tuple[tuple[float, str, Align], ...]:
    """Give values to be labelled below the axis, their labels, and how these stand there."""
    stats = panel.tensor.stats
    middle = panel.low / 2 + panel.high / 2
    if stats and stats.min == stats.max and panel.edges[0] < middle < panel.edges[-1]:
        return ((middle, fmt_number(stats.min), "center"),)
    return (
        (panel.low, fmt_number(panel.low), "left"),
        (panel.high, fmt_number(panel.high), "right"),
    )


def _facts(summary: FileSummary) -> tuple[str, ...]:
    n = len(summary.tensors)
    about = [f"{summary.format} ({summary.layout})"]
    dtypes = {tensor.dtype for tensor in summary.tensors}
    if len(dtypes) == 1:
        about.append(f"all {printable(dtypes.pop())}")
    for name in ("seed", "stream"):
        value = getattr(summary, name)
        if value is not None:
            about.append(f"{name} {value}")
    if summary.origin:
        about.append(f"values {printable(str(summary.origin))}")
    if summary.tests:
        tests = summary.tests
        about.append(f"tests: {tests.n_passed:,} passed, {tests.n_failed:,} failed")
        if tests.missing:
            about.append(f"{len(tests.missing):,} missing")
    return (
        f"{n:,} tensor{'' if n == 1 else 's'}, {summary.n_parameters:,} parameters, "
        f"{fmt_bytes(summary.n_bytes)}",
        ", ".join(about),
    )


def _left_out(
    tensors: Sequence[TensorSummary], chosen: Sequence[TensorSummary], format_name: PlotFormat
) -> tuple[str, ...]:
    n_left = len(tensors) - len(chosen)
    if not n_left:
        return ()
    n_flagged = sum(bool(flags_of(tensor)) for tensor in tensors)
    n_hidden = max(0, n_flagged - len(chosen))
    warning = f", {n_hidden:,} of them with NaN, Inf or a failed test" if n_hidden else ""
    larger = [name for name, limit in MAX_TENSORS.items() if limit > MAX_TENSORS[format_name]]
    also = f", or write {' or '.join(f'.{name}' for name in larger)}" if larger else ""
    return (
        f"{n_left:,} of {len(tensors):,} tensors are not in the picture{warning}; choose some with "
        f"a PATTERN{also}",
    )
