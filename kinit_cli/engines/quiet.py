"""Libraries that talk to the terminal while they are imported or set up."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress


@contextmanager
def quiet(*, is_alone: bool) -> Iterator[None]:
    """Import libraries, and set them up, while little or nothing that they print is seen.

    Parameters
    ----------
    is_alone : bool
        The process is kinit's own: file descriptors 1 and 2 lead nowhere meanwhile, since
        compiled code writes past all settings.
    """
    # Read by TensorFlow's C++ when it is loaded, and heeded ever after.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _silence() if is_alone else nullcontext(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _silence() -> Iterator[None]:
    """Send file descriptors 1 and 2 nowhere."""
    _flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    kept = {}
    for number in (1, 2):
        with suppress(OSError):  # it is closed: nothing is seen of it anyway
            kept[number] = os.dup(number)
    try:
        for number in kept:
            os.dup2(nowhere, number)
        yield
    finally:
        _flush()
        for number, copy in kept.items():
            os.dup2(copy, number)
        for number in (nowhere, *kept.values()):
            os.close(number)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()
