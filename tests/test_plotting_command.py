"""`kinit inspect --plot` as a command: its options, its errors, and what happens to files."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from plots import SPEC

from kinit_cli.cli.main import run
from kinit_cli.errors import OutputError
from kinit_cli.inspect import inspect_file
from kinit_cli.plotting import PLOT_FORMATS, write_plot


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
