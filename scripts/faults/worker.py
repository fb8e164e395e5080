"""A process that has kinit loaded and forks one child for each run: hundreds of runs in a minute.

Its calls to the C library go through `shim.c`, which every child arms for itself. Requests and
answers are lines of JSON on stdin and stdout.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from kinit_cli.cli.main import run

_ACTIONS = ("count", "signal", "fail", "fail on")
NOBODY = 65534


def serve() -> None:
    """Answer requests until there are none."""
    _catch_up()
    for line in sys.stdin:
        request = json.loads(line)
        with tempfile.TemporaryDirectory(prefix="kinit-faults-") as scratch:
            os.chmod(scratch, 0o777)
            places = [Path(scratch, str(n)) for n in range(len(request["runs"]))]
            started = [
                (_start(each, place), place)
                for each, place in zip(request["runs"], places, strict=True)
            ]
            answers = [_finish(pid, place, request.get("vandal")) for pid, place in started]
        # The real stdout: a run must not be able to disturb the answers.
        print(json.dumps(answers), flush=True)


def _catch_up() -> None:
    """Make the machinery warm, so that children find it loaded."""
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder, "s.yaml")
        spec.write_text("seed: 1\nlayers: [{name: a, weights: {k: {shape: [2, 2]}}}]\n")
        for name in ("a.h5", "a.safetensors", "a.npz", "a.npy"):
            file = f"{folder}/{name}"
            _check(run(["generate", str(spec), "-o", file, "-q", "--engine", "numpy", "-j", "1"]))
            _check(run(["verify", file, "-q", "--engine", "numpy", "-j", "1"]))
        _check(run(["lock", str(spec), "-q", "--engine", "numpy", "-j", "1"]))
        _check(run(["import", f"{folder}/a.h5", "-o", f"{folder}/b.yaml"]))


def _check(code: int) -> None:
    if code:
        raise SystemExit(f"a run without any fault ended with {code}")


def _start(request: dict[str, Any], place: Path) -> int:
    pid = os.fork()
    if not pid:
        _run_child(request, place)
    return pid


def _run_child(request: dict[str, Any], place: Path) -> NoReturn:
    code = 99
    try:
        for descriptor, suffix in ((1, "out"), (2, "err")):
            file = os.open(f"{place}.{suffix}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            os.dup2(file, descriptor)
        os.environ.update(request.get("environment", {}))
        # Computed once in a process, and the worker has computed it before.
        tempfile.tempdir = request.get("environment", {}).get("TMPDIR")
        if request.get("ignores_free_space"):
            shutil.disk_usage = lambda path: shutil._ntuple_diskusage(0, 0, 10**15)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else _interrupt)
        if request.get("is_unprivileged"):
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        _arm(request, place)
        code = run(request["argv"])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _arm(request: dict[str, Any], place: Path) -> None:
    fault = request.get("fault", {})
    ctypes.CDLL(None).fault_arm(
        os.fsencode(request["folder"]),
        _ACTIONS.index(fault.get("action", "count")),
        fault.get("nth", 0),
        fault.get("number", 0),
        request.get("unknown", "").encode(),
        int(request.get("with_reads", False)),
        os.fsencode(f"{place}.calls"),
    )


def _finish(pid: int, place: Path, vandal: str | None) -> dict[str, Any]:
    """Wait for a child; when it stops, do what the vandal does and let it go on."""
    while True:
        _, status = os.waitpid(pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            break
        if vandal is not None:
            subprocess.run(vandal, shell=True, check=True)
        os.kill(pid, signal.SIGCONT)
    calls = Path(f"{place}.calls")
    return {
        "code": os.waitstatus_to_exitcode(status),
        "stderr": Path(f"{place}.err").read_text(encoding="utf-8", errors="replace"),
        "calls": calls.read_text().split() if calls.exists() else [],
    }


if __name__ == "__main__":
    serve()
