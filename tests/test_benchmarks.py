"""The benchmarks measure what they say, and the README quotes them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks import numpy_script, report  # noqa: E402
from benchmarks.measure import Series  # noqa: E402
from kinit_cli.draw import Constant, Normal  # noqa: E402
from kinit_cli.plan import make_plan  # noqa: E402
from kinit_cli.spec.load import load_spec  # noqa: E402


def test_the_numpy_script_makes_the_same_tensors() -> None:
    plan = make_plan(load_spec(REPOSITORY / "sample_configs" / "gpt2_small.yaml"))
    planned = []
    for tensor in plan.tensors:
        if isinstance(tensor.draw, Normal):
            assert tensor.draw.mean == 0
            planned.append((tensor.path, tensor.shape, "normal", tensor.draw.stddev))
        else:
            assert isinstance(tensor.draw, Constant)
            planned.append((tensor.path, tensor.shape, "constant", tensor.draw.value))
    assert list(numpy_script.iter_tensors()) == planned


def run_benchmarks(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


def test_the_start_and_the_memory_can_be_measured(tmp_path: Path) -> None:
    before = (REPOSITORY / "benchmarks" / "results.json").read_bytes()
    arguments = ("--only", "startup", "--only", "memory", "--start-rounds", "2")
    shown = run_benchmarks(*arguments, "--sizes", "16e6", "64e6", "--folder", str(tmp_path))
    for name in ("| `kinit --help` against", "peak memory of generate", "peak memory of inspect"):
        assert name in shown
    assert str(tmp_path) not in shown
    assert not list(tmp_path.iterdir())
    # A part of the figures does not take the place of all.
    assert (REPOSITORY / "benchmarks" / "results.json").read_bytes() == before


def test_a_size_without_room_is_left_out(tmp_path: Path) -> None:
    shown = run_benchmarks("--only", "memory", "--sizes", "1e6", "1e18", "--folder", str(tmp_path))
    assert "no room for 1e+09 GB: left out" in shown
    assert "between two sizes: left out" in shown


@pytest.mark.parametrize(
    ("seconds", "is_noisy"), [((1.0, 1.0, 1.02, 1.01), False), ((1.0, 2.0, 1.0, 2.0), True)]
)
def test_noise_is_told(seconds: tuple[float, ...], is_noisy: bool) -> None:
    subject = Series(name="a", seconds=seconds)
    result = report.ratio_result("x", [subject, Series(name="b", seconds=(0.5, 0.5))], 3.0)
    assert ("noisy" in result.detail) == is_noisy
    assert result.is_met


def test_a_missed_target_is_told() -> None:
    slow, fast = Series(name="a", seconds=(4.0, 4.0)), Series(name="b", seconds=(1.0, 1.0))
    result = report.ratio_result("x", [slow, fast], 3.0)
    assert (result.figure, result.is_met) == ("4.00×", False)
    assert "**no**" in report.markdown([result], {"cores": "2"})


def test_the_saved_results_belong_together() -> None:
    folder = REPOSITORY / "benchmarks"
    saved = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    results = [report.Result(**result) for result in saved["results"]]
    assert len(results) >= 8
    assert (folder / "results.md").read_text(encoding="utf-8") == report.markdown(
        results, saved["machine"]
    )
    assert "/" not in "".join(saved["machine"].values())
