"""Options that commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kinit_cli.cli.json_text import iter_json
from kinit_cli.cli.main import JSON_SCHEMA_VERSION
from kinit_cli.dtypes import DTYPES
from kinit_cli.engines.registry import ENGINE_NAMES
from kinit_cli.engines.tensorflow_devices import is_device_name

if TYPE_CHECKING:
    from kinit_cli.means import Means

Command = TypeVar("Command", bound=Callable[..., Any])

MAX_JOBS = 1024
#: Of a JSON document, each about as long as what is told of a tensor.
_PIECES_AT_ONCE = 256

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
jobs_option = click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, MAX_JOBS),
    metavar="N",
    help="Threads; the result does not depend on it.  [default: the cores, up to 16]",
)


def _parse_references(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    from kinit_cli.initializers.custom_load import parse_reference

    for value in values:
        try:
            parse_reference(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error
    return values


allow_code_option = click.option(
    "--allow-code",
    multiple=True,
    metavar="MODULE:NAME",
    callback=_parse_references,
    help="Let the spec use this initializer of your own; repeatable.",
)


def _parse_device(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not is_device_name(value):
        raise click.BadParameter(f"expected cpu, gpu or gpu:N, got {value!r}")
    return value


device_option = click.option(
    "--device",
    metavar="DEVICE",
    callback=_parse_device,
    help="For engine tensorflow: cpu, gpu or gpu:N.  [default: every GPU, else cpu]",
)


def engine_options(command: Command) -> Command:
    """Add --engine, for those that all give the same values, and --device."""
    return click.option(
        "--engine",
        type=click.Choice(ENGINE_NAMES),
        default="auto",
        show_default=True,
        help="What computes the values; all give the same.",
    )(device_option(command))


def make_means(engine: str, device: str | None, jobs: int | None) -> Means:
    """Give what the options --engine, --device and --jobs ask for, in a process of kinit's own.

    Raises
    ------
    click.UsageError
        The engine has no devices.
    """
    from kinit_cli.means import Means

    if device is not None and engine not in ("auto", "tensorflow"):
        raise click.UsageError(f"'--device' is for engine tensorflow or auto, not {engine}.")
    return Means(engine=engine, device=device, jobs=jobs or 0, is_alone=True)


def _parse_settings(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> Mapping[str, str]:
    settings: dict[str, str] = {}
    for value in values:
        name, separator, text = value.partition("=")
        if not separator or not name or not text:
            raise click.BadParameter(f"expected NAME=VALUE, got {value!r}")
        if name in settings:
            raise click.BadParameter(f"{name} is set twice")
        settings[name] = text
    return settings


def spec_options(command: Command) -> Command:
    """Add the options that change a spec: --seed, --dtype and --set."""
    for option in (
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="NAME=VALUE",
            callback=_parse_settings,
            help="Set a param of the spec; repeatable.",
        ),
        click.option(
            "--dtype",
            type=click.Choice(list(DTYPES)),
            metavar="DTYPE",
            help="Use this dtype for weights that name none.",
        ),
        click.option(
            "--seed",
            type=click.IntRange(0, 2**64 - 1),
            metavar="N",
            help="Use this seed in place of the spec's.",
        ),
    ):
        command = option(command)
    return command


def echo_json(command: str, body: Mapping[str, Any]) -> None:
    """Print a command's result as one JSON document."""
    document = {"schema_version": JSON_SCHEMA_VERSION, "command": command, **body}
    waiting: list[str] = []
    for piece in iter_json(document):
        waiting.append(piece)
        if len(waiting) == _PIECES_AT_ONCE:
            click.echo("".join(waiting), nl=False)
            waiting.clear()
    click.echo("".join(waiting))


def tell_fault(text: str) -> None:
    """Say on stderr that a faster way does not work here, so that another one is taken."""
    click.echo(f"kinit: note: {text}", err=True)
