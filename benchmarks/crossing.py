"""From how many elements on the compiled engine pays, and whether `--engine auto` knows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

from benchmarks.environment import output_folder
from benchmarks.measure import Series, alternate, kinit_command, tell
from benchmarks.options import Options
from benchmarks.report import Part, Table, fmt_seconds
from kinit_cli.draw import Normal
from kinit_cli.engines.registry import SECONDS_TO_LOAD
from kinit_cli.engines.saving import seconds_saved_generating

_SPEC = """\
seed: 1
params: {n: 1}
layers: [{name: a, weights: {kernel: {shape: [n], initializer: random_normal}}}]
"""
Pair = tuple[Series, Series]


def measure(options: Options) -> Part:
    """Measure both engines at each size."""
    pairs: dict[int, Pair] = {}
    notes: list[str] = []
    for n_elements in options.sizes.crossing_elements:
        with output_folder(8 * n_elements, options.folder) as place:
            if place is None:
                notes.append(f"No room for {n_elements:,} elements: left out.")
                tell(notes[-1])
                continue
            pairs[n_elements] = _measure_size(n_elements, place.folder, options)
    rows = [_row(n_elements, pair, options.threads) for n_elements, pair in pairs.items()]
    table = Table(
        title="One tensor of normal float32 to a file, whole processes",
        header=("elements", "numpy", "numba", "auto is", "faster by", "expected"),
        rows=rows,
    )
    notes += _verdicts(pairs, options.threads)
    return Part(title="Where the compiled engine pays", tables=[table], notes=notes)


def crossing(sizes: Sequence[int], gains: Sequence[float]) -> float | None:
    """Give the size from which on the gain is positive, between the sizes measured.

    Returns
    -------
    float or None
        None if the gain does not turn from negative to positive; the last turn counts.
    """
    turns = [i for i in range(1, len(sizes)) if gains[i - 1] < 0 <= gains[i]]
    if not turns:
        return None
    i = turns[-1]
    share = -gains[i - 1] / (gains[i] - gains[i - 1])
    return sizes[i - 1] + share * (sizes[i] - sizes[i - 1])


def fit_line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Give slope and intercept of the straight line through points, by least squares."""
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    squares = math.fsum((a - mean_x) ** 2 for a in x)
    slope = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / squares
    return slope, mean_y - slope * mean_x


def expected_gain(n_elements: int, n_threads: int) -> float:
    """Give the seconds by which `auto` expects the compiled engine to be faster."""
    tensor = SimpleNamespace(
        draw=Normal(mean=0.0, stddev=0.05), shape=(n_elements,), n_elements=n_elements
    )
    plan = SimpleNamespace(tensors=(tensor,), n_elements=n_elements)
    return seconds_saved_generating(plan, n_threads) - SECONDS_TO_LOAD  # type: ignore[arg-type]


def _measure_size(n_elements: int, folder: Path, options: Options) -> Pair:
    spec, target = folder / "spec.yaml", folder / "weights.h5"
    spec.write_text(_SPEC, encoding="utf-8")
    generate = [*kinit_command(), "generate", str(spec), "--set", f"n={n_elements}", "--quiet"]
    generate += ["-o", str(target), "--jobs", str(options.threads), "--engine"]
    numpy, numba = alternate(
        {"numpy": [*generate, "numpy"], "numba": [*generate, "numba"]},
        options.sizes.long_rounds,
        between=lambda: target.unlink(missing_ok=True),
        title=f"both engines, {n_elements:,} elements",
    )
    return numpy, numba


def _row(n_elements: int, pair: Pair, n_threads: int) -> tuple[str, ...]:
    numpy, numba = pair
    expected = expected_gain(n_elements, n_threads)
    return (
        f"{n_elements:,}",
        *(f"{fmt_seconds(one.median)}{' (noisy)' if one.is_noisy else ''}" for one in pair),
        "numba" if expected > 0 else "numpy",
        f"{numpy.median - numba.median:+.2f} s",
        f"{expected:+.2f} s",
    )


def _verdicts(pairs: dict[int, Pair], n_threads: int) -> list[str]:
    if len(pairs) < 2:
        return []
    sizes = sorted(pairs)
    gains = [pairs[size][0].median - pairs[size][1].median for size in sizes]
    measured = crossing(sizes, gains)
    slope, intercept = fit_line(sizes, gains)
    loading = -expected_gain(0, n_threads)
    expected_slope = (expected_gain(10**9, n_threads) + loading) / 10**9
    where = "at no size measured" if measured is None else f"at {measured / 1e6:.1f} M elements"
    return [
        f"The compiled engine overtakes {where};"
        f" `auto` takes it from {loading / expected_slope / 1e6:.1f} M elements on.",
        f"Fitted: it takes {-intercept:.2f} s to load and saves"
        f" {slope * n_threads * 1e9:.1f} ns an element and thread; `auto` reckons with"
        f" {loading:.2f} s and {expected_slope * n_threads * 1e9:.1f} ns.",
    ]
