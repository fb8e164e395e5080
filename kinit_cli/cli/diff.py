"""`kinit diff`: which tensors of two weights files differ, and by how much."""

from __future__ import annotations

import math

import click

from kinit_cli.cli.main import EXIT_DIFFERS, EXIT_FINE
from kinit_cli.cli.options import echo_json, jobs_option, json_option, quiet_option


def _finite(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise click.BadParameter(f"expected a finite number, 0 or more, got {value}")
    return value


@click.command("diff", epilog="Example: kinit diff before.h5 after.h5 --rtol 1e-6")
@click.argument("file_a", metavar="A")
@click.argument("file_b", metavar="B")
@click.argument("pattern", metavar="[PATTERN]", required=False)
@click.option("--rtol", type=float, metavar="X", callback=_finite, help="Relative tolerance.")
@click.option("--atol", type=float, metavar="X", callback=_finite, help="Absolute tolerance.")
@jobs_option
@json_option
@quiet_option
def command(
    file_a: str,
    file_b: str,
    pattern: str | None,
    rtol: float | None,
    atol: float | None,
    jobs: int | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Compare the tensors of two weights files, of any formats.

    PATTERN chooses tensors by path, with * and ? as in file names. The exit code is 0 if all
    tensors are identical, in dtype, shape and every bit, else 1.

    With --rtol or --atol it is 0, too, if every element differs by at most atol + rtol *
    max(|a|, |b|), whatever the dtypes; --atol 0 asks for equal values. NaN is compared by its
    bits.
    """
    from kinit_cli.compare.difference import diff_files
    from kinit_cli.compare.distance import Tolerance
    from kinit_cli.render.progress import make_progress

    tolerance = None
    if rtol is not None or atol is not None:
        tolerance = Tolerance(rtol=rtol or 0.0, atol=atol or 0.0)
    with make_progress(None, is_shown=not (quiet or as_json)) as advance:
        found = diff_files(
            file_a, file_b, pattern=pattern, tolerance=tolerance, jobs=jobs, progress=advance
        )
    if as_json:
        echo_json("diff", found.to_json())
    elif not quiet:
        from kinit_cli.render.diff import render_diff

        render_diff(found)
    return EXIT_FINE if found.is_same else EXIT_DIFFERS
