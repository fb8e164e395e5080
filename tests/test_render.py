"""What the terminal shows: whole small pictures, and names that try to be more than names."""

from __future__ import annotations

import io
import re
import sys
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from kinit_cli.render.progress import make_progress
from kinit_cli.render.summary import render_summary
from kinit_cli.render.text import fmt_bytes, fmt_number, make_console, printable
from kinit_cli.render.textplot import draw_histogram
from kinit_cli.statistics.histogram import Histogram
from kinit_cli.statistics.tensor_stats import TensorStats
from kinit_cli.summary import FileSummary, TensorSummary

BLOCKS = "▁▂▃▄▅▆▇█"


def stats(**changes: Any) -> TensorStats:
    fields: dict[str, Any] = {
        "count": 200, "mean": 0.00125, "std": 0.0199876, "min": -0.0625, "max": 0.0625,
        "n_zero": 0, "n_nan": 0, "n_inf": 0, "l2_norm": 1.0,
        "histogram": Histogram(
            edges=array("f", [-0.0625, -0.03125, 0, 0.03125, 0.0625]),
            counts=array("q", [10, 80, 100, 10]),
        ),
    }  # fmt: skip
    return TensorStats(**{**fields, **changes})


def tensor(path: str, **changes: Any) -> TensorSummary:
    fields: dict[str, Any] = {
        "shape": (10, 20), "dtype": "float32", "n_elements": 200, "n_bytes": 800, "stats": stats(),
    }  # fmt: skip
    return TensorSummary(path=path, **{**fields, **changes})


def summary(*tensors: TensorSummary, **changes: Any) -> FileSummary:
    fields: dict[str, Any] = {
        "source": "weights.h5", "format": "hdf5", "layout": "keras-legacy", "tensors": tensors,
        "n_parameters": sum(t.n_elements for t in tensors),
        "n_bytes": sum(t.n_bytes for t in tensors), "seconds": 0.5,
    }  # fmt: skip
    return FileSummary(**{**fields, **changes})


def render(shown: FileSummary, width: int = 80, encoding: str = "utf-8", **options: Any) -> str:
    """Give what is printed, without spaces at the ends of lines, rules three characters long.

    How far a rule reaches beyond the last column is Rich's business, and has changed.
    """
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    console = Console(
        file=stream, width=width, highlight=False, markup=False, emoji=False, _environ={}
    )
    render_summary(shown, console=console, **options)
    stream.flush()
    lines = [line.rstrip() for line in raw.getvalue().decode(encoding).splitlines()]
    return "\n".join(re.sub("─{2,}", "───", line) for line in lines)


CONSTANT = stats(
    mean=0.0, std=0.0, min=0.0, max=0.0,
    histogram=Histogram(edges=array("f", [0, 0]), counts=array("q", [20])),
)  # fmt: skip
SAMPLE = summary(
    tensor("dense/kernel", expected_std=0.02),
    tensor("dense/bias", shape=(20,), stats=CONSTANT, expected_std=0.0),
    tensor("broken", stats=stats(n_nan=3, n_inf=1200)),
    tensor("step", shape=(), dtype="int64", stats=None),
    seed=42, stream=1, engine="numpy", notes=("soft links are not followed: a, b",),
)  # fmt: skip


def test_wide() -> None:
    assert (
        render(SAMPLE, 120)
        == """\
tensor            shape   dtype       mean      std  expected      min     max  histogram
───
dense/kernel      10×20   float32  0.00125  0.01999      0.02  -0.0625  0.0625  ▁▁▁▁▆▆▆▆████▁▁▁▁
dense/bias        20      float32        0        0         0        0       0         █
broken            10×20   float32  0.00125  0.01999         -  -0.0625  0.0625  ▁▁▁▁▆▆▆▆████▁▁▁▁
3 NaN, 1,200 Inf
step              scalar  int64          -        -         -        -       -

4 tensors, 800 parameters, 3.2 kB (3.1 KiB), 0.50 s, 6.4 kB/s
weights.h5: hdf5 (keras-legacy), seed 42, stream 1, engine numpy
NaN or Inf in 1 tensor
note: soft links are not followed: a, b"""
    )


