"""`kinit generate`: from a spec to a weights file."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kinit_cli.cli.options import (
    allow_code_option,
    device_option,
    echo_json,
    jobs_option,
    json_option,
    make_means,
    quiet_option,
    spec_options,
    tell_fault,
)
from kinit_cli.engines.registry import ENGINE_NAMES, OWN_VALUES_NAMES
from kinit_cli.errors import OutputError
from kinit_cli.formats.registry import FORMAT_NAMES, FormatOptions, choose_writer
from kinit_cli.formats.shards import parse_size

if TYPE_CHECKING:
    from kinit_cli.formats.base import Writer
    from kinit_cli.means import Means
    from kinit_cli.pipeline import Output
    from kinit_cli.plan import Plan
    from kinit_cli.summary import FileSummary, TensorSummary

    Accept = Callable[[Sequence[TensorSummary]], None]

STDOUT = "-"
#: A table longer than this shows its beginning and end; inspect shows it all.
_MAX_ROWS = 60


def _parse_size(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else parse_size(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _parse_separator(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not (value and value.isprintable()):
        raise click.BadParameter(f"expected a printable text, got {value!r}")
    return value


@click.command(
    "generate", epilog="Example: kinit generate gpt2.yaml -o gpt2.h5 --seed 42 --set n_layers=24"
)
@click.argument("spec", metavar="SPEC")
@click.option("-o", "--output", "out", metavar="OUT", help="File or DIR/ to write; - for stdout.")
@click.option("--format", "format_name", type=click.Choice(FORMAT_NAMES), help="Output format.")
@click.option(
    "--separator",
    metavar="TEXT",
    callback=_parse_separator,
    help="In the names of .safetensors and .npz, in place of '/'.  [default: .]",
)
@click.option(
    "--max-shard-size",
    "max_shard_bytes",
    metavar="SIZE",
    callback=_parse_size,
    help="Cut into files of this size, as 500MB or 2GiB.  [default: 5GB, for DIR/]",
)
@spec_options
@allow_code_option
@click.option(
    "--engine",
    type=click.Choice([*ENGINE_NAMES, *OWN_VALUES_NAMES]),
    default="auto",
    show_default=True,
    help="What computes the values; all give the same, but keras its own.",
)
@device_option
@jobs_option
@click.option("-f", "--force", is_flag=True, help="Replace the output if it exists.")
@click.option("--locked", is_flag=True, help="Fail unless every digest is that of SPEC.lock.")
@click.option("-n", "--dry-run", is_flag=True, help="Show the plan and write nothing.")
@json_option
@quiet_option
def command(
    spec: str,
    out: str | None,
    format_name: str | None,
    separator: str | None,
    max_shard_bytes: int | None,
    seed: int | None,
    dtype: str | None,
    settings: Mapping[str, str],
    allow_code: tuple[str, ...],
    engine: str,
    device: str | None,
    jobs: int | None,
    force: bool,
    locked: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Generate the weights of a spec into a file.

    SPEC is a YAML or JSON file, or - for stdin. The format follows from OUT's name (.h5, .hdf5,
    .weights.h5, .safetensors, .npz, .npy; DIR/ for one .npy file a tensor) or --format.
    """
    from kinit_cli.initializers.custom import CustomInitializers
    from kinit_cli.planner import make_plan
    from kinit_cli.spec.load import STDIN, Overrides, load_spec

    if out is None and not dry_run:
        raise click.UsageError("Missing option '-o' / '--output'; or --dry-run to write nothing.")
    if locked and spec == STDIN:
        raise click.UsageError("'--locked' needs a spec with a name: its lock is beside it.")
    if locked and engine in OWN_VALUES_NAMES:
        raise click.UsageError(f"'--locked' is for kinit's own values, not for engine {engine}.")
    if out == STDOUT and as_json:
        raise click.UsageError("'--json' and '-o -' would both write to stdout.")
    means = make_means(engine, device, jobs)
    customs = CustomInitializers(allowed=allow_code)
    loaded = load_spec(spec, Overrides(seed=seed, dtype=dtype, params=settings))
    plan = make_plan(loaded, customs=customs)
    accept = _enforce_lock(plan, spec) if locked else _accept_all
    if not quiet or out == STDOUT:
        # What goes to stdout may have no place to record the seed.
        _tell_seed(plan)
    if not quiet:
        _tell_layout(out, format_name)
    options = FormatOptions(separator=separator, max_shard_bytes=max_shard_bytes)
    if dry_run:
        if out is not None:
            _check_output(plan, out, format_name, options, force=force)
        _show_plan(means.drawn(plan), out, as_json=as_json, quiet=quiet)
        return
    assert out is not None
    if out == STDOUT:
        _write_to_stdout(plan, format_name, options, means, accept, quiet=quiet)
        return
    output = _output(plan, out, format_name, options, force=force)
    if spec != STDIN:
        from kinit_cli.formats.atomic import check_is_not_spec

        check_is_not_spec(output.target, spec)
    summary = _run(plan, output, means, accept, quiet=quiet)
    if as_json:
        echo_json("generate", {"is_seed_drawn": plan.is_seed_drawn, **summary.to_json()})
    elif not quiet:
        _render(summary, to_stderr=False)


