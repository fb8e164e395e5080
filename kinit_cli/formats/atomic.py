"""Put an output in place as a whole or not at all.

Output goes to a temporary file or directory beside the target, is synced, and takes the target's
name in one step. Whatever fails, Ctrl-C included, the target stays as it was and the temporary
goes. A process that is killed leaves its temporary behind; the next run to the same target
removes it: every temporary is locked by its writer, and a lock ends with its process.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kinit_cli.errors import OutputError
from kinit_cli.formats.owned_files import owned_files

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


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
    parent = Path(os.path.realpath(target)).parent
    if not parent.is_dir():
        raise OutputError(f"{target}: expected a folder {target.parent}, got none; create it first")
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return
    if is_directory:
        _check_directory(target, mode, force=force)
    elif stat.S_ISDIR(mode):
        raise OutputError(f"{target}: expected a file name, got a directory")
    elif not stat.S_ISREG(mode):
        raise OutputError(f"{target}: expected a regular file, got a device, pipe or socket")
    elif not force:
        raise OutputError(f"{target} exists; use --force to replace it")


def _check_directory(target: Path, mode: int, *, force: bool) -> None:
    if not stat.S_ISDIR(mode):
        raise OutputError(f"{target}: expected a directory, got a file")
    if Path(os.path.realpath(os.curdir)).is_relative_to(os.path.realpath(target)):
        # It would be another directory afterwards, and the shell would stand in none.
        raise OutputError(f"{target}: expected a directory to replace, got the current one")
    if not any(target.iterdir()):
        return
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


@contextmanager
def staged(target: Path, *, is_directory: bool, force: bool) -> Iterator[Path]:
    """Give a temporary path beside `target`; on leaving without an error, put it in place.

    Raises
    ------
    OutputError
        The target must not be replaced, or the system refused; the target is as it was.
    """
    check_target(target, is_directory=is_directory, force=force)
    shown, target = target, Path(os.path.realpath(target))
    try:
        _sweep(target)
        temporary, lock = _create(target, is_directory=is_directory)
    except OSError as error:
        raise OutputError(f"{shown}: cannot write there: {error.strerror}") from error
    try:
        yield temporary
        _sync(temporary)
        _put_in_place(temporary, target, is_directory=is_directory, force=force)
        _sync_entry(target.parent)
    except OSError as error:
        raise OutputError(f"{shown}: {_reason(error)}; nothing was changed") from error
    finally:
        _remove(temporary)
        os.close(lock)


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full"
    return error.strerror or str(error)


# --- temporaries ----------------------------------------------------------------------------


def _prefix(target: Path) -> str:
    # A name may be up to 255 bytes long, so a long target lends only its beginning.
    return f".{target.name[:60]}.kinit-"


def _create(target: Path, *, is_directory: bool) -> tuple[Path, int]:
    """Create an empty temporary and lock it; give its path and the descriptor of the lock."""
    while True:
        path = target.with_name(f"{_prefix(target)}{secrets.token_hex(8)}.tmp")
        if is_directory:
            path.mkdir()
            with suppress(FileNotFoundError):
                path.chmod(stat.S_IMODE(target.stat().st_mode))
            descriptor = os.open(path, os.O_RDONLY)
        else:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _file_mode(target))
        if _try_lock(descriptor) and _is_at(descriptor, path):
            return path, descriptor
        # Another run swept it in the moment before it was locked.
        os.close(descriptor)


def _file_mode(target: Path) -> int:
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        return 0o666


def _sweep(target: Path) -> None:
    """Remove what killed runs to this target left behind."""
    for path in target.parent.glob(f"{_glob_escaped(_prefix(target))}*.tmp"):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                if _try_lock(descriptor):
                    _remove(path)
            finally:
                os.close(descriptor)


def _glob_escaped(text: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in text)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # A file system without locks: nothing can be swept there, and nothing is.
        return True
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


# --- into place -----------------------------------------------------------------------------


def _sync(path: Path) -> None:
    if not path.is_dir():
        _sync_entry(path)
        return
    for folder, _, files in os.walk(path):
        for file in files:
            _sync_entry(os.path.join(folder, file))
        _sync_entry(folder)


def _sync_entry(path: str | os.PathLike[str]) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put_in_place(temporary: Path, target: Path, *, is_directory: bool, force: bool) -> None:
    if is_directory:
        if target.exists() and any(target.iterdir()) and force:
            _check_directory(target, target.lstat().st_mode, force=True)
            _exchange(temporary, target)
        else:
            temporary.rename(target)
    elif force:
        temporary.replace(target)
    else:
        _link_new(temporary, target)


def _link_new(temporary: Path, target: Path) -> None:
    """Give a file a second name that must not exist yet; the first goes with the temporary."""
    try:
        os.link(temporary, target)
    except FileExistsError as error:
        message = f"{target} came into being meanwhile; use --force to replace it"
        raise OutputError(message) from error
    except OSError:
        # A file system without hard links.
        temporary.rename(target)


def _exchange(temporary: Path, target: Path) -> None:
    """Swap two directories in one step where the system can, else in two."""
    if sys.platform == "linux":
        renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
        names = os.fsencode(temporary), os.fsencode(target)
        if renameat2 is not None and not renameat2(
            _AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE
        ):
            return
    old = target.with_name(f"{_prefix(target)}{secrets.token_hex(8)}.tmp")
    target.rename(old)
    try:
        temporary.rename(target)
    except BaseException:
        old.rename(target)
        raise
    _remove(old)
