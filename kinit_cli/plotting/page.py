"""A gallery as one HTML page: nothing is loaded from anywhere, and no script runs.

Whatever comes from a file is escaped. The panels flow as the window is wide.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from kinit_cli.panels import split_path
from kinit_cli.plotting.gallery import (
    BARS,
    FAINT,
    INK,
    PALE,
    RED,
    axis_labels,
    describe_absence,
    describe_kind,
    describe_moments,
)
from kinit_cli.plotting.layout import Box, PlacedPanel, Point, bar_outline, curve_line
from kinit_cli.render.summary import flags_of
from kinit_cli.render.text import printable

if TYPE_CHECKING:
    from kinit_cli.panels import Panel, Section
    from kinit_cli.plotting.gallery import Gallery

#: Longer names are shortened.
_MAX_NAME_LENGTH = 2000
#: A picture with more layers has its list of contents closed.
_MAX_OPEN_CONTENTS = 40
_WIDTH, _HEIGHT = 280.0, 80.0
_BOX = Box(x=0, y=1, width=_WIDTH, height=_HEIGHT)

_STYLE = f""":root {{ color-scheme: light dark; --ink: {INK}; --faint: {FAINT}; --pale: {PALE};
  --bars: {BARS}; --red: {RED}; --page: #fff; }}
"""
_STYLE += """\
@media (prefers-color-scheme: dark) { :root { --ink: #f0f3f6; --faint: #9ea7b3; --pale: #3d444d;
  --bars: #31618f; --red: #ff7b72; --page: #0d1117; } }
body { margin: 1.5rem; font: 13px/1.4 system-ui, sans-serif; color: var(--ink);
  background: var(--page); }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; overflow-wrap: anywhere; }
p { margin: .2rem 0; }
a { color: inherit; }
nav { margin: 1rem 0; }
nav ul { columns: 22rem; margin: .4rem 0; padding-left: 1.2rem; }
nav li, summary, figcaption { overflow-wrap: anywhere; }
summary { cursor: pointer; font-weight: 600; color: var(--faint);
  border-bottom: 1px solid var(--pale); margin: .8rem 0 .5rem; padding-bottom: .1rem; }
nav summary { border: 0; margin: 0; }
section { content-visibility: auto; contain-intrinsic-size: auto 12rem; }
.panels { display: flex; flex-wrap: wrap; gap: 1rem 1.5rem; }
figure { margin: 0; width: 280px; padding: 2px 5px; border: 1.5px solid transparent;
  display: flex; flex-direction: column; justify-content: space-between; }
figure.flagged { border-color: var(--red); }
figcaption b { font-size: 14px; }
figcaption span, .axis { display: block; color: var(--faint); font-size: 12px;
  white-space: pre-wrap; }
.red { color: var(--red) !important; }
svg { display: block; width: 280px; height: 82px; overflow: visible; }
.axis { display: flex; justify-content: space-between; border-top: 1px solid var(--faint); }
.axis.middle { justify-content: center; }
.bars { fill: var(--bars); }
.curve { fill: none; stroke: var(--ink); stroke-width: 1.3; stroke-linejoin: round; }
.key { display: inline-block; width: 1.1em; height: .7em; margin: 0 .3em 0 .8em; }
"""
_LEGEND = (
    '<p><i class="key" style="background: var(--bars); margin-left: 0"></i>found'
    '<i class="key" style="background: var(--ink); height: 2px; vertical-align: middle"></i>'
    'expected of the initializer<i class="key" style="border: 1.5px solid var(--red)"></i>'
    "NaN, Inf or a failed test. Each panel has its own scales; in brackets what is expected.</p>\n"
)


def write_page(gallery: Gallery, path: Path) -> None:
    """Write a gallery as a page.

    Raises
    ------
    OSError
        It cannot be written.
    """
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(_iter_page(gallery))


def _iter_page(gallery: Gallery) -> Iterator[str]:
    title = escape(gallery.title)
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    )
    for fact in gallery.facts:
        yield f"<p>{escape(fact)}</p>\n"
    for note in gallery.notes:
        yield f'<p class="red">{escape(note)}</p>\n'
    yield _LEGEND
    yield from _contents(gallery)
    number = 0
    for index, section in enumerate(gallery.sections):
        yield f'<section id="layer-{index}">\n<details open>\n'
        yield f'<summary>{_layer(section)}</summary>\n<div class="panels">\n'
        for panel in section.panels:
            yield from _figure(panel, number, gallery)
            number += 1
        yield "</div>\n</details>\n</section>\n"
    yield "</body>\n</html>\n"


def _contents(gallery: Gallery) -> Iterator[str]:
    """List the flagged tensors, and the layers."""
    panels = [panel for section in gallery.sections for panel in section.panels]
    flagged = [(n, panel) for n, panel in enumerate(panels) if flags_of(panel.tensor)]
    yield "<nav>\n"
    if flagged:
        yield f'<details open>\n<summary class="red">Flagged: {len(flagged):,}</summary>\n<ul>\n'
        for number, panel in flagged:
            name, flags = _name(panel.tensor.path), escape(flags_of(panel.tensor))
            yield f'<li><a href="#tensor-{number}">{name}</a>: {flags}</li>\n'
        yield "</ul>\n</details>\n"
    state = "" if len(gallery.sections) > _MAX_OPEN_CONTENTS else " open"
    yield f"<details{state}>\n<summary>Layers: {len(gallery.sections):,}</summary>\n<ul>\n"
    for index, section in enumerate(gallery.sections):
        n = len(section.panels)
        yield f'<li><a href="#layer-{index}">{_layer(section)}</a> ({n:,})</li>\n'
    yield "</ul>\n</details>\n</nav>\n"


def _figure(panel: Panel, number: int, gallery: Gallery) -> Iterator[str]:
    tensor = panel.tensor
    flags = flags_of(tensor)
    reasons = tensor.test.reasons if tensor.test and tensor.test.verdict == "fail" else ()
    yield (
        f'<figure id="tensor-{number}"{" class=flagged" if flags else ""}>\n<figcaption>'
        f"<b>{_name(split_path(tensor.path)[1])}</b>"
    )
    if flags:
        why = f' title="{_name("; ".join(reasons))}"' if reasons else ""
        yield f'<span class="red"{why}>{escape(flags)}</span>'
    initializer = f", {_name(tensor.initializer)}" if tensor.initializer else ""
    yield f"<span>{escape(describe_kind(panel, gallery))}{initializer}</span>"
    yield f"<span>{escape(', '.join(describe_moments(panel)))}</span></figcaption>\n"
    yield from _plot(panel)
    yield "</figure>\n"


def _plot(panel: Panel) -> Iterator[str]:
    absence = describe_absence(panel)
    if absence:
        yield f"<p>{absence}</p>\n"
        return
    placed = PlacedPanel(panel=panel, box=_BOX, plot=_BOX)
    yield f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT + 2:g}" role="img">'
    yield f'<path class="bars" fill="{BARS}" d="M{_points(bar_outline(placed))}Z"/>'
    curve = curve_line(placed)
    if curve:
        yield f'<polyline class="curve" fill="none" stroke="{INK}" points="{_points(curve)}"/>'
    labels = axis_labels(panel)
    middle = " middle" if len(labels) == 1 else ""
    words = "".join(f"<span>{escape(label)}</span>" for _, label, _ in labels)
    yield f'</svg><div class="axis{middle}">{words}</div>\n'


def _points(points: list[Point]) -> str:
    return " ".join(f"{round(x, 1):g},{round(y, 1):g}" for x, y in points)


def _layer(section: Section) -> str:
    return _name(section.layer) if section.layer else "(no layer)"


def _name(text: str) -> str:
    return escape(printable(text, limit=_MAX_NAME_LENGTH))
