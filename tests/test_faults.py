"""Interrupted and failing writes: the target is the old file or the whole new one, no litter."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import Kinit, kinit_environment

from kinit_cli.errors import OutputError
from kinit_cli.formats import renaming
from kinit_cli.formats.atomic import staged

#: About two seconds of work, so that a signal finds it in the middle.
BIG_SPEC = "seed: 1\nlayers: [{name: a, weights: {kernel: {shape: [200000, 1000]}}}]\n"
OUTPUTS = [["w.h5"], ["w/", "--format", "npy"]]


@pytest.fixture
def big_spec(tmp_path: Path) -> Path:
    path = tmp_path / "big.yaml"
    path.write_text(BIG_SPEC, encoding="utf-8")
    return path


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "kinit_cli", "generate", "big.yaml", "-o", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=kinit_environment(),
        preexec_fn=heed_signals,
    )


def heed_signals() -> None:
    """Undo what nohup, or a shell that starts a job in the background, lets be ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def wait_for_writing(folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until tiles have been written to the temporary."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        for temporary in folder.glob(".w*.tmp"):
            with suppress(FileNotFoundError):
                files = [temporary, *temporary.rglob("*.npy")]
                if any(file.stat().st_blocks > 8000 for file in files):
                    return
        time.sleep(0.01)
    pytest.fail(f"nothing was written: {process.communicate()}")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("output", OUTPUTS, ids=["hdf5", "npy"])
@pytest.mark.parametrize(
    ("number", "code", "message"),
    [
        (signal.SIGINT, 130, b"\nkinit: interrupted\n"),
        (signal.SIGTERM, 143, b"kinit: terminated\n"),
        (signal.SIGHUP, 143, b"kinit: terminated\n"),
    ],
)
def test_a_signal_leaves_nothing_behind(
    big_spec: Path, output: list[str], number: signal.Signals, code: int, message: bytes
) -> None:
    process = start(big_spec.parent, *output)
    wait_for_writing(big_spec.parent, process)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (code, b"", message)
    assert names(big_spec.parent) == ["big.yaml"]


@pytest.mark.parametrize("output", OUTPUTS, ids=["hdf5", "npy"])
def test_more_signals_do_not_disturb_the_cleaning_up(big_spec: Path, output: list[str]) -> None:
    process = start(big_spec.parent, *output)
    wait_for_writing(big_spec.parent, process)
    for _ in range(20):
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        time.sleep(0.005)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (130, b"", b"\nkinit: interrupted\n")
    assert names(big_spec.parent) == ["big.yaml"]


def test_a_large_orthogonal_matrix_does_not_hold_up_an_interrupt(tmp_path: Path) -> None:
    (tmp_path / "big.yaml").write_text(
        "seed: 1\nlayers: [{name: a, weights: {k: {shape: [9000, 9000], initializer: orthogonal}}}]"
    )
    process = start(tmp_path, "w.h5")
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".w*.tmp")) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(1)  # well into a work of minutes
    process.send_signal(signal.SIGTERM)
    # Not a measure of speed: the whole matrix takes minutes, a block of it a second or two.
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert names(tmp_path) == ["big.yaml"]


@pytest.mark.parametrize("output", OUTPUTS, ids=["hdf5", "npy"])
def test_what_a_killed_run_leaves_is_removed_by_the_next(
    big_spec: Path, kinit: Kinit, output: list[str]
) -> None:
    process = start(big_spec.parent, *output)
    wait_for_writing(big_spec.parent, process)
    process.kill()
    process.communicate(timeout=60)
    left = [name for name in names(big_spec.parent) if name != "big.yaml"]
    assert len(left) == 1
    assert left[0].startswith(".w")
    assert left[0].endswith(".tmp")
    (big_spec.parent / "small.yaml").write_text("layers: [{name: a, weights: {b: {shape: [1]}}}]")
    assert kinit("generate", "small.yaml", "-o", *output).returncode == 0
    assert names(big_spec.parent) == ["big.yaml", "small.yaml", output[0].rstrip("/")]


def test_a_killed_run_leaves_the_old_file(big_spec: Path) -> None:
    target = big_spec.parent / "w.h5"
    target.write_bytes(b"old")
    process = start(big_spec.parent, "w.h5", "--force")
    wait_for_writing(big_spec.parent, process)
    process.kill()
    process.communicate(timeout=60)
    assert target.read_bytes() == b"old"


