"""Drawing a gallery with Matplotlib, as PNG, SVG or PDF: the same bytes each time.

The settings are Matplotlib's own and not the user's, the font is the one that comes with it, and
nothing is taken from or left in its global state. Texts are never read as formulas. What the font
has no sign for is shown escaped.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinit_cli.plotting import layout
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
    describe_name,
)
from kinit_cli.render.summary import flags_of
from kinit_cli.render.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

    from kinit_cli.plotting import PlotFormat
    from kinit_cli.plotting.gallery import Gallery
    from kinit_cli.plotting.layout import Box, PlacedPanel, Sheet, Style

LEGEND_BARS, LEGEND_CURVE = "found", "expected of the initializer"
LEGEND_FLAG = "NaN, Inf or a failed test"
LEGEND_SCALE = "each panel has its own scales; in brackets what is expected"

#: Pixels to the inch that the layout is made in; a point is a 72nd of an inch.
_DPI = 100
#: An image has up to twice as many pixels in each direction, but not more than these in all.
_MAX_PIXELS = 24_000_000
_PIXELS_PER_POINT = _DPI / 72
#: Without a date, and without the version of Matplotlib.
_METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
_SETTINGS: dict[str, Any] = {
    "svg.hashsalt": "kinit",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "path.simplify": False,
    "text.parse_math": False,
    "text.usetex": False,
}


def draw_gallery(gallery: Gallery, path: Path, format_name: PlotFormat) -> None:
    """Draw a gallery into a file: an image, or as many pages as it takes.

    Raises
    ------
    OSError
        It cannot be written.
    """
    import matplotlib as mpl
    from matplotlib import style as mpl_style

    style = layout.style_for(gallery.n_panels, is_paged=format_name == "pdf")
    sheets = layout.lay_out(gallery.sections, style, is_paged=format_name == "pdf")
    # Into memory first: where a file cannot be written on, what Matplotlib does on leaving it
    # would hide the reason.
    out = BytesIO()
    with mpl_style.context("default"), mpl.rc_context(_SETTINGS):
        if format_name == "pdf":
            _draw_pages(gallery, sheets, style, out)
        else:
            _draw_image(gallery, sheets[0], style, out, format_name)
    path.write_bytes(out.getbuffer())


def _draw_image(
    gallery: Gallery, sheet: Sheet, style: Style, out: BytesIO, format_name: PlotFormat
) -> None:
    scale = min(2.0, max(1.0, (_MAX_PIXELS / (sheet.width * sheet.height)) ** 0.5))
    figure = _figure(gallery, sheet, style, "")
    figure.savefig(
        out,
        format=format_name,
        dpi=_DPI * scale,
        facecolor="white",
        metadata=_METADATA[format_name],
    )


def _draw_pages(gallery: Gallery, sheets: list[Sheet], style: Style, out: BytesIO) -> None:
    from matplotlib.backends.backend_pdf import PdfPages

    with PdfPages(out, metadata=_METADATA["pdf"]) as pages:
        for number, sheet in enumerate(sheets, 1):
            of_pages = f"page {number} of {len(sheets)}" if len(sheets) > 1 else ""
            pages.savefig(_figure(gallery, sheet, style, of_pages), dpi=_DPI, facecolor="white")


def _figure(gallery: Gallery, sheet: Sheet, style: Style, of_pages: str) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(sheet.width / _DPI, sheet.height / _DPI), dpi=_DPI)
    FigureCanvasAgg(figure)
    # One pair of axes for all, in the layout's pixels: a thousand pairs would take a minute.
    axes = figure.add_axes((0, 0, 1, 1), frameon=False)
    axes.set_xlim(0, sheet.width)
    axes.set_ylim(sheet.height, 0)
    axes.set_axis_off()
    _draw_header(axes, gallery, sheet, of_pages)
    for heading in sheet.headings:
        _draw_heading(axes, heading, style)
    _draw_plots(axes, sheet)
    for placed in sheet.panels:
        _draw_texts(axes, placed, gallery, style)
    return figure


def _draw_plots(axes: Axes, sheet: Sheet) -> None:
    from matplotlib.collections import LineCollection, PolyCollection

    outlines = [outline for placed in sheet.panels if (outline := layout.bar_outline(placed))]
    axes.add_collection(PolyCollection(outlines, facecolors=BARS, linewidths=0), autolim=False)
    bottoms = [_bottom(placed.plot) for placed in sheet.panels]
    axes.add_collection(
        LineCollection(bottoms, colors=FAINT, linewidths=_points(0.8)), autolim=False
    )
    curves = [curve for placed in sheet.panels if (curve := layout.curve_line(placed))]
    axes.add_collection(
        LineCollection(curves, colors=INK, linewidths=_points(1.2), joinstyle="round"),
        autolim=False,
    )
    frames = [_around(placed.box) for placed in sheet.panels if flags_of(placed.panel.tensor)]
    axes.add_collection(LineCollection(frames, colors=RED, linewidths=_points(1.5)), autolim=False)


def _bottom(box: Box) -> list[layout.Point]:
    return [(box.x, box.y + box.height), (box.x + box.width, box.y + box.height)]


def _around(box: Box) -> list[layout.Point]:
    left, right = box.x - 4, box.x + box.width + 4
    top, bottom = box.y - 1, box.y + box.height + 3
    return [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]


# --- texts ----------------------------------------------------------------------------------


def _draw_header(axes: Axes, gallery: Gallery, sheet: Sheet, of_pages: str) -> None:
    x, width = layout.MARGIN, sheet.width - 2 * layout.MARGIN
    _write(axes, x, 34, gallery.title, 20, width - 140, is_bold=True)
    if of_pages:
        _write(axes, x + width, 34, of_pages, 12, 130, color=FAINT, align="right")
    _write(axes, x, 56, "; ".join(gallery.facts), 12, width)
    if gallery.notes:
        _write(axes, x, 74, "; ".join(gallery.notes), 12, width, color=RED)
    y = 92 if gallery.notes else 78
    for words, colour, height in (
        (LEGEND_BARS, BARS, 9),
        (LEGEND_CURVE, INK, 1.2),
        (LEGEND_FLAG, RED, 9),
    ):
        _draw_key(axes, x, y - 4 - height / 2, height, colour)
        x += 22
        _write(axes, x, y, words, 11, 300, color=FAINT)
        x += _width_of(words, 11, is_bold=False) + 20
    _write(axes, x, y, LEGEND_SCALE, 11, sheet.width - layout.MARGIN - x, color=FAINT)


def _draw_key(axes: Axes, x: float, y: float, height: float, colour: str) -> None:
    from matplotlib.patches import Rectangle

    is_frame = colour == RED
    key = Rectangle((x, y), 16, height, fill=not is_frame, color=colour, linewidth=0)
    key.set_linewidth(_points(1.5) if is_frame else 0)
    axes.add_patch(key)


def _draw_heading(axes: Axes, heading: layout.PlacedHeading, style: Style) -> None:
    box = heading.box
    rest = " (continued)" if heading.is_continued else ""
    words = (printable(heading.layer) or "(no layer)") + rest
    base = box.y + box.height - 0.7 * style.heading_px
    _write(
        axes, box.x, base, words, style.heading_px, box.width, is_bold=True, color=FAINT,
        keeps_end=True,
    )  # fmt: skip
    axes.plot(
        [box.x, box.x + box.width],
        [base + 0.35 * style.heading_px] * 2,
        color=PALE,
        linewidth=_points(1),
        scalex=False,
        scaley=False,
    )


def _draw_texts(axes: Axes, placed: PlacedPanel, gallery: Gallery, style: Style) -> None:
    panel, box, plot = placed.panel, placed.box, placed.plot
    flags = flags_of(panel.tensor)
    base = box.y + style.name_px
    _write(axes, box.x, base, describe_name(panel), style.name_px, box.width, is_bold=True,
           color=RED if flags else INK, keeps_end=True)  # fmt: skip
    base += 1.35 * style.text_px + 0.2 * style.name_px
    kind = describe_kind(panel, gallery)
    words = f"{flags}, {kind}" if flags else kind
    colour = RED if flags else FAINT
    _write(axes, box.x, base, words, style.text_px, box.width, color=colour)
    mean, std = describe_moments(panel)
    base += 1.35 * style.text_px
    words = f"{mean}, {std}" if style.has_mean else std
    _write(axes, box.x, base, words, style.text_px, box.width, color=FAINT)
    absence = describe_absence(panel)
    if absence:
        middle = plot.y + plot.height / 2
        _write(axes, plot.x, middle, absence, style.text_px, plot.width, color=FAINT)
        return
    base = plot.y + plot.height + 1.15 * style.text_px
    for value, words, align in axis_labels(panel):
        x = layout.place_of(panel, plot, value)
        _write(axes, x, base, words, style.text_px, plot.width / 2, color=FAINT, align=align)


def _write(
    axes: Axes,
    x: float,
    base: float,
    words: str,
    size_px: float,
    width_px: float,
    *,
    is_bold: bool = False,
    color: str = INK,
    align: str = "left",
    keeps_end: bool = False,
) -> None:
    """Write a line, shortened to the width."""
    axes.text(
        x,
        base,
        fit(words, size_px, width_px, is_bold=is_bold, keeps_end=keeps_end),
        fontproperties=_font(is_bold),
        fontsize=_points(size_px),
        color=color,
        horizontalalignment=align,
        verticalalignment="baseline",
        parse_math=False,
    )


def fit(words: str, size_px: float, width_px: float, *, is_bold: bool, keeps_end: bool) -> str:
    """Escape what the font does not have, and shorten a line until it is no wider.

    Parameters
    ----------
    keeps_end : bool
        Of what is too long the beginning is left out, else the end.
    """
    words = shown(words, is_bold)
    if _width_of(words, size_px, is_bold=is_bold) <= width_px:
        return words
    low, high = 0, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        if _width_of(_shortened(words, middle, keeps_end), size_px, is_bold=is_bold) <= width_px:
            low = middle
        else:
            high = middle - 1
    return _shortened(words, low, keeps_end)


def _shortened(words: str, n: int, keeps_end: bool) -> str:
    return f"…{words[len(words) - n :]}" if keeps_end else f"{words[:n]}…"


@lru_cache(maxsize=4096)
def shown(words: str, is_bold: bool) -> str:
    r"""Escape the characters that the font has no sign for, as `\u4e2d`."""
    from matplotlib.font_manager import get_font

    font = get_font(_font_file(is_bold))
    return "".join(
        char if font.get_char_index(ord(char)) else char.encode("unicode_escape").decode("ascii")
        for char in words
    )


@lru_cache(maxsize=16384)
def _width_of(words: str, size_px: float, *, is_bold: bool) -> float:
    from matplotlib.textpath import TextToPath

    if not words:
        return 0.0
    width, _, _ = TextToPath().get_text_width_height_descent(words, _font(is_bold), ismath=False)
    # It is that of the font's own size, in points.
    return float(width) / _font(is_bold).get_size_in_points() * size_px


@lru_cache(maxsize=2)
def _font(is_bold: bool) -> FontProperties:
    from matplotlib.font_manager import FontProperties

    return FontProperties(
        family="sans-serif",
        weight="bold" if is_bold else "normal",
        fname=_font_file(is_bold),
        size=10,
    )


def _font_file(is_bold: bool) -> str:
    import matplotlib as mpl

    name = "DejaVuSans-Bold.ttf" if is_bold else "DejaVuSans.ttf"
    return str(Path(mpl.get_data_path(), "fonts", "ttf", name))


def _points(pixels: float) -> float:
    return pixels / _PIXELS_PER_POINT
