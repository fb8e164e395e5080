"""Results as a table for the terminal and the README, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measure import NOISY_SPREAD, Series

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One figure, with what it should be."""

    name: str
    figure: str
    target: str
    is_met: bool | None
    detail: str
    data: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "figure": self.figure,
            "target": self.target,
            "is_met": self.is_met,
            "detail": self.detail,
            "data": self.data,
        }


def ratio_result(name: str, series: Sequence[Series], target: float | None) -> Result:
    """Compare the first series with the second one by their medians."""
    subject, reference = series
    ratio = subject.median / reference.median
    parts = [
        f"{one.name} {_fmt_seconds(one.median)} ± {one.spread * 50:.0f} %"
        f"{' (noisy)' if one.spread > NOISY_SPREAD else ''}"
        for one in series
    ]
    return Result(
        name=name,
        figure=f"{ratio:.2f}×",
        target="–" if target is None else f"≤ {target:g}×",
        is_met=None if target is None else ratio <= target,
        detail=f"{'; '.join(parts)}; {len(subject.seconds)} rounds",
        data={"ratio": round(ratio, 3), "series": [one.to_json() for one in series]},
    )


def markdown(results: Sequence[Result], machine: Mapping[str, str]) -> str:
    """Write the results as a table, with the machine below."""
    rows = [
        f"| {result.name} | {result.figure} | {result.target} | {_verdict(result)} "
        f"| {result.detail} |"
        for result in results
    ]
    lines = [
        "| what | measured | target | met | medians ± half the middle half |",
        "|---|---:|---:|---|---|",
        *rows,
        "",
        "Measured on " + ", ".join(f"{name} {value}" for name, value in machine.items()) + ".",
    ]
    return "\n".join(lines) + "\n"


def save(results: Sequence[Result], machine: Mapping[str, str]) -> None:
    """Write results.json and results.md beside this file."""
    data = {"machine": dict(machine), "results": [result.to_json() for result in results]}
    text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    (FOLDER / "results.json").write_text(text, encoding="utf-8")
    (FOLDER / "results.md").write_text(markdown(results, machine), encoding="utf-8")


def _verdict(result: Result) -> str:
    return "" if result.is_met is None else "yes" if result.is_met else "**no**"


def _fmt_seconds(seconds: float) -> str:
    return f"{seconds * 1e3:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
