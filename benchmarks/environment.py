"""The same number of threads for everyone, and a place in memory for files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    # The thread pool of XLA.
    "NPROC",
)
_SHARED_MEMORY = Path("/dev/shm")
#: A file on a RAM disk is memory; so much of what is free is left alone.
_SHARE_OF_MEMORY = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder for outputs, and what kind of folder it is."""

    folder: Path
    kind: str


def limit_threads(n_threads: int) -> None:
    """Hold this process and all that it starts to so many cores and threads.

    Libraries read one variable or the other when they are imported; the affinity holds those
    that read none.
    """
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, set(cores[:n_threads]))
    os.environ.update(
        thread_variables(n_threads),
        CUDA_VISIBLE_DEVICES="-1",
        JAX_PLATFORMS="cpu",
        KERAS_BACKEND="tensorflow",
        TF_CPP_MIN_LOG_LEVEL="3",
        PYTHONWARNINGS="ignore",
    )


def thread_variables(n_threads: int) -> dict[str, str]:
    """Give the environment variables that libraries take their number of threads from."""
    return dict.fromkeys(_THREAD_VARIABLES, str(n_threads))


@contextmanager
def output_folder(n_bytes: int, otherwise: Path) -> Iterator[Place | None]:
    """Give a folder for files of `n_bytes`: on a RAM disk, elsewhere, or None without room."""
    for parent, kind in ((_SHARED_MEMORY, "a RAM disk"), (otherwise, "a temporary folder")):
        if _has_room(parent, n_bytes, is_memory=parent == _SHARED_MEMORY):
            with tempfile.TemporaryDirectory(prefix="kinit-bench-", dir=parent) as name:
                yield Place(folder=Path(name), kind=kind)
            return
    yield None


def fmt_bytes(n_bytes: int) -> str:
    """Write a size as `498 MB`."""
    return f"{n_bytes / 1e9:.3g} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.3g} MB"


def _has_room(parent: Path, n_bytes: int, *, is_memory: bool) -> bool:
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        return False
    n_free = float(shutil.disk_usage(parent).free)
    if is_memory:
        n_free = min(n_free, _SHARE_OF_MEMORY * _free_memory())
    return n_bytes * 1.1 < n_free


def _free_memory() -> float:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return float(fields.get("MemAvailable", "0 kB").split()[0]) * 1024
