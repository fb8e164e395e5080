"""Measure everything, print the table and save it."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks import generation, machine, memory, report, startup

_PARTS = ("startup", "generation", "memory")


def main() -> None:
    """Run the parts asked for; results are saved only if all parts were run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=_PARTS, action="append", help="run a part; repeatable")
    parser.add_argument("--rounds", type=_rounds, default=9, help="rounds of a generation [9]")
    parser.add_argument("--start-rounds", type=_rounds, default=25, help="rounds of a start [25]")
    parser.add_argument(
        "--sizes",
        type=lambda text: int(float(text)),
        nargs="+",
        default=memory.DEFAULT_SIZES,
        metavar="BYTES",
        help="sizes between which peak memory is compared [80e6 8e9]",
    )
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    parts = options.only or _PARTS
    results: list[report.Result] = []
    if "startup" in parts:
        results += startup.measure(options.start_rounds)
    if "generation" in parts:
        results += generation.measure(options.rounds, options.folder)
    if "memory" in parts:
        results += memory.measure(options.sizes, options.folder)
    print(report.markdown(results, machine.describe()))
    if set(parts) == set(_PARTS):
        report.save(results, machine.describe())


def _rounds(text: str) -> int:
    if int(text) < 2:
        raise ValueError("at least 2 rounds")
    return int(text)


if __name__ == "__main__":
    main()
