"""Whether compiled code can be kept for the next process, or is there from the last one."""

from __future__ import annotations

import os
from pathlib import Path

_COMPILED = Path(__file__).parents[1] / "compiled"
# What Numba calls the index of kept code, for one of the kernels that most work needs.
_KEPT = "stream.*.nbi"


def can_keep_code() -> bool:
    """Look at the folders in which Numba keeps code, in its order."""
    beside = _COMPILED / "__pycache__"
    return any(beside.glob(_KEPT)) or any(map(_is_writable, [beside, *_other_folders()]))


def _other_folders() -> list[Path]:
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    own = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return [*([Path(chosen)] if chosen else []), Path(own)]


def _is_writable(folder: Path) -> bool:
    """Tell whether a folder can be written, or made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
