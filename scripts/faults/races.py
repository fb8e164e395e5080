"""Runs that meet: several to one output at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from faults.judge import OLD_SEED, Bench, Row
from faults.outputs import Output, snapshot

_FIRST_SEED = 11
_LOST = r"kinit: \S+ (exists|came into being meanwhile); use --force to replace it\n"


def iter_rows(bench: Bench, outputs: Sequence[Output], rounds: int) -> Iterator[Row]:
    """Make the rows of 2 and 8 runs at once, each with a seed of its own."""
    for n_runs in (2, 8):
        for force in (False, True):
            what = (
                f"{n_runs} runs to one output at once, {'with' if force else 'without'} `--force`"
            )
            row = Row(fault=what, how=f"{rounds} rounds for each output, other values in each run")
            for output in outputs:
                if output.command == "generate":
                    for index in range(rounds):
                        _race(
                            bench,
                            row,
                            output,
                            n_runs,
                            force=force,
                            has_old=force and index % 2 == 0,
                        )
            yield row


def _race(
    bench: Bench, row: Row, output: Output, n_runs: int, *, force: bool, has_old: bool
) -> None:
    if not bench.wants(row):
        return
    seeds = range(_FIRST_SEED, _FIRST_SEED + n_runs)
    complete = [bench.reference(output, seed) for seed in seeds]
    bench.clear()
    if has_old:
        bench.run_soundly(output.argv(bench.folder, seed=OLD_SEED, force=False))
    argvs = [output.argv(bench.folder, seed=seed, force=force) for seed in seeds]
    ended = bench.worker.run_together(argvs, bench.folder)
    found = snapshot(bench.folder)
    row.n += 1
    row.note_output(output)
    row.n_new += found in complete
    n_won = sum(each.code == 0 for each in ended)
    for each in ended:
        is_right = each.code == 0 or (not force and re.fullmatch(_LOST, each.stderr))
        row.endings[
            "0"
            if each.code == 0
            else "2: OUT exists, or came into being meanwhile; use --force to replace it"
        ] += 1
        if not is_right:
            row.violations.append(f"{row.fault}: {output.name}: {each.code} {each.stderr}")
    if found not in complete or n_won != (n_runs if force else 1):
        row.violations.append(f"{row.fault}: {output.name}: {n_won} won; {sorted(found)}")
