"""Running processes in turn and summing up what they took.

Everything is measured from outside, as a whole process, so that imports count. This process stays
small: on Linux a child's peak memory starts from its parent's.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
#: Rounds whose middle half varies by more than this, relative to the median, are called noisy.
NOISY_SPREAD = 0.1
#: A round in which most series took this many times their median is called noisy.
NOISY_ROUND = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one process took, and what it wrote to stdout."""

    seconds: float
    max_rss_bytes: int
    output: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The times of a command, or of a call, in its rounds."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """The middle half of the times, relative to their median."""
        first, third = quartiles(self.seconds)
        return (third - first) / self.median

    @property
    def is_noisy(self) -> bool:
        return self.spread > NOISY_SPREAD

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "median_seconds": round(self.median, 5),
            "fastest_seconds": round(min(self.seconds), 5),
            "spread": round(self.spread, 3),
            "rounds": [round(seconds, 5) for seconds in self.seconds],
        }


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """Give the first and the third quartile of one or more values."""
    if len(values) == 1:
        return values[0], values[0]
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third


def noisy_rounds(series: Sequence[Series]) -> list[int]:
    """List the rounds, from 1, in which most of the series were slow at once."""
    n_rounds = min((len(one.seconds) for one in series), default=0)
    return [
        i + 1
        for i in range(n_rounds)
        if statistics.median(one.seconds[i] / one.median for one in series) > NOISY_ROUND
    ]


def kinit_command() -> list[str]:
    """Give the installed `kinit` that belongs to this Python."""
    script = Path(sys.executable).parent / "kinit"
    found = script if script.exists() else shutil.which("kinit")
    return [str(found)] if found else [sys.executable, "-m", "kinit_cli"]


def tell(message: str) -> None:
    """Say what is under way, on stderr."""
    print(f"benchmarks: {message}", file=sys.stderr, flush=True)


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Run:
    """Run a command to its end, from the root of the repository.

    Parameters
    ----------
    environment : mapping, optional
        Variables to set beside those of this process.

    Raises
    ------
    SystemExit
        It failed; what it said on stderr is told.
    """
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.PIPE,
            cwd=REPOSITORY,
            env={**os.environ, **(environment or {})},
        )
        assert process.stderr is not None
        message = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stderr.close()
        output.seek(0)
        text = output.read().decode(errors="replace")
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}\n{message.decode()}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Run(seconds=seconds, max_rss_bytes=usage.ru_maxrss * unit, output=text)


def alternate_calls(
    calls: Mapping[str, Callable[[], float]], n_rounds: int, *, title: str = ""
) -> list[Series]:
    """Make calls in turn, round after round, after one round that does not count.

    Each call gives the seconds that count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(n_rounds + 1):
        if title:
            tell(f"{title}, " + (f"round {i} of {n_rounds}" if i else "warming up"))
        for name, call in calls.items():
            taken = call()
            if i:
                seconds[name].append(taken)
    return [Series(name=name, seconds=tuple(taken)) for name, taken in seconds.items()]


def alternate(
    commands: Mapping[str, Sequence[str]],
    n_rounds: int,
    *,
    between: Callable[[], None] | None = None,
    title: str = "",
) -> list[Series]:
    """Run commands in turn, as whole processes; see `alternate_calls`.

    Parameters
    ----------
    between : callable, optional
        Called before each run, to remove the last one's output, say.
    """

    def call(command: Sequence[str]) -> float:
        if between is not None:
            between()
        return run(command).seconds

    calls = {name: lambda command=command: call(command) for name, command in commands.items()}
    return alternate_calls(calls, n_rounds, title=title)
