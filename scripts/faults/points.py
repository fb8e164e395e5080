"""Every call that a run makes on the target's folder, and a fault at each of them."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator, Sequence
from typing import Any

from faults.client import Fault
from faults.judge import NEW_SEED, Bench, Row
from faults.outputs import Output

_EACH = "at each call on the folder in turn, by a library put before the C library"
#: Calls -> the error that each of them meets, and its name.
_ERRORS = (
    (("fsync",), errno.EIO, "an fsync that fails"),
    (("write", "pwrite", "pwrite64", "truncate", "truncate64", "ftruncate", "ftruncate64"),
     errno.ENOSPC, "a write or an extension of a file that finds the disk full"),
    (("write", "pwrite", "pwrite64"), errno.EIO, "a write that fails"),
    (("rename", "renameat2", "link", "linkat"), errno.EBUSY, "a rename that fails"),
    (("open",), errno.EACCES, "a file that may not be opened"),
    (("open", "mkdir"), errno.EMFILE, "a file that cannot be opened"),
    (("mkdir",), errno.EDQUOT, "a folder for which there is no quota"),
    (("close",), errno.EIO, "a close that fails"),
    (("unlink", "unlinkat", "rmdir"), errno.EACCES, "a temporary that may not be removed"),
    (("chmod", "fchmod"), errno.EPERM, "permissions that may not be set"),
    (("flock",), errno.ENOLCK, "a lock that fails"),
)  # fmt: skip


def crash_points(
    bench: Bench, row: Row, output: Output, *, has_old: bool, number: int, unknown: str = ""
) -> None:
    """Send a run a signal before each of its calls in turn."""
    if not bench.wants(row):
        return
    nth = 0
    while True:
        nth += 1
        fault = Fault(action="signal", nth=nth, number=number)
        if _inject(bench, row, output, fault, has_old=has_old, unknown=unknown) < nth:
            return


def failing_calls(
    bench: Bench, row: Row, output: Output, *, has_old: bool, names: Sequence[str], number: int
) -> None:
    """Let each of the calls with these names fail in turn."""
    if not bench.wants(row):
        return
    calls = count_calls(bench, output, has_old=has_old)
    for nth in (n for n, call in enumerate(calls, start=1) if call in names):
        fault = Fault(action="fail", nth=nth, number=number)
        _inject(bench, row, output, fault, has_old=has_old)


def disk_fills(bench: Bench, row: Row, output: Output, *, has_old: bool) -> None:
    """Let all that takes room fail from each call on."""
    if not bench.wants(row):
        return
    for nth in range(1, len(count_calls(bench, output, has_old=has_old)) + 1):
        fault = Fault(action="fail on", nth=nth, number=errno.ENOSPC)
        _inject(bench, row, output, fault, has_old=has_old)


def iter_rows(bench: Bench, outputs: Sequence[Output], some: Sequence[Output]) -> Iterator[Row]:
    """Make the rows of faults at every call.

    Parameters
    ----------
    some : sequence of Output
        Those for faults that differ little from another.
    """
    for number, what in (
        (signal.SIGKILL, "SIGKILL"),
        (signal.SIGTERM, "SIGTERM"),
        (signal.SIGINT, "SIGINT, as Ctrl-C sends it"),
        (signal.SIGHUP, "SIGHUP"),
    ):
        row = Row(fault=what, how=_EACH)
        for output, has_old in both(outputs if number == signal.SIGKILL else some):
            crash_points(bench, row, output, has_old=has_old, number=number)
        yield row
    for names, error, what in _ERRORS:
        row = Row(fault=what, how=f"{errno.errorcode[error]}, {_EACH}")
        for output, has_old in both(outputs):
            failing_calls(bench, row, output, has_old=has_old, names=names, number=error)
        yield row
    row = Row(fault="a disk that is full from then on", how=f"ENOSPC, {_EACH}")
    for output, has_old in both(some):
        disk_fills(bench, row, output, has_old=has_old)
    yield row
    yield from _iter_poor_systems(bench, some)


def _iter_poor_systems(bench: Bench, outputs: Sequence[Output]) -> Iterator[Row]:
    for unknown, what in (
        ("renameat2", "SIGKILL where names cannot be swapped"),
        ("renameat2 linkat link", "SIGKILL where there are no hard links either"),
    ):
        row = Row(fault=what, how=f"{unknown}: EOPNOTSUPP; {_EACH}")
        for output, has_old in both(outputs):
            crash_points(
                bench, row, output, has_old=has_old, number=signal.SIGKILL, unknown=unknown
            )
        yield row


def both(outputs: Sequence[Output]) -> Iterator[tuple[Output, bool]]:
    """Give every output without and with an old target."""
    for output in outputs:
        yield output, False
        yield output, True


def count_calls(bench: Bench, output: Output, *, has_old: bool, **options: Any) -> tuple[str, ...]:
    """Give the calls of a run that nothing is put in the way of."""
    bench.prepare(output, has_old=has_old, **options)
    argv = output.argv(bench.folder, seed=NEW_SEED, force=has_old)
    ended = bench.worker.run(argv, bench.folder, **options)
    if ended.code or not ended.calls:
        raise AssertionError(f"{argv}: {ended}")
    return ended.calls


def _inject(
    bench: Bench, row: Row, output: Output, fault: Fault, *, has_old: bool, unknown: str = ""
) -> int:
    """Make one run with a fault and judge it; give the number of its calls."""
    bench.prepare(output, has_old=has_old)
    argv = output.argv(bench.folder, seed=NEW_SEED, force=has_old)
    ended = bench.worker.run(argv, bench.folder, fault, unknown=unknown)
    if len(ended.calls) < fault.nth:
        return len(ended.calls)
    bench.judge(row, output, ended, has_old=has_old)
    return len(ended.calls)
