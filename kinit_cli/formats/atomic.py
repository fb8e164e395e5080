"""Put an output in place as a whole or not at all.

Output goes to a temporary file or directory beside the target, is synced, and takes the target's
name in one step. Whatever fails, Ctrl-C included, the target stays as it was and the temporary
goes. A process that is killed leaves its temporary behind; the next run to the same target
removes it.

A file with another one beside it that describes it takes two names, which no system gives in one
step: the old description goes before the file changes, and the new one comes after it. So at no
moment does a description stand beside a file that it is not of.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from kinit_cli.errors import OutputError
from kinit_cli.formats.owned_files import owned_files
from kinit_cli.formats.renaming import (
    rename_new,
    swap_directories,
    swap_in_one_step,
    sync_folder,
    sync_tree,
    take_mode,
)
from kinit_cli.formats.temporaries import (
    held,
    name_for_garbage,
    remove,
    sweep,
    temporary_beside,
    turn,
)
from kinit_cli.interrupts import deferred


def check_is_not_spec(target: Path, spec: str | os.PathLike[str]) -> None:
    """Check that an output would not take the place of the spec that it is made from.

    Raises
    ------
    OutputError
        It would.
    """
    if target.exists() and target.samefile(spec):
        raise OutputError(f"{target}: expected an output, got the spec itself")


def check_target(target: Path, *, is_directory: bool, force: bool) -> None:
    """Refuse a target that must not be replaced.

    Raises
    ------
    OutputError
        It exists and `force` is off; it is of another kind; or it is a directory with files that
        kinit did not write.
    """
    with _told(target, "{}; nothing was changed"):
        _check_target(target, is_directory=is_directory, force=force)


def _check_target(target: Path, *, is_directory: bool, force: bool) -> None:
    parent = Path(os.path.realpath(target)).parent
    if not parent.is_dir():
        folder = parent if target.is_symlink() else target.parent
        raise OutputError(f"{target}: expected a folder {folder}, got none; create it first")
    try:
        found = target.stat()
    except FileNotFoundError:
        return
    mode = found.st_mode
    if is_directory:
        _check_directory(target, found, force=force)
    elif stat.S_ISDIR(mode):
        raise OutputError(f"{target}: expected a file name, got a directory")
    elif not stat.S_ISREG(mode):
        raise OutputError(f"{target}: expected a regular file, got a device, pipe or socket")
    elif not force:
        raise OutputError(f"{target} exists; use --force to replace it")


def _check_directory(target: Path, before: os.stat_result, *, force: bool) -> None:
    if not stat.S_ISDIR(before.st_mode):
        raise OutputError(f"{target}: expected a directory, got a file")
    if Path(os.path.realpath(os.curdir)).is_relative_to(os.path.realpath(target)):
        # It would be another directory afterwards, and the shell would stand in none.
        raise OutputError(f"{target}: expected a directory to replace, got the current one")
    if not any(target.iterdir()):
        return
    foreign = _foreign_entry(target)
    while foreign is not None and not os.path.samestat(before, before := target.stat()):
        # Another run replaced it while it was looked through.
        foreign = _foreign_entry(target)
    if foreign is not None:
        raise OutputError(
            f"{target} holds {foreign}, which kinit did not write; choose another directory"
        )
    if not force:
        raise OutputError(f"{target} exists; use --force to replace it")


def _foreign_entry(directory: Path) -> str | None:
    """Name an entry that the directory's manifest does not account for, or None."""
    files = owned_files(directory)
    folders = _folders_of(files)
    # There may be very many files, and texts are quicker than paths.
    n_root = len(os.path.join(directory, ""))
    for folder, folder_names, file_names in os.walk(directory):
        inside = folder[n_root:]
        start = f"{inside}/" if inside else ""
        for name in folder_names:
            known = files if os.path.islink(os.path.join(folder, name)) else folders
            if start + name not in known:
                return start + name
        for name in file_names:
            if start + name not in files:
                return start + name
    return None


def _folders_of(files: Iterable[str]) -> set[str]:
    folders: set[str] = set()
    for file in files:
        folder = file.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    return folders


def claim_target(target: Path, *, is_directory: bool, force: bool) -> None:
    """Remove what killed runs left behind, and refuse a target that must not be replaced.

    Raises
    ------
    OutputError
        As `check_target` does.
    """
    sweep(Path(os.path.realpath(target)))
    check_target(target, is_directory=is_directory, force=force)


