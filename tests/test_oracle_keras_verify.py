"""`verify` makes Keras's values again, with the same Keras only."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import pytest
from conftest import Kinit
from oracles import import_oracle

import kinit_cli

keras = import_oracle("keras")

pytestmark = [
    pytest.mark.oracle,
    # TensorFlow's tensors, when NumPy asks for a copy of one.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]


def test_a_file_is_verified_with_the_same_keras(tmp_path: Path) -> None:
    weights = {
        "k": {"shape": [30, 20], "initializer": "he_normal"},
        "q": {"shape": [12, 12], "initializer": "orthogonal"},
        "bias": {"shape": [20]},
    }
    spec = {"seed": 5, "layers": [{"name": "a", "weights": weights}]}
    for name in ("w.h5", "w.safetensors"):
        kinit_cli.generate(spec, tmp_path / name, engine="keras")
        for found in (
            kinit_cli.verify(tmp_path / name),
            kinit_cli.verify(tmp_path / name, spec=spec, pattern="a/*"),
        ):
            assert found.is_same
            assert (found.engine, found.stream) == ("keras", None)
            assert found.origin is not None
            assert found.origin.version == keras.__version__
    with h5py.File(tmp_path / "w.h5", "a") as file:
        file["a/k"][3, 4] += 1
    (changed,) = kinit_cli.verify(tmp_path / "w.h5").differing
    assert changed.first is not None
    assert (changed.path, changed.n_different, changed.first.index) == ("a/k", 1, (3, 4))
    other = kinit_cli.verify(tmp_path / "w.safetensors", spec=spec, seed=6)
    assert [tensor.path for tensor in other.differing] == ["a/k", "a/q"]


def test_a_file_of_another_keras_is_refused(kinit: Kinit, tmp_path: Path) -> None:
    spec = {"seed": 5, "layers": [{"name": "a", "weights": {"k": {"shape": [3, 2]}}}]}
    kinit_cli.generate(spec, tmp_path / "w.h5", engine="keras")
    with h5py.File(tmp_path / "w.h5", "a") as file:
        manifest = json.loads(file.attrs["kinit"])
        manifest["origin"]["version"] = "3.8.77"
        file.attrs["kinit"] = json.dumps(manifest)
    done = kinit("verify", "w.h5")
    assert (done.returncode, done.stdout) == (2, b"")
    told = f"to make them again, expected Keras 3.8.77, got Keras {keras.__version__}; install"
    assert told in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
    assert kinit("verify", "w.h5", "--quick", "-q").returncode == 0
