"""Peak memory of `generate` and `inspect`, for a little and for much."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from benchmarks import models
from benchmarks.environment import fmt_bytes
from benchmarks.measure import Run, kinit_command, run, tell
from benchmarks.options import Options
from benchmarks.report import Part, Result

TARGET_BYTES = 100_000_000


def measure(options: Options) -> Part:
    """Measure both commands at the smallest and the largest size for which there is room."""
    sizes, folder = options.sizes.memory_bytes, options.folder
    n_free = shutil.disk_usage(folder).free
    fitting = sorted(size for size in sizes if size * 1.1 < n_free)
    notes = [f"no room for {fmt_bytes(size)}: left out" for size in set(sizes) - set(fitting)]
    if len(fitting) < 2:
        notes.append("peak memory is compared between two sizes: left out")
        return Part(title="Peak memory", notes=notes)
    runs = {size: _measure_size(size, options) for size in (fitting[0], fitting[-1])}
    results = [_result(command, runs) for command in next(iter(runs.values()))]
    return Part(title="Peak memory", results=results, notes=notes)


def _measure_size(size: int, options: Options) -> dict[str, Run]:
    with tempfile.TemporaryDirectory(prefix="kinit-bench-", dir=options.folder) as name:
        spec, target = Path(name, "spec.yaml"), Path(name, "weights.h5")
        spec.write_text(models.wide_spec(size), encoding="utf-8")
        tell(f"peak memory, {fmt_bytes(size)}")
        kinit, jobs = kinit_command(), ["--jobs", str(options.threads)]
        generate = [*kinit, "generate", str(spec), "-o", str(target), "--json", *jobs]
        return {
            "generate, compiled": run([*generate, "--engine", "numba"]),
            "generate": run([*generate, "--force"]),
            "inspect": run([*kinit, "inspect", str(target), "--json", *jobs]),
        }


def _result(command: str, runs: dict[int, dict[str, Run]]) -> Result:
    (small_size, small), (large_size, large) = sorted(runs.items())
    growth = large[command].max_rss_bytes - small[command].max_rss_bytes
    peaks = " and ".join(
        f"{run_of[command].max_rss_bytes / 1e6:.0f} MB at {fmt_bytes(size)}"
        f" ({run_of[command].seconds:.1f} s)"
        for size, run_of in ((small_size, small), (large_size, large))
    )
    return Result(
        name=f"peak memory of {command}, {fmt_bytes(small_size)} to {fmt_bytes(large_size)}",
        figure=f"{growth / 1e6:+.0f} MB",
        target=f"≤ {TARGET_BYTES / 1e6:.0f} MB",
        is_met=growth <= TARGET_BYTES,
        detail=peaks,
        is_main=True,
        data={
            str(size): {
                "max_rss_bytes": run_of[command].max_rss_bytes,
                "seconds": round(run_of[command].seconds, 2),
            }
            for size, run_of in runs.items()
        },
    )
