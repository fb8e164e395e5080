"""`kinit inspect --plot`: what is in the pictures."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import kinit_environment
from plots import NAMES, SPEC, Page, normals, points_of, summary_of, svg_texts
from test_panels import tensor_of

from kinit_cli.cli.main import run
from kinit_cli.inspect import inspect_file
from kinit_cli.panels import make_panel, make_sections
from kinit_cli.plotting import PLOT_FORMATS, layout, write_plot
from kinit_cli.plotting import gallery as galleries
from kinit_cli.plotting.gallery import choose_tensors
from kinit_cli.statistics.distribution_test import failed
from kinit_cli.summary import TensorSummary


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
