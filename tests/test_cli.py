"""The command line as a process: exit codes, what goes to which stream, and whole messages."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import SMALL_SPEC, Kinit, kinit_environment

BAD_SPEC = "layers: [{name: a, weights: {kernel: {shape: [-1], initializer: he_normal}}}]\n"


@pytest.mark.parametrize("command", [["kinit"], ["kinit-cli"], [sys.executable, "-m", "kinit_cli"]])
def test_all_three_names_run(command: list[str]) -> None:
    scripts = Path(sys.executable).parent
    path = f"{scripts}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*command, "--version"],
        capture_output=True,
        text=True,
        env=kinit_environment(PATH=path),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("kinit, version ")


HELP = """\
Usage: python -m kinit_cli [OPTIONS] COMMAND [ARGS]...

  Turn a model spec into initialised weights: the same bytes on every machine.

Options:
  --version   Show the version and exit.
  -h, --help  Show this message and exit.

Commands:
  generate  Generate the weights of a spec into a file.
  import    Write a Keras model down as a spec.
  inspect   Show what is inside a weights file.
  verify    Make a weights file again and compare every bit.
  diff      Compare the tensors of two weights files.
  lock      Write down the digests of a spec's tensors, or check them.
  check     Tell what is wrong with a spec, and what is worth knowing.

  Example: kinit generate spec.yaml -o weights.h5
