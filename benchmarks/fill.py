"""Filling a tensor in memory, against the libraries that people fill tensors with."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from benchmarks.comparisons import FILLS, LABELS, ORTHOGONALS, QR, QR_TARGET, Comparison
from benchmarks.environment import thread_variables
from benchmarks.measure import REPOSITORY, Series, alternate_calls
from benchmarks.options import Options
from benchmarks.report import Part, Result, ratio_result, round_notes, speed_result

#: Threads of the library that was measured last may spin for a while before they sleep.
_PAUSE_SECONDS = 0.1
#: A sample's standard deviation is wrong if it differs by more than this, relatively.
_TOLERANCE = 0.03
_ALONE = ", one thread"
_TRUNCATED_STDDEV = 0.8796
_NOTES = (
    "In place: into memory that was written before. New array: memory that the system hands out"
    " anew each time.",
    "PyTorch's kaiming_normal_ stands beside HeNormal and does not truncate; NumPy draws a"
    " truncated normal by drawing again what lies outside.",
    "NumPy's Generator fills on one thread; once it is given a Generator for each thread, and once"
    " kinit has one thread.",
    "Orthogonal: each peer runs with all threads and with one, and the faster counts. QR is that of"
    " a matrix that is there.",
)

Shape = tuple[int, int]


class Worker:
    """A process with one library, kept alive between fills."""

    def __init__(self, library: str, python: str, n_threads: int) -> None:
        command = [python, "-m", "benchmarks.fill_worker", library, str(n_threads)]
        self.library = library
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env={**os.environ, **thread_variables(n_threads)},
        )
        self.versions: dict[str, str] = self._answer()["versions"]

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def fill(self, what: str, variant: str, shape: Shape) -> float:
        """Fill once and give the seconds; the elements must have the right spread."""
        assert self._process.stdin is not None
        time.sleep(_PAUSE_SECONDS)
        request = {"what": what, "variant": variant, "shape": shape}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        expected = expected_stddev(what, shape)
        if not abs(answer["stddev"] / expected - 1) < _TOLERANCE:
            raise SystemExit(
                f"{self.library}: {what} ({variant}) has a standard deviation of"
                f" {answer['stddev']:g} instead of {expected:g}"
            )
        return float(answer["seconds"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the process with {self.library} ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def measure(options: Options) -> Part:
    """Measure all fills."""
    pythons = {"kinit": sys.executable, **options.python_of}
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(Worker(name, python, options.threads))
            for name, python in pythons.items()
        }
        results, notes = _measure_fills(workers, options)
        versions = {name: text for one in workers.values() for name, text in one.versions.items()}
        if options.threads > 1:
            for name, python in options.python_of.items():
                workers[name + _ALONE] = stack.enter_context(Worker(name, python, 1))
        for size in options.sizes.orthogonal:
            more_results, more_notes = _measure_orthogonal(workers, size, options)
            results += more_results
            notes += more_notes
    notes = [*_NOTES, *notes]
    return Part(title="In memory", results=results, notes=notes, versions=versions)


def expected_stddev(what: str, shape: Shape) -> float:
    """Give the standard deviation that the elements of a fill must have."""
    return {
        "uniform": 0.1 / math.sqrt(12),
        "normal": 0.05,
        "truncated normal": 0.05 * _TRUNCATED_STDDEV,
        "HeNormal": math.sqrt(2 / shape[0]),
        "orthogonal": math.sqrt(1 / shape[0]),
    }[what]


def _measure_fills(workers: dict[str, Worker], options: Options) -> tuple[list[Result], list[str]]:
    side = math.isqrt(options.sizes.elements)
    results: list[Result] = []
    notes: list[str] = []
    for what in dict.fromkeys(comparison.what for comparison in FILLS):
        comparisons = [one for one in FILLS if one.what == what and one.peer in workers]
        title = f"{what}, {_fmt_count(side * side)} float32"
        series = _measure_cases(workers, comparisons, (side, side), options.sizes.rounds, title)
        results += [_result(title, comparison, series) for comparison in comparisons]
        notes += round_notes(title, list(series.values()))
    return results, notes


def _measure_orthogonal(
    workers: dict[str, Worker], size: int, options: Options
) -> tuple[list[Result], list[str]]:
    title = f"orthogonal, {size} × {size}"
    comparisons = [one for one in (QR, *ORTHOGONALS) if one.peer in workers]
    alone = [replace(one, peer=one.peer + _ALONE) for one in comparisons]
    cases = [*comparisons, *(one for one in alone if one.peer in workers)]
    series = _measure_cases(workers, cases, (size, size), options.sizes.long_rounds, title)
    results = []
    for one in comparisons:
        ways = [series.get((peer, one.variant)) for peer in (one.peer, one.peer + _ALONE)]
        series[one.peer, one.variant] = min(
            (way for way in ways if way is not None), key=lambda way: way.median
        )
        if one == QR:
            pair = [series["kinit", one.kinit], series[one.peer, one.variant]]
            name = f"{title}: kinit against `numpy.linalg.qr`, float64"
            is_main = size == max(options.sizes.orthogonal)
            results.append(ratio_result(name, pair, QR_TARGET, is_main=is_main))
        else:
            results.append(_result(title, one, series))
    return results, round_notes(title, list(series.values()))


def _measure_cases(
    workers: dict[str, Worker],
    comparisons: Sequence[Comparison],
    shape: Shape,
    n_rounds: int,
    title: str,
) -> dict[tuple[str, str], Series]:
    """Measure each way that occurs once a round, kinit's first; give them by library and way."""
    cases = [("kinit", one.kinit) for one in comparisons]
    cases += [(one.peer, one.variant) for one in comparisons]
    calls = {}
    for library, variant in dict.fromkeys(cases):
        worker = workers[library]
        label = LABELS.get(worker.library, worker.library)
        name = f"{label}{library.removeprefix(worker.library)}\0{variant}"
        calls[name] = lambda worker=worker, variant=variant: worker.fill(
            comparisons[0].what, variant, shape
        )
    measured = alternate_calls(calls, n_rounds, title=title) if calls else []
    return {
        case: Series(name=one.name.partition("\0")[0], seconds=one.seconds)
        for case, one in zip(dict.fromkeys(cases), measured, strict=True)
    }


def _result(title: str, comparison: Comparison, series: dict[tuple[str, str], Series]) -> Result:
    pair = [series["kinit", comparison.kinit], series[comparison.peer, comparison.variant]]
    return speed_result(
        title,
        LABELS[comparison.peer],
        pair,
        comparison.target,
        is_main=comparison.is_main,
        variant=comparison.ways,
    )


def _fmt_count(n_elements: int) -> str:
    return f"{n_elements / 1e6:.3g} M" if n_elements >= 1e6 else f"{n_elements:,}"
