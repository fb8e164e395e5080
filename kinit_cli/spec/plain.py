"""Data that Python programs give in place of a spec's file, as a file would give it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kinit_cli.spec.document import MAX_DEPTH


def as_python(value: Any) -> Any:
    """Give NumPy's numbers as Python's; what is none is refused where it is checked."""
    return value.item() if isinstance(value, np.generic) else value


def as_plain(data: Any, depth: int = 0) -> Any:
    """Copy nested data with dicts for mappings and lists for sequences, as a file gives them."""
    if depth > MAX_DEPTH:
        return data  # refused where it is checked
    if isinstance(data, Mapping):
        return {key: as_plain(value, depth + 1) for key, value in data.items()}
    if isinstance(data, np.ndarray):
        data = data.tolist()
    if isinstance(data, list | tuple):
        return [as_plain(item, depth + 1) for item in data]
    return as_python(data)
