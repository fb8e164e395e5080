"""The reproducibility gate: every engine, thread count, library and Python here gives the golden.

Each run is a process of its own (scripts/reproducibility_worker.py). `make reproduce` runs more.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from kinit_cli.compare.locking import spec_digest
from kinit_cli.dtypes import DTYPES
from kinit_cli.initializers.registry import INITIALIZER_TYPES
from kinit_cli.planner import make_plan
from kinit_cli.spec.load import Overrides, load_spec

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY / "scripts"))

import check_reproducibility as gate  # noqa: E402
import reproducibility_environments as environments  # noqa: E402
import reproducibility_page as page  # noqa: E402
import reproducibility_runs as runs  # noqa: E402
import reproducibility_worker as worker  # noqa: E402

HERE = environments.environment_here()
FORMATS = {"hdf5", "weights.h5", "safetensors", "npz", "npy"}


def assert_golden(combination: runs.Combination) -> dict[str, Any]:
    answer = runs.run_combination(combination)
    lines = runs.compare(runs.read_golden(), answer)
    assert not lines, "\n".join([combination.label, *lines[:20]])
    return answer


# --- what there is to compare ---------------------------------------------------------------


def test_the_golden_file_has_every_spec_and_format() -> None:
    golden = runs.read_golden()
    assert list(golden) == list(runs.spec_paths())
    assert {path.name for path in runs.SAMPLES.glob("*.yaml")} == {
        Path(name).name for name in golden if name.startswith("sample_configs/")
    }
    for name, spec in golden.items():
        plan = make_plan(load_spec(REPOSITORY / name, Overrides(seed=seed_of(name))))
        assert spec["spec"] == spec_digest(plan.document)
        if len(plan.tensors) <= worker.MAX_LISTED:
            assert list(spec["tensors"]) == [tensor.path for tensor in plan.tensors]
        assert {"safetensors", "safetensors, shards", "safetensors, stdout"} <= set(spec["files"])
        for variant, digest in spec["files"].items():
            stream = spec["files"].get(f"{variant}, stdout", digest)
            assert variant == "npy" or stream == digest
    assert set.union(*(set(spec["files"]) for spec in golden.values())) == set(worker.VARIANTS)
    assert {variant.partition(",")[0] for variant in worker.VARIANTS} == FORMATS


def seed_of(name: str) -> int | None:
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    return None if re.search(r"^seed:", text, re.M) else worker.SEED


def test_the_small_specs_have_every_initializer_and_dtype() -> None:
    plans = [
        make_plan(load_spec(path, Overrides(seed=1))) for path in sorted(runs.CASES.glob("*.yaml"))
    ]
    tensors = [tensor for plan in plans for tensor in plan.tensors]
    assert {tensor.initializer.type for tensor in tensors} >= set(INITIALIZER_TYPES)
    assert {tensor.dtype.name for tensor in tensors} == set(DTYPES)
    drawn = {
        dtype: {type(t.draw).__name__ for t in tensors if t.dtype.name == dtype} for dtype in DTYPES
    }
    kinds = {
        "Normal",
        "TruncatedNormal",
        "BoundedNormal",
        "Uniform",
        "Orthogonal",
        "Stft",
        "Constant",
    }
    assert all(drawn[name] >= kinds for name, dtype in DTYPES.items() if dtype.kind == "float")


# --- what one environment can show ----------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("threads", gate.THREADS)
@pytest.mark.parametrize("engine", gate.ENGINES)
def test_engines_and_threads(engine: str, threads: int) -> None:
    answer = assert_golden(runs.Combination(environment=HERE, engine=engine, threads=threads))
    assert all(spec["files"] for name, spec in answer["specs"].items() if "goldens" in name)


@pytest.mark.slow
@pytest.mark.parametrize("engine", gate.ENGINES)
@pytest.mark.parametrize("setting", runs.CORE_TYPES, ids=lambda setting: setting.label)
def test_processors_as_openblas_takes_them(engine: str, setting: runs.Setting) -> None:
    has_samples = engine == "numpy"
    assert_golden(
        runs.Combination(environment=HERE, engine=engine, setting=setting, has_samples=has_samples)
    )


@pytest.mark.slow
@pytest.mark.parametrize("setting", runs.OTHER_SETTINGS, ids=lambda setting: setting.label)
def test_settings_that_do_not_matter(setting: runs.Setting) -> None:
    engine = setting.engine or "numpy"
    assert_golden(
        runs.Combination(environment=HERE, engine=engine, setting=setting, has_samples=False)
    )


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("engine", "threads", "has_samples"),
    [
        ("tensorflow", 1, False),
        ("tensorflow", 2, True),
        ("tensorflow-xla", 2, False),
        ("tensorflow-eager", 2, False),
    ],
)
def test_tensorflow(engine: str, threads: int, has_samples: bool) -> None:
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed")
    answer = assert_golden(
        runs.Combination(
            environment=HERE,
            engine=engine,
            threads=threads,
            has_samples=has_samples,
            variants=gate.TENSORFLOW_VARIANTS,
        )
    )
    assert all(spec["files"] for name, spec in answer["specs"].items() if "goldens" in name)


# --- other Pythons and libraries ------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("minor", environments.MINORS)
def test_every_python_with_the_newest_libraries(minor: int) -> None:
    assert_golden_elsewhere(minor, "newest")


@pytest.mark.slow
def test_the_oldest_python_with_the_oldest_libraries() -> None:
    answer = assert_golden_elsewhere(min(environments.find_pythons()), "oldest")
    for name in ("numpy", "numba", "h5py"):
        found = answer["versions"][name]
        assert any(
            found in (bound, f"{bound}.0")
            for line in environments.requirements("oldest")
            for bound in re.findall(rf"^{name}==([0-9.]+)", line)
        )


def assert_golden_elsewhere(minor: int, libraries: environments.Libraries) -> dict[str, Any]:
    try:
        environment = environments.environment_of(minor, libraries)
    except environments.NotHereError as error:
        pytest.skip(str(error))
    *others, engine = gate.engines_of(environment)
    for other in others:
        assert_golden(runs.Combination(environment=environment, engine=other, has_samples=False))
    answer = assert_golden(runs.Combination(environment=environment, engine=engine))
    assert answer["versions"]["python"].startswith(f"3.{minor}.")
    return answer


def test_the_oldest_libraries_are_the_lower_bounds() -> None:
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    oldest, newest = environments.requirements("oldest"), environments.requirements("newest")
    assert [line.replace("==", ">=", 1) for line in oldest] == newest
    assert "numpy==1.26" in oldest
    assert all(f'    "{line}",\n' in text for line in newest)
    assert environments.requirements("newest", ("tensorflow",))[-1].startswith("tensorflow>=")


def test_a_python_that_is_not_here_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "find_pythons", dict)
    with pytest.raises(environments.NotHereError, match=r"no Python 3\.11 here"):
        environments.environment_of(11, "newest")


def test_a_library_that_cannot_be_installed_is_told_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    minor = sys.version_info[1]
    monkeypatch.setattr(environments, "FOLDER", tmp_path / "matrix")
    monkeypatch.setattr(environments, "find_pythons", lambda: {minor: sys.executable})
    monkeypatch.setattr(environments, "requirements", lambda *args: ["no-such-library==1"])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(environments.NotHereError, match="no-such-library"):
        environments.environment_of(minor, "oldest")
    assert not list((tmp_path / "matrix").iterdir())


# --- the gate itself ------------------------------------------------------------------------


def answer_of(golden: dict[str, Any]) -> dict[str, Any]:
    """Give the answer of a run in which everything is as it should be."""
    specs = {
        name: {"asked": list(worker.VARIANTS), "refused": {}, **copy.deepcopy(spec)}
        for name, spec in golden.items()
    }
    return {"versions": {}, "specs": specs}


def test_the_gate_names_what_differs() -> None:
    golden = runs.read_golden()
    answer = answer_of(golden)
    assert runs.compare(golden, answer) == []
    lenet = answer["specs"]["sample_configs/lenet5.yaml"]
    lenet["tensors"]["conv_1/kernel"] = "0" * 64
    lenet["files"]["npz"] = "1" * 64
    del lenet["files"]["hdf5"]
    lenet["refused"]["hdf5"] = "kinit: no HDF5"
    lenet["spec"] = "2" * 64
    lines = runs.compare(golden, answer)
    assert [re.sub(r"expected \w+", "expected X", line) for line in lines] == [
        "sample_configs/lenet5.yaml: digest of the spec: expected X, got 2222222222222222",
        "sample_configs/lenet5.yaml: tensor conv_1/kernel: expected X, got 0000000000000000",
        "sample_configs/lenet5.yaml: file hdf5: expected X, got none (kinit: no HDF5)",
        "sample_configs/lenet5.yaml: file npz: expected X, got 1111111111111111",
    ]
    answer = answer_of(golden)
    answer["specs"]["new.yaml"] = answer["specs"]["sample_configs/lenet5.yaml"]
    assert runs.compare(golden, answer) == ["new.yaml: the golden file does not have it"]


def test_runs_that_differ_make_no_golden_file() -> None:
    golden = runs.read_golden()
    first, second = answer_of(golden), answer_of(golden)
    assert runs.golden_of([("a", first), ("b", second)]) == golden
    part = answer_of(golden)
    for spec in part["specs"].values():
        spec.update(asked=["npz"], files={k: v for k, v in spec["files"].items() if k == "npz"})
    assert runs.golden_of([("part", part), ("a", first)]) == golden
    second["specs"]["sample_configs/lenet5.yaml"]["tensors"]["conv_1/bias"] = "3" * 64
    with pytest.raises(ValueError, match=r"^b differs .*\n.*tensor conv_1/bias: expected .* got 3"):
        runs.golden_of([("a", first), ("b", second)])


def test_a_fallback_to_another_engine_is_no_result(tmp_path: Path) -> None:
    numba = tmp_path / "numba"
    numba.mkdir()
    (numba / "__init__.py").write_text("__version__ = '0'\n")
    path = f"{tmp_path}:{REPOSITORY}"
    broken = runs.Setting(label="broken", variables={"PYTHONPATH": path})
    combination = runs.Combination(
        environment=HERE, engine="numba", setting=broken, has_samples=False
    )
    with pytest.raises(runs.RunError, match="Numba cannot be used"):
        runs.run_combination(combination)


def test_the_page_shows_the_stored_results() -> None:
    results = json.loads(page.RESULTS.read_text(encoding="utf-8"))
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.with_tables(text, results) == text
    assert len(results["runs"]) > 50
    assert not any(run["differences"] for run in results["runs"])
    engines = {run["engine"] for run in results["runs"]}
    assert engines == {*gate.ENGINES, *gate.TENSORFLOW_ENGINES}