def test_80_columns_keep_the_histogram_and_the_expected_std() -> None:
    assert (
        render(SAMPLE, 80).split("\n\n")[0]
        == """\
tensor            shape       std  expected      min     max  histogram
───
dense/kernel      10×20   0.01999      0.02  -0.0625  0.0625  ▁▁▄▆▆██▄▁▁
dense/bias        20            0         0        0       0      █
broken            10×20   0.01999         -  -0.0625  0.0625  ▁▁▄▆▆██▄▁▁
3 NaN, 1,200 Inf
step              scalar        -         -        -       -"""
    )


def test_one_dtype_is_told_once_where_there_is_no_room_for_its_column() -> None:
    shown = summary(tensor("a" * 30), tensor("b"))
    assert (
        render(shown, 80)
        == """\
tensor                shape     mean      std      min     max  histogram
───
aaaaaaaaaaaaaaaaaaaa  10×20  0.00125  0.01999  -0.0625  0.0625  ▁▁▁▁▆▆▆▆████▁▁▁▁
aaaaaaaaaa
b                     10×20  0.00125  0.01999  -0.0625  0.0625  ▁▁▁▁▆▆▆▆████▁▁▁▁

2 tensors, 400 parameters, 1.6 kB (1.6 KiB), 0.50 s, 3.2 kB/s
weights.h5: hdf5 (keras-legacy), all float32"""
    )


def test_a_terminal_without_unicode() -> None:
    lines = render(summary(tensor("k")), 100, "ascii").splitlines()
    assert lines[0] == ("tensor |shape |dtype   |   mean |    std |    min |   max |histogram")
    assert lines[2] == (
        "k      |10x20 |float32 |0.00125 |0.01999 |-0.0625 |0.0625 |....****@@@@...."
    )


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 140, 300])
def test_no_line_of_the_table_is_wider_than_the_terminal(width: int) -> None:
    table = render(SAMPLE, width).split("\n\n")[0]
    assert max(map(len, table.splitlines())) <= max(width, 24)


@pytest.mark.parametrize(
    ("shape", "encoding", "shown"),
    [
        ((2,) * 32, "utf-8", "2×2×2×2×2×2×…×2×2×2×2×2"),
        ((2,) * 32, "ascii", "2x2x2x2x2x...x2x2x2x2x2"),
        ((1000, 1000, 1000, 1000, 1000), "utf-8", "1000×1000×1000×1000×1000"),
        ((1000, 1001, 1002, 1003, 10000), "utf-8", "1000×1001×…×1003×10000"),
        ((10**12, 5, 5, 10**12 + 1), "utf-8", "1000000000000×…×1000000000001"),
        (tuple(range(100, 10**6)), "utf-8", "100×101×…×999998×999999"),
        ((10**12, 10**12 + 1), "utf-8", "1000000000000×1000000000001"),
    ],
)
def test_a_long_shape_is_shortened_and_leaves_room(
    shape: tuple[int, ...], encoding: str, shown: str
) -> None:
    header, _, row = render(summary(tensor("k", shape=shape)), 80, encoding).splitlines()[:3]
    assert re.split("[ |]+", row)[1] == shown
    assert {"std", "min", "max"} <= set(re.split("[ |]+", header))


def test_a_file_without_tensors() -> None:
    assert render(summary(seconds=0.0)) == (
        "0 tensors, 0 parameters, 0 bytes, 0.00 s\nweights.h5: hdf5 (keras-legacy)"
    )


@pytest.mark.parametrize(("limit", "first", "last"), [(1, 1, 0), (4, 2, 2), (5, 3, 2)])
def test_limited_rows_are_the_first_and_the_last(limit: int, first: int, last: int) -> None:
    names = [f"t{index:03}" for index in range(100)]
    text = render(summary(*map(tensor, names)), limit_rows=limit)
    assert re.findall(r"^t\d{3}", text, re.M) == [*names[:first], *names[100 - last :]]
    assert f"({100 - limit} of 100 tensors are not shown)" in text
    assert "100 tensors, 20,000 parameters" in text


def test_all_rows_are_shown_up_to_the_limit() -> None:
    assert "not shown" not in render(summary(tensor("a"), tensor("b")), limit_rows=2)


HOSTILE = ["block[attn].w", "x[/q]", "[red]a[/red]", ":smile:", "\\[bold]", "a [link=x]b[/link]"]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_verbatim_everywhere(name: str) -> None:
    shown = summary(tensor(name, dtype=name), tensor("b"), source=name, engine=name, notes=(name,))
    text = render(shown, 200)
    assert re.search(rf"^{re.escape(name)} +10×20 +{re.escape(name)} ", text, re.M)
    assert f"{name}: hdf5 (keras-legacy), engine {name}\nnote: {name}" in text


