"""Custom code that prints past `sys.stdout`, ends the process, or lies beside other code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
from conftest import Kinit, kinit_environment
from custom_specs import spec_of, written

import kinit_cli
from kinit_cli.spec.load import parse_spec

ROOT = str(Path(__file__).parents[1])
LOUD = """\
import asyncio, os, subprocess, sys
import numpy as np


def loud(shape, dtype=None):
    os.write(1, b"one\\n")
    subprocess.run([sys.executable, "-c", "print('two')"], check=True)
    print("three")
    return np.ones(shape, dtype)


def cancelled(shape, dtype=None):
    raise asyncio.CancelledError("x")


def odd(shape, dtype=None, note="\\ud800"):
    return np.ones(shape, dtype)


class Texts:
    def __init__(self, text="{1 + 1}", more=("{", "}}", "a{b}c")):
        self.text, self.more = text, list(more)

    def __call__(self, shape, dtype=None):
        return np.full(shape, len(str([self.text, self.more])), dtype)

    def get_config(self):
        return {"text": self.text, "more": self.more}


class Shy:
    def __call__(self, shape, dtype=None):
        return np.ones(shape, dtype)

    def __getattr__(self, name):
        raise RuntimeError(f"no {name}")


shy = Shy()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "loud.py").write_text(LOUD, encoding="utf-8")
    for name in ("loud", "cancelled", "odd", "Texts", "shy"):
        (tmp_path / f"{name}.json").write_text(spec_of({"k": name}), encoding="utf-8")
    return tmp_path


def test_nothing_comes_between_a_json_document(kinit: Kinit, folder: Path) -> None:
    done = kinit("generate", "loud.json", "-o", "w.h5", "--json", "--allow-code", "loud:loud")
    assert json.loads(done.stdout)["n_tensors"] == 1
    assert sorted(done.stderr.split()) == [b"one", b"three", b"two"]


def test_nothing_comes_before_a_file_on_stdout(kinit: Kinit, folder: Path) -> None:
    arguments = ("generate", "loud.json", "-o", "-", "--format", "hdf5", "-q")
    done = kinit(*arguments, "--allow-code", "loud:loud")
    assert done.returncode == 0
    (folder / "w.h5").write_bytes(done.stdout)
    with h5py.File(folder / "w.h5") as file:
        assert (file["a/k"][()] == 1).all()


def test_an_exception_of_any_kind_is_exit_2(kinit: Kinit, folder: Path) -> None:
    done = kinit("generate", "cancelled.json", "-o", "w.h5", "--allow-code", "loud:cancelled")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"a/k: initializer 'cancelled': expected values, got CancelledError: x" in done.stderr
    assert not (folder / "w.h5").exists()


@pytest.mark.parametrize("name", ["odd", "shy"])
def test_odd_objects_are_no_internal_error(name: str, kinit: Kinit, folder: Path) -> None:
    done = kinit("generate", f"{name}.json", "-o", "w.h5", "--allow-code", f"loud:{name}")
    assert b"internal error" not in done.stderr
    assert done.returncode == (0 if name == "odd" else 2)
    if name == "shy":
        assert b"shy to say whether it has get_config, got RuntimeError" in done.stderr


def test_what_is_recorded_makes_the_same_again_whatever_braces_are_in_it(folder: Path) -> None:
    sys.path.append(str(folder))
    try:
        import loud
    finally:
        sys.path.remove(str(folder))
    given = {"Texts": loud.Texts}
    spec = json.loads(spec_of({"k": "Texts"}))
    first = kinit_cli.arrays(spec, initializers=given)
    kinit_cli.generate(spec, folder / "w.h5", initializers=given)
    with h5py.File(folder / "w.h5") as file:
        record = json.loads(file.attrs["kinit"])["tensors"]["a/k"]["initializer"]
    text = spec_of({"k": written(record)})
    parse_spec(text.encode(), "spec.json").problems.raise_if_any()
    again = kinit_cli.arrays(json.loads(text), initializers=given)
    assert again["a/k"].tobytes() == first["a/k"].tobytes()


def test_files_beside_the_spec_are_not_imported_for_others(folder: Path) -> None:
    """Optional modules that libraries look for are not taken from the current folder."""
    for name in ("cffi", "colorama", "numba"):
        (folder / f"{name}.py").write_text(f"open('RAN_{name}', 'w').close()\n")
    (folder / "spec.json").write_text('{"seed": 1, "layers": [{"name": "a", "weights": '
                                      '{"b": {"shape": [2000, 1000]}}}]}')  # fmt: skip
    program = "from kinit_cli.cli.main import main; main()"
    for code in ("statistics:mean", "loud:loud"):
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path.remove(''); {program}", "generate",
             "spec.json", "-o", "w.h5", "-f", "-q", "--allow-code", code],
            cwd=folder,
            env=kinit_environment(PYTHONPATH=os.pathsep.join([ROOT, *sys.path[1:]])),
            capture_output=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert not list(folder.glob("RAN_*"))