@contextmanager
def staged(target: Path, *, is_directory: bool, force: bool) -> Iterator[Path]:
    """Give a temporary path beside `target`; on leaving without an error, put it in place.

    Raises
    ------
    OutputError
        The target must not be replaced, or the system refused; the target is as it was.
    """
    claim_target(target, is_directory=is_directory, force=force)
    shown, target = target, Path(os.path.realpath(target))
    with ExitStack() as stack:
        with _told(shown, "cannot write there: {}"):
            temporary = stack.enter_context(temporary_beside(target, is_directory=is_directory))
        with _told(shown, "{}; nothing was changed"):
            yield temporary
            sync_tree(temporary)
            take_mode(temporary, target)
            with deferred():
                if is_directory:
                    _put_directory(temporary, target, force=force)
                else:
                    _put_file(temporary, target, force=force)
        with _told(shown, _NOT_SYNCED):
            sync_folder(target.parent)


@contextmanager
def staged_pair(target: Path, beside: Path, *, force: bool) -> Iterator[tuple[Path, Path]]:
    """Give temporary paths for a file and for the one that describes it; see `staged`."""
    claim_target(target, is_directory=False, force=force)
    check_target(beside, is_directory=False, force=force)
    shown, target = target, Path(os.path.realpath(target))
    beside = Path(os.path.realpath(beside))
    with ExitStack() as stack:
        with _told(shown, "cannot write there: {}"):
            # Both under the target's name, so that one look sweeps all.
            first, second = (
                stack.enter_context(temporary_beside(target, is_directory=False)) for _ in range(2)
            )
        with _told(shown, "{}; nothing was changed"):
            yield first, second
            for temporary, place in ((first, target), (second, beside)):
                sync_tree(temporary)
                take_mode(temporary, place)
            with turn(target), deferred():
                _put_pair((first, second), (target, beside), force=force)
        with _told(shown, _NOT_SYNCED):
            sync_folder(target.parent)


_NOT_SYNCED = "it is complete and in place, but the system could not sync its folder: {}"


@contextmanager
def _told(shown: Path, message: str) -> Iterator[None]:
    """Raise what the system refuses as an error that names the target."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{shown}: {message.format(_reason(error))}") from error


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full"
    return error.strerror or str(error)


# --- into place -----------------------------------------------------------------------------


def _put_file(temporary: Path, target: Path, *, force: bool) -> None:
    if force:
        temporary.replace(target)
        return
    try:
        rename_new(temporary, target)
    except FileExistsError as error:
        raise _came_meanwhile(target) from error


def _put_directory(temporary: Path, target: Path, *, force: bool) -> None:
    while True:
        try:
            temporary.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if not force:
                raise _came_meanwhile(target) from error
        else:
            return
        _check_directory(target, target.lstat(), force=True)
        try:
            swap_directories(temporary, target)
        except FileNotFoundError:
            # The target is gone again, or else the temporary is.
            if target.exists() or not temporary.exists():
                raise
        else:
            return


def _came_meanwhile(target: Path) -> OutputError:
    return OutputError(f"{target} came into being meanwhile; use --force to replace it")


def _put_pair(temporaries: tuple[Path, Path], targets: tuple[Path, Path], *, force: bool) -> None:
    """Take the old description away, put the file in place, then the new description."""
    target, beside = targets
    old_beside = name_for_garbage(target)
    undo: list[Callable[[], object]] = []
    with ExitStack() as locks:
        try:
            if force and beside.exists():
                locks.enter_context(held(beside))
                beside.rename(old_beside)
                undo.append(partial(old_beside.rename, beside))
                sync_folder(target.parent)
            if force and target.exists():
                locks.enter_context(held(target))
                _replace(temporaries[0], target, undo)
            else:
                _put_file(temporaries[0], target, force=False)
                undo.append(target.unlink)
            sync_folder(target.parent)
            _put_file(temporaries[1], beside, force=False)
        except BaseException as error:
            _undo_all(undo, target, error)
            raise
        finally:
            remove(old_beside)


def _replace(temporary: Path, target: Path, undo: list[Callable[[], object]]) -> None:
    if swap_in_one_step(temporary, target):
        undo.append(partial(swap_in_one_step, temporary, target))
        return
    temporary.replace(target)
    undo.append(_no_way_back)


def _no_way_back() -> None:
    raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


def _undo_all(undo: list[Callable[[], object]], target: Path, error: BaseException) -> None:
    """Undo what was done, last first; after a step that cannot be undone, none."""
    try:
        for step in reversed(undo):
            step()
    except OSError as failed:
        # An old description must not come back to a new file.
        reason = _reason(error) if isinstance(error, OSError) else _reason(failed)
        raise OutputError(
            f"{target}: {reason}; it is whole, but without its manifest; run again"
        ) from error
