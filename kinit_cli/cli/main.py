"""The group of commands, and the one place where exceptions become exit codes.

Exit codes: 0 fine; 1 something differs; 2 usage, a bad spec, I/O or an internal error;
130 interrupted, 143 terminated.
"""

from __future__ import annotations

import atexit
import errno
import gc
import importlib
import io
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import click

from kinit_cli import __version__, interrupts
from kinit_cli.errors import KinitError, LockError, SpecError, suggest
from kinit_cli.foreign_code import claim_stdout

EXIT_FINE, EXIT_DIFFERS, EXIT_ERROR, EXIT_INTERRUPTED, EXIT_TERMINATED = 0, 1, 2, 130, 143

#: Objects made before the collector looks for cycles among them; by default it is 700.
_GC_THRESHOLD = 100_000

#: Version of the documents that `--json` prints.
JSON_SCHEMA_VERSION = 1

#: Command -> (module, one line for the list). Modules are imported when their command runs.
_COMMANDS = {
    "generate": ("kinit_cli.cli.generate", "Generate the weights of a spec into a file."),
    "import": ("kinit_cli.cli.import_", "Write a Keras model down as a spec."),
    "inspect": ("kinit_cli.cli.inspect", "Show what is inside a weights file."),
    "verify": ("kinit_cli.cli.verify", "Make a weights file again and compare every bit."),
    "diff": ("kinit_cli.cli.diff", "Compare the tensors of two weights files."),
    "lock": ("kinit_cli.cli.lock", "Write down the digests of a spec's tensors, or check them."),
    "check": ("kinit_cli.cli.check", "Tell what is wrong with a spec, and what is worth knowing."),
}


class _Terminated(BaseException):
    """SIGTERM or SIGHUP: like Ctrl-C, everything is put back before the process ends."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(_COMMANDS[cmd_name][0])
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in _COMMANDS:
            hint = suggest(name, _COMMANDS) or f"the commands are {', '.join(_COMMANDS)}"
            if "@" in name:
                hint = "this is kinit-cli, for model weights; Kerberos has another kinit"
            raise click.UsageError(f"No such command {name!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: kinit generate spec.yaml -o weights.h5",
)
@click.version_option(__version__, prog_name="kinit")
def cli() -> None:
    """Turn a model spec into initialised weights: the same bytes on every machine."""


def main() -> NoReturn:
    """Run the command line and exit."""
    # Pydantic would look through all installed packages for plugins; a spec needs none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # What a run makes, modules and plans, lives to its end: to look through it now and then, and
    # once more at the end, would take a tenth of the time and find nothing.
    gc.set_threshold(_GC_THRESHOLD)
    claim_stdout()
    code = run(sys.argv[1:])
    gc.freeze()
    sys.exit(code)


def run(argv: Sequence[str], prog_name: str | None = None) -> int:
    """Run the command line and give its exit code."""
    _prepare_streams()
    previous = _catch_signals()
    try:
        code = _invoke(argv, prog_name)
        sys.stdout.flush()
    except KeyboardInterrupt:
        _say("interrupted")
        return EXIT_INTERRUPTED
    except _Terminated:
        _say("terminated")
        return EXIT_TERMINATED
    except BrokenPipeError:
        # The reader has had enough.
        _give_up(sys.stdout)
        code = EXIT_FINE
    except OSError as error:
        _give_up(sys.stdout)
        _say(f"cannot write the result: {error.strerror}")
        code = EXIT_ERROR
    finally:
        interrupts.clear()
    # After an interrupt the process is about to end, and signals stay ignored.
    for number, handler in previous.items():
        signal.signal(number, handler)
    return code


def _catch_signals() -> dict[int, Any]:
    """Let the first Ctrl-C, SIGTERM or SIGHUP end the run, and no further one its cleaning up."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = {number: signal.getsignal(number) for number in numbers}
    # What the parent lets be ignored (nohup, a shell's background job) stays so.
    caught: dict[int, Any] = {n: h for n, h in previous.items() if h is not signal.SIG_IGN}

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        for other in caught:
            signal.signal(other, signal.SIG_IGN)
        kind = KeyboardInterrupt if number == signal.SIGINT else _Terminated
        interrupts.note(kind)
        raise kind

    for number in caught:
        signal.signal(number, interrupt)
    return caught


