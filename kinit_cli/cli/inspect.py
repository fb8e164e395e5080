"""`kinit inspect`: what is inside a weights file."""

from __future__ import annotations

import click

from kinit_cli.cli.main import EXIT_DIFFERS, EXIT_FINE
from kinit_cli.cli.options import echo_json, jobs_option, json_option, quiet_option, tell_fault


@click.command("inspect", epilog="Example: kinit inspect weights.h5 '*/kernel'")
@click.argument("file", metavar="FILE")
@click.argument("pattern", metavar="[PATTERN]", required=False)
@click.option(
    "--check",
    is_flag=True,
    help="Compare each tensor with its initializer and digest; exit code 1 if one differs.",
)
@jobs_option
@json_option
@quiet_option
def command(
    file: str, pattern: str | None, check: bool, jobs: int | None, as_json: bool, quiet: bool
) -> int:
    """Show what is inside a weights file: every tensor's statistics, and totals.

    FILE is an HDF5, .safetensors, .npz or .npy file, the index of several, or a directory of them,
    written by kinit or not. PATTERN chooses tensors by path, with * and ? as in file names.
    """
    from kinit_cli.inspect import inspect_file
    from kinit_cli.render_progress import make_progress
    from kinit_cli.workers import default_jobs

    with make_progress(None, is_shown=not (quiet or as_json)) as advance:
        summary = inspect_file(
            file,
            pattern=pattern,
            jobs=jobs or default_jobs(),
            check=check,
            progress=advance,
            on_fault=tell_fault,
            is_alone=True,
        )
    if as_json:
        echo_json("inspect", summary.to_json())
    elif not quiet:
        from kinit_cli.render import render_summary

        render_summary(summary)
    return EXIT_DIFFERS if summary.tests and summary.tests.is_failure else EXIT_FINE
