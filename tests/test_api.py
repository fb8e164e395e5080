"""The Python API gives what the command line gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import SMALL_SPEC

import kinit_cli
from kinit_cli import KinitError, SpecError
from kinit_cli.cli.main import run

CONFIGS: list[Any] = [
    "he_normal",
    "orthogonal",
    {"class_name": "GlorotUniform", "config": {}},
    {"random_normal": {"stddev": 0.02, "mean": 1}},
    {"class_name": "TruncatedNormal", "config": {"stddev": 0.5, "seed": 3}},
    {"identity": {"gain": 2}},
    {"constant": {"value": [[1.5], [2.5], [3.5]]}},
]
SPEC = {
    "seed": 42,
    "dtype": "float32",
    "params": {"n": 5},
    "layers": [
        {
            "name": "dense",
            "weights": {
                f"w{i}": {"shape": [3, "n"], "initializer": config}
                for i, config in enumerate(CONFIGS)
            },
        }
    ],
}


def read_all(path: Path) -> dict[str, Any]:
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: (
                found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        )
    return found


def assert_same(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for path, values in found.items():
        assert values.dtype == expected[path].dtype
        assert values.shape == expected[path].shape
        assert values.tobytes() == expected[path].tobytes(), path


@pytest.fixture
def baked(tmp_path: Path) -> Path:
    (tmp_path / "spec.json").write_text(json.dumps(SPEC))
    assert run(["generate", str(tmp_path / "spec.json"), "-o", str(tmp_path / "w.h5"), "-q"]) == 0
    return tmp_path / "w.h5"


def test_a_tensor_is_the_one_of_its_path_in_a_file(baked: Path) -> None:
    expected = read_all(baked)
    for i, config in enumerate(CONFIGS):
        path = f"dense/w{i}"
        found = kinit_cli.tensor(config, (3, 5), seed=42, path=path)
        assert_same({path: found}, {path: expected[path]})
        assert found.flags.c_contiguous
        assert found.flags.writeable


def test_arrays_and_files_are_those_of_the_command(baked: Path, tmp_path: Path) -> None:
    expected = read_all(baked)
    assert_same(kinit_cli.arrays(SPEC), expected)
    assert_same(kinit_cli.arrays(tmp_path / "spec.json", jobs=1, engine="numpy"), expected)
    summary = kinit_cli.generate(tmp_path / "spec.json", tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == baked.read_bytes()
    assert [tensor.path for tensor in summary.tensors] == list(kinit_cli.arrays(SPEC))
    kinit_cli.generate(SPEC, tmp_path / "mapping.h5", jobs=1, engine="numpy")
    assert_same(read_all(tmp_path / "mapping.h5"), expected)


def test_what_is_given_replaces_what_the_spec_says(tmp_path: Path) -> None:
    found = kinit_cli.arrays(SPEC, seed=7, dtype="float16", params={"n": 4})
    assert {values.shape for values in found.values()} == {(3, 4)}
    assert {values.dtype for values in found.values()} == {np.dtype(np.float16)}
    expected = kinit_cli.tensor("he_normal", (3, 4), seed=7, path="dense/w0", dtype=np.float16)
    assert found["dense/w0"].tobytes() == expected.tobytes()
    sizes: list[int] = []
    summary = kinit_cli.generate(
        SPEC, f"{tmp_path}/w/", format="npy", seed=np.int64(7), params={"n": np.int32(4)},
        dtype="float16", progress=sizes.append,
    )  # fmt: skip
    assert summary.seed == 7
    assert sum(sizes) == summary.n_bytes == len(CONFIGS) * 12 * 2
    assert np.load(tmp_path / "w" / "dense" / "w0.npy").tobytes() == expected.tobytes()


def test_a_seed_without_a_path_is_the_initializers_own() -> None:
    config = {"class_name": "HeNormal", "config": {"seed": 7}}
    own = kinit_cli.tensor(config, (4, 4))
    assert kinit_cli.tensor("he_normal", (4, 4), seed=7).tobytes() == own.tobytes()
    assert kinit_cli.tensor(config, (4, 4), seed=8, path="a/b").tobytes() == own.tobytes()
    named = kinit_cli.tensor("he_normal", (4, 4), seed=7, path="a/b")
    assert named.tobytes() != own.tobytes()
    assert kinit_cli.tensor("zeros", (2,)).tolist() == [0, 0]


def test_the_layout_sets_the_fans() -> None:
    keras, torch = (
        kinit_cli.tensor("he_uniform", (1000, 10), seed=1, layout=layout)
        for layout in ("keras", "torch")
    )
    assert np.abs(keras).max() < 0.0775 < 0.7 < np.abs(torch).max() < 0.775


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_large_tensors_are_the_same_on_any_number_of_threads(dtype: str, jobs: int) -> None:
    found = kinit_cli.tensor("normal", (3, 700_001), seed=1, dtype=dtype, jobs=jobs)
    rows = kinit_cli.tensor("normal", (2, 700_001), seed=1, dtype=dtype, jobs=1)
    assert found[:2].tobytes() == rows.tobytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"initializer": "he_norml"}, "initializer: expected a known initializer.*'he_normal'"),
        ({"initializer": 3}, "initializer: expected an initializer"),
        ({"initializer": {"normal": {"stddev": -1}}}, r"initializer.normal.stddev: expected"),
        ({"initializer": {"normal": {"stddev": float("nan")}}}, "expected a finite number"),
        ({"shape": (3, -1)}, r"shape\[1\]: expected a whole number"),
        ({"shape": (3, True)}, r"shape\[1\]"),
        ({"shape": (2.5,)}, r"shape\[0\]"),
        ({"shape": ("n",)}, r"shape\[0\]: expected a whole number"),
        ({"shape": (1,) * 40}, "at most 32 dimensions"),
        ({"shape": (3,), "initializer": "orthogonal"}, "shape: expected a shape of 2 or more"),
        ({"seed": -1}, "seed: expected a seed"),
        ({"seed": True}, "seed: expected a seed"),
        ({"seed": 2**64}, "seed: expected a seed"),
        ({"seed": None}, "seed: expected a seed, for random values, got none"),
        ({"path": "a//b"}, "path: expected a path"),
        ({"path": "../b"}, "path: expected a path"),
        ({"dtype": "float31"}, "dtype: expected a dtype"),
        ({"dtype": np.complex64}, "dtype: expected a dtype"),
        ({"dtype": "int32"}, "expected zeros, ones, constant, identity or dirac"),
        ({"layout": "jax"}, "layout: expected"),
    ],
)
def test_what_a_tensor_cannot_be(change: dict[str, Any], message: str) -> None:
    arguments = {"initializer": "he_normal", "shape": (3, 3), "seed": 1, "path": "a/b", **change}
    with pytest.raises(SpecError, match=message):
        kinit_cli.tensor(arguments.pop("initializer"), arguments.pop("shape"), **arguments)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        kinit_cli.tensor("he_normal", (3, -1), seed=-1, path="/", dtype="f32")
    assert len(caught.value.problems) == 4


def test_errors_are_those_of_the_command(small_spec: Path, tmp_path: Path) -> None:
    (tmp_path / "w.h5").write_bytes(b"mine")
    with pytest.raises(KinitError, match="exists"):
        kinit_cli.generate(small_spec, tmp_path / "w.h5")
    assert (tmp_path / "w.h5").read_bytes() == b"mine"
    with pytest.raises(KinitError, match="no engine is called 'numbra'; did you mean 'numba'"):
        kinit_cli.generate(small_spec, tmp_path / "v.h5", engine="numbra")
    with pytest.raises(KinitError, match="expected a param of the spec"):
        kinit_cli.arrays(small_spec, params={"n": 1})
    with pytest.raises(SpecError, match="layers"):
        kinit_cli.arrays({})
    assert not (tmp_path / "v.h5").exists()
    kinit_cli.generate(small_spec, tmp_path / "w.h5", force=True)
    assert (tmp_path / "w.h5").read_bytes() != b"mine"


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, kinit_cli\n"
        "heavy = {'numpy', 'h5py', 'numba', 'pydantic', 'tensorflow', 'keras'}\n"
        "assert not heavy & sys.modules.keys()\n"
        "kinit_cli.tensor('ones', (2,))\n"
        "assert not {'h5py', 'numba', 'tensorflow', 'keras', 'rich'} & sys.modules.keys()\n"
        "try:\n    kinit_cli.nothing\nexcept AttributeError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "module 'kinit_cli' has no attribute 'nothing'\n"


def test_a_spec_as_text_is_a_file_and_not_the_text_itself() -> None:
    with pytest.raises(KinitError, match="expected a"):
        kinit_cli.arrays(SMALL_SPEC)


# --- files ------------------------------------------------------------------------------------


def test_verify_and_diff_take_what_the_commands_take(tmp_path: Path) -> None:
    spec = {"params": {"n": 3}, "layers": [{"name": "a", "weights": {"k": {"shape": ["n", 2]}}}]}
    one, other = tmp_path / "one.h5", tmp_path / "other.h5"
    kinit_cli.generate(spec, one, seed=1)
    kinit_cli.generate(spec, other, seed=1, dtype="float64")
    assert kinit_cli.verify(one).is_same
    assert kinit_cli.verify(one, quick=True, pattern="a/*").method == "digests"
    assert kinit_cli.verify(other, spec=spec, dtype="float64").is_same
    (tensor,) = kinit_cli.verify(one, spec=spec, params={"n": 4}, jobs=2).differing
    assert tensor.status == "shape"
    for wrong in (
        {"seed": 1}, {"quick": True, "spec": spec}, {"quick": True, "initializers": {}},
    ):  # fmt: skip
        with pytest.raises(ValueError, match="quick takes none"):
            kinit_cli.verify(one, **wrong)  # type: ignore[arg-type]
    assert not kinit_cli.diff(one, other).is_same
    assert kinit_cli.diff(one, other, rtol=1e-6, pattern="a/k", jobs=1).is_same
    assert kinit_cli.diff(one, one).is_same


# --- other people's objects -----------------------------------------------------------------


def test_a_callable_is_a_custom_initializer(capsys: pytest.CaptureFixture[str]) -> None:
    def ramp(shape: tuple[int, ...], dtype: str, seed: int = -1) -> Any:
        sys.stdout.write("ramp\n")
        return np.full(shape, seed % 1000, dtype)

    first = kinit_cli.tensor(ramp, (2,), seed=1, path="a/b", dtype="float64")
    assert first.tolist() == kinit_cli.tensor(ramp, (2,), seed=1, path="a/b").tolist()
    assert first.tolist() != kinit_cli.tensor(ramp, (2,), seed=1, path="a/c").tolist()
    # The process is not kinit's: its streams are let be.
    assert capsys.readouterr().out == "ramp\n" * 3
    layers = [{"name": "a", "weights": {"b": {"shape": [2], "initializer": "ramp"}}}]
    found = kinit_cli.arrays({"seed": 1, "layers": layers}, initializers={"ramp": ramp})
    assert found["a/b"].tolist() == first.tolist()


def test_two_threads_with_custom_initializers_leave_stdout_alone() -> None:
    before, inside = sys.stdout, threading.Barrier(2)

    def slow(shape: tuple[int, ...], dtype: str) -> Any:
        inside.wait(timeout=20)
        return np.zeros(shape, dtype)

    threads = [threading.Thread(target=kinit_cli.tensor, args=(slow, (2,))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sys.stdout is before


def test_numpy_numbers_and_tuples_are_taken_everywhere() -> None:
    config = {"constant": {"value": np.array([[1.0, 2.0]])}}
    assert kinit_cli.tensor(config, np.array([2, 2])).tolist() == [[1, 2], [1, 2]]
    own = {"class_name": "HeNormal", "config": {"seed": np.int64(3)}}
    expected = kinit_cli.tensor("he_normal", (2, 2), seed=3)
    assert kinit_cli.tensor(MappingProxyType(own), (2, 2)).tobytes() == expected.tobytes()
    layers = [{"name": "a", "weights": {"b": {"shape": (2, 2), "initializer": own}}}]
    found = kinit_cli.arrays({"layers": tuple(layers)}, dtype=np.float16)
    assert found["a/b"].dtype == np.float16


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: kinit_cli.tensor({1: {}}, (2,), seed=1), SpecError, "texts as keys"),
        (lambda: kinit_cli.arrays({1: 2, "layers": []}), SpecError, "texts as keys"),
        (lambda: kinit_cli.tensor("zeros", (2,), path="a/\ud800"), SpecError, "path: expected"),
        (lambda: kinit_cli.tensor("zeros", (2,), path=Path("a/b")), SpecError, "as a text"),
        (lambda: kinit_cli.tensor(None, (2,), seed=1), SpecError, "initializer: expected"),
        (lambda: kinit_cli.tensor("zeros", (2,), jobs=-1), KinitError, "number of threads"),
        (lambda: kinit_cli.tensor("zeros", (2,), jobs=2.5), KinitError, "number of threads"),
        (lambda: kinit_cli.arrays(SPEC, engine=3), KinitError, "no engine is called 3"),
        (lambda: kinit_cli.arrays(SPEC, device=3), KinitError, "the device cpu, gpu or gpu:N"),
        (lambda: kinit_cli.arrays(SPEC, engine="numpy", device="gpu"), KinitError, "device gpu"),
        (
            lambda: kinit_cli.arrays({"layers": iter([])}),
            SpecError,
            "plain data, as in a file, got an object of list_iterator",
        ),
        (lambda: kinit_cli.generate(SPEC, "w.h5", format="x"), KinitError, "no format is called"),
        (lambda: kinit_cli.generate(SPEC, "w.h5", format="HDF5"), KinitError, "mean 'hdf5'"),
    ],
)  # fmt: skip
def test_arguments_of_a_wrong_kind(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_a_spec_that_holds_itself_is_refused() -> None:
    layers: list[Any] = []
    layers.append(layers)
    with pytest.raises(SpecError, match="levels"):
        kinit_cli.arrays({"layers": layers})


def test_a_spec_is_not_overwritten_by_its_own_weights(small_spec: Path) -> None:
    before = small_spec.read_bytes()
    with pytest.raises(KinitError, match="got the spec itself"):
        kinit_cli.generate(small_spec, small_spec, format="hdf5", force=True)
    assert small_spec.read_bytes() == before
