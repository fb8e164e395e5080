"""Whether time grows in proportion to elements, and to tensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.environment import output_folder
from benchmarks.measure import Series, alternate, kinit_command, tell
from benchmarks.options import Options
from benchmarks.report import Part, Result, Table, fmt_seconds

#: Each further element may take so many times as long as at the step before.
LINEAR_TARGET = 1.3
_ELEMENTS_SPEC = """\
seed: 1
params: {n: 1}
layers: [{name: a, weights: {kernel: {shape: [n], initializer: random_normal}}}]
"""
_TENSORS_SPEC = """\
seed: 1
params: {n: 1}
layers:
  - repeat: n
    layers:
      - {name: "layer_{i}", weights: {kernel: {shape: [10, 10]}}}
"""
#: A small tensor's place in an HDF5 file, with its names and attributes, generously.
_BYTES_A_TENSOR = 4000


def measure(options: Options) -> Part:
    """Measure both growths."""
    sizes = options.sizes
    notes: list[str] = []
    elements = _measure(_ELEMENTS_SPEC, sizes.growth_elements, 4, options, notes)
    tensors = _measure(_TENSORS_SPEC, sizes.growth_tensors, _BYTES_A_TENSOR, options, notes)
    return Part(
        title="Growth",
        results=[
            *_results("time with elements", elements, "ns an element", 1e9),
            *_results("time with tensors of 100 elements", tensors, "µs a tensor", 1e6),
        ],
        tables=[
            _table(
                "One tensor of normal float32 to HDF5, with the compiled engine",
                "elements",
                elements,
                "ns",
                1e9,
            ),
            _table(
                "Tensors of 100 elements to HDF5, with the compiled engine",
                "tensors",
                tensors,
                "µs",
                1e6,
            ),
        ],
        notes=notes,
    )


def marginals(counts: Sequence[int], seconds: Sequence[float]) -> list[float]:
    """Give the seconds that each further one takes, between one count and the next."""
    return [
        (seconds[i] - seconds[i - 1]) / (counts[i] - counts[i - 1]) for i in range(1, len(counts))
    ]


def _measure(
    spec_text: str,
    counts: Sequence[int],
    n_bytes_each: int,
    options: Options,
    notes: list[str],
) -> dict[int, Series]:
    measured = {}
    for count in counts:
        with output_folder(count * n_bytes_each, options.folder) as place:
            if place is None:
                notes.append(f"No room for {count:,}: left out.")
                tell(notes[-1])
                continue
            spec, target = place.folder / "spec.yaml", place.folder / "weights.h5"
            spec.write_text(spec_text, encoding="utf-8")
            measured[count] = _generate(spec, target, count, options)
    return measured


def _generate(spec: Path, target: Path, count: int, options: Options) -> Series:
    generate = [*kinit_command(), "generate", str(spec), "--set", f"n={count}", "--quiet"]
    # One engine for all sizes: at the size where `auto` takes the other, the line has a bend.
    generate += ["-o", str(target), "--jobs", str(options.threads), "--engine", "numba"]
    (series,) = alternate(
        {f"{count:,}": generate},
        options.sizes.long_rounds,
        between=lambda: target.unlink(missing_ok=True),
        title=f"growth, {count:,}",
    )
    return series


def _results(name: str, measured: dict[int, Series], unit: str, scale: float) -> list[Result]:
    """Compare what each further one costs in the last step and in the one before."""
    counts = sorted(measured)
    if len(counts) < 3:
        return []
    before, last = marginals(counts, [measured[count].median for count in counts])[-2:]
    return [
        Result(
            name=f"{name}, {counts[0]:,} to {counts[-1]:,}: linear",
            figure=f"{last / before:.2f}×" if before > 0 else "–",
            target=f"≤ {LINEAR_TARGET:g}×",
            is_met=last <= LINEAR_TARGET * before if before > 0 else None,
            detail=f"each further one {last * scale:.3g} {unit} up to {counts[-1]:,},"
            f" {before * scale:.3g} up to {counts[-2]:,}",
            is_main=True,
            data={
                "counts": counts,
                "series": [measured[count].to_json() for count in counts],
            },
        )
    ]


def _table(title: str, counted: str, measured: dict[int, Series], unit: str, scale: float) -> Table:
    counts = sorted(measured)
    steps = [None, *marginals(counts, [measured[count].median for count in counts])]
    rows = [
        (
            f"{count:,}",
            fmt_seconds(measured[count].median) + (" (noisy)" if measured[count].is_noisy else ""),
            f"{measured[count].median / count * scale:,.3g} {unit}",
            "" if step is None else f"{step * scale:,.3g} {unit}",
        )
        for count, step in zip(counts, steps, strict=True)
    ]
    return Table(title=title, header=(counted, "time", "for each", "each further one"), rows=rows)
