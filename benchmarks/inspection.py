"""`kinit inspect` against reading the same file from the page cache."""

from __future__ import annotations

import sys

from benchmarks import models
from benchmarks.environment import fmt_bytes, output_folder
from benchmarks.measure import alternate, kinit_command, run, tell
from benchmarks.options import Options
from benchmarks.report import Part, ratio_result, round_notes

TARGET_RATIO = 2.0
#: With less room than this there is nothing to be learnt.
_SMALLEST_BYTES = 30_000_000


def measure(options: Options) -> Part:
    """Measure with the largest file for which there is room: all, a half, a quarter."""
    title = "inspect"
    n_bytes = options.sizes.inspect_bytes
    while n_bytes >= _SMALLEST_BYTES:
        with output_folder(n_bytes, options.folder) as place:
            if place is None:
                n_bytes //= 2
                continue
            spec, target = place.folder / "spec.yaml", place.folder / "weights.h5"
            spec.write_text(models.wide_spec(n_bytes), encoding="utf-8")
            tell(f"making {fmt_bytes(n_bytes)} to inspect")
            run([*kinit_command(), "generate", str(spec), "-o", str(target), "--quiet"])
            title = f"inspect, {fmt_bytes(target.stat().st_size)} of HDF5 on {place.kind}"
            n_threads = str(options.threads)
            read = [sys.executable, "-m", "benchmarks.scripts.raw_read", str(target), n_threads]
            series = alternate(
                {
                    "kinit": [*kinit_command(), "inspect", str(target), "--jobs", n_threads],
                    "reading alone": read,
                },
                options.sizes.rounds,
                title=title,
            )
        result = ratio_result(f"{title}: against reading alone", series, TARGET_RATIO, is_main=True)
        return Part(title="Inspect", results=[result], notes=round_notes(title, series))
    return Part(title="Inspect", notes=["No room for a file to inspect: left out."])
