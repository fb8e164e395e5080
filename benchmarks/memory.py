"""Peak memory of `generate` and `inspect`, for a little and for much."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Run, kinit_command, run
from benchmarks.report import Result

TARGET_BYTES = 100_000_000
DEFAULT_SIZES = (80_000_000, 8_000_000_000)
_SPEC = """\
seed: 1
params: {n: %d}
layers:
  - repeat: n
    layers:
      - name: "layer_{i}"
        weights:
          kernel: {shape: [2000, 2000], initializer: he_normal}
"""
_LAYER_BYTES = 2000 * 2000 * 4


def measure(sizes: Sequence[int], parent: Path) -> list[Result]:
    """Measure both commands at the smallest and the largest size for which there is room."""
    n_free = shutil.disk_usage(parent).free
    fitting = sorted(size for size in sizes if size * 1.1 < n_free)
    for size in sorted(set(sizes) - set(fitting)):
        print(f"no room for {size / 1e9:g} GB: left out")
    if len(fitting) < 2:
        print("peak memory is compared between two sizes: left out")
        return []
    runs = {size: _measure_size(size, parent) for size in (fitting[0], fitting[-1])}
    return [_result(command, runs) for command in ("generate", "inspect")]


def _measure_size(size: int, parent: Path) -> dict[str, Run]:
    with tempfile.TemporaryDirectory(prefix="kinit-bench-", dir=parent) as name:
        spec, target = Path(name, "spec.yaml"), Path(name, "weights.h5")
        spec.write_text(_SPEC % max(1, round(size / _LAYER_BYTES)), encoding="utf-8")
        kinit = kinit_command()
        return {
            "generate": run([*kinit, "generate", str(spec), "-o", str(target), "--json"]),
            "inspect": run([*kinit, "inspect", str(target), "--json"]),
        }


def _result(command: str, runs: dict[int, dict[str, Run]]) -> Result:
    (small_size, small), (large_size, large) = sorted(runs.items())
    growth = large[command].max_rss_bytes - small[command].max_rss_bytes
    peaks = " and ".join(
        f"{run_of[command].max_rss_bytes / 1e6:.0f} MB at {_fmt_size(size)}"
        f" ({run_of[command].seconds:.1f} s)"
        for size, run_of in ((small_size, small), (large_size, large))
    )
    return Result(
        name=f"peak memory of {command}, {_fmt_size(small_size)} to {_fmt_size(large_size)}",
        figure=f"{growth / 1e6:+.0f} MB",
        target=f"≤ {TARGET_BYTES / 1e6:.0f} MB",
        is_met=growth <= TARGET_BYTES,
        detail=peaks,
        data={
            str(size): {
                "max_rss_bytes": run_of[command].max_rss_bytes,
                "seconds": round(run_of[command].seconds, 2),
            }
            for size, run_of in runs.items()
        },
    )


def _fmt_size(size: int) -> str:
    return f"{size / 1e9:g} GB" if size >= 1e9 else f"{size / 1e6:g} MB"
