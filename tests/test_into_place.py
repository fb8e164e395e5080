"""How outputs take their names: pairs, directories, leftovers, and systems that know less."""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Kinit

from kinit_cli import interrupts
from kinit_cli.errors import OutputError
from kinit_cli.formats import atomic, renaming, temporaries
from kinit_cli.formats.atomic import staged, staged_pair
from kinit_cli.formats.temporaries import scratch_folder


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def write_pair(folder: Path, text: str, *, force: bool = True) -> None:
    with staged_pair(folder / "w.npy", folder / "w.json", force=force) as (array, manifest):
        array.write_text(f"{text} array")
        manifest.write_text(f"{text} manifest")


OLD_PAIR = {"w.npy": "old array", "w.json": "old manifest"}
NEW_PAIR = {"w.npy": "new array", "w.json": "new manifest"}


def fails(number: int) -> Any:
    def fail(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


# --- a file and the one that describes it ---------------------------------------------------


def test_a_pair_is_written_and_replaced(tmp_path: Path) -> None:
    write_pair(tmp_path, "old", force=False)
    assert contents(tmp_path) == OLD_PAIR
    with pytest.raises(OutputError, match="exists; use --force"):
        write_pair(tmp_path, "new", force=False)
    write_pair(tmp_path, "new")
    assert contents(tmp_path) == NEW_PAIR


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("has_old", [False, True])
def test_a_pair_whose_renaming_fails_is_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, has_old: bool
) -> None:
    if has_old:
        write_pair(tmp_path, "old")
    n_calls = 0
    rename2 = renaming._renameat2

    def fail_once(*arguments: Any) -> bool:
        nonlocal n_calls
        n_calls += 1
        if n_calls == step:
            fails(errno.EIO)()
        return rename2(*arguments)

    monkeypatch.setattr(renaming, "_renameat2", fail_once)
    with pytest.raises(OutputError, match="Input/output error; nothing was changed"):
        write_pair(tmp_path, "new", force=has_old)
    assert n_calls >= step
    assert contents(tmp_path) == (OLD_PAIR if has_old else {})


def test_where_names_cannot_be_swapped_a_pair_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pair(tmp_path, "old")
    monkeypatch.setattr(renaming.sys, "platform", "other")
    monkeypatch.setattr(renaming.os, "link", fails(errno.EIO))
    with pytest.raises(OutputError, match="it is whole, but without its manifest; run again"):
        write_pair(tmp_path, "new")
    assert contents(tmp_path) == {"w.npy": "new array"}
    monkeypatch.undo()
    write_pair(tmp_path, "new")
    assert contents(tmp_path) == NEW_PAIR


def test_a_manifest_is_never_beside_an_array_that_it_is_not_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pair(tmp_path, "old")
    seen = []
    sync_folder = renaming.sync_folder

    def look(folder: Path) -> None:
        seen.append({k: v for k, v in contents(tmp_path).items() if not k.startswith(".")})
        sync_folder(folder)

    monkeypatch.setattr(atomic, "sync_folder", look)
    write_pair(tmp_path, "new")
    assert seen == [{"w.npy": "old array"}, {"w.npy": "new array"}, NEW_PAIR]


def test_one_run_at_a_time_puts_its_pair_in_place(tmp_path: Path) -> None:
    def second() -> None:
        with temporaries.turn(tmp_path / "w.npy"):
            order.append("second")

    order: list[str] = []
    other = threading.Thread(target=second)
    with temporaries.turn(tmp_path / "w.npy"):
        other.start()
        other.join(timeout=0.2)
        order.append("first")
    other.join()
    assert order == ["first", "second"]
    assert not list(tmp_path.iterdir())


# --- interrupts -------------------------------------------------------------------------------


