"""How soon kinit is there: its help, a small file, and the first run of compiled code."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import alternate, alternate_calls, kinit_command, run
from benchmarks.options import Options
from benchmarks.report import Part, Result, ratio_result, round_notes

HELP_TARGET = 3.0
SMALL_TARGET = 3.0
NOT_IMPORTED = ("numpy", "h5py", "numba", "tensorflow")
_LIST_MODULES = (
    "import sys, json; from kinit_cli.cli.main import run; run(['--help']);"
    "json.dump(sorted({name.partition('.')[0] for name in sys.modules}), sys.stderr)"
)
#: 993,220 parameters.
_SMALL_SPEC = """\
seed: 1
layers:
  - {name: dense_1, weights: {kernel: {shape: [784, 700]}, bias: {shape: [700]}}}
  - {name: dense_2, weights: {kernel: {shape: [700, 620]}, bias: {shape: [620]}}}
  - {name: dense_3, weights: {kernel: {shape: [620, 15]}, bias: {shape: [15]}}}
"""


def measure(options: Options) -> Part:
    """Measure the starts, and check what the help imports."""
    n_rounds = options.sizes.start_rounds
    helped = alternate(
        {
            "kinit": [*kinit_command(), "--help"],
            "import click": [sys.executable, "-c", "import click"],
        },
        n_rounds,
    )
    results = [
        ratio_result("`kinit --help` against `import click`", helped, HELP_TARGET, is_main=True),
        _imports(),
    ]
    notes = round_notes("help", helped)
    with tempfile.TemporaryDirectory(prefix="kinit-bench-", dir=options.folder) as name:
        folder = Path(name)
        spec = folder / "small.yaml"
        spec.write_text(_SMALL_SPEC, encoding="utf-8")
        results.append(_small(spec, folder / "small.h5", n_rounds))
        results.append(_first_run(spec, folder, options))
    return Part(title="Start", results=results, notes=notes)


def _imports() -> Result:
    done = subprocess.run(
        [sys.executable, "-c", _LIST_MODULES], capture_output=True, text=True, check=True
    )
    heavy = set(json.loads(done.stderr)) & set(NOT_IMPORTED)
    return Result(
        name="heavy modules that `kinit --help` imports",
        figure=", ".join(sorted(heavy)) or "none",
        target="none",
        is_met=not heavy,
        detail=f"of {', '.join(NOT_IMPORTED)}",
        data={"modules": sorted(heavy)},
    )


def _small(spec: Path, target: Path, n_rounds: int) -> Result:
    series = alternate(
        {
            "kinit": [*kinit_command(), "generate", str(spec), "-o", str(target), "--quiet"],
            "import numpy, h5py": [sys.executable, "-c", "import numpy, h5py"],
        },
        n_rounds,
        between=lambda: target.unlink(missing_ok=True),
    )
    return ratio_result(
        "spec of 1 M parameters to a file, against `import numpy, h5py`",
        series,
        SMALL_TARGET,
        is_main=True,
    )


def _first_run(spec: Path, folder: Path, options: Options) -> Result:
    """Run the compiled engine with an empty cache and with a full one, in turn."""
    generate = [*kinit_command(), "generate", str(spec), "--engine", "numba", "--quiet", "--force"]
    generate += ["-o", str(folder / "first.h5")]

    def call(cache: str) -> float:
        return run(generate, {"NUMBA_CACHE_DIR": cache}).seconds

    def call_cold() -> float:
        with tempfile.TemporaryDirectory(dir=folder) as cache:
            return call(cache)

    warm_cache = folder / "cache"
    cold, warm = alternate_calls(
        {"empty cache": call_cold, "full cache": lambda: call(str(warm_cache))},
        options.sizes.long_rounds,
        title="first run",
    )
    return ratio_result(
        "first run of the compiled engine, with an empty cache of compiled code, against the next",
        [cold, warm],
        None,
    )
