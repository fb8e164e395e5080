"""Put faults in the way of runs, judge what they leave, and write docs/reliability.md.

Needs a C compiler; for permissions and small file systems also root, without which those rows are
left out. Takes about a quarter of an hour. Ends with code 1 if a rule was broken.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from faults import kills, page, points, races, reading, systems
from faults.client import REPOSITORY, Worker
from faults.judge import Bench, Row
from faults.outputs import OUTPUTS

#: One of each way into place: a file, a file and its manifest, a directory, a set.
_SOME = tuple(OUTPUTS[index] for index in (0, 4, 5, 6))
#: Makes writing half of the time of a run.
_BIG_UNITS = 1200
_FAST = Path("/dev/shm")


def main() -> int:
    """Inject, judge and write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="kills at random moments")
    parser.add_argument("--rounds", type=int, default=10, help="of runs at once, for each output")
    parser.add_argument("--only", default="", metavar="TEXT", help="only faults with this text")
    parser.add_argument("--quick", action="store_true", help="one output; nothing is written")
    options = parser.parse_args()
    rows = []
    with Worker() as worker:
        for row in _iter_rows(worker, options):
            if not row.n:
                continue
            rows.append(row)
            print(f"{row.n:6,}  {row.fault}: {len(row.violations)} violations", flush=True)
            for violation in row.violations[:5]:
                print(f"        {violation}", file=sys.stderr)
    if not options.quick:
        page.write(REPOSITORY / "docs", rows, _about())
    return int(any(row.violations for row in rows))


def _iter_rows(worker: Worker, options: argparse.Namespace) -> Iterator[Row]:
    outputs, some = (OUTPUTS[:1], OUTPUTS[:1]) if options.quick else (OUTPUTS, _SOME)
    with tempfile.TemporaryDirectory() as slow:
        big = Bench(Path(slow), worker, units=_BIG_UNITS, only=options.only)
        yield kills.random_kills(big, outputs, options.kills)
        if not options.only:
            yield from kills.iter_stdout_rows(big, Path(slow, "net.yaml"))
    # Thousands of runs, for which a disk would be too slow.
    with tempfile.TemporaryDirectory(dir=_FAST if _FAST.is_dir() else None) as fast:
        bench = Bench(Path(fast), worker, only=options.only)
        yield from points.iter_rows(bench, outputs, some)
        yield from systems.iter_rows(bench, outputs, some)
        yield from races.iter_rows(bench, outputs, options.rounds)
        yield from reading.iter_rows(bench, outputs[:8])


def _about() -> dict[str, str]:
    def kind(folder: str) -> str:
        command = ["stat", "-f", "-c", "%T", folder]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    fast = str(_FAST) if _FAST.is_dir() else tempfile.gettempdir()
    return {
        "Random kills on": kind(tempfile.gettempdir()),
        "all else on": kind(fast),
        platform.system(): platform.release().split("-")[0],
        "Python": platform.python_version(),
        "run as": "root" if not os.geteuid() else "an ordinary user",
    }


if __name__ == "__main__":
    sys.exit(main())
