"""The cores that a process may use, with made-up files of the system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kinit_cli.cores import count_cores
from kinit_cli.workers import MAX_DEFAULT_JOBS, default_jobs


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


def system(root: Path, groups: str, quotas: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": groups, **quotas}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


V2 = "sys/fs/cgroup"
V1 = "sys/fs/cgroup/cpu,cpuacct"


@pytest.mark.parametrize(
    ("groups", "quotas", "expected"),
    [
        ("0::/\n", {}, 8),
        ("0::/\n", {f"{V2}/cpu.max": "max 100000\n"}, 8),
        ("0::/\n", {f"{V2}/cpu.max": "250000 100000\n"}, 3),
        ("0::/\n", {f"{V2}/cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {f"{V2}/cpu.max": "9900000 100000\n"}, 8),
        ("0::/a/b\n", {f"{V2}/a/cpu.max": "200000 100000", f"{V2}/a/b/cpu.max": "max 100000"}, 2),
        ("0::/not/here\n", {f"{V2}/cpu.max": "400000 100000\n"}, 4),
        ("0::/../x\n", {f"{V2}/cpu.max": "400000 100000\n"}, 4),
        ("0::/\n", {f"{V2}/cpu.max": "nonsense"}, 8),
        ("0::/\n", {f"{V2}/cpu.max": "100000 0"}, 8),
        ("0::/\n", {f"{V2}/cpu.max": ""}, 8),
        (
            "5:memory:/x\n4:cpu,cpuacct:/x\n",
            {f"{V1}/x/cpu.cfs_quota_us": "150000\n", f"{V1}/x/cpu.cfs_period_us": "100000\n"},
            2,
        ),
        (
            "4:cpu,cpuacct:/x\n",
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        (
            "4:cpu,cpuacct:/x\n",
            {f"{V1}/x/cpu.cfs_quota_us": "-1\n", f"{V1}/x/cpu.cfs_period_us": "100000\n"},
            8,
        ),
    ],
)
def test_the_quota_of_a_control_group(
    tmp_path: Path, groups: str, quotas: dict[str, str], expected: int
) -> None:
    assert count_cores(system(tmp_path, groups, quotas)) == expected


def test_a_system_without_control_groups(tmp_path: Path) -> None:
    assert count_cores(tmp_path) == 8


def test_a_system_without_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert count_cores(tmp_path) == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert count_cores(tmp_path) == 1


def test_the_default_number_of_threads_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= default_jobs() <= 8
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(99)), raising=False)
    assert default_jobs() <= MAX_DEFAULT_JOBS
