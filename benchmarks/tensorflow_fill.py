"""The TensorFlow engine on the CPU, against TensorFlow's own draws in the same environment."""

from __future__ import annotations

import math
import sys
from contextlib import ExitStack

from benchmarks.fill import Worker
from benchmarks.measure import alternate_calls
from benchmarks.options import Options
from benchmarks.report import Part, Result, round_notes, speed_result

_NOTES = (
    "All of them run the same TensorFlow on the same threads and give a new array; kinit's values"
    " are those of its other engines, bit for bit. The engine is for GPUs; here is no GPU.",
    "kinit with Numba stands beside them to show what `auto` takes on a CPU.",
)
_SUBJECT = "kinit_tensorflow"
_OURS = {"kinit, TensorFlow (XLA)": "xla", "kinit, TensorFlow (eager)": "eager"}
#: What is filled, and the library that people fill it with.
_PEERS = {
    "uniform": ("tensorflow", "tf.random.stateless_uniform"),
    "normal": ("tensorflow", "tf.random.stateless_normal"),
    "HeNormal": ("keras", "Keras"),
}


def measure(options: Options) -> Part:
    """Measure fills of one tensor; nothing where TensorFlow cannot be installed."""
    title = "The TensorFlow engine on the CPU"
    python = options.python_of.get("keras")
    if python is None:
        return Part(title=title, notes=["TensorFlow is left out with Keras."])
    with ExitStack() as stack:
        workers = {
            library: stack.enter_context(Worker(library, path, options.threads))
            for library, path in (
                (_SUBJECT, python),
                ("tensorflow", python),
                ("keras", python),
                ("kinit", sys.executable),
            )
        }
        results: list[Result] = []
        notes = list(_NOTES)
        for what in _PEERS:
            more_results, more_notes = _measure_fill(what, workers, options)
            results += more_results
            notes += more_notes
        versions = {name: text for one in workers.values() for name, text in one.versions.items()}
    return Part(title=title, results=results, notes=notes, versions=versions)


def _measure_fill(
    what: str, workers: dict[str, Worker], options: Options
) -> tuple[list[Result], list[str]]:
    side = math.isqrt(options.sizes.elements)
    shape = (side, side)
    title = f"{what}, {side * side / 1e6:.3g} M float32"
    library, label = _PEERS[what]
    calls = {
        name: lambda mode=mode: workers[_SUBJECT].fill(what, mode, shape)
        for name, mode in _OURS.items()
    }
    calls[label] = lambda: workers[library].fill(what, "", shape)
    calls["kinit, Numba"] = lambda: workers["kinit"].fill(what, "new array", shape)
    series = {one.name: one for one in alternate_calls(calls, options.sizes.rounds, title=title)}
    subject = "kinit, TensorFlow (XLA)"
    results = [
        speed_result(title, other, [series[subject], series[other]], None, variant="new array, XLA")
        for other in series
        if other != subject
    ]
    return results, round_notes(title, list(series.values()))
