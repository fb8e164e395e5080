"""GPT-2 small with the NumPy engine, against a NumPy script that draws and saves the same.

kinit also measures and hashes every element, records the spec, and syncs the file to disk; it uses
every core, and the script one.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks import models
from benchmarks.environment import fmt_bytes
from benchmarks.measure import alternate, kinit_command
from benchmarks.options import Options
from benchmarks.report import Part, ratio_result, round_notes

TARGET_RATIO = 3.0


def measure(options: Options) -> Part:
    """Measure in a temporary folder, which may be on a disk."""
    with tempfile.TemporaryDirectory(prefix="kinit-bench-", dir=options.folder) as name:
        folder = Path(name)
        model, n_bytes, spec = _model(folder, options)
        target = folder / "weights.h5"
        script = [sys.executable, "-m", "benchmarks.scripts.numpy_script", str(target), model]
        generate = [*kinit_command(), "generate", str(spec), "-o", str(target), "--quiet"]
        jobs = ["--jobs", str(options.threads)]
        title = f"{model.partition(':')[0]}, {fmt_bytes(n_bytes)}, to a temporary folder"
        title = title.replace("gpt2", "GPT-2 small")
        series = alternate(
            {
                "kinit": [*generate, "--engine", "numpy", *jobs],
                "kinit, one thread": [*generate, "--engine", "numpy", "--jobs", "1"],
                "kinit, compiled": [*generate, "--engine", "numba", *jobs],
                "NumPy script": script,
                "NumPy script that syncs": [*script, "--sync"],
            },
            options.sizes.rounds,
            between=lambda: target.unlink(missing_ok=True),
            title=title,
        )
    kinit, one_thread, compiled, plain, synced = series
    return Part(
        title="The NumPy engine",
        results=[
            ratio_result(f"{title}: against the NumPy script", [kinit, plain], TARGET_RATIO),
            ratio_result(f"{title}: in one thread", [one_thread, plain], None),
            ratio_result(f"{title}: against the script with a sync", [kinit, synced], None),
            ratio_result(f"{title}: the compiled engine", [compiled, plain], None),
        ],
        notes=round_notes(title, series),
    )


def _model(folder: Path, options: Options) -> tuple[str, int, Path]:
    if options.sizes.has_gpt2:
        return "gpt2", models.GPT2_BYTES, models.GPT2_SPEC
    n_bytes, spec = options.sizes.model_bytes, folder / "spec.yaml"
    spec.write_text(models.wide_spec(n_bytes), encoding="utf-8")
    return models.wide_model(n_bytes), models.wide_bytes(n_bytes), spec
