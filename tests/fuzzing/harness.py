"""What the tests call: it tries an input in a worker, and keeps one that fails."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from fuzzing import seeds

#: Names of files and their bytes.
Files = Mapping[str, bytes]

#: How many examples each fuzz test tries; without the variable, the same ones each time.
N_EXAMPLES = int(os.environ.get("KINIT_FUZZ_EXAMPLES", "0"))
#: A worker that does not answer for so long hangs.
MAX_SECONDS = 60
_TESTS = Path(__file__).parents[1]
FAILURES = _TESTS.parent / "fuzz_failures"


class Harness:
    """A worker, and the folder in which it finds inputs."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="kinit_fuzz_"))
        self._worker: subprocess.Popen[str] | None = None

    def close(self) -> None:
        """End the worker and remove the folder."""
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def check(self, target: str, files: Files) -> None:
        """Try an input; a fault is an `AssertionError` that says how to see it again."""
        fault = self.fault_of(target, files)
        if fault:
            kept = FAILURES / target
            shutil.rmtree(kept, ignore_errors=True)
            _write(kept, files)
            raise AssertionError(
                f"{fault}\nThe input is in {kept}; to see this again:\n"
                f"  cd tests && python -m fuzzing.worker {target} ../fuzz_failures/{target}"
            )

    def fault_of(self, target: str, files: Files, *, is_warming: bool = False) -> str:
        """Try an input and say what is wrong; "" if nothing is."""
        if self._worker is None:
            self._start()
        folder = self._folder / "input"
        shutil.rmtree(folder, ignore_errors=True)
        _write(folder, files)
        return self._ask({"target": target, "folder": str(folder), "is_warming": is_warming})

    def _ask(self, request: dict[str, object]) -> str:
        worker = self._worker
        assert worker is not None
        assert worker.stdin is not None
        assert worker.stdout is not None
        try:
            worker.stdin.write(json.dumps(request) + "\n")
            worker.stdin.flush()
            if not select.select([worker.stdout], [], [], MAX_SECONDS)[0]:
                self._end()
                return f"a hang: no answer in {MAX_SECONDS} s"
            line = worker.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._worker = None
            with contextlib.suppress(BrokenPipeError):
                worker.communicate()
            return f"a crash: the process ended with {worker.returncode}"
        return str(json.loads(line))

    def _start(self) -> None:
        self._worker = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "fuzzing.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_TESTS,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(_TESTS), *sys.path])},
            start_new_session=True,
        )
        # What is imported when it is first needed is imported now.
        for target, seed in seeds.warming():
            self.fault_of(target, seed, is_warming=True)
            assert self._worker is not None, "the worker ends on a sound file"

    def _end(self) -> None:
        if self._worker is not None:
            os.killpg(self._worker.pid, signal.SIGKILL)
            self._worker.communicate()
            self._worker = None


def _write(folder: Path, files: Files) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


HARNESS = Harness()
atexit.register(HARNESS.close)
