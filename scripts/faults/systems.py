"""Faults of real file systems: full, read-only, gone, or closed to the user.

Where a run has to be in the middle it is stopped there: the shim stops it before each of its calls
in turn, the fault is done to the folder, and the run goes on.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from faults.client import Fault, environment
from faults.judge import NEW_SEED, Bench, Row
from faults.outputs import Output
from faults.points import both, count_calls

_STOPPED = "a real one, done to the folder while the run is stopped, before each call in turn"
_BEFORE = "a real one, before the run"


@contextmanager
def small_disk(place: Path, options: str = "size=1m") -> Iterator[bool]:
    """Mount a small file system; tell whether that is allowed."""
    place.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"mode=777,{options}", "tmpfs", str(place)]
    is_mounted = not subprocess.run(command, capture_output=True, check=False).returncode
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "-l", str(place)], check=True)


def stopped(
    bench: Bench,
    row: Row,
    output: Output,
    vandal: str,
    undo: str,
    *,
    has_old: bool,
    is_gone: bool = False,
    **options: Any,
) -> None:
    """Stop a run before each call in turn, let the vandal in, and judge what came of it."""
    if not bench.wants(row):
        return
    n_calls = len(count_calls(bench, output, has_old=has_old, **options))
    for nth in range(1, n_calls + 1):
        bench.prepare(output, has_old=has_old, **options)
        argv = output.argv(bench.folder, seed=NEW_SEED, force=has_old)
        fault = Fault(action="signal", nth=nth, number=signal.SIGSTOP)
        ended = bench.worker.run(argv, bench.folder, fault, vandal=vandal, **options)
        subprocess.run(undo, shell=True, check=True)
        bench.judge(row, output, ended, has_old=has_old, is_gone=is_gone)


def before(
    bench: Bench,
    row: Row,
    output: Output,
    vandal: str,
    undo: str,
    *,
    has_old: bool,
    **options: Any,
) -> None:
    """Let the vandal in, make a run and judge what came of it."""
    if not bench.wants(row):
        return
    bench.prepare(output, has_old=has_old, **options)
    subprocess.run(vandal, shell=True, check=True)
    argv = output.argv(bench.folder, seed=NEW_SEED, force=has_old)
    ended = bench.worker.run(argv, bench.folder, **options)
    subprocess.run(undo, shell=True, check=True)
    bench.judge(row, output, ended, has_old=has_old)


def iter_rows(bench: Bench, outputs: Sequence[Output], some: Sequence[Output]) -> Iterator[Row]:
    """Make the rows of faults that need no mount, then of those that do.

    Parameters
    ----------
    some : sequence of Output
        Those of which each run is stopped at each call.
    """
    folder = shlex.quote(str(bench.folder))
    row = Row(fault="a folder that is renamed", how=_STOPPED)
    for output, has_old in both(some):
        stopped(bench, row, output, f"mv {folder} {folder}.away", f"mv {folder}.away {folder}",
                has_old=has_old)  # fmt: skip
    yield row
    row = Row(fault="a folder that vanishes", how=_STOPPED)
    for output in some:
        # Nothing of an old target can be there afterwards.
        stopped(bench, row, output, f"rm -rf {folder}", f"mkdir -p {folder}", has_old=False,
                is_gone=True)  # fmt: skip
    yield row
    row = Row(fault="a limit on the size of files", how="RLIMIT_FSIZE of 0, 100 and 2000 bytes")
    for output, has_old in both(outputs):
        for limit in (0, 100, 2000):
            _limited(bench, row, output, limit, has_old=has_old)
    yield row
    if not os.geteuid():
        yield from _iter_permissions(bench, outputs, some, folder)
        yield from _iter_mounted(bench, outputs, some)


def _limited(bench: Bench, row: Row, output: Output, limit: int, *, has_old: bool) -> None:
    """Run in a process of its own: what it says goes to pipes, which have no such limit."""
    if not bench.wants(row):
        return
    bench.prepare(output, has_old=has_old)
    argv = output.argv(bench.folder, seed=NEW_SEED, force=has_old)
    ended = run_process(argv, lambda: _limit_files(limit))
    bench.judge(row, output, ended, has_old=has_old)


def _limit_files(n_bytes: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))


def run_process(argv: Sequence[str], prepare: Callable[[], None] | None = None) -> Any:
    """Run the command line as a user does, as a new process."""
    from faults.client import Ended

    done = subprocess.run(
        [sys.executable, "-m", "kinit_cli", *argv],
        capture_output=True,
        text=True,
        env=environment(PYTHONDONTWRITEBYTECODE="1"),
        preexec_fn=prepare,
        timeout=120,
        check=False,
    )
    return Ended(code=done.returncode, stderr=done.stderr)


# --- permissions ----------------------------------------------------------------------------


def _iter_permissions(
    bench: Bench, outputs: Sequence[Output], some: Sequence[Output], folder: str
) -> Iterator[Row]:
    """Make the rows of a user who is not root, whom permissions do not bind."""
    nobody = {"is_unprivileged": True}
    closed, opened = f"chmod 0555 {folder}", f"chmod 0777 {folder}"
    row = Row(fault="a folder that may not be written to", how=_BEFORE)
    for output, has_old in both(outputs):
        before(bench, row, output, closed, opened, has_old=has_old, **nobody)
    yield row
    row = Row(fault="a folder that loses its write permission", how=_STOPPED)
    for output, has_old in both(some):
        stopped(bench, row, output, closed, opened, has_old=has_old, **nobody)
    yield row
    row = Row(fault="a target that may not be written to, with `--force`", how=_BEFORE)
    for output in outputs:
        before(bench, row, output, f"chmod -R a-w {folder}/*", f"chmod -R u+w {folder}/*",
               has_old=True, **nobody)  # fmt: skip
    yield row
    row = Row(fault="an immutable target, with `--force`", how=f"{_BEFORE}, `chattr +i`")
    bench.prepare(outputs[0], has_old=True)
    locked = f"chattr +i {folder}/*"
    if not subprocess.run(locked, shell=True, capture_output=True, check=False).returncode:
        subprocess.run(f"chattr -i {folder}/*", shell=True, check=True)
        for output in outputs:
            before(bench, row, output, locked, f"chattr -i {folder}/*", has_old=True)
        yield row


# --- mounted --------------------------------------------------------------------------------


def _iter_mounted(bench: Bench, outputs: Sequence[Output], some: Sequence[Output]) -> Iterator[Row]:
    home, disk = bench.folder.parent, bench.folder.parent / "disk"
    place = shlex.quote(str(disk))
    with small_disk(disk) as is_mounted:
        if not is_mounted:
            return
        bench.move(disk)
        filled = f"cat /dev/zero > {place}/filler 2> {os.devnull} || true"
        yield from _iter_full(bench, outputs, some, filled, f"rm {place}/filler")
        row = Row(fault="a read-only file system", how=f"{_BEFORE}: a tmpfs mounted so")
        for output, has_old in both(outputs):
            before(bench, row, output, f"mount -o remount,ro {place}",
                   f"mount -o remount,rw {place}", has_old=has_old)  # fmt: skip
        yield row
        bench.folder = home / "out"
    with small_disk(disk, "nr_inodes=60") as _:
        bench.move(disk)
        filled = f"i=0; while (: > {place}/f$i) 2> {os.devnull}; do i=$((i+1)); done"
        row = Row(fault="a disk that has no more inodes", how=f"tmpfs; {_STOPPED}")
        for output, has_old in both(some):
            stopped(bench, row, output, filled, f"rm {place}/f*", has_old=has_old)
        yield row
        bench.folder = home / "out"


def _iter_full(
    bench: Bench, outputs: Sequence[Output], some: Sequence[Output], filled: str, undo: str
) -> Iterator[Row]:
    row = Row(fault="a full disk, seen before anything is written", how=f"{_BEFORE}: a tmpfs")
    for output, has_old in both(outputs):
        before(bench, row, output, filled, undo, has_old=has_old)
    yield row
    row = Row(fault="a full disk, not seen before", how=f"{_BEFORE}: a tmpfs; no look at its room")
    for output, has_old in both(outputs):
        before(bench, row, output, filled, undo, has_old=has_old, ignores_free_space=True)
    yield row
    row = Row(fault="a disk that fills up", how=f"tmpfs; {_STOPPED}")
    for output, has_old in both(some):
        stopped(bench, row, output, filled, undo, has_old=has_old)
    yield row
