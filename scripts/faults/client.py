"""The worker as seen from outside: a run with a fault goes in, how it ended comes out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

_HERE = Path(__file__).parent
REPOSITORY = _HERE.parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run ended.

    Attributes
    ----------
    code : int
        Exit code, or the signal's number with a minus.
    calls : tuple of str
        The calls on the watched folder, in order.
    """

    code: int
    stderr: str
    calls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What the shim does at the `nth` call: nothing, a signal, an error, or errors from there on.

    Attributes
    ----------
    number : int
        The signal's or the error's.
    """

    action: str = "count"
    nth: int = 0
    number: int = 0


def find_compiler() -> str | None:
    """Give a C compiler, if there is one."""
    return next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)


class Worker:
    """A worker process with the shim loaded."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="kinit-shim-")
        library = Path(self._folder.name, "shim.so")
        compiler = find_compiler()
        if compiler is None:
            raise RuntimeError("there is no C compiler, which the shim needs")
        source = str(_HERE / "shim.c")
        command = [compiler, "-shared", "-fPIC", "-O1", source, "-o", str(library), "-ldl"]
        subprocess.run(command, check=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faults.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(LD_PRELOAD=str(library)),
            text=True,
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()
        self._folder.cleanup()

    def run(
        self,
        argv: Sequence[str],
        folder: Path,
        fault: Fault = Fault(),
        *,
        vandal: str | None = None,
        **options: Any,
    ) -> Ended:
        """Run one command line with a fault in what it does to a folder; see `worker.py`."""
        return self.run_together([argv], folder, fault, vandal=vandal, **options)[0]

    def run_together(
        self,
        argvs: Sequence[Sequence[str]],
        folder: Path,
        fault: Fault = Fault(),
        *,
        vandal: str | None = None,
        **options: Any,
    ) -> list[Ended]:
        """Run several command lines at once."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        told = {"action": fault.action, "nth": fault.nth, "number": fault.number}
        runs = [{"argv": list(v), "folder": str(folder), "fault": told, **options} for v in argvs]
        self._process.stdin.write(json.dumps({"runs": runs, "vandal": vandal}) + "\n")
        self._process.stdin.flush()
        answers: list[Mapping[str, Any]] = json.loads(self._process.stdout.readline())
        return [
            Ended(code=each["code"], stderr=each["stderr"], calls=tuple(each["calls"]))
            for each in answers
        ]


def environment(**changes: str) -> dict[str, str]:
    """Give an environment in which output does not depend on the terminal."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("FORCE_COLOR", "NO_COLOR", "COLUMNS", "KINIT_DEBUG", "PYTHONWARNINGS")
    }
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "scripts")])
    # A process with threads must not be forked, and NumPy's libraries would start some.
    return {**kept, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", **changes}
