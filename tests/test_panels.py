"""What a picture of a tensor shows: bars as they were counted, the curve as SciPy has it."""

from __future__ import annotations

from array import array
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy import stats

from kinit_cli.cli.main import run
from kinit_cli.draw import Constant, Draw, Eye, Normal, Orthogonal, Uniform
from kinit_cli.inspect import inspect_file
from kinit_cli.panels import Panel, make_panel, make_sections, merge_bins, split_path
from kinit_cli.render.textplot import draw_large
from kinit_cli.statistics.histogram import FLOAT32_MAX, Histogram
from kinit_cli.statistics.meter import Meter
from kinit_cli.statistics.tensor_stats import StatsAccumulator
from kinit_cli.summary import TensorSummary

RNG = np.random.default_rng(5)


def tensor_of(values: Any, draw: Draw | None = None, path: str = "a/kernel") -> TensorSummary:
    values = np.asarray(values)
    stats_of = StatsAccumulator()
    if values.size:
        stats_of.add(0, Meter().measure(values.reshape(-1)))
    return TensorSummary(
        path=path,
        shape=values.shape,
        dtype=values.dtype.name,
        n_elements=values.size,
        n_bytes=values.nbytes,
        stats=stats_of.result(),
        draw=draw,
    )


def area_of(points: Any) -> float:
    return float(sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points)))


@pytest.mark.parametrize(
    ("draw", "shape", "judge"),
    [
        (Normal(mean=1.0, stddev=0.5), (5000,), stats.norm(1, 0.5)),
        (Uniform(minval=-0.25, maxval=0.5), (5000,), stats.uniform(-0.25, 0.75)),
        (Orthogonal(gain=1.0), (64, 32), stats.beta(31.5, 31.5, -1, 2)),
    ],
    ids=repr,
)
def test_the_curve_is_the_density_of_scipy(draw: Draw, shape: tuple[int, ...], judge: Any) -> None:
    values = judge.rvs(shape, random_state=RNG).astype(np.float32)
    panel = make_panel(tensor_of(values, draw))
    assert len(panel.curve) > 100
    places = np.array([x for x, _ in panel.curve])
    assert places.tolist() == sorted(places)
    assert (places[0], places[-1]) == (panel.low, panel.high)
    inner = slice(1, -1)
    heights = np.array([y for _, y in panel.curve])
    # A height is the mean over a 112th of the axis.
    half = (panel.high - panel.low) / 224
    expected = (judge.cdf(places + half) - judge.cdf(places - half)) / (2 * half)
    assert heights[inner] == pytest.approx(expected[inner], rel=1e-5, abs=1e-7)
    assert heights[inner] == pytest.approx(judge.pdf(places)[inner], rel=0.02, abs=0.02)


def test_bars_are_the_shares_of_the_histogram() -> None:
    values = RNG.standard_normal(3000).astype(np.float32)
    panel = make_panel(tensor_of(values))
    expected, _ = np.histogram(values, panel.edges)
    widths = np.diff(panel.edges)
    assert np.array(panel.densities) * widths == pytest.approx(expected / 3000)
    assert panel.curve == ()
    assert (panel.low, panel.high) == (values.min(), values.max())
    assert len(panel.densities) == 28


def test_few_values_have_few_bars() -> None:
    edges = array("f", [float(edge) for edge in range(29)])
    counts = array("q", range(28))
    merged_edges, merged = merge_bins(edges, counts, 7)
    assert merged_edges == (0, 4, 8, 12, 16, 20, 24, 28)
    assert merged == (6, 22, 38, 54, 70, 86, 102)
    assert len(merge_bins(edges, counts, 1)[1]) == 5
    assert merge_bins(edges, counts, 100) == (tuple(edges), tuple(counts))
    assert len(make_panel(tensor_of(RNG.standard_normal(8).astype("f4"))).densities) == 5


def test_one_value_is_one_bar_in_the_middle_and_so_is_its_curve() -> None:
    panel = make_panel(tensor_of(np.full(9, 2.0, np.float32), Constant(value=2.0)))
    assert len(panel.densities) == 1
    assert panel.edges[0] < 2 < panel.edges[1]
    assert panel.low == pytest.approx(1.9)
    assert panel.high == pytest.approx(2.1)
    assert area_of(panel.curve) == pytest.approx(1)
    assert panel.top == pytest.approx(max(y for _, y in panel.curve))
    assert panel.top == pytest.approx(panel.densities[0])


def test_zeros_where_a_normal_is_expected_show_the_normal() -> None:
    panel = make_panel(tensor_of(np.zeros(1000, np.float32), Normal(mean=0.0, stddev=0.1)))
    assert panel.low == pytest.approx(-0.32, abs=0.01)
    assert panel.high == pytest.approx(0.32, abs=0.01)
    assert area_of(panel.curve) == pytest.approx(1, abs=0.01)
    assert panel.densities[0] > 10 * max(y for _, y in panel.curve)


def test_values_beyond_the_initializer_are_within_the_axis() -> None:
    values = np.linspace(-3, 3, 999, dtype=np.float32)
    panel = make_panel(tensor_of(values, Uniform(minval=-1.0, maxval=1.0)))
    assert (panel.low, panel.high) == (-3, 3)
    curve = dict(panel.curve)
    assert curve[-3.0] == 0
    assert max(curve.values()) == pytest.approx(0.5)


