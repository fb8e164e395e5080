"""A process that fills tensors with one library whenever it is told to.

    python -m benchmarks.fill_worker LIBRARY THREADS

Each line of stdin is a JSON object with `what`, `variant` and `shape`; each is answered by a line
on stdout with the `seconds` of one fill and the `stddev` of the elements. The first line is sent
unasked and has the `versions`. Run by the Python of the library's own environment.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any

_SAMPLE_SIZE = 1_000_000


def main() -> None:
    """Answer lines until stdin ends."""
    # Libraries print what they like; the answers get stdout for themselves.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    library = importlib.import_module(f"benchmarks.libraries.{sys.argv[1]}")
    n_threads = int(sys.argv[2])
    _answer(answers, {"versions": library.versions()})
    cases: dict[tuple[str, str], Any] = {}
    current: object = None
    for line in sys.stdin:
        request = json.loads(line)
        what, variant, shape = request["what"], request["variant"], tuple(request["shape"])
        if (what, shape) != current:
            cases.clear()
            current = what, shape
        if (what, variant) not in cases:
            cases[what, variant] = library.make(what, variant, shape, n_threads)
        _answer(answers, _timed(cases[what, variant]))


def _timed(fill: Any) -> dict[str, float]:
    started = time.perf_counter()
    result = fill()
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "stddev": _stddev(result)}


def _stddev(result: Any) -> float:
    import numpy as np

    flat = np.asarray(result).reshape(-1)
    sample = flat[:: max(1, flat.size // _SAMPLE_SIZE)].astype(np.float64)
    return float(sample.std())


def _answer(answers: Any, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
