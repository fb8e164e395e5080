"""Tensors' paths as file names: UTF-8 on disk, whatever encoding the locale asks for."""

from __future__ import annotations

import os


def file_name_of(path: str) -> str:
    """Give the name, as Python's functions take it, of the file whose name in UTF-8 is `path`."""
    return os.fsdecode(path.encode())


def path_of_file_name(name: str) -> str:
    """Give the text that a file's name is in UTF-8; bytes that are none stay escaped."""
    return os.fsencode(name).decode("utf-8", "surrogateescape")
