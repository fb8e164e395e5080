"""The streams of the command line: terminals, pipes, closed and full ones, bytes on stdout."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Kinit, kinit_environment


def test_stdout_takes_the_same_bytes_as_a_file(kinit: Kinit, small_spec: Path) -> None:
    assert kinit("generate", "small.yaml", "-o", "a.h5").returncode == 0
    done = kinit("generate", "small.yaml", "-o", "-", "--format", "hdf5")
    assert done.returncode == 0
    assert done.stdout == (small_spec.parent / "a.h5").read_bytes()
    assert "<stdout>: hdf5" in done.stderr.decode()


def test_a_closed_pipe_is_no_error(small_spec: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "kinit_cli", "generate", "small.yaml", "--dry-run"],
        cwd=small_spec.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=kinit_environment(),
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    message = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), message) == (0, b"")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(small_spec: Path, closed: str) -> None:
    command = f"'{sys.executable}' -m kinit_cli generate small.yaml -o w.h5 {closed}"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=small_spec.parent,
        capture_output=True,
        env=kinit_environment(),
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert (small_spec.parent / "w.h5").exists()
    nothing = subprocess.run(
        ["sh", "-c", f"'{sys.executable}' -m kinit_cli generate - -o v.h5 <&-"],
        cwd=small_spec.parent,
        capture_output=True,
        env=kinit_environment(),
        timeout=60,
        check=False,
    )
    assert nothing.returncode == 2
    assert b"<stdin>: expected a model spec, got an empty file" in nothing.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("arguments", ["generate small.yaml -n --json", "inspect nope.h5 2>&1"])
def test_a_result_that_cannot_be_written_is_an_error(small_spec: Path, arguments: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f"'{sys.executable}' -m kinit_cli {arguments} >/dev/full"],
        cwd=small_spec.parent,
        capture_output=True,
        env=kinit_environment(),
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_a_weights_file_that_is_cut_short_by_the_reader_is_an_error(small_spec: Path) -> None:
    big = "seed: 1\nlayers: [{name: a, weights: {kernel: {shape: [1000, 1000]}}}]"
    (small_spec.parent / "big.yaml").write_text(big)
    command = f"'{sys.executable}' -m kinit_cli generate big.yaml -o - --format npy -q; echo $? >&2"
    done = subprocess.run(
        ["sh", "-c", f"({command}) | head -c 10"],
        cwd=small_spec.parent,
        capture_output=True,
        env=kinit_environment(),
        timeout=60,
        check=False,
    )
    assert done.stderr == b"kinit: <stdout>: the reader closed the pipe before the end\n2\n"


def test_a_drawn_seed_is_told_where_nothing_records_it(kinit: Kinit) -> None:
    spec = b"layers: [{name: a, weights: {kernel: {shape: [2, 2]}}}]"
    done = kinit("generate", "-", "-o", "-", "--format", "npy", "-q", stdin=spec)
    assert done.returncode == 0
    seed = done.stderr.decode().removeprefix("kinit: the spec has no seed; drew ").strip()
    again = kinit("generate", "-", "-o", "-", "--format", "npy", "-q", "--seed", seed, stdin=spec)
    assert (again.stdout, again.stderr) == (done.stdout, b"")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "give '--format'"), (["--format", "npy"], "an .npy file holds one tensor")],
)
def test_a_dry_run_to_stdout_finds_what_the_run_would(
    kinit: Kinit, small_spec: Path, arguments: list[str], message: str
) -> None:
    for extra in ([], ["--dry-run"]):
        done = kinit("generate", "small.yaml", "-o", "-", *arguments, *extra)
        assert done.returncode == 2
        assert message in done.stderr.decode()


def test_json_is_ascii_whatever_the_terminal_and_the_names(kinit: Kinit, tmp_path: Path) -> None:
    spec = "seed: 1\nlayers: [{name: 層🎉é, weights: {kernel: {shape: [2, 2]}}}]"
    (tmp_path / "s.yaml").write_text(spec, encoding="utf-8")
    done = kinit("generate", "s.yaml", "-o", "w.h5", "--json", PYTHONIOENCODING="latin-1")
    assert done.returncode == 0
    assert json.loads(done.stdout.decode("ascii"))["tensors"][0]["path"] == "層🎉é/kernel"


def test_binary_data_does_not_go_to_a_terminal(small_spec: Path) -> None:
    controller, terminal = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "kinit_cli", "generate", "small.yaml", "-o", "-",
             "--format", "hdf5"],
            cwd=small_spec.parent,
            stdout=terminal,
            stderr=subprocess.PIPE,
            env=kinit_environment(),
            timeout=60,
            check=False,
        )  # fmt: skip
    finally:
        os.close(terminal)
        os.close(controller)
    assert done.returncode == 2
    assert b"would go to the terminal" in done.stderr


def test_progress_is_drawn_on_a_terminal_only(small_spec: Path) -> None:
    big = small_spec.parent / "big.yaml"
    big.write_text("seed: 1\nlayers: [{name: a, weights: {kernel: {shape: [3000, 3000]}}}]\n")
    controller, terminal = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "kinit_cli", "generate", "big.yaml", "-o", "w.h5"],
            cwd=big.parent,
            stdout=subprocess.PIPE,
            stderr=terminal,
            env=kinit_environment(TERM="xterm"),
            timeout=60,
            check=False,
        )
        drawn = os.read(controller, 2**16)
    finally:
        os.close(terminal)
        os.close(controller)
    assert done.returncode == 0
    assert b"MB" in drawn
    assert b"\x1b" not in done.stdout


def test_files_have_names_in_utf_8_whatever_the_locale(kinit: Kinit, tmp_path: Path) -> None:
    spec = "seed: 1\nlayers: [{name: 層, weights: {é: {shape: [3]}, b: {shape: [2]}}}]\n"
    (tmp_path / "odd.yaml").write_text(spec, encoding="utf-8")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0"}
    for _ in range(2):
        done = kinit("generate", "odd.yaml", "-o", "out/", "--force", "--quiet", **ascii_only)
        assert (done.returncode, done.stderr) == (0, b"")
    names = {os.fsencode(path.relative_to(tmp_path)) for path in (tmp_path / "out").rglob("*.npy")}
    assert names == {"out/層/é.npy".encode(), "out/層/b.npy".encode()}
    assert kinit("verify", "out/", "--quiet", **ascii_only).returncode == 0
    assert kinit("verify", "out/", "--quiet", LC_ALL="C.UTF-8").returncode == 0