"""


def test_help_is_complete(kinit: Kinit) -> None:
    done = kinit("--help")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == HELP


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generat"], "No such command 'generat'; did you mean 'generate'?"),
        (["me@REALM"], "Kerberos has another kinit"),
        (["generate"], "Missing argument 'SPEC'"),
        (["generate", "small.yaml"], "Missing option '-o'"),
        (["generate", "small.yaml", "-o", "w.h5", "--seed", "-1"], "'--seed': -1 is not in"),
        (["generate", "small.yaml", "-o", "w.h5", "--seed", "x"], "'--seed': 'x' is not"),
        (["generate", "small.yaml", "-o", "w.h5", "--dtype", "fp32"], "'fp32' is not one of"),
        (["generate", "small.yaml", "-o", "w.h5", "--engine", "cuda"], "'cuda' is not one of"),
        (["generate", "small.yaml", "-o", "w.h5", "--jobs", "0"], "'--jobs': 0 is not in"),
        (["generate", "small.yaml", "-o", "w.h5", "--set", "d"], "expected NAME=VALUE, got 'd'"),
        (
            ["generate", "small.yaml", "-o", "w.h5", "--set", "d=1", "--set", "d=2"],
            "d is set twice",
        ),
        (["generate", "small.yaml", "-o", "-"], "give '--format'"),
        (["generate", "small.yaml", "-o", "w.h5", "--nope"], "No such option"),
        (["generate", "small.yaml", "-o", "w.pt"], "w.pt: expected a name that ends in .h5"),
        (["generate", "small.yaml", "-o", "w.npy"], "w.npy: an .npy file holds one tensor"),
        (["generate", "small.yaml", "-o", ""], "expected a name for the output, got an empty"),
        (["generate", "small.yaml", "-o", "w/", "--format", "hdf5"], "w/: expected a file name"),
        (["generate", "small.yaml", "-o", "small.yaml", "--format", "hdf5", "-f"], "spec itself"),
        (["generate", "small.yaml", "-o", "no/w.h5"], "no/w.h5: expected a folder no, got none"),
        (["generate", "small.yaml", "-o", "w.h5", "--set", "d=1"], "--set d=1: expected a param"),
        (["generate", "nope.yaml", "-o", "w.h5"], "nope.yaml: expected a spec file, got no such"),
        (["generate", ".", "-o", "w.h5"], ".: expected a spec file, got a directory"),
        (["inspect"], "Missing argument 'FILE'"),
        (["inspect", "nope.h5"], "nope.h5"),
        (["inspect", "small.yaml"], "small.yaml"),
        (["verify", "nope.h5"], "nope.h5: expected an HDF5, .safetensors"),
        (["verify", "w.h5", "--seed", "3"], "'--seed', '--dtype' and '--set' change a spec; give"),
        (["verify", "w.h5", "--quick", "--spec", "small.yaml"], "it takes no '--spec'"),
        (["verify", "w.h5", "--spec", "nope.yaml"], "nope.yaml: expected a spec file"),
        (["diff", "a.h5"], "Missing argument 'B'"),
        (["diff", "a.h5", "b.h5"], "a.h5: expected an HDF5, .safetensors"),
        (["diff", "a.h5", "b.h5", "--rtol", "nan"], "'--rtol': expected a finite number, 0 or"),
        (["diff", "a.h5", "b.h5", "--atol", "-1"], "'--atol': expected a finite number, 0 or"),
    ],
)
def test_wrong_use_is_one_message_and_exit_2(
    kinit: Kinit, small_spec: Path, arguments: list[str], message: str
) -> None:
    done = kinit(*arguments)
    assert done.returncode == 2
    assert done.stdout == b""
    assert message in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
    assert [path.name for path in small_spec.parent.iterdir()] == ["small.yaml"]


def test_a_link_to_a_folder_that_is_not_there(kinit: Kinit, small_spec: Path) -> None:
    folder = small_spec.parent / "gone"
    (small_spec.parent / "w.h5").symlink_to(folder / "w.h5")
    done = kinit("generate", "small.yaml", "-o", "w.h5", "--force")
    assert done.returncode == 2
    assert f"w.h5: expected a folder {folder}, got none" in done.stderr.decode()


def test_problems_of_a_spec_go_to_stderr_with_their_places(kinit: Kinit, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(BAD_SPEC, encoding="utf-8")
    done = kinit("generate", "bad.yaml", "-o", "w.h5")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode() == (
        "bad.yaml:1:47: layers[0].weights.kernel.shape[0]: expected a whole number from 0 to "
        "1,099,511,627,776, got -1\n"
        "kinit: 1 problem in the spec\n"
    )
    assert not (tmp_path / "w.h5").exists()


def test_errors_are_json_too(kinit: Kinit, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(BAD_SPEC, encoding="utf-8")
    done = kinit("generate", "bad.yaml", "-o", "w.h5", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout) == {
        "schema_version": 1,
        "error": {
            "kind": "spec",
            "message": done.stderr.decode().splitlines()[0],
            "problems": [
                {
                    "file": "bad.yaml",
                    "line": 1,
                    "column": 47,
                    "path": "layers[0].weights.kernel.shape[0]",
                    "expected": "a whole number from 0 to 1,099,511,627,776",
                    "got": "-1",
                    "hint": "",
                }
            ],
        },
    }


def test_generate_says_what_it_did_on_stdout_only(kinit: Kinit, small_spec: Path) -> None:
    done = kinit("generate", "small.yaml", "-o", "w.h5")
    assert (done.returncode, done.stderr) == (0, b"")
    table = done.stdout.decode()
    assert "dense/kernel" in table
    assert "4 tensors, 1,235 parameters, 4.9 kB (4.8 KiB)" in table
    assert "w.h5: hdf5 (keras-legacy), seed 7, stream 1, engine numpy" in table
    assert "\x1b" not in table


def test_quiet_says_nothing(kinit: Kinit, small_spec: Path) -> None:
    done = kinit("generate", "small.yaml", "-o", "w.h5", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_two_runs_give_identical_files_whatever_the_threads(kinit: Kinit, small_spec: Path) -> None:
    assert kinit("generate", "small.yaml", "-o", "a.h5", "--jobs", "1").returncode == 0
    assert kinit("generate", "small.yaml", "-o", "b.h5", "--jobs", "5").returncode == 0
    folder = small_spec.parent
    assert (folder / "a.h5").read_bytes() == (folder / "b.h5").read_bytes()


def test_the_bytes_of_a_small_file_are_known(kinit: Kinit, small_spec: Path) -> None:
    """A golden: any change of the stream, the layout or the manifest shows here."""
    assert kinit("generate", "small.yaml", "-o", "w.h5").returncode == 0
    digest = hashlib.sha256((small_spec.parent / "w.h5").read_bytes()).hexdigest()
    assert digest == "c653ac2faa6100701874cd104aa0f5caeb7f4f1949f0bc8cadd262a689d9458b"


def test_the_spec_may_come_from_stdin_and_be_json(kinit: Kinit, small_spec: Path) -> None:
    assert kinit("generate", "small.yaml", "-o", "a.h5").returncode == 0
    as_json = json.dumps(
        {
            "seed": 7,
            "layers": [
                {
                    "name": "dense",
                    "weights": {"kernel": {"shape": [20, 10]}, "bias": {"shape": [10]}},
                },
                {
                    "name": "rnn",
                    "weights": {
                        "recurrent_kernel": {"shape": [16, 64]},
                        "count": {"shape": [], "dtype": "int64"},
                    },
                },
            ],
        }
    )
    assert kinit("generate", "-", "-o", "b.h5", stdin=as_json.encode()).returncode == 0
    folder = small_spec.parent
    assert (folder / "a.h5").read_bytes() == (folder / "b.h5").read_bytes()


def test_a_seed_that_is_drawn_is_told_recorded_and_repeats_the_run(
    kinit: Kinit, tmp_path: Path
) -> None:
    (tmp_path / "s.yaml").write_text(SMALL_SPEC.replace("seed: 7\n", ""), encoding="utf-8")
    done = kinit("generate", "s.yaml", "-o", "a.h5")
    assert done.returncode == 0
    with h5py.File(tmp_path / "a.h5") as file:
        seed = json.loads(file.attrs["kinit"])["seed"]
    assert done.stderr.decode() == f"kinit: the spec has no seed; drew {seed}\n"
    again = kinit("generate", "s.yaml", "-o", "b.h5", "--seed", str(seed))
    assert again.stderr == b""
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    other = kinit("generate", "s.yaml", "-o", "c.h5")
    assert other.returncode == 0
    assert (tmp_path / "a.h5").read_bytes() != (tmp_path / "c.h5").read_bytes()


def test_options_change_the_spec(kinit: Kinit, tmp_path: Path) -> None:
    spec = (
        "params: {d: 4}\nlayers: [{name: a, weights: {kernel: {shape: [d, 2*d]}, "
        "n: {shape: [d], dtype: int8}}}]\n"
    )
    (tmp_path / "s.yaml").write_text(spec, encoding="utf-8")
    done = kinit(
        "generate", "s.yaml", "-o", "w.h5", "--seed", "3", "--dtype", "float16", "--set", "d=2*3"
    )
    assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "w.h5") as file:
        assert file["a/kernel"].shape == (6, 12)
        assert file["a/kernel"].dtype == np.float16
        assert file["a/n"].dtype == np.int8
        assert json.loads(file.attrs["kinit"])["spec"] == {
            "params": {"d": 6},
            "layers": [
                {
                    "name": "a",
                    "weights": {
                        "kernel": {"shape": ["d", "2*d"]},
                        "n": {"shape": ["d"], "dtype": "int8"},
                    },
                }
            ],
            "seed": 3,
            "dtype": "float16",
        }


def test_generate_json_is_one_document_with_everything(kinit: Kinit, small_spec: Path) -> None:
    done = kinit("generate", "small.yaml", "-o", "w.h5", "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    document = json.loads(done.stdout)
    assert list(document) == [
        "schema_version", "command", "is_seed_drawn", "source", "format", "layout", "seed",
        "stream", "engine", "origin", "n_tensors", "n_parameters", "n_bytes",
        "seconds", "notes", "tests", "tensors",
    ]  # fmt: skip
    assert document["command"] == "generate"
    assert document["n_parameters"] == 1235
    kernel = document["tensors"][0]
    assert kernel["path"] == "dense/kernel"
    assert kernel["initializer"] == "glorot_uniform"
    with h5py.File(small_spec.parent / "w.h5") as file:
        values = file["dense/kernel"][()].astype(np.float64)
        recorded = json.loads(file.attrs["kinit"])["tensors"]["dense/kernel"]["digest"]
    assert kernel["digest"] == recorded
    assert kernel["stats"]["mean"] == pytest.approx(values.mean(), rel=1e-12)
    assert kernel["stats"]["std"] == pytest.approx(values.std(), rel=1e-12)


def test_dry_run_plans_and_writes_nothing(kinit: Kinit, small_spec: Path) -> None:
    done = kinit("generate", "small.yaml", "-o", "w.h5", "--dry-run", "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    document = json.loads(done.stdout)
    assert document["dry_run"] is True
    assert document["n_bytes"] == 4 * (200 + 10 + 1024) + 8
    assert document["tensors"][3] == {
        "path": "rnn/count",
        "shape": [],
        "dtype": "int64",
        "n_elements": 1,
        "n_bytes": 8,
        "initializer": "zeros",
        "initializer_config": {"class_name": "Zeros", "config": {}},
        "expected_mean": 0.0,
        "expected_std": 0.0,
    }
    shown = kinit("generate", "small.yaml", "--dry-run")
    assert shown.returncode == 0
    assert "4 tensors, 1,235 parameters" in shown.stdout.decode()
    assert "seed 7; dry run, nothing was written" in shown.stdout.decode()
    assert [path.name for path in small_spec.parent.iterdir()] == ["small.yaml"]


def test_existing_output_is_refused_without_force(kinit: Kinit, small_spec: Path) -> None:
    target = small_spec.parent / "w.h5"
    target.write_bytes(b"precious")
    for extra in ([], ["--dry-run"]):
        done = kinit("generate", "small.yaml", "-o", "w.h5", *extra)
        assert done.returncode == 2
        assert done.stderr.decode() == "kinit: w.h5 exists; use --force to replace it\n"
        assert target.read_bytes() == b"precious"
    assert kinit("generate", "small.yaml", "-o", "w.h5", "--force").returncode == 0
    assert target.read_bytes()[:8] == b"\x89HDF\r\n\x1a\n"
    assert sorted(path.name for path in small_spec.parent.iterdir()) == ["small.yaml", "w.h5"]


def test_verify_and_diff_exit_with_1_if_anything_differs(kinit: Kinit, small_spec: Path) -> None:
    assert kinit("generate", "small.yaml", "-o", "a.h5", "--quiet").returncode == 0
    for arguments in (
        ["verify", "a.h5"],
        ["verify", "a.h5", "--quick"],
        ["verify", "a.h5", "dense/*", "--spec", "small.yaml"],
        ["diff", "a.h5", "a.h5"],
    ):
        done = kinit(*arguments, "--quiet")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), arguments
    with h5py.File(small_spec.parent / "a.h5", "a") as file:
        file["dense/bias"][3] = 1e-3
    assert kinit("generate", "small.yaml", "-o", "b.h5", "--quiet").returncode == 0
    for arguments in (
        ["verify", "a.h5"],
        ["verify", "a.h5", "--quick"],
        ["verify", "b.h5", "--spec", "small.yaml", "--seed", "8"],
        ["diff", "a.h5", "b.h5"],
        ["diff", "a.h5", "b.h5", "--atol", "0.9e-3"],
    ):
        done = kinit(*arguments, "--quiet")
        assert (done.returncode, done.stdout, done.stderr) == (1, b"", b""), arguments
    assert kinit("diff", "a.h5", "b.h5", "--atol", "1.1e-3").returncode == 0
    assert b"dense/bias  1 of 10  [3]  0.0       0.001" in kinit("verify", "a.h5").stdout


def test_an_internal_error_is_exit_2_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], small_spec: Path
) -> None:
    from kinit_cli import planner
    from kinit_cli.cli.main import run

    def fail(spec: object, **options: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(planner, "make_plan", fail)
    monkeypatch.delenv("KINIT_DEBUG", raising=False)
    assert run(["generate", str(small_spec), "--dry-run"]) == 2
    assert capsys.readouterr().err == (
        "kinit: internal error: ZeroDivisionError: oops; KINIT_DEBUG=1 shows where\n"
    )
    monkeypatch.setenv("KINIT_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run(["generate", str(small_spec), "--dry-run"])
