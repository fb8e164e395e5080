"""How many cores this process may use: its affinity, and the quota of its control groups."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_V1_CONTROLLER = "cpu"


def count_cores(root: Path = Path("/")) -> int:
    """Give the number of cores that this process may keep busy, at least 1.

    Parameters
    ----------
    root : Path
        Where the system's files are looked for.
    """
    if hasattr(os, "sched_getaffinity"):
        n_cores = len(os.sched_getaffinity(0))
    else:
        n_cores = os.cpu_count() or 1
    return max(1, min([n_cores, *(math.ceil(quota) for quota in _iter_quotas(root))]))


def _iter_quotas(root: Path) -> Iterator[float]:
    """Give the quota, in cores, of every control group above this process that has one.

    Linux, Documentation/admin-guide/cgroup-v2.rst, `cpu.max`; cgroup-v1/, `cpu.cfs_quota_us`.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        is_v2 = not controllers
        if not is_v2 and _V1_CONTROLLER not in controllers.split(","):
            continue
        mounts = (
            ("sys/fs/cgroup",) if is_v2 else (f"sys/fs/cgroup/{controllers}", "sys/fs/cgroup/cpu")
        )
        for mount in mounts:
            for folder in _folders(root / mount, group):
                quota = _quota_v2(folder) if is_v2 else _quota_v1(folder)
                if quota is not None:
                    yield quota


def _folders(mount: Path, group: str) -> Iterator[Path]:
    """Give the folder of a group and of all groups above it; in a container only some exist."""
    parts = [part for part in PurePosixPath(group).parts if part not in ("/", "..")]
    for length in range(len(parts) + 1):
        yield mount.joinpath(*parts[:length])


def _quota_v2(folder: Path) -> float | None:
    quota, _, period = _read(folder / "cpu.max").strip().partition(" ")
    return _quota(quota, period)


def _quota_v1(folder: Path) -> float | None:
    quota, period = (_read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    return _quota(quota, period)


def _quota(quota: str, period: str) -> float | None:
    """Divide, unless there is no quota: "max" in version 2, "-1" in version 1."""
    if quota.isdecimal() and period.isdecimal() and int(quota) and int(period):
        return int(quota) / int(period)
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
