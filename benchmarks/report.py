"""Results as tables for the terminal and the README, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measure import Series, noisy_rounds, quartiles

FOLDER = Path(__file__).parent
_HEAD = ("| what | measured | target | met |", "|---|---:|---:|---|")
_FULL_HEAD = (
    "| what | measured | target | met | medians ± half the middle half |",
    "|---|---:|---:|---|---|",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One figure, with what it should be."""

    name: str
    figure: str
    target: str
    is_met: bool | None
    detail: str
    #: Whether the README shows it.
    is_main: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Figures that are no comparison."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one part of the benchmarks found."""

    title: str
    results: Sequence[Result] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    #: Of the libraries, as they say themselves.
    versions: Mapping[str, str] = field(default_factory=dict)


def ratio_result(
    name: str, series: Sequence[Series], target: float | None, *, is_main: bool = False
) -> Result:
    """Say how many times as long the first series takes as the second one; less is better."""
    subject, reference = series
    ratio = subject.median / reference.median
    return Result(
        name=name,
        figure=f"{ratio:.2f}×",
        target="–" if target is None else f"≤ {target:g}×",
        is_met=None if target is None else ratio <= target,
        detail=_detail(subject, reference, subject, reference),
        is_main=is_main,
        data={
            "kind": "time",
            "ratio": round(ratio, 3),
            "series": [one.to_json() for one in series],
        },
    )


def speed_result(
    what: str,
    peer: str,
    series: Sequence[Series],
    target: float | None,
    *,
    is_main: bool = False,
    variant: str = "",
) -> Result:
    """Say how many times as fast the first series is as the second one; more is better.

    Parameters
    ----------
    what, peer : str
        What was done and which library else did it; the picture is drawn by them.
    variant : str, optional
        How the two did it.
    """
    subject, reference = series
    ratio = reference.median / subject.median
    return Result(
        name=f"{what}: times as fast as {peer}" + (f" ({variant})" if variant else ""),
        figure=f"{ratio:.2f}×" if ratio < 10 else f"{ratio:.1f}×",
        target="–" if target is None else f"≥ {target:g}×",
        is_met=None if target is None else ratio >= target,
        detail=_detail(reference, subject, subject, reference),
        is_main=is_main,
        data={
            "kind": "speed",
            "what": what,
            "peer": peer,
            "ratio": round(ratio, 3),
            "series": [one.to_json() for one in series],
        },
    )


def round_notes(title: str, series: Sequence[Series]) -> list[str]:
    """Say which rounds were noisy, if any."""
    noisy = noisy_rounds(series)
    if not noisy:
        return []
    rounds = ", ".join(str(i) for i in noisy)
    return [f"{title}: noisy in round {rounds}: most took over a fifth longer than in the others."]


def markdown(parts: Sequence[Part], machine: Mapping[str, str]) -> str:
    """Write the main results and the machine, and below them every part with all of its own.

    What comes before the first heading is for the README; a missed target is always in it.
    """
    main = [
        result
        for part in parts
        for result in part.results
        if result.is_main or result.is_met is False
    ]
    lines = [*_HEAD, *(_row(result) for result in main), ""] if main else []
    lines.append("Measured on " + ", ".join(f"{name} {text}" for name, text in machine.items()))
    lines[-1] += "."
    for part in parts:
        lines += ["", f"## {part.title}"]
        if part.results:
            lines += ["", *_FULL_HEAD]
            lines += [f"{_row(result)} {result.detail} |" for result in part.results]
        for table in part.tables:
            lines += ["", f"{table.title}:", "", *_table_lines(table)]
        if part.notes:
            lines += ["", *(f"- {note}" for note in part.notes)]
    return "\n".join(lines) + "\n"


def save(parts: Sequence[Part], machine: Mapping[str, str], folder: Path = FOLDER) -> None:
    """Write results.json and results.md into a folder."""
    data = {"machine": dict(machine), "parts": [asdict(part) for part in parts]}
    text = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(text, encoding="utf-8")
    (folder / "results.md").write_text(markdown(parts, machine), encoding="utf-8")


def load(folder: Path = FOLDER) -> tuple[list[Part], dict[str, str]]:
    """Read results.json: the parts and the machine."""
    data = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    parts = [
        Part(
            title=part["title"],
            results=[Result(**result) for result in part["results"]],
            tables=[Table(**table) for table in part["tables"]],
            notes=part["notes"],
            versions=part["versions"],
        )
        for part in data["parts"]
    ]
    return parts, data["machine"]


def fmt_seconds(seconds: float) -> str:
    """Write a time with three digits."""
    if seconds < 0.0995:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds * 1e3:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _detail(upper: Series, lower: Series, *shown: Series) -> str:
    """Give the medians of the series shown, and the middle half of their ratios."""
    parts = [
        f"{one.name} {fmt_seconds(one.median)} ± {one.spread * 50:.0f} %"
        f"{' (noisy)' if one.is_noisy else ''}"
        for one in shown
    ]
    ratios = [a / b for a, b in zip(upper.seconds, lower.seconds, strict=False)]
    first, third = quartiles(ratios)
    return f"{'; '.join(parts)}; {len(ratios)} rounds, {first:.2f} to {third:.2f}×"


def _row(result: Result) -> str:
    verdict = "" if result.is_met is None else "yes" if result.is_met else "**no**"
    return f"| {result.name} | {result.figure} | {result.target} | {verdict} |"


def _table_lines(table: Table) -> list[str]:
    rules = "|---|" + "---:|" * (len(table.header) - 1)
    rows = [f"| {' | '.join(cells)} |" for cells in (table.header, *table.rows)]
    return [rows[0], rules, *rows[1:]]
