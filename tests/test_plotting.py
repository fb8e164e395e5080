"""`kinit inspect --plot`: what is in the pictures, where it is, and what happens to files."""

from __future__ import annotations

import errno
import json
import re
import struct
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import kinit_environment
from test_panels import tensor_of

from kinit_cli.cli.main import run
from kinit_cli.draw import Normal
from kinit_cli.errors import OutputError
from kinit_cli.inspect import inspect_file
from kinit_cli.panels import make_panel, make_sections
from kinit_cli.plotting import PLOT_FORMATS, layout, write_plot
from kinit_cli.plotting import gallery as galleries
from kinit_cli.plotting.gallery import choose_tensors, make_gallery
from kinit_cli.statistics.distribution_test import failed
from kinit_cli.summary import FileSummary, TensorSummary

SPEC = """\
seed: 3
layers:
  - repeat: 3
    layers:
      - name: "block_{i}/mlp"
        weights:
          kernel: {shape: [40, 50], initializer: {random_normal: {stddev: 0.5}}}
          bias: {shape: [50]}
  - name: head
    weights:
      kernel: {shape: [50, 10]}
      empty: {shape: [0, 3]}
"""
NAMES = [
    "$x_1^2$ \\alpha",
    "a<b>&\"c'",
    "\x1b[31m\n\x00",
    "中文 🎉",
    "[bold]",
    "x" * 3000,
    "_",
    "$",
]


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


def summary_of(*tensors: TensorSummary) -> FileSummary:
    return FileSummary(
        source="some/w.h5",
        format="hdf5",
        layout="flat",
        tensors=tensors,
        n_parameters=0,
        n_bytes=0,
        seconds=0.0,
    )


def normals(*paths: str, size: int = 100) -> list[TensorSummary]:
    rng = np.random.default_rng(0)
    draw = Normal(mean=0.0, stddev=1.0)
    return [tensor_of(rng.standard_normal(size).astype("f4"), draw, path) for path in paths]


