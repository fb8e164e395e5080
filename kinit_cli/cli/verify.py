"""`kinit verify`: a weights file held against what it should be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from kinit_cli.cli.main import EXIT_DIFFERS, EXIT_FINE
from kinit_cli.cli.options import (
    allow_code_option,
    echo_json,
    engine_options,
    jobs_option,
    json_option,
    make_means,
    quiet_option,
    spec_options,
    tell_fault,
)

if TYPE_CHECKING:
    from kinit_cli.spec.load import LoadedSpec


@click.command("verify", epilog="Example: kinit verify weights.h5 --spec spec.yaml")
@click.argument("file", metavar="FILE")
@click.argument("pattern", metavar="[PATTERN]", required=False)
@click.option("--spec", metavar="SPEC", help="Compare with this spec, not the recorded one.")
@spec_options
@allow_code_option
@click.option("--quick", is_flag=True, help="Compare digests only; generate nothing.")
@engine_options
@jobs_option
@json_option
@quiet_option
def command(
    file: str,
    pattern: str | None,
    spec: str | None,
    seed: int | None,
    dtype: str | None,
    settings: Mapping[str, str],
    allow_code: tuple[str, ...],
    quick: bool,
    engine: str,
    device: str | None,
    jobs: int | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Make a weights file's tensors again and compare every bit.

    The spec and the seed are those that FILE records, or SPEC's. PATTERN chooses tensors by path,
    with * and ? as in file names. The exit code is 1 if anything differs.

    With --quick the tensors are hashed and compared with the digests that FILE records: they are
    what was once written, but nothing shows that the spec gives them.
    """
    from kinit_cli.compare.verification import verify_digests, verify_file
    from kinit_cli.initializers.custom import CustomInitializers
    from kinit_cli.render.progress import make_progress

    is_changed = seed is not None or dtype is not None or bool(settings)
    if is_changed and spec is None:
        raise click.UsageError("'--seed', '--dtype' and '--set' change a spec; give '--spec'.")
    if quick and spec is not None:
        raise click.UsageError("'--quick' compares with what FILE records; it takes no '--spec'.")
    if quick and (allow_code or engine != "auto" or device is not None):
        raise click.UsageError(
            "'--quick' makes nothing again; it takes no '--allow-code', '--engine' or '--device'."
        )
    means = make_means(engine, device, jobs)
    customs = CustomInitializers(allowed=allow_code)
    loaded = None if spec is None else _load(spec, seed, dtype, settings)
    with make_progress(None, is_shown=not (quiet or as_json)) as advance:
        if quick:
            found = verify_digests(file, pattern=pattern, jobs=jobs, progress=advance)
        else:
            found = verify_file(
                file,
                spec=loaded,
                pattern=pattern,
                customs=customs,
                means=means,
                progress=advance,
                on_fault=tell_fault,
            )
    if as_json:
        echo_json("verify", found.to_json())
    elif not quiet:
        from kinit_cli.render.verification import render_verification

        render_verification(found)
    return EXIT_FINE if found.is_same else EXIT_DIFFERS


def _load(
    spec: str, seed: int | None, dtype: str | None, settings: Mapping[str, str]
) -> LoadedSpec:
    from kinit_cli.spec.load import Overrides, load_spec

    return load_spec(spec, Overrides(seed=seed, dtype=dtype, params=settings))