def test_control_characters_are_escaped_everywhere() -> None:
    evil = "a\x1b[31m\x07\r\n\u202e\ud800"
    text = render(summary(tensor(evil, dtype=evil), source=evil, engine=evil, notes=(evil,)), 200)
    assert text.count(r"a\x1b[31m\x07\r\n\u202e\ud800") == 6
    assert all(char.isprintable() or char == "\n" for char in text)


@given(st.text(max_size=300))
def test_what_is_printable_can_be_printed(name: str) -> None:
    text = printable(name)
    assert text.isprintable()
    text.encode("utf-8")
    if name.isprintable() and len(name) <= 240:
        assert text == name


def test_long_names_are_shortened() -> None:
    assert printable("a" * 5000 + "z") == "a" * 120 + "..." + "a" * 119 + "z"


def test_colour_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b" not in printed_by_a_new_console(monkeypatch)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1m" in printed_by_a_new_console(monkeypatch)
    assert "\x1b[36m" in printed_by_a_new_console(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[36m" not in printed_by_a_new_console(monkeypatch)


@pytest.mark.parametrize(("columns", "width"), [("0", 80), ("00", 80), ("30", 30), ("70", 70)])
def test_a_terminal_of_no_columns_has_80(
    columns: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert make_console().width == width
    assert make_console(to_stderr=True).width == width
    printed_by_a_new_console(monkeypatch)


def printed_by_a_new_console(monkeypatch: pytest.MonkeyPatch) -> str:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    render_summary(summary(tensor("x[/q]")), console=make_console())
    assert "x[/q]" in stream.getvalue()
    return stream.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("total", [1000, None])
def test_progress_is_drawn_on_a_terminal_only(
    total: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stream, is_drawn in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        with make_progress(total) as advance:
            advance(400)
            advance(600)
        assert bool(stream.getvalue()) is is_drawn


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 bytes"),
        (1000, "1.0 kB (1000 B)"),
        (1_000_000, "1.0 MB (976.6 KiB)"),
        (2**40, "1.1 TB (1.0 TiB)"),
        (2**80, "1208925.8 EB (1048576.0 EiB)"),
    ],
)
def test_bytes(n_bytes: int, text: str) -> None:
    assert fmt_bytes(n_bytes) == text


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_numbers_are_short_and_near(value: float) -> None:
    text = fmt_number(value)
    assert len(text) <= 10
    if abs(value) < 1e300:
        assert float(text) == pytest.approx(value, rel=6e-3, abs=5e-324)


# --- histograms in characters -----------------------------------------------------------------


def histogram(edges: list[float], counts: list[int]) -> Histogram:
    return Histogram(edges=array("f", edges), counts=array("q", counts))


@pytest.mark.parametrize(
    ("edges", "counts", "drawn"),
    [
        ([0, 1, 2, 3, 4], [1, 2, 4, 8], "▁▂▄█"),
        ([0, 1, 2, 3, 4], [800, 0, 1, 0], "█ ▁ "),
        # Density counts, not the number in a bin: the wide bin is low.
        ([0, 1, 4], [8, 12], "█▄▄▄"),
        ([0, 8], [5], "████"),
        ([0, 0.5, 1.5, 4], [4, 8, 0], "█▄  "),
        ([5, 5], [9], " █  "),
    ],
)
def test_histogram_line(edges: list[float], counts: list[int], drawn: str) -> None:
    assert draw_histogram(histogram(edges, counts), n_cells=4, blocks=BLOCKS) == drawn


@given(
    st.lists(st.floats(-(2.0**127), 2.0**127, width=32), min_size=2, max_size=30, unique=True).map(
        sorted
    ),
    st.data(),
)
def test_any_histogram_is_drawn_in_its_width(edges: list[float], data: st.DataObject) -> None:
    n_bins = len(edges) - 1
    counts = data.draw(st.lists(st.integers(0, 2**50), min_size=n_bins, max_size=n_bins))
    counts[0] += 1
    drawn = draw_histogram(histogram(edges, counts), n_cells=16, blocks=BLOCKS)
    assert len(drawn) == 16
    assert "█" in drawn
    assert set(drawn) <= {*BLOCKS, " "}
