"""The process in which the HDF5 library reads: what breaks it is one error, and no more."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import Kinit
from weights_files import entry_of, read_all, refusal

from kinit_cli.errors import UnavailableError, WeightsFileError
from kinit_cli.formats import hdf5_process, hdf5_reader
from kinit_cli.formats.hdf5_content import Hdf5Content
from kinit_cli.formats.hdf5_process import Hdf5Session
from kinit_cli.formats.readers import open_weights

VALUES = np.arange(1000.0)
on_linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")


@pytest.fixture
def chunked(tmp_path: Path) -> Path:
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=VALUES, chunks=(100,), compression="gzip")
    return path


def children() -> list[int]:
    """Give the processes that have a file open: forks of the one that waits."""
    assert hdf5_process._server.process is not None
    pid = hdf5_process._server.process.pid
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@on_linux
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_crash_of_the_library_is_one_error(chunked: Path, number: int) -> None:
    with open_weights(chunked) as file:
        entry = entry_of(file, "x")
        wait_for(lambda: not children())
        file.read(entry, 0, 10)
        (child,) = children()
        os.kill(child, number)
        with pytest.raises(WeightsFileError, match="got one on which it crashes; it is damaged"):
            file.read(entry, 0, 10)
    with open_weights(chunked) as file:
        assert (read_all(file, "x") == VALUES).all()


@pytest.mark.parametrize("name", ["hdf5_crash_1", "hdf5_crash_2"])
def test_files_that_crash_the_library_are_one_error(
    tmp_path: Path, kinit: Kinit, name: str
) -> None:
    """They were found by fuzzing; the first ends HDF5 1.14.2, 1.14.6 and 2.0 by a segfault."""
    packed = Path(__file__).parent / "fuzz_seeds" / f"{name}.h5.gz"
    (tmp_path / "w.h5").write_bytes(gzip.decompress(packed.read_bytes()))
    for command in ("inspect", "import"):
        done = kinit(command, "w.h5")
        assert (done.returncode, done.stdout) == (2, b"")
        (line,) = done.stderr.decode().splitlines()
        assert line.startswith("kinit: w.h5: expected ")
        # A library that sees what is wrong says so.
        assert "got one on which it crashes; it is damaged" in line or "an HDF5 error" in line


def test_a_loop_of_the_library_ends_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "loop.h5"
    write_endless_heap(path)
    monkeypatch.setattr(hdf5_process, "MAX_SCAN_SECONDS", 1)
    # A library that sees what is wrong says so at once.
    message = refusal(path)
    assert "got no end after 1 s; it is damaged" in message or "an HDF5 error" in message


def write_endless_heap(path: Path) -> None:
    """Write a variable-length text into a heap whose free space is said to have 0 bytes."""
    with h5py.File(path, "w") as file:
        file.attrs["kinit"] = "some text"
        file["x"] = [1.0]
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL")
    free = heap + 16 + 16 + 16  # after the heap's header and the text's own object
    assert content[free : free + 8] == bytes(8)
    assert content[free + 8 : free + 16] != bytes(8)
    content[free + 8 : free + 16] = bytes(8)
    path.write_bytes(content)


@on_linux
def test_a_file_that_was_closed_has_no_process(chunked: Path) -> None:
    with open_weights(chunked) as file:
        wait_for(lambda: not children())
        read_all(file, "x")
        assert len(children()) == 1
    wait_for(lambda: not children())
    with pytest.raises(WeightsFileError, match="got a file that was closed"):
        read_all(file, "x")


@on_linux
def test_no_more_processes_than_a_few(
    chunked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5_reader, "MAX_SESSIONS", 2)
    paths = [tmp_path / f"{index}.h5" for index in range(5)]
    for path in paths:
        path.write_bytes(chunked.read_bytes())
    files = [open_weights(path) for path in paths]
    for _ in range(2):
        for file in files:
            assert (read_all(file, "x", 300) == VALUES).all()
            wait_for(lambda: len(children()) <= 2)
    for file in files:
        file.close()
    wait_for(lambda: not children())


def test_another_directory_changes_nothing(
    chunked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_weights(chunked) as file:
        read_all(file, "x")
    monkeypatch.chdir(tmp_path)
    with open_weights("w.h5") as file:
        assert (read_all(file, "x") == VALUES).all()
    Path("bad.h5").write_bytes(chunked.read_bytes()[:-9])
    assert refusal(Path("bad.h5")).startswith("bad.h5: expected a complete HDF5 file")


@on_linux
@pytest.mark.parametrize("filters", ["", "disable", "/no/such/folder"])
def test_the_process_opens_no_other_file_and_writes_none(
    chunked: Path, monkeypatch: pytest.MonkeyPatch, filters: str
) -> None:
    monkeypatch.setenv("HDF5_PLUGIN_PATH", filters)
    hdf5_process._server.stop()
    open_weights(chunked).close()
    wait_for(lambda: not children())
    session = Hdf5Session(chunked)
    (child,) = children()
    limits = Path(f"/proc/{child}/limits").read_text()
    opened = {os.readlink(f"/proc/{child}/fd/{name}") for name in os.listdir(f"/proc/{child}/fd")}
    session.close()
    (n_files,) = (line.split()[3] for line in limits.splitlines() if "Max open files" in line)
    (n_bytes,) = (line.split()[3] for line in limits.splitlines() if "Max file size" in line)
    assert n_bytes == "0"
    assert int(n_files) < 20
    assert {path for path in opened if path.startswith("/") and path != "/dev/null"} == {
        str(chunked.resolve())
    }


def test_a_process_that_does_not_start_is_one_error(
    chunked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5_process, "_server", hdf5_process._Server())
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(UnavailableError, match="/nowhere/python: No such file"):
        open_weights(chunked)


@on_linux
def test_no_process_outlives_kinit(chunked: Path) -> None:
    program = (
        "import os, sys\n"
        "from kinit_cli.formats import hdf5_process\n"
        "from kinit_cli.formats.readers import open_weights\n"
        "file = open_weights(sys.argv[1])\n"
        "file.read(file.entries[0], 0, 9)\n"
        "pid = hdf5_process._server.process.pid\n"
        "children = open(f'/proc/{pid}/task/{pid}/children').read().split()\n"
        "print(pid, *children, flush=True)\n"
        "os._exit(0) if len(sys.argv) > 2 else None\n"
    )
    for more in ([], ["at once"]):
        found = subprocess.run(
            [sys.executable, "-c", program, str(chunked), *more],
            capture_output=True,
            check=True,
            timeout=60,
        )
        pids = [int(text) for text in found.stdout.split()]
        assert len(pids) == 2
        assert found.stderr == b""
        for pid in pids:
            wait_for(lambda pid=pid: not Path(f"/proc/{pid}").exists())


def wait_for(is_so: Callable[[], bool]) -> None:
    """Wait for what happens soon after a socket was closed."""
    for _ in range(500):
        if is_so():
            return
        time.sleep(0.02)
    pytest.fail("still not so")


def test_tiles_of_one_chunk_decode_it_once(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    n_elements = 2**22
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (n_elements,), "f4", chunks=(n_elements,), compression="gzip")
    content = Hdf5Content(path, path)
    (found,) = content.scan().found
    content.read(found.entry, found.name, 0, 10)
    (dataset,) = content._open_datasets.values()
    n_slots, n_bytes, _ = dataset.id.get_access_plist().get_chunk_cache()
    assert n_slots
    assert n_bytes == 16 * 2**20 * 2
    content.close()
