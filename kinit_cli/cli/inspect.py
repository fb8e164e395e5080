"""`kinit inspect`: what is inside a weights file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kinit_cli.cli.main import EXIT_DIFFERS, EXIT_FINE
from kinit_cli.cli.options import echo_json, jobs_option, json_option, quiet_option, tell_fault
from kinit_cli.grouping import group_tensors
from kinit_cli.ordering import GROUP_SORT_KEYS, SORT_KEYS, sort_groups, sort_tensors

if TYPE_CHECKING:
    from kinit_cli.grouping import TensorGroup
    from kinit_cli.ordering import SortKey
    from kinit_cli.summary import FileSummary


def _parse_plot(ctx: click.Context, param: click.Parameter, value: str | None) -> Path | None:
    if value is None:
        return None
    from kinit_cli.plotting import PLOT_FORMATS, plot_format

    if plot_format(Path(value)) is None or value.endswith(os.sep):
        formats = ", ".join(f".{name}" for name in PLOT_FORMATS[:-1])
        raise click.BadParameter(
            f"expected a name that ends in {formats} or .{PLOT_FORMATS[-1]}, got {value!r}"
        )
    return Path(value)


@click.command("inspect", epilog="Example: kinit inspect weights.h5 '*/kernel'")
@click.argument("file", metavar="FILE")
@click.argument("pattern", metavar="[PATTERN]", required=False)
@click.option(
    "--check",
    is_flag=True,
    help="Compare each tensor with its initializer and digest; exit code 1 if one differs.",
)
@click.option(
    "--sort",
    "sort_key",
    type=click.Choice(SORT_KEYS),
    metavar="KEY",
    help="Order by name, or by size, mean, std, min or max, the largest first.",
)
@click.option(
    "--depth",
    type=click.IntRange(min=1),
    metavar="N",
    help="Join tensors whose paths agree in the first N parts.",
)
@click.option(
    "--plot",
    metavar="OUT",
    callback=_parse_plot,
    help="Draw every tensor's histogram and what is expected of it, into a .png, .svg, .pdf or "
    ".html file.",
)
@click.option("--force", is_flag=True, help="Replace the picture if it exists.")
@jobs_option
@json_option
@quiet_option
def command(
    file: str,
    pattern: str | None,
    check: bool,
    sort_key: SortKey | None,
    depth: int | None,
    plot: Path | None,
    force: bool,
    jobs: int | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Show what is inside a weights file: every tensor's statistics, and totals.

    FILE is an HDF5, .safetensors, .npz or .npy file, the index of several, or a directory of them,
    written by kinit or not. PATTERN chooses tensors by path, with * and ? as in file names. If it
    chooses only one, this one is shown large, with quantiles and first values.
    """
    if force and plot is None:
        raise click.UsageError("'--force' is for '--plot'.")
    if depth is not None and sort_key not in (None, *GROUP_SORT_KEYS):
        raise click.UsageError(f"'--depth' goes with '--sort name' or 'size', not {sort_key!r}.")
    from kinit_cli.inspect import inspect_file
    from kinit_cli.render.progress import make_progress
    from kinit_cli.workers import default_jobs

    if plot is not None:
        from kinit_cli.plotting import check_can_plot

        check_can_plot(plot, file, force=force)
    with make_progress(None, is_shown=not (quiet or as_json)) as advance:
        summary = inspect_file(
            file,
            pattern=pattern,
            jobs=jobs or default_jobs(),
            check=check,
            progress=advance,
            on_fault=tell_fault,
            is_alone=True,
            is_close=pattern is not None and depth is None and (as_json or not quiet),
        )
    if sort_key is not None:
        summary = replace(summary, tensors=sort_tensors(summary.tensors, sort_key))
    if plot is not None:
        from kinit_cli.plotting import write_plot

        notes = write_plot(summary, plot, force=force)
        summary = replace(summary, notes=(*summary.notes, *notes))
    groups = None if depth is None else sort_groups(group_tensors(summary.tensors, depth), sort_key)
    if as_json:
        echo_json("inspect", _document(summary, plot, groups))
    elif not quiet:
        _render(summary, pattern, groups)
    return EXIT_DIFFERS if summary.tests and summary.tests.is_failure else EXIT_FINE


def _render(
    summary: FileSummary, pattern: str | None, groups: tuple[TensorGroup, ...] | None
) -> None:
    if groups is not None:
        from kinit_cli.render.groups import render_groups

        render_groups(summary, groups)
    elif pattern is not None and len(summary.tensors) == 1:
        from kinit_cli.render.close_up import render_close_up

        render_close_up(summary)
    else:
        from kinit_cli.render.summary import render_summary

        render_summary(summary)


def _document(
    summary: FileSummary, plot: Path | None, groups: tuple[TensorGroup, ...] | None
) -> dict[str, Any]:
    """Give what is only told of a file that is inspected as well."""
    document = summary.to_json()
    tensors = [
        {**tensor.to_json(), **_close_up_json(summary, tensor)} for tensor in summary.tensors
    ]
    return {
        **document,
        "plot": None if plot is None else str(plot),
        "groups": None if groups is None else [group.to_json() for group in groups],
        "tensors": tensors,
    }


def _close_up_json(summary: FileSummary, tensor: Any) -> dict[str, Any]:
    if tensor.close_up is None:
        return {"quantiles": None, "first_values": None}
    from kinit_cli.close_up import close_up_json

    return close_up_json(tensor, is_ours=summary.origin is None)
