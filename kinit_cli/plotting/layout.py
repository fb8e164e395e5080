"""Where everything is on a sheet: plain geometry in pixels, y downwards, drawn by nobody yet.

A sheet is a grid of rows. A row is a strip of headings over a strip of panels, and layers follow
each other in it like words in a line; a long layer goes on in the next row. All panels of a sheet
have the same size, so that nothing can overlap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kinit_cli.panels import Panel, Section

Point = tuple[float, float]

#: A picture with more panels has compact ones.
MAX_LARGE = 48
#: No text is smaller.
MIN_TEXT_PX = 9.0
#: A bar of at least one value is not lower.
_LEAST_BAR_PX = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """Sizes in pixels, and how many panels there are beside each other.

    Attributes
    ----------
    n_unbroken : int
        A layer of at most so many panels stays in one row.
    has_mean : bool
        The mean is shown as well as the standard deviation.
    """

    panel_width: float
    plot_height: float
    name_px: float
    text_px: float
    heading_px: float
    gap: float
    n_columns: int
    n_unbroken: int
    has_mean: bool

    @property
    def plot_top(self) -> float:
        """From a panel's top to that of its bars: three lines of text."""
        return 1.35 * (self.name_px + 2 * self.text_px) + 3

    @property
    def panel_height(self) -> float:
        """Of a panel with its texts."""
        return self.plot_top + self.plot_height + 1.5 * self.text_px

    @property
    def heading_height(self) -> float:
        """Of the strip of headings."""
        return 2 * self.heading_px

    @property
    def row_height(self) -> float:
        """From one row to the next."""
        return self.heading_height + self.panel_height + self.gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedPanel:
    """A panel, with the rectangle of all of it and that of its bars."""

    panel: Panel
    box: Box
    plot: Box


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedHeading:
    """The name of a layer over some of its panels."""

    layer: str
    is_continued: bool
    box: Box


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One page, or a whole image."""

    width: float
    height: float
    headings: tuple[PlacedHeading, ...]
    panels: tuple[PlacedPanel, ...]


MARGIN = 24.0
#: The title's strip.
HEADER_HEIGHT = 100.0
#: A page is A3, landscape, at 100 pixels to the inch.
PAGE_WIDTH, PAGE_HEIGHT = 1654.0, 1169.0


def style_for(n_panels: int, *, is_paged: bool) -> Style:
    """Choose the size of panels: large ones for some dozens, more columns for very many."""
    if n_panels <= MAX_LARGE:
        return Style(
            panel_width=300,
            plot_height=110,
            name_px=14,
            text_px=12,
            heading_px=13,
            gap=21,
            n_columns=5 if is_paged else max(2, min(n_panels, 4)),
            n_unbroken=5,
            has_mean=True,
        )
    return Style(
        panel_width=153,
        plot_height=44,
        name_px=10.5,
        text_px=9.5,
        heading_px=10.5,
        gap=8,
        n_columns=10 if is_paged else max(10, min(round(sqrt(n_panels / 2)), 16)),
        n_unbroken=5,
        has_mean=False,
    )


def lay_out(sections: Sequence[Section], style: Style, *, is_paged: bool) -> list[Sheet]:
    """Place panels and headings on one sheet as long as needed, or on one or more pages."""
    slots = list(_iter_slots(sections, style))
    n_rows = max((row for row, *_ in slots), default=0) + 1
    room = PAGE_HEIGHT - HEADER_HEIGHT - MARGIN
    n_per_sheet = max(1, int(room // style.row_height)) if is_paged else n_rows
    sheets = []
    for first in range(0, n_rows, n_per_sheet):
        chosen = [slot for slot in slots if first <= slot[0] < first + n_per_sheet]
        sheets.append(_sheet(chosen, first, min(n_per_sheet, n_rows - first), style, is_paged))
    return sheets


def bar_outline(placed: PlacedPanel) -> list[Point]:
    """Give the outline of all bars, along the axis and back; none without bars."""
    panel, plot = placed.panel, placed.plot
    if not panel.edges:
        return []
    bottom = plot.y + plot.height
    points = [(place_of(panel, plot, panel.edges[0]), bottom)]
    for index, density in enumerate(panel.densities):
        height = max(density / panel.top * plot.height, _LEAST_BAR_PX) if density else 0.0
        start, stop = panel.edges[index], panel.edges[index + 1]
        points += [(place_of(panel, plot, edge), bottom - height) for edge in (start, stop)]
    points.append((place_of(panel, plot, panel.edges[-1]), bottom))
    return points


def curve_line(placed: PlacedPanel) -> list[Point]:
    """Give the line of the expected density; none if it is not known."""
    panel, plot = placed.panel, placed.plot
    bottom = plot.y + plot.height
    return [
        (place_of(panel, plot, x), bottom - density / panel.top * plot.height)
        for x, density in panel.curve
    ]


def place_of(panel: Panel, plot: Box, value: float) -> float:
    """Give where a value of the axis is."""
    return plot.x + (value - panel.low) / (panel.high - panel.low) * plot.width


_Slot = tuple[int, int, "Section", int, int]


def _iter_slots(sections: Sequence[Section], style: Style) -> Iterator[_Slot]:
    """Yield row, column and section, and which of its panels, [start, stop), are there."""
    row = column = 0
    for section in sections:
        n_panels = len(section.panels)
        if column and column + n_panels > style.n_columns and n_panels <= style.n_unbroken:
            row, column = row + 1, 0
        start = 0
        while start < n_panels:
            if column == style.n_columns:
                row, column = row + 1, 0
            stop = min(n_panels, start + style.n_columns - column)
            yield row, column, section, start, stop
            column += stop - start
            start = stop


def _sheet(
    slots: Sequence[_Slot], first_row: int, n_rows: int, style: Style, is_paged: bool
) -> Sheet:
    pitch = style.panel_width + style.gap
    headings, panels = [], []
    for row, column, section, start, stop in slots:
        x = MARGIN + column * pitch
        y = HEADER_HEIGHT + (row - first_row) * style.row_height
        width = (stop - start) * pitch - style.gap
        box = Box(x=x, y=y, width=width, height=style.heading_height)
        headings.append(PlacedHeading(layer=section.layer, is_continued=start > 0, box=box))
        for index, panel in enumerate(section.panels[start:stop]):
            panels.append(_placed(panel, x + index * pitch, y + style.heading_height, style))
    width = 2 * MARGIN + style.n_columns * pitch - style.gap
    height = HEADER_HEIGHT + n_rows * style.row_height + MARGIN
    return Sheet(
        width=max(ceil(width), PAGE_WIDTH) if is_paged else ceil(width),
        height=PAGE_HEIGHT if is_paged else ceil(height),
        headings=tuple(headings),
        panels=tuple(panels),
    )


def _placed(panel: Panel, x: float, y: float, style: Style) -> PlacedPanel:
    box = Box(x=x, y=y, width=style.panel_width, height=style.panel_height)
    plot = Box(x=x, y=y + style.plot_top, width=style.panel_width, height=style.plot_height)
    return PlacedPanel(panel=panel, box=box, plot=plot)
