"""GPT-2 small with the NumPy engine, against a NumPy script that draws and saves the same.

kinit also measures and hashes every element, records the spec, and syncs the file to disk; it uses
every core, and the script one.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.measure import alternate, kinit_command
from benchmarks.report import Result, ratio_result

TARGET_RATIO = 3.0
SPEC = Path(__file__).parents[1] / "sample_configs" / "gpt2_small.yaml"
SCRIPT = Path(__file__).parent / "numpy_script.py"
_SHARED_MEMORY = Path("/dev/shm")


def measure(n_rounds: int, folder: Path) -> list[Result]:
    """Measure in a folder and, if there is one, in shared memory."""
    results = _measure_in(folder, "a temporary folder", n_rounds, has_disk=True)
    if _SHARED_MEMORY.is_dir():
        results += _measure_in(_SHARED_MEMORY, "shared memory", n_rounds, has_disk=False)
    return results


def _measure_in(parent: Path, place: str, n_rounds: int, *, has_disk: bool) -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="kinit-bench-", dir=parent) as name:
        target = Path(name, "gpt2.h5")
        script = [sys.executable, str(SCRIPT), str(target)]
        generate = [*kinit_command(), "generate", str(SPEC), "-o", str(target), "--quiet"]
        kinit, one_thread, plain, synced = alternate(
            {
                "kinit": [*generate, "--engine", "numpy"],
                "kinit, one thread": [*generate, "--engine", "numpy", "--jobs", "1"],
                "NumPy script": script,
                "NumPy script that syncs": [*script, "--sync"],
            },
            n_rounds,
            between=lambda: target.unlink(missing_ok=True),
        )
    title = f"GPT-2 small, 498 MB, to {place}: kinit against"
    results = [
        ratio_result(f"{title} the NumPy script", [kinit, plain], TARGET_RATIO),
        ratio_result(f"{title} the script, in one thread", [one_thread, plain], None),
    ]
    if has_disk:
        results.append(ratio_result(f"{title} the script with a sync", [kinit, synced], None))
    return results
