"""Whether this machine has a driver for GPUs that TensorFlow could use; a look, nothing loaded."""

from __future__ import annotations

import os
from pathlib import Path

_DEVICES = Path("/dev")
#: What drivers put there: NVIDIA's (on Windows beneath Linux, dxg), and AMD's.
_NVIDIA = ("nvidia[0-9]*", "dxg")
_AMD = ("kfd",)


def has_gpu_driver() -> bool:
    """Tell whether there may be a GPU; TensorFlow may see none all the same."""
    return (_has(_NVIDIA) and not _are_hidden("CUDA_VISIBLE_DEVICES")) or (
        _has(_AMD)
        and not _are_hidden("HIP_VISIBLE_DEVICES")
        and not _are_hidden("ROCR_VISIBLE_DEVICES")
    )


def _has(patterns: tuple[str, ...]) -> bool:
    return any(next(_DEVICES.glob(pattern), None) is not None for pattern in patterns)


def _are_hidden(variable: str) -> bool:
    """Tell whether a variable leaves no device: it is empty, or begins with -1."""
    value = os.environ.get(variable)
    return value is not None and value.strip().partition(",")[0] in ("", "-1")