class Page(HTMLParser):
    """What is in an HTML page: tags that are all closed, texts, and every attribute."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data))

    def of(self, tag: str) -> list[str]:
        return [text for where, text in self.texts if where == tag]

    def values(self, tag: str, name: str) -> list[str]:
        return [v or "" for t, n, v in self.attributes if (t, n) == (tag, name)]


def points_of(text: str) -> list[tuple[float, float]]:
    pairs = (pair.split(",") for pair in text.strip("MZ").split())
    return [(float(x), float(y)) for x, y in pairs]


def svg_texts(path: Path) -> list[str]:
    return [element.text or "" for element in ET.parse(path).iter() if element.tag.endswith("text")]


# --- what is in the files -------------------------------------------------------------------


def test_every_format_is_what_its_name_says(
    folder: Path, drawn: None, capsys: pytest.CaptureFixture[str]
) -> None:
    starts = {"png": b"\x89PNG\r\n", "svg": b"<?xml", "pdf": b"%PDF-", "html": b"<!DOCTYPE html>"}
    assert set(starts) == set(PLOT_FORMATS)
    for name, start in starts.items():
        assert run(["inspect", "w.h5", "--plot", f"p.{name}"]) == 0
        assert Path(f"p.{name}").read_bytes().startswith(start)
        out = capsys.readouterr().out
        assert "block_0/mlp/kernel" in out
        assert f"note: the picture is in p.{name}\n" in out
    assert run(["inspect", "w.h5", "--plot", "P.PNG", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert Path("P.PNG").read_bytes() == Path("p.png").read_bytes()
    assert sorted(path.name for path in folder.iterdir() if path.name != "mpl") == [
        "P.PNG", "p.html", "p.pdf", "p.png", "p.svg", "s.yaml", "w.h5",
    ]  # fmt: skip


def test_the_same_file_gives_the_same_bytes(folder: Path, drawn: None) -> None:
    for name in PLOT_FORMATS:
        made = []
        for environment in ({}, {"MPLBACKEND": "svg", "LC_ALL": "C", "SOURCE_DATE_EPOCH": "5"}):
            command = [sys.executable, "-W", "error", "-m", "kinit_cli", "inspect", "w.h5"]
            done = subprocess.run(
                [*command, "--plot", f"p.{name}", "--force", "-q"],
                env=kinit_environment(**environment),
                capture_output=True,
                check=False,
            )
            assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
            made.append(Path(f"p.{name}").read_bytes())
        assert made[0] == made[1]
        assert str(folder).encode() not in made[0]


def test_settings_of_the_user_change_nothing(
    folder: Path, drawn: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib as mpl

    write_plot(inspect_file("w.h5"), Path("a.svg"), force=False)
    settings = {"font.size": 30, "lines.linewidth": 9, "text.color": "red", "savefig.dpi": 7}
    with mpl.rc_context(settings):
        write_plot(inspect_file("w.h5"), Path("b.svg"), force=False)
        assert mpl.rcParams["font.size"] == 30
    assert Path("a.svg").read_bytes() == Path("b.svg").read_bytes()


def test_an_svg_names_every_layer_and_tensor(folder: Path, drawn: None) -> None:
    write_plot(inspect_file("w.h5"), Path("p.svg"), force=False)
    texts = svg_texts(Path("p.svg"))
    assert texts[0] == "w.h5"
    headings = ["block_0/mlp", "block_1/mlp", "block_2/mlp", "head"]
    assert [text for text in texts if text in headings] == headings
    assert texts.count("kernel") == 4
    assert texts.count("bias") == 3
    assert texts.count("empty") == texts.count("no elements") == 1
    assert texts.count("40×50") == 3
    assert sum(text.startswith("mean 0 (0), std 0 (0)") for text in texts) == 3
    assert sum("(0.5)" in text for text in texts) == 3


def test_a_page_has_the_data_of_its_panels(folder: Path) -> None:
    summary = inspect_file("w.h5")
    write_plot(summary, Path("p.html"), force=False)
    text = Path("p.html").read_text("utf-8")
    page = Page(text)
    assert page.of("h1") == page.of("title") == ["w.h5"]
    layers = ["block_0/mlp", "block_1/mlp", "block_2/mlp", "head"]
    assert page.of("summary") == ["Layers: 4", *layers]
    assert page.of("a") == layers
    assert page.of("b") == [*["kernel", "bias"] * 3, "kernel", "empty"]
    targets = {f"#{name}" for name in page.values("section", "id")}
    assert set(page.values("a", "href")) == targets
    panels = [panel for section in make_sections(summary, summary.tensors) for panel in
              section.panels if panel.edges]  # fmt: skip
    paths, lines = page.values("path", "d"), page.values("polyline", "points")
    assert len(paths) == len(lines) == len(panels) == 7
    for panel, path, line in zip(panels, paths, lines, strict=True):
        assert_curve(panel, points_of(line))
        assert max(81 - y for _, y in points_of(path)) <= 80.1
    for tag, name, value in page.attributes:
        assert not name.startswith("on")
        assert name not in ("src", "srcset", "action")
        assert name != "href" or (value or "").startswith("#"), tag
    assert "<script" not in text
    assert "url(" not in text
    assert "@import" not in text


def assert_curve(panel: Any, points: list[tuple[float, float]]) -> None:
    """Compare a drawn line, whose numbers have a decimal place, with the density."""
    assert len(points) == len(panel.curve)
    for (value, density), (x, y) in zip(panel.curve, points, strict=True):
        assert x == pytest.approx((value - panel.low) / (panel.high - panel.low) * 280, abs=0.06)
        assert y == pytest.approx(81 - density / panel.top * 80, abs=0.06)


def test_few_bars_of_known_heights_are_outlined() -> None:
    panel = replace(
        make_panel(tensor_of(np.zeros(1, np.float32))),
        low=0.0,
        high=4.0,
        edges=(0.0, 1.0, 2.0, 3.0),
        densities=(0.5, 1e-9, 0.0),
        curve=((0.0, 0.0), (4.0, 1.0)),
    )
    box = layout.Box(x=10, y=20, width=40, height=100)
    placed = layout.PlacedPanel(panel=panel, box=box, plot=box)
    assert layout.bar_outline(placed) == [
        (10, 120), (10, 70), (20, 70), (20, 119), (30, 119), (30, 120), (40, 120), (40, 120),
    ]  # fmt: skip
    assert layout.curve_line(placed) == [(10, 120), (50, 20)]


def test_hostile_names_are_only_names(
    tmp_path: Path, drawn: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tensors = [*normals(*NAMES), *normals(*(f"{name}/w" for name in NAMES))]
    summary = replace(summary_of(*tensors), source="<w>$x$\x07\udc80.h5")
    for name in PLOT_FORMATS:
        write_plot(summary, Path(f"p.{name}"), force=False)
    texts = svg_texts(Path("p.svg"))
    assert texts[0] == "<w>$x$\\x07\\udc80.h5"
    for shown in ("$x_1^2$ \\alpha", "a<b>&\"c'", "\\x1b[31m\\n\\x00", "[bold]", "_", "$"):
        assert texts.count(shown) == 2
    assert texts.count("\\u4e2d\\u6587 \\U0001f389") == 2
    page = Page(Path("p.html").read_text("utf-8"))
    for shown in ("$x_1^2$ \\alpha", "a<b>&\"c'", "\\x1b[31m\\n\\x00", "中文 🎉", "[bold]"):
        assert page.of("b").count(shown) == 1
        assert page.of("a").count(shown) == 1


def test_a_paged_picture_has_all_tensors(folder: Path, drawn: None) -> None:
    summary = summary_of(*normals(*(f"layer_{i // 2}/w{i % 2}" for i in range(100))))
    write_plot(summary, Path("p.pdf"), force=False)
    style = layout.style_for(100, is_paged=True)
    sheets = layout.lay_out(make_sections(summary, summary.tensors), style, is_paged=True)
    assert len(sheets) == 2
    assert {(sheet.width, sheet.height) for sheet in sheets} == {(1654, 1169)}
    data = Path("p.pdf").read_bytes()
    assert len(re.findall(rb"/Type /Page\b(?!s)", data)) == 2
    assert data.count(b"/MediaBox [ 0 0 1190.88 841.68 ]") == 2


def test_a_file_without_tensors_is_drawn_too(tmp_path: Path, drawn: None) -> None:
    for name in PLOT_FORMATS:
        write_plot(summary_of(), tmp_path / f"p.{name}", force=False)
        assert (tmp_path / f"p.{name}").stat().st_size > 500


# --- where it is ----------------------------------------------------------------------------


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


# --- what is left out, and what is flagged --------------------------------------------------


def flagged(tensor: TensorSummary) -> TensorSummary:
    return replace(tensor, test=failed("it is <wrong>"))


def test_flagged_tensors_are_never_left_out_first() -> None:
    tensors = normals(*map(str, range(10)), size=3)
    tensors[7] = flagged(tensors[7])
    bad = tensor_of(np.array([np.nan], np.float32), None, "9")
    tensors[9] = bad
    chosen = choose_tensors(tensors, 4)
    assert [tensor.path for tensor in chosen] == ["0", "1", "7", "9"]
    assert choose_tensors(tensors, 10) == tensors


@pytest.mark.parametrize("name", PLOT_FORMATS)
def test_what_is_left_out_is_said(
    tmp_path: Path, drawn: None, monkeypatch: pytest.MonkeyPatch, name: Any
) -> None:
    limits = {"png": 4, "svg": 4, "pdf": 5, "html": 5}
    monkeypatch.setattr(galleries, "MAX_TENSORS", limits)
    tensors = [flagged(tensor) for tensor in normals(*map(str, range(6)), size=3)]
    notes = write_plot(summary_of(*tensors), tmp_path / f"p.{name}", force=False)
    n_left = 6 - limits[name]
    assert notes[0].startswith(f"{n_left} of 6 tensors are not in the picture, {n_left} of them")
    assert ("or write .pdf or .html" in notes[0]) is (limits[name] == 4)
    if name == "svg":
        assert any(text.startswith(notes[0][:60]) for text in svg_texts(tmp_path / "p.svg"))
    if name == "html":
        assert notes[0] in Page((tmp_path / "p.html").read_text("utf-8")).of("p")


def test_flags_are_red(folder: Path, drawn: None) -> None:
    with h5py.File("w.h5", "a") as file:
        file["block_1/mlp/kernel"][0, 0] = np.nan
        file["head/kernel"][...] *= 3
    assert run(["inspect", "w.h5", "--check", "--plot", "p.html", "-q"]) == 1
    assert run(["inspect", "w.h5", "--check", "--plot", "p.svg", "-q"]) == 1
    page = Page(Path("p.html").read_text("utf-8"))
    assert page.values("figure", "class") == ["flagged"] * 2
    assert page.of("summary")[0] == "Flagged: 2"
    assert page.of("a")[:2] == ["block_1/mlp/kernel", "head/kernel"]
    assert "1 NaN, fails its test" in page.of("span")
    assert any("digest" in reason for reason in page.values("span", "title"))
    texts = svg_texts(Path("p.svg"))
    assert any(text.startswith("1 NaN, fails its test, 40×50") for text in texts)
    assert any("tests: 6 passed, 2 failed" in text for text in texts)


# --- the command ----------------------------------------------------------------------------


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["inspect", *arguments]) == 2
    return capsys.readouterr().err


def test_json_and_a_picture_go_together(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "w.h5", "--json", "--plot", "p.html"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["plot"] == "p.html"
    assert document["notes"] == ["the picture is in p.html"]
    assert Path("p.html").exists()
    assert run(["inspect", "w.h5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["plot"] is None


@pytest.mark.parametrize("name", ["p.jpg", "p", "png", "-", "p.png/", ".png.txt", ""])
def test_other_suffixes_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    error = error_of(capsys, "w.h5", "--plot", name)
    assert "ends in .png, .svg, .pdf or .html" in error
    assert "--plot" in error


def test_an_existing_picture_needs_force(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("p.html").write_text("old")
    # Before anything is read: the file need not even be there.
    assert "p.html exists; use --force" in error_of(capsys, "nope.h5", "--plot", "p.html")
    assert Path("p.html").read_text() == "old"
    assert run(["inspect", "w.h5", "--plot", "p.html", "--force", "-q"]) == 0
    assert Path("p.html").read_text().startswith("<!DOCTYPE")
    assert "'--force' is for '--plot'" in error_of(capsys, "w.h5", "--force")
    assert "folder" in error_of(capsys, "w.h5", "--plot", "nowhere/p.html")


def test_the_weights_are_never_the_picture(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("w.h5").rename("w.html")
    data = Path("w.html").read_bytes()
    Path("link.html").symlink_to("w.html")
    for name in ("w.html", "./w.html", "link.html"):
        error = error_of(capsys, "w.html", "--plot", name, "--force")
        assert "got the weights file itself" in error
    assert Path("w.html").read_bytes() == data


@pytest.mark.parametrize("name", ["png", "svg", "pdf"])
def test_without_matplotlib_there_is_one_clear_error(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    # Before anything is read: the file need not even be there.
    assert error_of(capsys, "nope.h5", "--plot", f"p.{name}") == (
        f"kinit: --plot p.{name}: expected matplotlib, which draws it, got none; "
        "pip install 'kinit-cli[plot]', or write .html, which needs nothing more\n"
    )
    assert run(["inspect", "w.h5", "--plot", "p.html", "-q"]) == 0


def test_matplotlib_is_not_imported_without_a_picture(folder: Path) -> None:
    code = (
        "import sys; from kinit_cli.cli.main import run; "
        "assert run(['inspect', 'w.h5', 'head/kernel']) == 0; "
        "assert run(['inspect', 'w.h5', '--plot', 'p.html']) == 0; "
        "assert not any(name.startswith('matplotlib') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("name", PLOT_FORMATS)
def test_a_full_disk_leaves_the_old_picture(
    folder: Path, drawn: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from kinit_cli.formats import atomic

    def sync(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    target = Path(f"p.{name}")
    target.write_text("old")
    monkeypatch.setattr(atomic, "sync_tree", sync)
    with pytest.raises(OutputError, match="the disk is full; nothing was changed"):
        write_plot(inspect_file("w.h5"), target, force=True)
    assert target.read_text() == "old"
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("name", PLOT_FORMATS)
def test_a_write_that_fails_leaves_the_old_picture(folder: Path, drawn: None, name: str) -> None:
    target = Path(f"p.{name}")
    target.write_text("old")
    # A limit of the size of files is what a full disk is, in the middle of writing.
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000)); "
        "from kinit_cli.cli.main import run; "
        f"sys.exit(run(['inspect', 'w.h5', '--plot', 'p.{name}', '--force']))"
    )
    # The cache of fonts is made before there is a limit.
    subprocess.run([sys.executable, "-c", "import matplotlib.font_manager"], check=True)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "nothing was changed" in done.stderr
    assert target.read_text() == "old"
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def iter_globals() -> Iterator[Any]:
    import matplotlib as mpl

    yield dict(mpl.rcParams)
    yield "matplotlib.pyplot" in sys.modules


def test_nothing_global_is_left_behind(folder: Path, drawn: None) -> None:
    write_plot(inspect_file("w.h5"), Path("p.png"), force=False)
    before = list(iter_globals())
    write_plot(inspect_file("w.h5"), Path("q.png"), force=False)
    assert list(iter_globals()) == before
