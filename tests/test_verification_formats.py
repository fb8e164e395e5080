"""`verify` and `diff` on files of every format and sets of them, whatever these call a tensor."""

from __future__ import annotations

import json
import shutil
import zipfile
from itertools import combinations
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import Kinit

import kinit_cli
from kinit_cli.cli.main import run
from kinit_cli.compare.checks import Verification
from kinit_cli.compare.difference import diff_files
from kinit_cli.compare.verification import verify_digests, verify_file
from kinit_cli.digest import TILE_ELEMENTS
from kinit_cli.errors import UnavailableError
from kinit_cli.means import Means

#: The kernel of `wide` has three tiles; the layers' names have what formats put between names.
SPEC: dict[str, Any] = {
    "seed": 3,
    "layers": [
        {"name": "in.a", "type": "Dense", "input_shape": [30], "config": {"units": 40}},
        {"name": "wide", "type": "Dense", "input_shape": [1500], "config": {"units": 1500}},
        {"name": "b/lstm", "type": "LSTM", "input_shape": [5, 40], "config": {"units": 16}},
        {"name": "out", "type": "BatchNormalization", "input_shape": [16]},
    ],
}
PATHS = [
    "in.a/kernel", "in.a/bias", "wide/kernel", "wide/bias",
    "b/lstm/lstm_cell/kernel", "b/lstm/lstm_cell/recurrent_kernel", "b/lstm/lstm_cell/bias",
    "out/gamma", "out/beta", "out/moving_mean", "out/moving_variance",
]  # fmt: skip
#: What is written, and the options for it.
OUTPUTS: dict[str, dict[str, Any]] = {
    "w.h5": {},
    "w.weights.h5": {},
    "w.safetensors": {},
    "slash.safetensors": {"separator": "/"},
    "w.npz": {},
    "npy/": {},
    "safetensors/": {"format": "safetensors", "max_shard_size": "1MB"},
    "keras/": {"format": "weights.h5", "max_shard_size": "1MB"},
}
PLACE = 1_300_000
INDEX = (866, 1000)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    for target, options in OUTPUTS.items():
        kinit_cli.generate(SPEC, f"{folder}/{target}", engine="numpy", **options)
    return folder


