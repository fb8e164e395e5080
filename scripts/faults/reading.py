"""Weights files that fail while they are read: the reader says so, and is not ended by a signal."""

from __future__ import annotations

import errno
import re
import signal
from collections.abc import Iterator, Sequence

from faults.client import Ended, Fault
from faults.judge import OLD_SEED, Bench, Row
from faults.outputs import Output

_ENGINE = ("--engine", "numpy", "-j", "1")
_MOST = 40


def iter_rows(bench: Bench, outputs: Sequence[Output]) -> Iterator[Row]:
    """Make the rows of reads that fail, and of files that are cut meanwhile."""
    cut = f"find '{bench.folder}' -type f -exec truncate -s 400 {{}} +"
    rows: tuple[tuple[Row, str, int, str | None], ...] = (
        (Row(fault="a read that fails", how="EIO, at up to 40 of its calls"),
         "fail", errno.EIO, None),
        (Row(fault="a file that is cut to 400 bytes while it is read",
             how="while the reader is stopped, before up to 40 of its calls"),
         "signal", signal.SIGSTOP, cut),
    )  # fmt: skip
    for row, action, number, vandal in rows:
        for output in outputs:
            for command in ("inspect", "verify", "diff"):
                _read(bench, row, output, command, Fault(action=action, number=number), vandal)
        yield row


def _read(
    bench: Bench, row: Row, output: Output, command: str, fault: Fault, vandal: str | None
) -> None:
    if not bench.wants(row):
        return
    bench.prepare(output, has_old=True)
    target = f"{bench.folder}/{output.target.rstrip('/')}"
    others = [target] if command == "diff" else []
    argv = [command, target, *others, "-q", *(_ENGINE if command == "verify" else ("-j", "1"))]
    sound = bench.worker.run(argv, bench.folder, with_reads=True)
    if sound.code:
        raise AssertionError(f"{argv}: {sound}")
    step = -(-len(sound.calls) // _MOST)
    for nth in range(1, len(sound.calls) + 1, step):
        bench.clear()
        bench.run_soundly(output.argv(bench.folder, seed=OLD_SEED, force=False))
        now = Fault(action=fault.action, nth=nth, number=fault.number)
        ended = bench.worker.run(argv, bench.folder, now, vandal=vandal, with_reads=True)
        row.n += 1
        row.note_output(output)
        row.endings[f"{ended.code}, `{command}`"] += 1
        if not _is_sound(ended):
            row.violations.append(f"{row.fault}: {command} {output.name}, call {nth}: {ended}")


def _is_sound(ended: Ended) -> bool:
    if "internal error" in ended.stderr or "Traceback" in ended.stderr:
        return False
    if ended.code == 2:
        return re.fullmatch(r"kinit: [^\n]*\n", ended.stderr) is not None
    return ended.code in (0, 1)