@pytest.fixture
def usual_signals() -> Iterator[None]:
    """Handle signals as a process does at first, whatever nohup or another test has left."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("usual_signals")
def test_an_interrupt_within_the_renaming_is_heard_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pair(tmp_path, "old")
    put_file = atomic._put_file

    def interrupted(*arguments: Any, **options: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        put_file(*arguments, **options)

    monkeypatch.setattr(atomic, "_put_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_pair(tmp_path, "new")
    assert contents(tmp_path) == NEW_PAIR
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("usual_signals")
def test_signals_that_python_does_not_handle_are_left_alone() -> None:
    with interrupts.deferred():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler


# --- leftovers --------------------------------------------------------------------------------


def test_a_run_that_is_refused_sweeps_too(kinit: Kinit, small_spec: Path) -> None:
    folder = small_spec.parent
    assert kinit("generate", "small.yaml", "-o", "w.h5", "-q").returncode == 0
    (folder / ".w.h5.kinit-0123456789abcdef.tmp").write_text("left by a killed run")
    done = kinit("generate", "small.yaml", "-o", "w.h5", "-q")
    assert (done.returncode, done.stderr) == (
        2,
        b"kinit: w.h5 exists; use --force to replace it\n",
    )
    assert sorted(path.name for path in folder.iterdir()) == ["small.yaml", "w.h5"]


def test_without_locks_no_run_sweeps_what_another_is_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporaries.fcntl, "flock", fails(errno.ENOLCK))
    target = tmp_path / "w.h5"
    with staged(target, is_directory=False, force=True) as first:
        first.write_text("first")
        with staged(target, is_directory=False, force=True) as second:
            second.write_text("second")
        assert first.exists()
    assert contents(tmp_path) == {"w.h5": "first"}


def test_a_directory_that_was_taken_away_is_put_back(tmp_path: Path) -> None:
    old = temporaries.name_for_old(tmp_path / "w")
    old.mkdir()
    (old / "kinit.json").write_text(json.dumps({"tensors": {}}))
    with pytest.raises(OutputError, match="exists; use --force"):
        staged(tmp_path / "w", is_directory=True, force=False).__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["w"]
    assert contents(tmp_path / "w") == {"kinit.json": '{"tensors": {}}'}


def test_folders_that_may_not_be_written_to_go_too(tmp_path: Path) -> None:
    (tmp_path / "w" / "a").mkdir(parents=True)
    (tmp_path / "w" / "a" / "b").write_text("")
    (tmp_path / "w" / "a").chmod(0o500)
    temporaries.remove(tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_what_is_made_for_stdout_is_private_and_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch_folder("kinit-stdout") as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        name = folder.name
    assert not list(tmp_path.iterdir())
    (tmp_path / name).mkdir()
    (tmp_path / name / "stdout").write_text("left by a killed run")
    with scratch_folder("kinit-stdout") as folder:
        assert list(tmp_path.iterdir()) == [folder]


# --- directories, and systems that know less ----------------------------------------------------


def write_directory(path: Path, text: str) -> None:
    (path / "kinit.json").write_text('{"tensors": {"a": {}}}')
    (path / "a.npy").write_text(text)


@pytest.mark.parametrize("force", [False, True])
def test_a_directory_that_comes_meanwhile(tmp_path: Path, force: bool) -> None:
    target = tmp_path / "w"
    staging = staged(target, is_directory=True, force=force)
    write_directory(staging.__enter__(), "second")
    target.mkdir()
    write_directory(target, "first")
    if force:
        staging.__exit__(None, None, None)
    else:
        with pytest.raises(OutputError, match="came into being meanwhile; use --force"):
            staging.__exit__(None, None, None)
    assert (target / "a.npy").read_text() == ("second" if force else "first")
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_a_directory_that_is_replaced_while_it_is_looked_through_is_no_stranger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "w"
    target.mkdir()
    write_directory(target, "old")
    owned = atomic.owned_files

    def replace_meanwhile(directory: Path) -> set[str]:
        files = owned(directory)
        monkeypatch.setattr(atomic, "owned_files", owned)
        target.rename(tmp_path / "before")
        target.mkdir()
        (target / "kinit.json").write_text('{"tensors": {"b": {}}}')
        (target / "b.npy").write_text("of another run")
        return files

    monkeypatch.setattr(atomic, "owned_files", replace_meanwhile)
    with staged(target, is_directory=True, force=True) as temporary:
        write_directory(temporary, "new")
    assert (target / "a.npy").read_text() == "new"


def test_a_manifest_that_cannot_be_read_is_not_taken_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "w").mkdir()
    write_directory(tmp_path / "w", "old")
    monkeypatch.setattr(Path, "read_bytes", fails(errno.EACCES))
    with pytest.raises(OutputError, match="w: Permission denied; nothing was changed"):
        staged(tmp_path / "w", is_directory=True, force=True).__enter__()


@pytest.mark.parametrize(("number", "is_told"), [(errno.EIO, True), (errno.EINVAL, False)])
def test_a_folder_that_cannot_be_synced_is_told_as_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_told: bool
) -> None:
    sync = renaming._sync
    monkeypatch.setattr(
        renaming, "_sync", lambda path: sync(path) if path != tmp_path else fails(number)()
    )
    staging = staged(tmp_path / "w.h5", is_directory=False, force=False)
    staging.__enter__().write_text("new")
    if is_told:
        with pytest.raises(OutputError, match="complete and in place, but the system could not"):
            staging.__exit__(None, None, None)
    else:
        staging.__exit__(None, None, None)
    assert contents(tmp_path) == {"w.h5": "new"}


def test_a_file_that_only_its_user_may_read_is_replaced_by_one_that_is_never_open(
    tmp_path: Path,
) -> None:
    target = tmp_path / "w.h5"
    target.write_text("old")
    target.chmod(0o440)
    with staged(target, is_directory=False, force=True) as temporary:
        assert temporary.stat().st_mode & 0o777 == 0o600
        temporary.write_text("new")
    assert target.stat().st_mode & 0o777 == 0o440


def test_the_longest_name_has_room_for_its_temporary(tmp_path: Path) -> None:
    target = tmp_path / ("🎉" * 63)
    with staged(target, is_directory=False, force=False) as temporary:
        temporary.write_text("new")
    assert contents(tmp_path) == {target.name: "new"}
