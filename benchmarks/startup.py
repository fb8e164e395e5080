"""How soon `kinit --help` is there, against importing Click alone."""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks.measure import alternate, kinit_command
from benchmarks.report import Result, ratio_result

TARGET_RATIO = 3.0
NOT_IMPORTED = ("numpy", "h5py", "numba", "tensorflow")
_LIST_MODULES = (
    "import sys, json; from kinit_cli.cli.main import run; run(['--help']);"
    "json.dump(sorted({name.partition('.')[0] for name in sys.modules}), sys.stderr)"
)


def measure(n_rounds: int) -> list[Result]:
    """Measure the start and check what it imports."""
    series = alternate(
        {
            "kinit": [*kinit_command(), "--help"],
            "import click": [sys.executable, "-c", "import click"],
        },
        n_rounds,
    )
    done = subprocess.run(
        [sys.executable, "-c", _LIST_MODULES], capture_output=True, text=True, check=True
    )
    heavy = set(json.loads(done.stderr)) & set(NOT_IMPORTED)
    imports = Result(
        name="heavy modules that `kinit --help` imports",
        figure=", ".join(sorted(heavy)) or "none",
        target="none",
        is_met=not heavy,
        detail=f"of {', '.join(NOT_IMPORTED)}",
        data={"modules": sorted(heavy)},
    )
    return [ratio_result("`kinit --help` against `import click`", series, TARGET_RATIO), imports]
