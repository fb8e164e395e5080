"""The benchmarks measure what they say, and the README shows what they found."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks import (  # noqa: E402
    comparisons,
    crossing,
    end_to_end,
    environment,
    fill,
    growth,
    models,
    peers,
    picture,
    report,
)
from benchmarks.measure import Series, alternate_calls, noisy_rounds  # noqa: E402
from benchmarks.options import PEERS, QUICK, Options  # noqa: E402
from kinit_cli.draw import TRUNCATED_STDDEV, Constant, Normal, TruncatedNormal  # noqa: E402
from kinit_cli.engines.registry import SECONDS_TO_LOAD  # noqa: E402
from kinit_cli.planner import make_plan  # noqa: E402
from kinit_cli.spec.load import load_spec, parse_spec  # noqa: E402

SAVED = REPOSITORY / "benchmarks"


def series(name: str, *seconds: float) -> Series:
    return Series(name=name, seconds=seconds)


# --- what the scripts make ------------------------------------------------------------------


def planned_tensors(spec_text: bytes) -> list[models.Tensor]:
    tensors: list[models.Tensor] = []
    for tensor in make_plan(parse_spec(spec_text, "spec.yaml")).tensors:
        match tensor.draw:
            case Normal(mean=0, stddev=stddev):
                tensors.append((tensor.path, tensor.shape, "normal", stddev))
            case TruncatedNormal(mean=0, stddev=stddev):
                uncut = pytest.approx(stddev * TRUNCATED_STDDEV)
                tensors.append((tensor.path, tensor.shape, "he_normal", uncut))
            case Constant(value=value):
                tensors.append((tensor.path, tensor.shape, "constant", value))
            case other:
                raise AssertionError(other)
    return tensors


def test_the_scripts_make_the_same_tensors() -> None:
    gpt2 = planned_tensors(models.GPT2_SPEC.read_bytes())
    assert list(models.iter_tensors("gpt2")) == gpt2
    assert make_plan(load_spec(models.GPT2_SPEC)).n_bytes == models.GPT2_BYTES
    wide = planned_tensors(models.wide_spec(50_000_000).encode())
    assert list(models.iter_tensors(models.wide_model(50_000_000))) == wide
    assert models.wide_bytes(50_000_000) == 48_000_000 == sum(math.prod(t[1]) * 4 for t in wide)


def test_writing_alone_writes_all_of_it(tmp_path: Path) -> None:
    target = tmp_path / "raw"
    for script in (("raw_write", target, "9000001", "2"), ("raw_read", target, "2")):
        name, *arguments = map(str, script)
        command = [sys.executable, "-m", f"benchmarks.scripts.{name}", *arguments]
        subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    assert target.stat().st_size == 9_000_001
    assert target.read_bytes().count(0) == math.ceil(9_000_001 / 256)


# --- ratios and tables ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "is_noisy"), [((1.0, 1.0, 1.02, 1.01), False), ((1.0, 2.0, 1.0, 2.0), True)]
)
def test_noise_is_told(seconds: tuple[float, ...], is_noisy: bool) -> None:
    result = report.ratio_result("x", [series("a", *seconds), series("b", 0.5, 0.5)], 3.0)
    assert ("noisy" in result.detail) == is_noisy
    assert result.is_met


def test_a_noisy_round_is_told() -> None:
    quiet, loud = series("a", 1, 1, 1.5, 1), series("b", 2, 2, 3, 2.1)
    assert noisy_rounds([quiet, loud, series("c", 5, 5, 5, 5)]) == [3]
    assert noisy_rounds([quiet, series("b", 2, 2, 2, 2), series("c", 5, 5, 5, 5)]) == []
    assert report.round_notes("x", [quiet, loud])[0].startswith("x: noisy in round 3:")
    assert report.round_notes("x", [loud, series("c", 1, 1)]) == []


def test_rounds_take_turns() -> None:
    calls: list[str] = []

    def call(name: str, seconds: float) -> float:
        calls.append(name)
        return seconds

    first, second = alternate_calls({"a": lambda: call("a", 1.0), "b": lambda: call("b", 2.0)}, 2)
    assert calls == ["a", "b"] * 3
    assert (first.seconds, second.seconds) == ((1.0, 1.0), (2.0, 2.0))


def test_a_missed_target_is_told_and_shown() -> None:
    slow, fast = series("a", 4.0, 4.0), series("b", 1.0, 1.0)
    missed = report.ratio_result("x", [slow, fast], 3.0)
    assert (missed.figure, missed.target, missed.is_met) == ("4.00×", "≤ 3×", False)
    met = report.ratio_result("y", [fast, slow], 3.0)
    table = report.markdown([report.Part(title="P", results=[missed, met])], {"cores": "2"})
    head, _, rest = table.partition("\n## ")
    assert "| x | 4.00× | ≤ 3× | **no** |\n" in head
    assert "| y |" not in head
    assert "| y | 0.25× | ≤ 3× | yes | b 1.00 s ± 0 %; a 4.00 s ± 0 %; 2 rounds, " in rest


def test_more_speed_is_better() -> None:
    kinit, peer = series("kinit", 1.0, 1.1), series("Keras", 8.0, 8.8)
    result = report.speed_result("normal", "Keras", [kinit, peer], 5.0, variant="new array")
    assert result.name == "normal: times as fast as Keras (new array)"
    assert (result.figure, result.target, result.is_met) == ("8.00×", "≥ 5×", True)
    assert "2 rounds, 8.00 to 8.00×" in result.detail
    assert not report.speed_result("normal", "Keras", [peer, kinit], 1.0).is_met
    assert report.speed_result("normal", "Keras", [peer, kinit], None).is_met is None


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    result = report.speed_result("a", "JAX", [series("kinit", 1, 1), series("JAX", 9, 9)], 2)
    table = report.Table(title="T", header=("n", "time"), rows=(("1", "2 s"),))
    parts = [report.Part(title="P", results=[result], tables=[table], notes=["so it is"])]
    report.save(parts, {"cores": "2"}, tmp_path)
    again, machine = report.load(tmp_path)
    written = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert report.markdown(again, machine) == written
    assert "\nT:\n\n| n | time |\n|---|---:|\n| 1 | 2 s |\n\n- so it is\n" in written


def test_where_two_engines_cross() -> None:
    assert crossing.crossing([10, 20, 40], [-2.0, -1.0, 1.0]) == 30
    assert crossing.crossing([10, 20], [1.0, 2.0]) is None
    assert crossing.crossing([10, 20], [-2.0, -1.0]) is None
    slope, intercept = crossing.fit_line([1, 2, 3], [2.5, 4.5, 6.5])
    assert (slope, intercept) == (pytest.approx(2), pytest.approx(0.5))
    assert crossing.expected_gain(0, 2) == pytest.approx(-SECONDS_TO_LOAD, abs=0.01)
    assert crossing.expected_gain(10**9, 2) > 5 * crossing.expected_gain(10**8, 2) > 0


def test_what_each_further_one_costs() -> None:
    assert growth.marginals([1, 11, 111], [5.0, 6.0, 16.0]) == [pytest.approx(0.1)] * 2


def test_what_comparisons_ask_for() -> None:
    fills = comparisons.FILLS
    targets = {(one.what, one.peer, one.target) for one in fills if one.target is not None}
    assert targets == {
        ("uniform", "torch", 5),
        ("uniform", "keras", 3),
        ("normal", "torch", 3),
        ("normal", "keras", 5),
        ("normal", "jax", 9),
        ("normal", "numpy", 7),
        ("HeNormal", "keras", 7),
    }
    assert (end_to_end.KERAS_TARGET, end_to_end.LIMIT_TARGET) == (6, 4)
    assert {one.peer for one in fills} == set(PEERS) == set(peers.REQUIREMENTS) | {"numpy"}


def test_everyone_is_told_the_same_threads() -> None:
    variables = environment.thread_variables(3)
    assert {"OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "NPROC"} <= set(variables)
    assert set(variables.values()) == {"3"}


def test_a_file_without_room_is_left_out(tmp_path: Path) -> None:
    with environment.output_folder(10**18, tmp_path) as place:
        assert place is None
    with environment.output_folder(1, tmp_path) as place:
        assert place is not None
        assert list(place.folder.iterdir()) == []
    assert not place.folder.exists()


def test_a_peer_that_is_not_there_is_left_out(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'ModuleNotFoundError: in /some/folder' >&2\nexit 1\n")
    python.chmod(0o755)
    found, left_out = peers.python_of_peers(("numpy", "torch"), python)
    assert found == {"numpy": sys.executable}
    assert left_out == ["torch is left out: it cannot be imported (ModuleNotFoundError)."]


def test_a_fill_with_the_wrong_spread_is_noticed() -> None:
    with fill.Worker("numpy", sys.executable, 1) as worker:
        assert worker.fill("normal", comparisons.NUMPY_IN_PLACE, (100, 100)) > 0
        with pytest.raises(SystemExit, match="standard deviation"):
            worker.fill("normal", comparisons.NUMPY_IN_PLACE, (1, 2))


# --- a little of each part ------------------------------------------------------------------


def run_benchmarks(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--peers", "numpy", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("fill", ["normal, 40,000 float32: times as fast as NumPy", "`numpy.linalg.qr`, float64"]),
        ("end-to-end", ["32 MB, to a", "against writing alone", "NumPy script (without its imp"]),
        ("startup", ["| `kinit --help` against", "spec of 1 M parameters", "first run of the"]),
        ("inspect", ["inspect, 32", "against reading alone"]),
        ("growth", ["time with elements, 1,000 to 100,000", "| 1,000 |", "Tensors of 100"]),
        ("memory", ["peak memory of generate", "peak memory of inspect"]),
        ("crossing", ["| 65,536 |", "- Fitted: it takes "]),
        ("generation", ["32 MB, to a temporary folder: against the NumPy script"]),
    ],
)
def test_a_part_can_be_measured(part: str, names: list[str], tmp_path: Path) -> None:
    before = (SAVED / "results.json").read_bytes()
    folder, saved = tmp_path / "folder", tmp_path / "saved"
    folder.mkdir()
    shown = run_benchmarks("--only", part, "--folder", str(folder), "--save-to", str(saved))
    for name in names:
        assert name in shown
    assert str(tmp_path) not in shown
    assert not list(folder.iterdir())
    assert (saved / "results.md").read_text(encoding="utf-8").strip() == shown.strip()
    # A part of the figures does not take the place of all.
    assert (SAVED / "results.json").read_bytes() == before


def test_a_size_without_room_is_left_out(tmp_path: Path) -> None:
    arguments = ("--only", "memory", "--memory-bytes", "1e6", "1e18", "--folder", str(tmp_path))
    shown = run_benchmarks(*arguments)
    assert "no room for 1e+09 GB: left out" in shown
    assert "between two sizes: left out" in shown


# --- what is saved --------------------------------------------------------------------------


def test_the_saved_results_belong_together() -> None:
    parts, machine = report.load(SAVED)
    assert sum(len(part.results) for part in parts) >= 8
    written = (SAVED / "results.md").read_text(encoding="utf-8")
    assert written == report.markdown(parts, machine)
    assert "/" not in "".join(machine.values())
    assert str(Path.home()) not in json.dumps(machine)


def test_the_saved_picture_shows_the_saved_results() -> None:
    data = picture.PICTURE.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert f"{picture.SOURCE_KEY}\0{picture.source_of(SAVED)}".encode() in data


def test_the_picture_has_the_fastest_way_of_each_library(tmp_path: Path) -> None:
    def result(peer: str, seconds: float, variant: str) -> report.Result:
        pair = [series("kinit", 1, 1), series(peer, seconds, seconds)]
        return report.speed_result("normal", peer, pair, None, variant=variant)

    results = [result("JAX", 9, "jit"), result("JAX", 8, "as called"), result("NumPy", 7, "")]
    aside = result("NumPy", 2, "in place, one thread; kinit in place, one thread")
    timed = report.ratio_result("x", [series("a", 1, 1), series("b", 1, 1)], None)
    parts = [report.Part(title="P", results=[*results, aside, timed])]
    assert picture.bars(parts) == {"normal": {"JAX": 8.0, "NumPy": 7.0}}
    report.save(parts, {"threads": "2", "processor": "P"}, tmp_path)
    drawn = tmp_path / "drawn.png"
    command = [sys.executable, "-m", "benchmarks.picture", str(tmp_path), str(drawn)]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    assert drawn.exists() == (importlib.util.find_spec("matplotlib") is not None)
    assert drawn.exists() or "matplotlib is not installed" in done.stderr


def test_quick_sizes_are_small() -> None:
    options = Options(sizes=QUICK, threads=1)
    assert options.sizes.elements < 10**6 > max(options.sizes.growth_elements)