def test_a_run_does_not_remove_what_another_run_is_writing(tmp_path: Path) -> None:
    target = tmp_path / "w.h5"
    with staged(target, is_directory=False, force=True) as first:
        first.write_bytes(b"first")
        with staged(target, is_directory=False, force=True) as second:
            assert first.exists()
            second.write_bytes(b"second")
        assert target.read_bytes() == b"second"
    assert target.read_bytes() == b"first"
    assert names(tmp_path) == ["w.h5"]


def test_without_force_the_second_of_two_runs_loses(tmp_path: Path) -> None:
    target = tmp_path / "w.h5"
    staging = staged(target, is_directory=False, force=False)
    staging.__enter__().write_bytes(b"second")
    target.write_bytes(b"first")
    with pytest.raises(OutputError, match="came into being meanwhile"):
        staging.__exit__(None, None, None)
    assert target.read_bytes() == b"first"
    assert names(tmp_path) == ["w.h5"]


def test_a_spec_that_needs_more_than_the_free_space_is_refused_at_once(
    big_spec: Path, kinit: Kinit
) -> None:
    big_spec.write_text(BIG_SPEC.replace("200000", "2**36"), encoding="utf-8")
    done = kinit("generate", "big.yaml", "-o", "w.h5")
    assert done.returncode == 2
    assert b"bytes of free space, got" in done.stderr
    assert names(big_spec.parent) == ["big.yaml"]


