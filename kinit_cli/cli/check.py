"""`kinit check`: what is wrong with a spec, and what is worth knowing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from kinit_cli.cli.main import EXIT_DIFFERS, EXIT_FINE, problem_json
from kinit_cli.cli.options import (
    allow_code_option,
    echo_json,
    json_option,
    quiet_option,
    spec_options,
)
from kinit_cli.errors import OutputError, SpecError
from kinit_cli.formats.registry import FORMAT_NAMES, choose_writer

if TYPE_CHECKING:
    from kinit_cli.advice import Advice, KernelGain
    from kinit_cli.errors import Problem
    from kinit_cli.plan import Plan
    from kinit_cli.spec.load import Overrides

#: Stands for an output of which only the format is known.
_NAMELESS = "output"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Report:
    """What was found.

    Attributes
    ----------
    plan : Plan or None
        None if the spec has problems.
    output_faults : tuple of str
        What the chosen output cannot hold.
    """

    source: str
    plan: Plan | None = None
    problems: tuple[Problem, ...] = ()
    output_faults: tuple[str, ...] = ()
    advice: tuple[Advice, ...] = ()
    kernels: tuple[KernelGain, ...] = ()

    @property
    def has_errors(self) -> bool:
        return bool(self.problems or self.output_faults)

    def to_json(self) -> dict[str, Any]:
        from kinit_cli.advice import RECOMMENDED_GAINS

        return {
            "source": self.source,
            "is_sound": not self.has_errors,
            "problems": [problem_json(problem) for problem in self.problems],
            "output_faults": list(self.output_faults),
            "advice": [advice.to_json() for advice in self.advice],
            "n_tensors": len(self.plan.tensors) if self.plan else None,
            "n_parameters": self.plan.n_elements if self.plan else None,
            "n_bytes": self.plan.n_bytes if self.plan else None,
            "recommended_gains": list(RECOMMENDED_GAINS),
            "kernels": [kernel.to_json() for kernel in self.kernels],
        }


@click.command("check", epilog="Example: kinit check gpt2.yaml -o gpt2.h5 --strict")
@click.argument("spec", metavar="SPEC")
@click.option("-o", "--output", "out", metavar="OUT", help="Check that this output can hold it.")
@click.option("--format", "format_name", type=click.Choice(FORMAT_NAMES), help="Output format.")
@spec_options
@allow_code_option
@click.option("--strict", is_flag=True, help="Exit with 1 on advice too.")
@json_option
@quiet_option
def command(
    spec: str,
    out: str | None,
    format_name: str | None,
    seed: int | None,
    dtype: str | None,
    settings: Mapping[str, str],
    allow_code: tuple[str, ...],
    strict: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Tell what is wrong with a spec, and what is worth knowing; write nothing.

    SPEC is a YAML or JSON file, or - for stdin. The exit code is 1 if generate would refuse it.
    """
    from kinit_cli.spec.load import Overrides

    overrides = Overrides(seed=seed, dtype=dtype, params=settings)
    report = _check(spec, overrides, allow_code, out, format_name)
    if as_json:
        echo_json("check", report.to_json())
    else:
        for line in _lines(report):
            if report.has_errors or not quiet:
                click.echo(line)
    return EXIT_DIFFERS if report.has_errors or (strict and report.advice) else EXIT_FINE


def _check(
    spec: str,
    overrides: Overrides,
    allow_code: tuple[str, ...],
    out: str | None,
    format_name: str | None,
) -> _Report:
    from kinit_cli.advice import advise, kernel_gains
    from kinit_cli.initializers.custom import CustomInitializers
    from kinit_cli.planner import make_plan
    from kinit_cli.spec.load import STDIN, load_spec

    source = "<stdin>" if spec == STDIN else spec
    try:
        customs = CustomInitializers(allowed=allow_code)
        plan = make_plan(load_spec(spec, overrides), customs=customs)
    except SpecError as error:
        return _Report(source=source, problems=error.problems)
    return _Report(
        source=source,
        plan=plan,
        output_faults=tuple(_output_faults(plan, out, format_name)),
        advice=tuple(advise(plan)),
        kernels=tuple(kernel_gains(plan)),
    )


def _output_faults(plan: Plan, out: str | None, format_name: str | None) -> Iterator[str]:
    if out is None and format_name is None:
        return
    try:
        writer = choose_writer(out or _NAMELESS, format_name, n_tensors=len(plan.tensors))
    except OutputError as error:
        yield str(error)
        return
    for fault in writer.validate(plan):
        yield f"{out or format_name}: {fault}"


def _lines(report: _Report) -> Iterator[str]:
    yield from map(str, report.problems)
    yield from report.output_faults
    yield from map(str, report.advice)
    n_errors = len(report.problems) + len(report.output_faults)
    counts = [f"{n_errors or 'no'} problem{'' if n_errors == 1 else 's'}"]
    if report.plan is not None:
        n_advice = len(report.advice)
        pieces = f"{n_advice} piece{'' if n_advice == 1 else 's'} of" if n_advice else "no"
        counts.append(f"{pieces} advice")
    yield f"{report.source}: {', '.join(counts)}"