def _enforce_lock(plan: Plan, spec: str) -> Accept:
    """Check that this is the spec that was locked; give what checks the digests later."""
    from kinit_cli.compare.lockfile import default_lock_path, read_lock
    from kinit_cli.compare.locking import Enforcer, validate_lockable

    validate_lockable(plan, spec)
    path = default_lock_path(spec)
    return Enforcer(read_lock(path), plan, str(path)).accept


def _accept_all(tensors: Sequence[TensorSummary]) -> None:
    """Let any digests pass."""


def _tell_seed(plan: Plan) -> None:
    if plan.is_seed_drawn:
        click.echo(f"kinit: the spec has no seed; drew {plan.seed}", err=True)


def _tell_layout(out: str | None, format_name: str | None) -> None:
    if out is not None and out.endswith(".weights.h5") and format_name == "hdf5":
        click.echo(
            "kinit: note: Keras reads names that end in .weights.h5 by another layout; "
            "choose a plain .h5 name for load_weights",
            err=True,
        )


def _output(
    plan: Plan, out: str, format_name: str | None, options: FormatOptions, *, force: bool
) -> Output:
    from kinit_cli.pipeline import Output

    writer = choose_writer(out, format_name, n_tensors=len(plan.tensors), options=options)
    return Output(target=Path(out), writer=writer, force=force)


def _run(plan: Plan, output: Output, means: Means, accept: Accept, *, quiet: bool) -> FileSummary:
    from kinit_cli.formats.atomic import claim_target
    from kinit_cli.pipeline import generate
    from kinit_cli.render.progress import make_progress

    # Loading an engine takes long; a target that may not be replaced is told before.
    claim_target(output.target, is_directory=output.writer.is_directory, force=output.force)
    plan = means.drawn(plan)
    with make_progress(plan.n_bytes, is_shown=not quiet) as advance:
        engine = means.engine_for(plan, on_fault=tell_fault)
        return generate(
            plan, output, engine=engine, jobs=means.jobs, progress=advance, accept=accept
        )


def _write_to_stdout(
    plan: Plan,
    format_name: str | None,
    options: FormatOptions,
    means: Means,
    accept: Accept,
    *,
    quiet: bool,
) -> None:
    """Tiles are not written in order, so the file is made elsewhere and then copied."""
    if sys.stdout.isatty():
        raise click.UsageError("Binary data would go to the terminal; redirect stdout.")
    from kinit_cli.formats.temporaries import scratch_folder
    from kinit_cli.pipeline import Output

    writer = _stdout_writer(plan, format_name, options)
    with scratch_folder("kinit-stdout") as folder:
        output = Output(target=folder / "stdout", writer=writer, shown_as="<stdout>")
        summary = _run(plan, output, means, accept, quiet=quiet)
        _copy_to_stdout(output.target)
    if not quiet:
        _render(summary, to_stderr=True)


def _stdout_writer(plan: Plan, format_name: str | None, options: FormatOptions) -> Writer:
    """Choose the writer for stdout and check that it can hold the plan."""
    if format_name is None:
        raise click.UsageError("'-o -' has no name to tell the format; give '--format'.")
    writer = choose_writer(STDOUT, format_name, n_tensors=len(plan.tensors), options=options)
    faults = writer.validate(plan)
    if faults:
        raise OutputError("<stdout>: " + "\n".join(faults[:20]))
    return writer


def _copy_to_stdout(path: Path) -> None:
    try:
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer, 2**20)
        sys.stdout.buffer.flush()
    except BrokenPipeError as error:
        # Of a table a part may do; of a weights file it is as good as nothing.
        raise OutputError("<stdout>: the reader closed the pipe before the end") from error


def _check_output(
    plan: Plan, out: str, format_name: str | None, options: FormatOptions, *, force: bool
) -> None:
    if out == STDOUT:
        _stdout_writer(plan, format_name, options)
        return
    from kinit_cli.formats.atomic import check_target
    from kinit_cli.pipeline import validate_output

    output = _output(plan, out, format_name, options, force=force)
    check_target(output.target, is_directory=output.writer.is_directory, force=force)
    validate_output(plan, output)


def _show_plan(plan: Plan, out: str | None, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        echo_json("generate", {"dry_run": True, "output": out, **plan.to_json()})
    elif not quiet:
        from kinit_cli.render.plan import render_plan

        render_plan(plan)


def _render(summary: FileSummary, *, to_stderr: bool) -> None:
    from kinit_cli.render.summary import render_summary
    from kinit_cli.render.text import make_console

    render_summary(summary, console=make_console(to_stderr=to_stderr), limit_rows=_MAX_ROWS)
