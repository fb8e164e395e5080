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
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Rounds whose middle half varies by more than this, relative to the median, are called noisy.
NOISY_SPREAD = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one process took."""

    seconds: float
    max_rss_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The wall times of a command's rounds."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """The middle half of the times, relative to their median."""
        first, _, third = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (third - first) / self.median

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "median_seconds": round(self.median, 4),
            "fastest_seconds": round(min(self.seconds), 4),
            "spread": round(self.spread, 3),
            "rounds": [round(seconds, 4) for seconds in self.seconds],
        }


def kinit_command() -> list[str]:
    """Give the installed `kinit` that belongs to this Python."""
    script = Path(sys.executable).parent / "kinit"
    found = script if script.exists() else shutil.which("kinit")
    return [str(found)] if found else [sys.executable, "-m", "kinit_cli"]


def run(command: Sequence[str]) -> Run:
    """Run a command to its end.

    Raises
    ------
    SystemExit
        It failed; what it said on stderr is told.
    """
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    message = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}\n{message.decode()}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Run(seconds=seconds, max_rss_bytes=usage.ru_maxrss * unit)


def alternate(
    commands: dict[str, Sequence[str]], n_rounds: int, *, between: Callable[[], None] | None = None
) -> list[Series]:
    """Run commands in turn, round after round, after one round that does not count.

    Parameters
    ----------
    between : callable, optional
        Called before each run, to remove the last one's output, say.
    """
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for i in range(n_rounds + 1):
        for name, command in commands.items():
            if between is not None:
                between()
            taken = run(command).seconds
            if i:
                seconds[name].append(taken)
    return [Series(name=name, seconds=tuple(taken)) for name, taken in seconds.items()]