def test_a_file_size_limit_leaves_nothing(big_spec: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))

    done = subprocess.run(
        [sys.executable, "-m", "kinit_cli", "generate", "big.yaml", "-o", "w.h5"],
        cwd=big_spec.parent,
        capture_output=True,
        env=kinit_environment(PYTHONDONTWRITEBYTECODE="1"),
        preexec_fn=limit,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"kinit: w.h5: File too large; nothing was changed\n"
    assert names(big_spec.parent) == ["big.yaml"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 1 MiB, where that is allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


#: The check of the free space would refuse the run: another process may fill the disk after it.
PAST_THE_CHECK = """
import shutil, sys, types
shutil.disk_usage = lambda path: types.SimpleNamespace(free=10**15)
from kinit_cli.cli.main import run
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.parametrize("n_layers", [1, 20000])
@pytest.mark.parametrize("output", OUTPUTS, ids=["hdf5", "npy"])
def test_a_full_disk_leaves_the_target_as_it_was(
    small_disk: Path, output: list[str], n_layers: int
) -> None:
    (small_disk.parent / "s.yaml").write_text(
        f"layers: [{{repeat: {n_layers}, layers: [{{name: 'a{{i}}', weights: "
        f"{{k: {{shape: [{10**6 // n_layers}]}}}}}}]}}]"
    )
    target = f"disk/{output[0]}"
    arguments = ["generate", "s.yaml", "-o", target, *output[1:], "-q", "--seed", "1"]
    done = subprocess.run(
        [sys.executable, "-c", PAST_THE_CHECK, *arguments],
        cwd=small_disk.parent,
        capture_output=True,
        text=True,
        env=kinit_environment(),
        timeout=120,
        check=False,
    )
    shown = target.rstrip("/")
    assert done.returncode == 2
    assert done.stderr == f"kinit: {shown}: the disk is full; nothing was changed\n"
    assert names(small_disk) == []


def test_a_failing_fsync_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "w.h5"
    target.write_bytes(b"old")

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(renaming.os, "fsync", fail)
    with (
        pytest.raises(OutputError, match="Input/output error; nothing was changed"),
        staged(target, is_directory=False, force=True) as temporary,
    ):
        temporary.write_bytes(b"new")
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["w.h5"]


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="no folder that is closed to all")
def test_a_folder_without_permission_is_one_message(small_spec: Path, kinit: Kinit) -> None:
    done = kinit("generate", "small.yaml", "-o", "/sys/kernel/w.h5", "-q")
    assert done.returncode == 2
    assert done.stderr.startswith(b"kinit: /sys/kernel/w.h5: ")
    assert done.stderr.count(b"\n") == 1


# --- directories ----------------------------------------------------------------------------


def write_directory(path: Path, text: str) -> None:
    (path / "kinit.json").write_text('{"tensors": {"a/b": {}}}')
    (path / "a").mkdir()
    (path / "a" / "b.npy").write_text(text)


def test_a_directory_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "w"
    with staged(target, is_directory=True, force=False) as temporary:
        write_directory(temporary, "old")
    with pytest.raises(OutputError, match="exists; use --force"):
        staged(target, is_directory=True, force=False).__enter__()
    with staged(target, is_directory=True, force=True) as temporary:
        write_directory(temporary, "new")
    assert (target / "a" / "b.npy").read_text() == "new"
    assert names(tmp_path) == ["w"]


def test_a_directory_with_files_of_others_is_never_replaced(tmp_path: Path) -> None:
    target = tmp_path / "w"
    target.mkdir()
    write_directory(target, "old")
    (target / "a" / "thesis.txt").write_text("precious")
    with pytest.raises(OutputError, match=r"holds a/thesis\.txt, which kinit did not write"):
        staged(target, is_directory=True, force=True).__enter__()
    assert (target / "a" / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize("add", ["link", "folder"])
def test_nor_is_one_with_links_or_folders_of_others(tmp_path: Path, add: str) -> None:
    target = tmp_path / "w"
    target.mkdir()
    write_directory(target, "old")
    if add == "link":
        (target / "mine").symlink_to(tmp_path)
    else:
        (target / "mine").mkdir()
    with pytest.raises(OutputError, match="holds mine, which kinit did not write"):
        staged(target, is_directory=True, force=True).__enter__()
    assert (target / "mine").exists()


def test_the_current_directory_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "w" / "deep").mkdir(parents=True)
    for current in ("w", "w/deep"):
        monkeypatch.chdir(tmp_path / current)
        with pytest.raises(OutputError, match="got the current one"):
            staged(tmp_path / "w", is_directory=True, force=True).__enter__()


def test_the_mode_of_a_directory_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "w"
    target.mkdir(mode=0o700)
    for force in (False, True):
        with staged(target, is_directory=True, force=force) as temporary:
            write_directory(temporary, "new")
        assert target.stat().st_mode & 0o777 == 0o700


def test_an_empty_directory_may_be_filled(tmp_path: Path) -> None:
    target = tmp_path / "w"
    target.mkdir()
    with staged(target, is_directory=True, force=False) as temporary:
        write_directory(temporary, "new")
    assert (target / "a" / "b.npy").read_text() == "new"


@pytest.mark.parametrize("has_exchange", [True, False])
def test_directories_are_swapped_with_and_without_help_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_exchange: bool
) -> None:
    if not has_exchange:
        monkeypatch.setattr(renaming.sys, "platform", "other")
    test_a_directory_is_replaced_as_a_whole(tmp_path)


def test_a_link_to_the_target_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.h5").write_bytes(b"old")
    link = tmp_path / "w.h5"
    link.symlink_to("real.h5")
    with staged(link, is_directory=False, force=True) as temporary:
        temporary.write_bytes(b"new")
    assert link.is_symlink()
    assert (tmp_path / "real.h5").read_bytes() == b"new"


def test_the_mode_of_a_file_is_kept_or_follows_the_umask(tmp_path: Path) -> None:
    target = tmp_path / "w.h5"
    previous = os.umask(0o027)
    try:
        with staged(target, is_directory=False, force=False):
            pass
        assert target.stat().st_mode & 0o777 == 0o640
        target.chmod(0o600)
        with staged(target, is_directory=False, force=True):
            pass
        assert target.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(previous)


@pytest.mark.parametrize(
    ("prepare", "is_directory", "message"),
    [
        (lambda path: path.mkdir(), False, "expected a file name, got a directory"),
        (lambda path: path.write_bytes(b""), True, "expected a directory, got a file"),
        (lambda path: os.mkfifo(path), False, "expected a regular file"),
    ],
)
def test_a_target_of_another_kind_is_refused_even_with_force(
    tmp_path: Path, prepare: Callable[[Path], None], is_directory: bool, message: str
) -> None:
    prepare(tmp_path / "w")
    with pytest.raises(OutputError, match=message):
        staged(tmp_path / "w", is_directory=is_directory, force=True).__enter__()
