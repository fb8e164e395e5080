"""Running other people's code: whatever it does, it neither garbles the output nor ends the run."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import Any

_MAX_MESSAGE = 500
#: Where such code may import from besides `sys.path`, which has these only while it runs.
IMPORT_FOLDERS: list[str] = []
_lock = threading.RLock()


class ForeignCodeError(Exception):
    """Code that is not kinit's raised something; the text says what."""


class _Stdout:
    """Whether standard output is kinit's, to be kept free of what other code prints."""

    is_kinits = False
    is_diverted = False


def claim_stdout() -> None:
    """Say that this process is kinit's command: what other code prints is to go to stderr."""
    _Stdout.is_kinits = True


@contextlib.contextmanager
def foreign_code() -> Iterator[None]:
    """Run other people's code: what it raises becomes one error.

    In kinit's own process what it prints goes to stderr. With KINIT_DEBUG set, its traceback is
    printed, too. An interrupt passes through.

    Raises
    ------
    ForeignCodeError
        It raised an exception, or wanted to end the process.
    """
    try:
        with _import_folders(), _prints_to_stderr():
            yield
    except (ForeignCodeError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if type(error).__module__.partition(".")[0] == "kinit_cli" and not isinstance(
            error, Exception
        ):
            raise  # a signal that ends the run
        if os.environ.get("KINIT_DEBUG"):
            traceback.print_exc()
        raise ForeignCodeError(fmt_error(error)) from error


def fmt_error(error: BaseException) -> str:
    """Write an exception in one line that is not too long."""
    text = " ".join(f"{type(error).__name__}: {_text_of(error)}".split()).removesuffix(":")
    return text if len(text) <= _MAX_MESSAGE else text[:_MAX_MESSAGE] + " ..."


def name_of(thing: Any) -> str:
    """Give the name of a function or class, or of an object's class."""
    try:
        with foreign_code():
            return str(getattr(thing, "__name__", type(thing).__name__))
    except ForeignCodeError:
        return type(thing).__name__


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as fault:  # noqa: BLE001 - an error is being told; it must not end in another
        return f"(its text cannot be had: {type(fault).__name__})"


@contextlib.contextmanager
def _import_folders() -> Iterator[None]:
    # At the end, so that no file there takes the place of an installed module.
    added = [folder for folder in IMPORT_FOLDERS if folder not in sys.path]
    sys.path.extend(added)
    try:
        yield
    finally:
        for folder in added:
            with contextlib.suppress(ValueError):
                sys.path.remove(folder)


@contextlib.contextmanager
def _prints_to_stderr() -> Iterator[None]:
    if not _Stdout.is_kinits:
        yield
        return
    with _lock:
        _divert_descriptor()
        with contextlib.redirect_stdout(sys.stderr):
            yield


def _divert_descriptor() -> None:
    """Send what is written to descriptor 1 to stderr for good; `sys.stdout` keeps its place.

    Compiled code and child processes write past `sys.stdout`, at any time from now on.
    """
    stream = sys.stdout
    if _Stdout.is_diverted or not isinstance(stream, io.TextIOWrapper):
        return
    _Stdout.is_diverted = True
    try:
        stream.flush()
        if stream.fileno() != 1:
            return
        own = os.fdopen(
            os.dup(1), "w", encoding=stream.encoding, errors=stream.errors, closefd=False
        )
        os.dup2(2, 1)
    except OSError:
        return  # one of them is closed: there is nothing to keep apart
    sys.stdout = own
