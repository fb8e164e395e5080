"""Importing libraries that talk to the terminal while they are imported."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType


def import_quietly(name: str) -> ModuleType:
    """Import a module while nothing that it or its compiled parts print is seen.

    Raises
    ------
    Exception
        Whatever the import raises.
    """
    # Read by TensorFlow's C++ when it is loaded, and heeded ever after.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _silence(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


@contextmanager
def _silence() -> Iterator[None]:
    """Send file descriptors 1 and 2 nowhere; compiled code writes past `sys.stderr`."""
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
