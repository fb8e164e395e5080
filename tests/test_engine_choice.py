"""Which engine a name stands for, and which one `auto` is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import Kinit, kinit_environment
from every_engine import ALL_KERNELS, needs_numba, stub_numba
from spec_texts import plan_of

from kinit_cli.engines import ENGINE_NAMES, code_cache, get_engine
from kinit_cli.engines.registry import SECONDS_TO_COMPILE, SECONDS_TO_LOAD
from kinit_cli.engines.saving import seconds_saved_generating, seconds_saved_measuring
from kinit_cli.errors import UnavailableError

LARGE = "seed: 1\nlayers: [{name: a, weights: {kernel: {shape: [30000, 40000]}}}]"
MANY = """\
seed: 1
layers:
  - repeat: 20000
    layers: [{name: "a{i}", weights: {kernel: {shape: [2]}}}]
"""
FILE_AS_FOLDER = "no-folder"


def test_engines_by_name() -> None:
    assert set(ENGINE_NAMES) == {"auto", "numpy", "numba", "tensorflow"}
    assert get_engine("numpy").name == "numpy"
    with pytest.raises(UnavailableError, match="did you mean 'numpy'"):
        get_engine("nunpy")
    with pytest.raises(UnavailableError, match="known are auto, numpy, numba, tensorflow"):
        get_engine("zzz")


@needs_numba
def test_auto_is_numba_when_that_saves_more_than_it_costs() -> None:
    assert get_engine("auto").name == "numpy"
    assert get_engine("auto", seconds_saved=SECONDS_TO_LOAD * 0.99).name == "numpy"
    assert get_engine("auto", seconds_saved=SECONDS_TO_LOAD * 1.01).name == "numba"


def test_what_is_saved_grows_with_the_work() -> None:
    small = plan_of("seed: 1\nlayers: [{name: a, weights: {kernel: {shape: [300, 400]}}}]")
    large = plan_of(LARGE)
    assert seconds_saved_generating(small, 1) < SECONDS_TO_LOAD / 100
    assert seconds_saved_generating(large, 2) > 2 * SECONDS_TO_LOAD
    # NumPy's threads wait for each other, so more of them change little.
    assert seconds_saved_generating(large, 16) > seconds_saved_generating(large, 1) / 2
    zeros = plan_of(LARGE.replace("40000]", "40000], initializer: zeros"))
    assert seconds_saved_generating(zeros, 1) < seconds_saved_generating(large, 1) / 2
    many = plan_of(MANY)
    assert seconds_saved_generating(many, 2) > SECONDS_TO_LOAD
    assert seconds_saved_measuring(1, 2 * 10**9, 2) > SECONDS_TO_LOAD
    matrix = plan_of(LARGE.replace("[30000, 40000]", "[8000, 8000], initializer: orthogonal"))
    assert seconds_saved_generating(matrix, 1) > SECONDS_TO_LOAD


def test_numba_is_not_imported_for_small_work(kinit: Kinit, tmp_path: Path) -> None:
    path = stub_numba(tmp_path, "raise SystemExit('numba was imported')")
    (tmp_path / "a.yaml").write_text(ALL_KERNELS, encoding="utf-8")
    assert kinit("generate", "a.yaml", "-o", "a.h5", PYTHONPATH=path).returncode == 0
    assert kinit("inspect", "a.h5", PYTHONPATH=path).returncode == 0


@needs_numba
def test_auto_is_numpy_where_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert get_engine("auto", seconds_saved=1000).name == "numpy"
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "0")
    assert get_engine("auto", seconds_saved=1000).name == "numba"


@needs_numba
def test_auto_counts_compiling_where_code_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FILE_AS_FOLDER).write_text("", encoding="utf-8")
    nowhere = str(tmp_path / FILE_AS_FOLDER / "x")
    monkeypatch.setattr(code_cache, "_COMPILED", tmp_path / FILE_AS_FOLDER)
    monkeypatch.setenv("XDG_CACHE_HOME", nowhere)
    monkeypatch.setenv("NUMBA_CACHE_DIR", nowhere)
    assert not code_cache.can_keep_code()
    little, much = SECONDS_TO_LOAD * 1.01, SECONDS_TO_LOAD + SECONDS_TO_COMPILE * 1.01
    assert [get_engine("auto", seconds_saved=s).name for s in (little, much)] == ["numpy", "numba"]
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "new" / "folder"))
    assert code_cache.can_keep_code()
    assert get_engine("auto", seconds_saved=little).name == "numba"


def test_code_that_is_there_need_not_be_writable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_cache, "_COMPILED", tmp_path)
    monkeypatch.setattr(code_cache, "_is_writable", lambda folder: False)
    assert not code_cache.can_keep_code()
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "stream._fill_0123-1.py311.nbi").write_bytes(b"")
    assert code_cache.can_keep_code()


@needs_numba
def test_inspect_measures_compiled_where_that_pays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import kinit_cli.inspect
    from kinit_cli.compiled.meter import CompiledMeter

    np.save(tmp_path / "a.npy", np.linspace(-1, 1, 30000, dtype=np.float32))
    measured: list[int] = []
    measure = CompiledMeter.measure
    monkeypatch.setattr(
        CompiledMeter,
        "measure",
        lambda self, tile: measured.append(tile.size) or measure(self, tile),
    )
    plain = kinit_cli.inspect.inspect_file(tmp_path / "a.npy").tensors
    assert measured == []
    monkeypatch.setattr("kinit_cli.engines.registry.SECONDS_TO_LOAD", 0)
    assert kinit_cli.inspect.inspect_file(tmp_path / "a.npy").tensors == plain
    assert 30000 in measured


def test_naming_engines_imports_no_numpy() -> None:
    code = "import sys, kinit_cli.engines, kinit_cli.stream; sys.exit('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, env=kinit_environment())
    assert done.returncode == 0
