"""Where things are in the pictures of `kinit inspect --plot`."""

from __future__ import annotations

import struct
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
from plots import SPEC, normals, summary_of

from kinit_cli.cli.main import run
from kinit_cli.inspect import inspect_file
from kinit_cli.panels import make_sections
from kinit_cli.plotting import layout, write_plot
from kinit_cli.plotting.gallery import make_gallery
from kinit_cli.summary import FileSummary


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "mpl"))
    Path("s.yaml").write_text(SPEC, encoding="utf-8")
    assert run(["generate", "s.yaml", "-o", "w.h5", "-q"]) == 0
    return tmp_path


@pytest.fixture
def drawn() -> None:
    pytest.importorskip("matplotlib", reason="Matplotlib, which draws, is not installed")


def boxes_overlap(a: layout.Box, b: layout.Box) -> bool:
    return (
        a.x < b.x + b.width and b.x < a.x + a.width
        and a.y < b.y + b.height and b.y < a.y + a.height
    )  # fmt: skip


def many(n: int) -> tuple[FileSummary, Any]:
    """Give n tensors in layers of one to seven, all of the same few values."""
    (one,) = normals("x", size=8)
    paths = (f"block_{i // 7}/{'abc'[i % 3]}/w{i}" for i in range(n))
    summary = summary_of(*(replace(one, path=path) for path in paths))
    return summary, make_sections(summary, summary.tensors)


@pytest.mark.parametrize("is_paged", [False, True])
@pytest.mark.parametrize("n", [1, 10, 48, 49, 1000])
def test_nothing_overlaps_and_nothing_is_missing(n: int, is_paged: bool) -> None:
    _, sections = many(n)
    style = layout.style_for(n, is_paged=is_paged)
    sheets = layout.lay_out(sections, style, is_paged=is_paged)
    assert is_paged or len(sheets) == 1
    shown = [placed.panel.tensor.path for sheet in sheets for placed in sheet.panels]
    assert shown == [panel.tensor.path for section in sections for panel in section.panels]
    for sheet in sheets:
        assert sheet.width <= 2700
        assert sheet.height <= 10_000
        boxes = [item.box for item in (*sheet.headings, *sheet.panels)]
        for box in boxes:
            assert box.x >= 20
            assert box.y >= layout.HEADER_HEIGHT
            assert box.x + box.width <= sheet.width - 20
            assert box.y + box.height <= sheet.height - 10
        by_row: dict[float, list[layout.Box]] = {}
        for box in boxes:
            by_row.setdefault(box.y, []).append(box)
        rows = sorted(by_row)
        for row, following in pairwise(rows):
            assert max(box.y + box.height for box in by_row[row]) <= following
        for row_boxes in by_row.values():
            assert not any(boxes_overlap(a, b) for a, b in combinations(row_boxes, 2))
        for placed in sheet.panels:
            assert placed.box.y + style.plot_top == placed.plot.y
            assert placed.plot.y + placed.plot.height < placed.box.y + placed.box.height


def test_every_panel_is_below_the_name_of_its_layer() -> None:
    _, sections = many(300)
    (sheet,) = layout.lay_out(sections, layout.style_for(300, is_paged=False), is_paged=False)
    layers = {panel.tensor.path: s.layer for s in sections for panel in s.panels}
    for placed in sheet.panels:
        (heading,) = [
            h for h in sheet.headings
            if h.box.y + h.box.height == placed.box.y
            and h.box.x <= placed.box.x < h.box.x + h.box.width
        ]  # fmt: skip
        assert heading.layer == layers[placed.panel.tensor.path]


def test_texts_are_as_large_as_promised_and_fit(drawn: None) -> None:
    from kinit_cli.plotting import drawing

    summary, sections = many(1000)
    gallery = make_gallery(summary, "png")
    style = layout.style_for(1000, is_paged=False)
    (sheet,) = layout.lay_out(sections, style, is_paged=False)
    figure = drawing._figure(gallery, sheet, style, "")
    (axes,) = figure.axes
    assert len(axes.texts) > 5000
    renderer = figure.canvas.get_renderer()
    for text in axes.texts[:: 37 if len(axes.texts) > 37 else 1]:
        # At the least resolution that an image has, 100 dots per inch.
        assert text.get_fontsize() / 72 * 100 >= layout.MIN_TEXT_PX - 1e-9
        assert not text.get_parse_math()
        extent = text.get_window_extent(renderer)
        assert extent.x0 >= 20
        assert extent.x1 <= sheet.width - 15
    style = layout.style_for(10, is_paged=False)
    assert min(style.name_px, style.text_px, style.heading_px) >= layout.MIN_TEXT_PX


def test_texts_that_are_too_long_are_shortened_to_fit(drawn: None) -> None:
    from kinit_cli.plotting import drawing

    def width(words: str) -> float:
        return drawing._width_of(words, 10.0, is_bold=False)

    words = "/".join(f"layer_{i}" for i in range(50))
    for keeps_end in (False, True):
        found = drawing.fit(words, 10, 100, is_bold=False, keeps_end=keeps_end)
        assert 80 < width(found) <= 100
        assert found.strip("…") in words
        assert found.startswith("…") is keeps_end
    assert drawing.fit("short", 10, 100, is_bold=False, keeps_end=False) == "short"


def test_a_thousand_tensors_make_an_image_of_bounded_size(tmp_path: Path, drawn: None) -> None:
    summary, _ = many(1000)
    write_plot(summary, tmp_path / "p.png", force=False)
    data = (tmp_path / "p.png").read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    assert 2500 < width < 2900
    assert 7000 < height < 11_000
    assert width * height <= 27_000_000


def test_a_few_tensors_make_a_sharp_image(folder: Path, drawn: None) -> None:
    write_plot(inspect_file("w.h5"), Path("p.png"), force=False)
    width, height = struct.unpack(">II", Path("p.png").read_bytes()[16:24])
    assert width == pytest.approx(2 * 1311, abs=3)
    assert height == pytest.approx(2 * (100 + 2 * 220.9 + 24), rel=0.05)