def test_a_coarse_dtype_has_steps_as_high_as_its_bars() -> None:
    import ml_dtypes

    values = RNG.standard_normal(200_000).astype(np.float32).astype(ml_dtypes.float8_e4m3fn)
    panel = make_panel(tensor_of(values, Normal(mean=0.0, stddev=1.0)))
    inside = [(x, y) for x, y in panel.curve if panel.edges[0] <= x <= panel.edges[-1]]
    found = np.repeat(panel.densities, 2)
    starts = [index for index, (x, _) in enumerate(inside) if x == panel.edges[0]]
    expected = np.array([y for _, y in inside[starts[-1] :]][: found.size])
    assert expected == pytest.approx(found, rel=0.05, abs=0.002)
    # Bars that count the values of one number differ widely: a smooth curve would not do.
    assert max(abs(np.diff(expected[::2]))) > 0.05


def test_the_identity_has_two_values() -> None:
    panel = make_panel(tensor_of(np.eye(6, dtype=np.float32), Eye(gain=1.0)))
    assert panel.densities[0] == pytest.approx(30 / 36 / (panel.edges[1] - panel.edges[0]))
    assert [y for _, y in panel.curve][::2] == pytest.approx(panel.densities)


@pytest.mark.parametrize("magnitude", [1e-45, 1e-300, 1e300, FLOAT32_MAX, 1.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_magnitude_is_too_much(magnitude: float, dtype: type[Any]) -> None:
    with np.errstate(all="ignore"):
        values = (np.array([-1.0, 0.5, 1.0]) * magnitude).astype(dtype)
    draws: list[Draw | None] = [None, Constant(value=magnitude), Normal(mean=1.0, stddev=1e-12)]
    for draw in draws:
        for chosen in (values, values[:1], values[2:]):
            if not np.isfinite(chosen).any():
                continue
            panel = make_panel(tensor_of(chosen, draw))
            assert panel.low < panel.high
            numbers = [*panel.edges, *panel.densities, *(y for _, y in panel.curve)]
            assert np.isfinite(numbers).all()
            assert min(panel.densities) >= 0
            rows = draw_large(panel, n_rows=4, n_columns=20, blocks=".:#", dot="o")
            assert any(cell[0] != " " for row in rows for cell in row)


def test_what_has_no_values_has_no_bars() -> None:
    for values in (np.zeros(0, np.float32), np.full(3, np.nan, np.float32)):
        panel = make_panel(tensor_of(values, Normal(mean=0.0, stddev=1.0)))
        assert (panel.edges, panel.densities, panel.curve) == ((), (), ())
        assert panel.top == 1


def test_layers_keep_the_order_of_their_first_tensors(tmp_path: Path) -> None:
    assert split_path("a/b/c.d") == ("a/b", "c.d")
    assert split_path("a.b.c") == ("a.b", "c")
    assert split_path("a/") == ("", "a/")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for path in ("b/k", "b/sub/k", "b/x", "k"):
            file[path] = np.zeros(2, np.float32)
    summary = inspect_file(tmp_path / "w.h5")
    sections = make_sections(summary, summary.tensors)
    found = [(s.layer, [panel.tensor.path for panel in s.panels]) for s in sections]
    assert found == [("b", ["b/k", "b/x"]), ("b/sub", ["b/sub/k"]), ("", ["k"])]


def test_a_changed_tensor_has_no_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text("layers: [{name: a, weights: {k: {shape: [9]}, o: {shape: [8]}}}]\n")
    assert run(["generate", "s.yaml", "-o", "w.h5", "-q"]) == 0
    with h5py.File("w.h5", "a") as file:
        del file["a/k"]
        file["a/k"] = np.zeros((3, 3), np.float32)
    summary = inspect_file("w.h5")
    (section,) = make_sections(summary, summary.tensors)
    curves = {panel.tensor.path: bool(panel.curve) for panel in section.panels}
    assert curves == {"a/o": True, "a/k": False}


def test_a_large_picture_is_drawn_cell_by_cell() -> None:
    tensor = tensor_of(np.zeros(1, np.float32))
    panel = Panel(
        tensor=tensor,
        low=0.0,
        high=4.0,
        edges=(0.0, 1.0, 2.0, 3.0),
        densities=(0.5, 0.25, 0.0),
        curve=((0.0, 0.25), (2.0, 0.25), (2.0, 0.0), (4.0, 0.0)),
    )
    rows = draw_large(panel, n_rows=4, n_columns=8, blocks="12", dot="o")
    assert ["".join(char for char, _ in row) for row in rows] == [
        "22      ",
        "oooo    ",
        "2222    ",
        "2222    ",
    ]
    assert [is_inside for _, is_inside in rows[1][:5]] == [True, True, False, False, False]


def test_the_least_of_bars_is_seen() -> None:
    histogram = Histogram(edges=array("f", [0, 1, 2]), counts=array("q", [10**9, 1]))
    tensor = tensor_of(np.zeros(1, np.float32))
    panel = Panel(tensor=tensor, low=0, high=2, edges=tuple(histogram.edges), densities=(1, 1e-9))
    rows = draw_large(panel, n_rows=2, n_columns=2, blocks="12", dot="o")
    assert ["".join(char for char, _ in row) for row in rows] == ["2 ", "21"]
