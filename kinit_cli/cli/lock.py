"""`kinit lock`: a spec's digests, written down or checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
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
from kinit_cli.errors import OutputError

if TYPE_CHECKING:
    from kinit_cli.compare.locking import LockCheck


@click.command("lock", epilog="Example: kinit lock spec.yaml && kinit lock --check spec.yaml")
@click.argument("spec", metavar="SPEC")
@click.option("-o", "--output", "out", metavar="LOCK", help="The lock, if not SPEC.lock.")
@click.option("--check", is_flag=True, help="Compare with the lock; write nothing.")
@spec_options
@allow_code_option
@engine_options
@jobs_option
@json_option
@quiet_option
def command(
    spec: str,
    out: str | None,
    check: bool,
    seed: int | None,
    dtype: str | None,
    settings: Mapping[str, str],
    allow_code: tuple[str, ...],
    engine: str,
    device: str | None,
    jobs: int | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Write the digests of a spec's tensors to SPEC.lock, or check them.

    The tensors are generated, but no weights file is written. With --check the exit code is 1 if
    the lock is not what would be written now. `kinit generate --locked` refuses to write anything
    else than what is locked.
    """
    from kinit_cli.compare.lockfile import default_lock_path, read_lock, write_lock
    from kinit_cli.compare.locking import check_lock, make_lock
    from kinit_cli.initializers.custom import CustomInitializers
    from kinit_cli.planner import make_plan
    from kinit_cli.render.progress import make_progress
    from kinit_cli.spec.load import STDIN, Overrides, load_spec

    if spec == STDIN and out is None:
        raise click.UsageError("A spec from stdin has no name for its lock; give '-o'.")
    path = default_lock_path(spec) if out is None else Path(out)
    means = make_means(engine, device, jobs)
    customs = CustomInitializers(allowed=allow_code)
    loaded = load_spec(spec, Overrides(seed=seed, dtype=dtype, params=settings))
    plan = make_plan(loaded, customs=customs)
    if spec != STDIN and path.exists() and path.samefile(spec):
        raise OutputError(f"{path}: expected a name for the lock, got the spec itself")
    locked = read_lock(path) if check else None
    with make_progress(plan.n_bytes, is_shown=not (quiet or as_json)) as advance:
        made = make_lock(plan, source=spec, means=means, progress=advance, on_fault=tell_fault)
    about = {"check": check, "source": spec, "lock": str(path)}
    if locked is not None:
        result = check_lock(locked, made)
        _show_check(result, about, as_json=as_json, quiet=quiet)
        return EXIT_FINE if result.is_up_to_date else EXIT_DIFFERS
    write_lock(made, path)
    if as_json:
        echo_json("lock", {**about, **made.to_json()})
    elif not quiet:
        n_tensors = len(made.tensors)
        click.echo(f"{path}: {n_tensors:,} tensor{'' if n_tensors == 1 else 's'} locked")
    return EXIT_FINE


def _show_check(
    result: LockCheck, about: Mapping[str, object], *, as_json: bool, quiet: bool
) -> None:
    if as_json:
        echo_json("lock", {**about, **result.to_json()})
    elif not quiet:
        from kinit_cli.render.lock import render_lock_check

        render_lock_check(result, str(about["lock"]))
