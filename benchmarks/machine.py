"""What the figures were measured on, without the names of hosts, users or folders."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from kinit_cli import __version__


def describe(n_cores: int, n_threads: int, peer_versions: Mapping[str, str]) -> dict[str, str]:
    """Give the machine, the threads, and the versions that matter.

    Parameters
    ----------
    n_cores, n_threads : int
        The cores there were before this process was held to some, and the threads of everyone.
    peer_versions : mapping
        What the libraries say of themselves, in their own environment.
    """
    return {
        "processor": _processor(),
        "cores": str(n_cores),
        "threads": str(n_threads),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: _version(name) for name in ("numpy", "numba", "h5py", "click")},
        **peer_versions,
        "kinit": __version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"
