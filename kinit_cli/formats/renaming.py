"""Renames that replace nothing, or swap two names, in one step where the system can.

And what belongs to them: the mode that a new file takes over, and bringing names to the disk.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

from kinit_cli.formats.temporaries import held, name_for_old

_AT_FDCWD = -100
_RENAME_NOREPLACE, _RENAME_EXCHANGE = 1, 2
#: What systems and file systems answer that do not know a call, or this use of it.
_UNKNOWN = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.ENOTTY)


def rename_new(source: Path, target: Path) -> None:
    """Give a file a name that must not exist yet; the old name goes, or goes with the temporary.

    Raises
    ------
    FileExistsError
        The name exists.
    """
    if _renameat2(source, target, _RENAME_NOREPLACE):
        return
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
        # A file system without hard links.
        source.rename(target)


def swap_in_one_step(first: Path, second: Path) -> bool:
    """Swap two names; tell whether the system could, else nothing was done."""
    return _renameat2(first, second, _RENAME_EXCHANGE)


def swap_directories(temporary: Path, target: Path) -> None:
    """Swap two directories in one step where the system can, else in three.

    Between these the target is under a name from which `sweep` puts it back.
    """
    if swap_in_one_step(temporary, target):
        return
    old = name_for_old(target)
    with held(target):
        target.rename(old)
        try:
            temporary.rename(target)
        except BaseException:
            old.rename(target)
            raise
        old.rename(temporary)


def take_mode(temporary: Path, target: Path) -> None:
    """Give a temporary the permissions of what it will replace, if there is such a thing."""
    # On some file systems all files have the same ones; without, the file stays private.
    with suppress(OSError):
        temporary.chmod(stat.S_IMODE(target.stat().st_mode))


def sync_tree(path: Path) -> None:
    """Bring a file, or a directory with all that is in it, to the disk."""
    if not path.is_dir():
        _sync(path)
        return
    for folder, _, files in os.walk(path):
        for file in files:
            _sync(os.path.join(folder, file))
        sync_folder(folder)


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Bring the names in a folder to the disk, where the file system has a way to do it."""
    try:
        _sync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise


def _sync(path: str | os.PathLike[str]) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _renameat2(source: Path, target: Path, flags: int) -> bool:
    """Rename as Linux can; tell whether this system and file system know how."""
    if sys.platform != "linux":
        return False
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    if not call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flags):
        return True
    number = ctypes.get_errno()
    if number in _UNKNOWN:
        return False
    raise OSError(number, os.strerror(number), str(target))
