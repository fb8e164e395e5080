"""A picture of the main ratios, from results.json.

    python -m benchmarks.picture [FOLDER TARGET]

FOLDER has the results.json; without arguments it is this one, and the picture that of the README.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.measure import tell

PICTURE = Path(__file__).parents[1] / "docs" / "benchmarks.png"
#: The key of the picture's text that tells which results it shows.
SOURCE_KEY = "Source"
_PEERS = ("PyTorch", "Keras", "JAX", "NumPy")
_COLOURS = {"PyTorch": "#c9563c", "Keras": "#a02f5a", "JAX": "#3f6fb0", "NumPy": "#3d8b6f"}
_TICKS = (0.1, 0.3, 1, 3, 10, 30, 100, 300)
_INK, _FAINT = "#1f2328", "#d0d7de"


def bars(parts: list[report.Part]) -> dict[str, dict[str, float]]:
    """Give the ratios to be drawn: what was done, then the peer, then how many times as fast.

    Where a peer did it in several ways, its fastest counts; what only one thread did does not.
    """
    drawn: dict[str, dict[str, float]] = {}
    for part in parts:
        for result in part.results:
            if result.data.get("kind") != "speed" or _is_aside(result.name):
                continue
            what, peer = str(result.data["what"]), _peer(str(result.data["peer"]))
            row = drawn.setdefault(what, {})
            row[peer] = min(row.get(peer, float("inf")), float(result.data["ratio"]))
    return drawn


def source_of(folder: Path) -> str:
    """Give what identifies the results of a folder."""
    return hashlib.sha256((folder / "results.json").read_bytes()).hexdigest()


def draw(folder: Path, target: Path) -> bool:
    """Draw the results of a folder; tell whether it was possible."""
    try:
        import matplotlib as mpl
    except ImportError:
        tell("no picture: matplotlib is not installed")
        return False
    mpl.use("Agg")
    parts, machine = report.load(folder)
    rows = bars(parts)
    if not rows:
        tell("no picture: nothing to compare")
        return False
    with mpl.rc_context({"font.size": 9, "font.family": "DejaVu Sans", "text.color": _INK}):
        figure = _figure(rows, machine)
        metadata = {"Software": None, SOURCE_KEY: source_of(folder)}
        figure.savefig(target, dpi=200, facecolor="white", metadata=metadata)
    return True


def _is_aside(name: str) -> bool:
    return "kinit in place, one thread" in name or "without its imports" in name


def _peer(text: str) -> str:
    return next(peer for peer in _PEERS if peer in text)


def _figure(rows: dict[str, dict[str, float]], machine: dict[str, str]) -> Any:
    """Draw a panel for each peer, with a bar for each row and its figure beside it."""
    from matplotlib.figure import Figure

    peers = [peer for peer in _PEERS if any(peer in row for row in rows.values())]
    figure = Figure(figsize=(8.6, 1.3 + 0.29 * len(rows)), layout="constrained")
    panels = figure.subplots(1, len(peers), sharex=True, sharey=True, squeeze=False)[0]
    ratios = [ratio for row in rows.values() for ratio in row.values()]
    limits = min(0.8, *ratios) * 0.8, max(2.0, *ratios) * 3
    for panel, peer in zip(panels, peers, strict=True):
        panel.set_xscale("log")
        for i, row in enumerate(rows.values()):
            _draw_bar(panel, i, row.get(peer), _COLOURS[peer])
        panel.set_title(f"times as fast as\n{peer}", fontsize=9.5, fontweight="bold", color=_INK)
        panel.axvline(1, color=_INK, linewidth=0.9)
        panel.set_xlim(*limits)
        ticks = [tick for tick in _TICKS if limits[0] <= tick <= limits[1]]
        panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        panel.set_xticks([], minor=True)
        panel.set_yticks(range(len(rows)), [_label(what) for what in rows])
        panel.tick_params(length=0, colors=_INK, labelsize=8.5)
        panel.tick_params(axis="x", labelsize=7.5)
        panel.grid(axis="x", color=_FAINT, linewidth=0.5)
        panel.set_axisbelow(True)
        for spine in panel.spines.values():
            spine.set_visible(False)
    panels[0].invert_yaxis()
    figure.supxlabel(
        f"{machine['threads']} threads each on {machine['processor']}; float32;"
        " 1 is the same speed, the scale is logarithmic;"
        " of a library's several ways its fastest",
        fontsize=7.5,
        color=_INK,
    )
    return figure


def _draw_bar(panel: Any, place: int, ratio: float | None, colour: str) -> None:
    """Draw a bar from 1 to the ratio, with its figure at the right."""
    if ratio is None:
        panel.text(1.12, place, "–", va="center", color=_FAINT)
        return
    panel.barh(place, ratio - 1, left=1, color=colour, height=0.66)
    shown = f"{ratio:.0f}×" if ratio >= 20 else f"{ratio:.1f}×"
    panel.text(max(ratio, 1) * 1.12, place, shown, va="center", fontsize=8)


def _label(what: str) -> str:
    """Shorten a name for the side of the picture; what goes to a file has two lines."""
    return what.removesuffix(" float32").replace(", to ", "\nto ")


if __name__ == "__main__":
    draw(*map(Path, sys.argv[1:3] or (report.FOLDER, PICTURE)))
