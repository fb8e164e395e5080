"""docs/reliability.md, from what was found: docs/reliability.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from faults.judge import Row

_MAX_ENDINGS = 8

#: What the page says before the table.
_INTRO = Path(__file__).with_name("intro.md")
_HEAD = (
    "| fault | injected | times | target old | target new | left, swept by the next | ended |",
    "|---|---|---:|---:|---:|---:|---|",
)


def to_json(rows: Sequence[Row], about: Mapping[str, str]) -> str:
    """Give what was found as text."""
    fields = ("fault", "how", "outputs", "n", "n_old", "n_new", "n_bare", "n_away", "n_left")
    found = [
        {
            **{name: getattr(row, name) for name in fields},
            "endings": dict(sorted(row.endings.items(), key=lambda item: (-item[1], item[0]))),
            "n_violations": len(row.violations),
        }
        for row in rows
    ]
    return json.dumps({"about": about, "rows": found}, indent=1, ensure_ascii=False) + "\n"


def render(text: str) -> str:
    """Give the page of what was found."""
    found = json.loads(text)
    rows = found["rows"]
    n_runs = sum(row["n"] for row in rows)
    n_violations = sum(row["n_violations"] for row in rows)
    about = "; ".join(f"{name} {value}" for name, value in found["about"].items())
    lines = [
        _INTRO.read_text(encoding="utf-8"),
        f"**{n_runs:,} injections, {n_violations:,} of which broke a rule.** {about}.",
        "",
        *_HEAD,
        *map(_line, rows),
        "",
        "Outputs, where not all ten are named: " + _outputs(rows),
    ]
    return "\n".join(lines) + "\n"


def _line(row: Mapping[str, Any]) -> str:
    endings = list(row["endings"].items())
    shown = [f"{text} ({count:,})" for text, count in endings[:_MAX_ENDINGS]]
    if endings[_MAX_ENDINGS:]:
        n_rest = sum(count for _, count in endings[_MAX_ENDINGS:])
        shown.append(f"2: others ({n_rest:,})")
    old, new = (f"{row[key]:,}" for key in ("n_old", "n_new"))
    if row["n_bare"]:
        new += f"; {row['n_bare']:,} × array alone"
    if row["n_away"]:
        old += f"; {row['n_away']:,} × put back by the next run"
    if not row["n_old"] + row["n_new"]:
        old = new = "–"
    cells = (
        f"{row['fault']} ({_kinds(row)})", row["how"], f"{row['n']:,}", old, new,
        f"{row['n_left']:,}", "<br>".join(text.replace("|", "\\|") for text in shown),
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _kinds(row: Mapping[str, Any]) -> str:
    n_outputs = len(row["outputs"])
    return row["outputs"][0] if n_outputs == 1 else f"{n_outputs} outputs"


def _outputs(rows: Sequence[Mapping[str, Any]]) -> str:
    names = {len(row["outputs"]): row["outputs"] for row in rows if len(row["outputs"]) > 1}
    texts = [f"{n} are {', '.join(names[n])}" for n in sorted(names, reverse=True)]
    return "; ".join(texts) + "."


def write(folder: Path, rows: Sequence[Row], about: Mapping[str, str]) -> None:
    """Write what was found, and the page of it; faults that were not tried again stay."""
    file = folder / "reliability.json"
    text = to_json(rows, about)
    if file.exists():
        before, now = (json.loads(each)["rows"] for each in (file.read_text("utf-8"), text))
        tried = {row["fault"]: row for row in now}
        merged = [tried.pop(row["fault"], row) for row in before] + list(tried.values())
        found = {"about": about, "rows": merged}
        text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    file.write_text(text, encoding="utf-8")
    (folder / "reliability.md").write_text(render(text), encoding="utf-8")
