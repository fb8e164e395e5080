"""Temporary files and directories beside a target, which a killed run cannot leave for ever.

Every temporary is locked by its writer, and a lock ends with its process: what bears a temporary's
name and is not locked belongs to nobody, and the next run to the same target removes it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SUFFIX = ".tmp"
_OLD_SUFFIX = f".old{_SUFFIX}"
#: Of a target's name, which may be up to 255 bytes long, 4 of them a character.
_MAX_NAME = 50


@contextmanager
def temporary_beside(target: Path, *, is_directory: bool) -> Iterator[Path]:
    """Give an empty temporary file or directory in the target's folder; on leaving, it goes.

    The target's mode is not that of its temporary, which must be writable: see `take_mode`.
    """
    path, lock = _create(target, is_directory=is_directory)
    try:
        yield path
    finally:
        try:
            remove(path)
        finally:
            _close(lock)


@contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """Give an empty folder among the system's temporaries that only this user can look into."""
    import tempfile

    target = Path(tempfile.gettempdir(), f"{name}-{os.getuid()}")
    sweep(target)
    with temporary_beside(target, is_directory=True) as folder:
        folder.chmod(0o700)
        yield folder


def sweep(target: Path) -> None:
    """Remove what killed runs to this target left behind, or put back what they took away."""
    with suppress(OSError):
        for path in target.parent.glob(f"{_glob_escaped(_prefix(target))}*{_SUFFIX}"):
            with suppress(OSError), held(path) as is_ours:
                if not is_ours:
                    continue
                if path.name.endswith(_OLD_SUFFIX) and not os.path.lexists(target):
                    path.rename(target)
                else:
                    remove(path)


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Hold a lock on what is at a path, if it can be had; tell whether it could."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        yield False
        return
    try:
        yield _try_lock(descriptor) is True
    finally:
        _close(descriptor)


@contextmanager
def turn(target: Path) -> Iterator[None]:
    """Wait until no other run is here for the same target."""
    path = target.with_name(f"{_prefix(target)}turn{_SUFFIX}")
    descriptor = _wait_for(path)
    try:
        yield
    finally:
        try:
            remove(path)
        finally:
            _close(descriptor)


def name_for_old(target: Path) -> Path:
    """Give a name for what is at the target, from which `sweep` puts it back."""
    return target.with_name(f"{_prefix(target)}{secrets.token_hex(8)}{_OLD_SUFFIX}")


def name_for_garbage(target: Path) -> Path:
    """Give a name that `sweep` removes, if nobody holds what bears it."""
    return target.with_name(f"{_prefix(target)}{secrets.token_hex(8)}{_SUFFIX}")


def remove(path: Path) -> None:
    """Remove a file or a directory, or as much of it as the system lets go."""
    with suppress(OSError):
        if not path.is_dir() or path.is_symlink():
            path.unlink(missing_ok=True)
            return
        shutil.rmtree(path, ignore_errors=True)
        if path.exists():
            # Folders that may not be written to keep their files.
            for folder, _, _ in os.walk(path):
                os.chmod(folder, 0o700)
            shutil.rmtree(path, ignore_errors=True)


def _prefix(target: Path) -> str:
    return f".{target.name[:_MAX_NAME]}.kinit-"


def _create(target: Path, *, is_directory: bool) -> tuple[Path, int]:
    """Create an empty temporary and lock it; give its path and the descriptor of the lock."""
    # What replaces a file that nobody else may read is not for others meanwhile either.
    is_private = target.exists()
    while True:
        path = name_for_garbage(target)
        if is_directory:
            path.mkdir(0o700 if is_private else 0o777)
        try:
            flags = os.O_RDONLY if is_directory else os.O_RDWR | os.O_CREAT | os.O_EXCL
            descriptor = os.open(path, flags, 0o600 if is_private else 0o666)
        except FileNotFoundError:
            if is_directory and target.parent.is_dir():
                continue  # swept: see below
            raise
        except OSError:
            remove(path)
            raise
        if _try_lock(descriptor) is not False and _is_at(descriptor, path):
            return path, descriptor
        # Another run swept it in the moment before it was locked.
        _close(descriptor)


def _wait_for(path: Path) -> int:
    """Create a file and wait for its lock; give the descriptor."""
    while True:
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o666)
        try:
            # A file system without locks: nobody can be waited for.
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        except BaseException:
            _close(descriptor)
            raise
        if _is_at(descriptor, path):
            return descriptor
        # The run that had its turn took the file away.
        _close(descriptor)


def _close(descriptor: int) -> None:
    """Let a lock go; nothing was written through it that could be lost."""
    with suppress(OSError):
        os.close(descriptor)


def _glob_escaped(text: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in text)


def _try_lock(descriptor: int) -> bool | None:
    """Lock what is open; tell whether nobody else had, or None if nobody can."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # A file system without locks: what is another run's cannot be told from garbage there.
        return None
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
