"""What the figures were measured on, without the names of hosts, users or folders."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

from kinit_cli import __version__


def describe() -> dict[str, str]:
    """Give the machine and the versions that matter."""
    return {
        "processor": _processor(),
        "cores": str(_n_cores()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("numpy", "h5py", "click")},
        "kinit": __version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _n_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