@pytest.fixture
def copied(
    written: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Copy an output to where the test runs."""
    monkeypatch.chdir(tmp_path)
    target: str = request.param
    if target.endswith("/"):
        shutil.copytree(written / target, target)
    else:
        shutil.copy(written / target, target)
    return target


every_output = pytest.mark.parametrize("copied", OUTPUTS, indirect=True)


def statuses(found: Verification) -> dict[str, str]:
    return {tensor.path: tensor.status for tensor in found.differing}


def flip_bit(target: str) -> None:
    """Flip a bit of an element of `wide/kernel`, found by the bytes around it."""
    values = kinit_cli.arrays(SPEC)["wide/kernel"].reshape(-1)
    assert TILE_ELEMENTS < PLACE < 2 * TILE_ELEMENTS
    assert np.ravel_multi_index(INDEX, (1500, 1500)) == PLACE
    around = values[PLACE - 8 : PLACE + 8].tobytes()
    changed = bytearray(around)
    changed[32] ^= 1
    if target.endswith(".npz"):
        with zipfile.ZipFile(target) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        assert sum(data.count(around) for data in members.values()) == 1
        with zipfile.ZipFile(target, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data.replace(around, changed))
        return
    files = [path for path in [Path(target), *Path(target).rglob("*")] if path.is_file()]
    assert sum(file.read_bytes().count(around) for file in files) == 1
    for file in files:
        file.write_bytes(file.read_bytes().replace(around, changed))


@every_output
def test_what_was_generated_is_what_it_should_be(copied: str) -> None:
    for check in (verify_file, verify_digests):
        found = check(copied)
        assert found.is_same
        assert [tensor.path for tensor in found.tensors] == PATHS
        assert found.notes == ()
    assert kinit_cli.verify(copied, spec=SPEC).is_same
    assert verify_file(copied, pattern="b/lstm/*").n_parameters == 40 * 64 + 16 * 64 + 64
    assert run(["verify", copied, "-q"]) == run(["verify", copied, "-q", "--quick"]) == 0


@every_output
def test_one_bit_in_a_middle_tile_is_found_where_it_is(copied: str) -> None:
    before = Path(shutil.copytree(Path.cwd(), f"{Path.cwd()}_before"))
    flip_bit(copied)
    for jobs in (1, 3):
        (tensor,) = verify_file(copied, means=Means(jobs=jobs)).differing
        assert (tensor.path, tensor.status, tensor.n_different) == ("wide/kernel", "values", 1)
        assert tensor.first is not None
        assert tensor.first.index == INDEX
        assert int(tensor.first.expected.bits, 16) ^ int(tensor.first.found.bits, 16) == 1
    assert statuses(verify_digests(copied)) == {"wide/kernel": "values"}
    (changed,) = diff_files(before / copied, copied).differing
    assert (changed.path, changed.status, changed.index) == ("wide/kernel", "different", INDEX)


@pytest.mark.parametrize(("a", "b"), list(combinations(OUTPUTS, 2)))
def test_two_formats_are_identical(a: str, b: str, written: Path) -> None:
    found = diff_files(written / a, written / b)
    assert found.is_same
    assert {tensor.path for tensor in found.tensors} == set(PATHS)
    document: Any = found.to_json()
    assert all(tensor["path_a"] == tensor["path_b"] for tensor in document["tensors"])
    chosen = diff_files(written / a, written / b, pattern="wide/k*")
    assert [tensor.path for tensor in chosen.tensors] == ["wide/kernel"]


@every_output
def test_a_spec_that_lacks_a_tensor_makes_it_an_extra_one_of_its_path(copied: str) -> None:
    spec = {**SPEC, "layers": SPEC["layers"][:-1]}
    found = kinit_cli.verify(copied, spec=spec)
    assert statuses(found) == dict.fromkeys(sorted(PATHS[-4:]), "extra")


# --- files that say nothing about themselves --------------------------------------------------


def test_a_foreign_file_is_known_by_the_same_names(tmp_path: Path) -> None:
    values = kinit_cli.arrays(SPEC)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for path, one in values.items():
            file[path] = one
    np.savez(tmp_path / "w.npz", **{path.replace("/", "."): one for path, one in values.items()})
    for name in ("w.h5", "w.npz"):
        found = kinit_cli.verify(tmp_path / name, spec=SPEC)
        assert found.is_same
        assert [tensor.path for tensor in found.tensors] == PATHS
    assert diff_files(tmp_path / "w.h5", tmp_path / "w.npz").is_same


@pytest.mark.parametrize("copied", ["w.weights.h5"], indirect=True)
def test_a_foreign_file_of_keras_is_known_by_places(copied: str) -> None:
    with h5py.File(copied, "a") as file:
        del file.attrs["kinit"]
    found = kinit_cli.verify(copied, spec=SPEC)
    assert found.is_same
    assert [tensor.path for tensor in found.tensors] == PATHS
    with h5py.File(copied, "a") as file:
        file["layers/dense/vars/1"][7] = 1
        file.move("layers/lstm/cell/vars/2", "layers/lstm/cell/vars/3")
    assert statuses(kinit_cli.verify(copied, spec=SPEC)) == {
        "in.a/bias": "values",
        "b/lstm/lstm_cell/bias": "missing",
        "layers/lstm/cell/vars/3": "extra",
    }


def test_names_that_could_be_two_tensors_are_none(tmp_path: Path) -> None:
    weights = {"k": {"shape": [2], "initializer": "ones"}}
    layers = [{"name": name, "weights": weights} for name in ("a/b", "a.b", "c")]
    np.savez(tmp_path / "w.npz", **dict.fromkeys(["a.b.k", "c.k"], np.ones(2, "f4")))
    found = kinit_cli.verify(tmp_path / "w.npz", spec={"seed": 1, "layers": layers})
    assert statuses(found) == {"a/b/k": "missing", "a.b/k": "missing", "a.b.k": "extra"}


# --- manifests that say what is not so --------------------------------------------------------


def write_npz(path: Path, names: dict[str, str], arrays: dict[str, Any]) -> None:
    """Write arrays, and a manifest in which each tensor of two ones has the name given."""
    layers = [{"name": path.rpartition("/")[0], "weights": {"k": WEIGHT}} for path in names]
    kinit_cli.generate({"seed": 1, "layers": layers}, path)
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("kinit.json"))
    for tensor, name in names.items():
        manifest["tensors"][tensor]["name"] = name
    np.savez(path, **arrays)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("kinit.json", json.dumps(manifest))


WEIGHT = {"shape": [2], "initializer": "ones"}
ONES = np.ones(2, "f4")


def test_one_name_for_two_paths_is_one_tensor(tmp_path: Path) -> None:
    write_npz(tmp_path / "w.npz", {"a/k": "x", "b/k": "x"}, {"x": ONES, "y": ONES})
    for check in (verify_file, verify_digests):
        assert statuses(check(tmp_path / "w.npz")) == {"b/k": "missing", "y": "extra"}
    assert len(diff_files(tmp_path / "w.npz", tmp_path / "w.npz").tensors) == 2


def test_a_name_that_is_the_path_of_another_stands_for_what_is_recorded(tmp_path: Path) -> None:
    arrays = {"b/k": ONES, "a/k": np.zeros(2, "f4")}
    write_npz(tmp_path / "w.npz", {"a/k": "b/k", "b/k": "a/k"}, arrays)
    for check in (verify_file, verify_digests):
        assert statuses(check(tmp_path / "w.npz")) == {"b/k": "values"}


def test_a_tensor_with_the_path_of_another_loses_none(tmp_path: Path) -> None:
    write_npz(tmp_path / "w.npz", {"a/k": "x"}, {"x": ONES, "a/k": ONES * 2})
    found = verify_file(tmp_path / "w.npz")
    assert [(one.path, one.status) for one in found.tensors] == [
        ("a/k", "identical"), ("a/k", "extra"),
    ]  # fmt: skip
    np.savez(tmp_path / "b.npz", x=ONES)
    diff = diff_files(tmp_path / "w.npz", tmp_path / "b.npz")
    assert {one.path: one.status for one in diff.tensors} == {"x": "identical", "a/k": "only_a"}


# --- means and custom initializers ------------------------------------------------------------


@pytest.mark.parametrize("copied", ["w.safetensors"], indirect=True)
def test_another_engine_checks_the_first_one(copied: str) -> None:
    for engine in ("numpy", "numba"):
        found = kinit_cli.verify(copied, engine=engine)
        assert (found.is_same, found.engine) == (True, engine)
    with pytest.raises(UnavailableError, match="expected engine tensorflow or auto, got numba"):
        kinit_cli.verify(copied, engine="numba", device="gpu")
    assert run(["verify", copied, "-q", "--engine", "numba"]) == 0
    assert run(["verify", copied, "--engine", "numba", "--device", "cpu"]) == 2
    assert run(["verify", copied, "--quick", "--engine", "numba"]) == 2


def test_a_lock_is_the_same_of_every_engine(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(json.dumps(SPEC))
    locks = []
    for engine in ("numpy", "numba"):
        lock = tmp_path / f"{engine}.lock"
        assert run(["lock", f"{tmp_path}/s.json", "-qo", str(lock), "--engine", engine]) == 0
        locks.append(lock.read_bytes())
    assert locks[0] == locks[1]
    assert run(["lock", f"{tmp_path}/s.json", "--engine", "keras"]) == 2


MODULE = """\
import numpy as np

def ramp(shape, dtype=None, step=1):
    return (step * np.arange(np.prod(shape))).reshape(shape).astype(dtype)
"""


@pytest.mark.parametrize("name", ["ramp", "ramps:ramp"])
def test_custom_initializers_are_called_if_their_code_is_allowed(
    name: str, kinit: Kinit, tmp_path: Path
) -> None:
    (tmp_path / "ramps.py").write_text(MODULE)
    weights = {key: {"shape": [3, 4], "initializer": name} for key in ("j", "k")}
    spec = {"seed": 1, "layers": [{"name": "a", "weights": weights}]}
    (tmp_path / "s.json").write_text(json.dumps(spec))
    allow = ("--allow-code", "ramps:ramp")
    assert kinit("generate", "s.json", "-o", "w.npz", *allow, "-q").returncode == 0
    for arguments in (("verify", "w.npz"), ("verify", "w.npz", "--spec", "s.json")):
        assert kinit(*arguments, "-q", *allow).returncode == 0
    done = kinit("verify", "w.npz")
    option = "ramps:ramp" if ":" in name else "MODULE:ramp"
    assert (done.returncode, done.stderr.decode()) == (
        2,
        "kinit: w.npz: expected the code of its custom initializers, got none for "
        f"{name!r}; give it with --allow-code {option}, or --quick compares with the recorded "
        "digests\n",
    )
    assert kinit("verify", "w.npz", "--quick", "-q").returncode == 0
    assert kinit("verify", "w.npz", "--quick", *allow).returncode == 2

    done = kinit("lock", "s.json")
    assert done.returncode == 2
    assert f"--allow-code {option}\n" in done.stderr.decode()
    assert kinit("lock", "s.json", *allow, "-q").returncode == 0
    assert kinit("lock", "s.json", *allow, "--check", "-q").returncode == 0
    (tmp_path / "ramps.py").write_text(MODULE.replace("step=1", "step=2"))
    assert kinit("lock", "s.json", *allow, "--check", "-q").returncode == 1
    document = json.loads(kinit("verify", "w.npz", "--json", *allow).stdout)
    assert [tensor["first"]["index"] for tensor in document["tensors"]] == [[0, 1], [0, 1]]


def test_custom_initializers_of_the_python_api(tmp_path: Path) -> None:
    def ramp(shape: tuple[int, ...], dtype: str) -> Any:
        return np.arange(np.prod(shape)).reshape(shape).astype(dtype)

    weights = {"k": {"shape": [3, 4], "initializer": "ramp"}}
    spec = {"seed": 1, "layers": [{"name": "a", "weights": weights}]}
    kinit_cli.generate(spec, tmp_path / "w.h5", initializers={"ramp": ramp})
    assert kinit_cli.verify(tmp_path / "w.h5", initializers={"ramp": ramp}).is_same
    with pytest.raises(kinit_cli.KinitError, match="--allow-code MODULE:ramp"):
        kinit_cli.verify(tmp_path / "w.h5")