def _give_up(stream: Any) -> None:
    """Keep Python from complaining when it flushes a stream that cannot be written, at exit."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except OSError:
        stream.close()


def _prepare_streams() -> None:
    """Give streams that are closed a place to go, and let every name be shown."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            # This takes the free descriptor too, which an output file would get otherwise.
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115
            atexit.register(stream.close)
            setattr(sys, name, stream)
        elif isinstance(stream, io.TextIOWrapper) and mode == "w":
            # A terminal that knows only ASCII shows other characters escaped.
            stream.reconfigure(errors="backslashreplace")


def _invoke(argv: Sequence[str], prog_name: str | None) -> int:
    try:
        code = cli.main(list(argv), prog_name=prog_name, standalone_mode=False)
        return code if isinstance(code, int) else EXIT_FINE
    except SystemExit as error:
        # Click's answer to a closed pipe is an exit with code 1, which here means "differs".
        if isinstance(error.__context__, OSError) and error.__context__.errno == errno.EPIPE:
            raise BrokenPipeError from error
        _say(f"internal error: something ended the run with code {error.code}")
        return _failed(argv, "internal", f"SystemExit: {error.code}")
    except click.Abort as error:
        raise KeyboardInterrupt from error
    except click.ClickException as error:
        with _stderr_may_fail():
            error.show(sys.stderr)
        return _failed(argv, "usage", error.format_message())
    except SpecError as error:
        n_problems = len(error.problems)
        with _stderr_may_fail():
            click.echo("\n".join(map(str, error.problems)), err=True)
        _say(f"{n_problems} problem{'s' if n_problems > 1 else ''} in the spec")
        return _failed(argv, "spec", str(error), [problem_json(p) for p in error.problems])
    except LockError as error:
        _say(str(error))
        _failed(argv, "lock", str(error))
        return EXIT_DIFFERS
    except KinitError as error:
        _say(str(error))
        return _failed(argv, "error", str(error))
    except BrokenPipeError:
        raise
    except OSError as error:
        _say(f"{error.filename or ''}: {error.strerror or error}".lstrip(": "))
        return _failed(argv, "system", str(error))
    except MemoryError:
        _say("out of memory; use fewer --jobs, or a smaller tensor")
        return _failed(argv, "memory", "out of memory")
    except (KeyboardInterrupt, _Terminated):
        raise
    except BaseException as error:
        # Of every kind: Python's own exit code for an exception is 1, which here means "differs".
        if os.environ.get("KINIT_DEBUG"):
            raise
        _say(f"internal error: {type(error).__name__}: {error}; KINIT_DEBUG=1 shows where")
        return _failed(argv, "internal", f"{type(error).__name__}: {error}")


def _failed(
    argv: Sequence[str], kind: str, message: str, problems: list[dict[str, Any]] | None = None
) -> int:
    if "--json" in argv:
        error = {"kind": kind, "message": message, "problems": problems or []}
        click.echo(json.dumps({"schema_version": JSON_SCHEMA_VERSION, "error": error}, indent=2))
    return EXIT_ERROR


def problem_json(problem: Any) -> dict[str, Any]:
    """Give a spec's problem as plain data with stable keys."""
    return {
        "file": problem.place.source,
        "line": problem.place.line,
        "column": problem.place.column,
        "path": problem.tree_path,
        "expected": problem.expected,
        "got": problem.got,
        "hint": problem.hint,
    }


def _say(message: str) -> None:
    with _stderr_may_fail():
        click.echo(f"kinit: {message}", err=True)


@contextmanager
def _stderr_may_fail() -> Iterator[None]:
    """Go on without a message that nobody can read: the exit code says enough."""
    try:
        yield
    except OSError:
        _give_up(sys.stderr)
