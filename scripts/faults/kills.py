"""SIGKILL at random moments of whole processes, as a user starts them."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from faults.client import Ended, Fault, environment
from faults.judge import NEW_SEED, Bench, Row
from faults.outputs import Output


def random_kills(bench: Bench, outputs: Sequence[Output], rounds: int, seed: int = 1) -> Row:
    """Kill runs, output after output, at moments spread evenly over a run and a little beyond."""
    row = Row(
        fault="SIGKILL at a random moment",
        how="of a whole process, from its start to a little after its usual end",
    )
    rng = random.Random(seed)
    usual: dict[str, float] = {}
    for index in range(rounds if bench.wants(row) else 0):
        output = outputs[index % len(outputs)]
        has_old = (index // len(outputs)) % 2 == 1
        if output.name not in usual:
            bench.prepare(output, has_old=False)
            usual[output.name] = _run(bench, output, None, has_old=False)[1]
        bench.prepare(output, has_old=has_old)
        delay = rng.uniform(0, 1.1 * usual[output.name])
        ended, _ = _run(bench, output, delay, has_old=has_old)
        bench.judge(row, output, ended, has_old=has_old)
    return row


def _run(
    bench: Bench, output: Output, delay: float | None, *, has_old: bool
) -> tuple[Ended, float]:
    argv = output.argv(bench.folder, seed=NEW_SEED, force=has_old)
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "kinit_cli", *argv],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        process.wait(timeout=delay)
    except subprocess.TimeoutExpired:
        process.kill()
    _, stderr = process.communicate()
    return Ended(code=process.returncode, stderr=stderr), time.monotonic() - started


def iter_stdout_rows(bench: Bench, spec: Path) -> Iterator[Row]:
    """Make the rows of `-o -`, whose file is made in a folder of the system's temporaries."""
    folder = bench.folder.parent / "tmp"
    folder.mkdir()
    argv = ["generate", str(spec), "-o", "-", "--format", "npz", "-q", "--seed", "1", "-j", "1"]
    argv += ["--engine", "numpy"]
    inside = {"TMPDIR": str(folder)}
    row = Row(fault="SIGKILL of a run to stdout", how="at each call on the folder for temporaries")
    row.outputs.append("`-o -`")
    nth = 0
    while True:
        nth += 1
        fault = Fault(action="signal", nth=nth, number=9)
        ended = bench.worker.run(argv, folder, fault, environment=inside)
        if len(ended.calls) < nth:
            break
        row.n += 1
        row.endings["killed" if ended.code == -9 else str(ended.code)] += 1
        row.n_left += any(folder.iterdir())
        bench.worker.run(argv, folder, environment=inside)
        if any(folder.iterdir()):
            row.violations.append(f"{row.fault}: {sorted(folder.rglob('*'))}")
    yield row
    row = Row(fault="a reader of stdout that closes the pipe", how="after the first byte")
    row.outputs.append("`-o -`")
    process = subprocess.Popen(
        [sys.executable, "-m", "kinit_cli", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(TMPDIR=str(folder)),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    said = process.stderr.read().decode()
    row.n += 1
    row.endings[f"{process.wait()}: {said.strip().removeprefix('kinit: <stdout>: ')}"] += 1
    if process.returncode != 2 or any(folder.iterdir()) or said.count("\n") != 1:
        row.violations.append(f"{row.fault}: {process.returncode} {said}")
    yield row
