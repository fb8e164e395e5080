"""Measure everything, print the tables and save them."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks import (
    crossing,
    end_to_end,
    environment,
    fill,
    generation,
    growth,
    inspection,
    machine,
    memory,
    peers,
    picture,
    report,
    startup,
    tensorflow_fill,
)
from benchmarks.measure import tell
from benchmarks.options import PEERS, QUICK, Options, Sizes
from kinit_cli.cores import count_cores
from kinit_cli.workers import default_jobs

#: In the order in which they run and are shown.
_PARTS: dict[str, Callable[[Options], report.Part]] = {
    "fill": fill.measure,
    "tensorflow": tensorflow_fill.measure,
    "end-to-end": end_to_end.measure,
    "startup": startup.measure,
    "inspect": inspection.measure,
    "growth": growth.measure,
    "memory": memory.measure,
    "crossing": crossing.measure,
    "generation": generation.measure,
}
#: Parts in which the peers' environment has a part.
_WITH_PEERS = ("fill", "tensorflow", "end-to-end")


def main() -> int:
    """Run the parts asked for; results are saved only if all were run at full size."""
    arguments = _parse()
    names = [name for name in _PARTS if name in (arguments.only or _PARTS)]
    n_cores = count_cores()
    environment.limit_threads(arguments.threads)
    options = Options(
        sizes=_sizes(arguments),
        threads=arguments.threads,
        folder=arguments.folder,
        peers=arguments.peers,
    )
    left_out: list[str] = []
    if set(names) & set(_WITH_PEERS):
        found, left_out = peers.python_of_peers(options.peers, arguments.peers_python)
        options = replace(options, python_of=found)
    parts, n_failed = _measure(names, options)
    if parts:
        parts[0] = replace(parts[0], notes=[*parts[0].notes, *left_out])
    versions = {name: text for part in parts for name, text in part.versions.items()}
    described = machine.describe(n_cores, options.threads, versions)
    print(report.markdown(parts, described))
    is_complete = (names, options.sizes, options.peers) == ([*_PARTS], Sizes(), PEERS)
    if arguments.save_to:
        report.save(parts, described, arguments.save_to)
        picture.draw(arguments.save_to, arguments.save_to / picture.PICTURE.name)
    elif is_complete and not n_failed:
        report.save(parts, described)
        picture.draw(report.FOLDER, picture.PICTURE)
        tell("saved; `make docs` takes them into the README")
    else:
        tell("not saved: a part failed, or parts, peers or sizes are not those of `make bench`")
    return 1 if n_failed else 0


def _measure(names: list[str], options: Options) -> tuple[list[report.Part], int]:
    """Run the parts; give what they found, and how many failed. One that fails stops no other."""
    parts: list[report.Part] = []
    n_failed = 0
    started = time.monotonic()
    for name in names:
        try:
            parts.append(_PARTS[name](options))
        except SystemExit as error:
            tell(f"{name} failed: {error}")
            n_failed += 1
        tell(f"{name} is done, after {time.monotonic() - started:.0f} s")
    return parts, n_failed


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--only", choices=tuple(_PARTS), action="append", help="run a part; repeatable")
    add("--quick", action="store_true", help="small sizes: to see that all works")
    add("--rounds", type=_rounds, help="rounds of everything but starts [5, of long ones 3]")
    add("--start-rounds", type=_rounds, help="rounds of what takes milliseconds [25]")
    add("--elements", type=_count, help="elements of a tensor filled in memory [64e6]")
    add("--orthogonal", type=_count, nargs="+", metavar="N", help="[1024 2048 4096]")
    add("--bytes", type=_count, help="size of the large model and the inspected file")
    add("--memory-bytes", type=_count, nargs="+", metavar="BYTES", help="[80e6 8e9]")
    add("--no-gpt2", action="store_true", help="leave out GPT-2, which has 498 MB")
    add("--threads", type=int, default=default_jobs(), help="of everyone [cores]")
    add("--folder", type=Path, default=Path(tempfile.gettempdir()), help="for files on a disk")
    add("--peers", type=_peers, default=PEERS, metavar="NAME,...", help=f"of {', '.join(PEERS)}")
    add("--peers-python", type=Path, help="a Python that has the peers")
    add("--save-to", type=Path, metavar="FOLDER", help="save results and picture there, whatever")
    return parser.parse_args()


def _sizes(arguments: argparse.Namespace) -> Sizes:
    sizes = QUICK if arguments.quick else Sizes()
    changes = {
        "rounds": arguments.rounds,
        "long_rounds": arguments.rounds,
        "start_rounds": arguments.start_rounds,
        "elements": arguments.elements,
        "orthogonal": arguments.orthogonal and tuple(arguments.orthogonal),
        "model_bytes": arguments.bytes,
        "inspect_bytes": arguments.bytes,
        "memory_bytes": arguments.memory_bytes and tuple(arguments.memory_bytes),
        "has_gpt2": False if arguments.no_gpt2 else None,
    }
    return replace(sizes, **{name: value for name, value in changes.items() if value is not None})


def _rounds(text: str) -> int:
    if int(text) < 2:
        raise ValueError("at least 2 rounds")
    return int(text)


def _count(text: str) -> int:
    return int(float(text))


def _peers(text: str) -> tuple[str, ...]:
    names = tuple(name for name in text.split(",") if name)
    if not set(names) <= set(PEERS):
        raise ValueError(f"expected some of {PEERS}")
    return names


if __name__ == "__main__":
    sys.exit(main())
