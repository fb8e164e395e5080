"""The tables of docs/reproducibility.md, from the stored results of the gate's last full run."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reproducibility_environments import REPOSITORY
from reproducibility_runs import PLAIN, SMALL_BYTES, Combination

PAGE = REPOSITORY / "docs" / "reproducibility.md"
RESULTS = REPOSITORY / "docs" / "reproducibility.json"
_BEGIN, _END = "<!-- reproducibility.json -->\n", "<!-- end -->\n"
_VERSIONS = ("python", "numpy", "numba", "h5py", "hdf5")


def record(
    combination: Combination, answer: Mapping[str, Any] | None, differences: Sequence[str]
) -> dict[str, Any]:
    """Give what is kept of a run."""
    specs = answer["specs"].values() if answer else ()
    return {
        "environment": combination.environment.label,
        "engine": combination.engine,
        "threads": combination.threads,
        "device": combination.device if combination.engine.startswith("tensorflow") else None,
        "setting": None if combination.setting == PLAIN else combination.setting.label,
        "has_large_files": combination.max_bytes > SMALL_BYTES,
        "versions": answer["versions"] if answer else {},
        "n_tensor_digests": sum(len(spec["tensors"]) for spec in specs),
        "n_file_digests": sum(len(spec["files"]) for spec in specs),
        "differences": list(differences),
    }


def store(runs: Sequence[Mapping[str, Any]], not_here: Sequence[str]) -> None:
    """Keep the results and bring the page up to date."""
    results = {"machine": machine(), "not_here": list(not_here), "runs": list(runs)}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    refresh()


def refresh() -> None:
    """Put the tables of the kept results into the page."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_tables(text, results), encoding="utf-8")


def with_tables(text: str, results: Mapping[str, Any]) -> str:
    """Give the page with the tables of these results."""
    head, _, rest = text.partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    return f"{head}{_BEGIN}{tables(results)}{_END}{tail}"


def tables(results: Mapping[str, Any]) -> str:
    """Make the part of the page that the results decide."""
    runs = results["runs"]
    n_digests = sum(run["n_tensor_digests"] + run["n_file_digests"] for run in runs)
    n_different = sum(len(run["differences"]) for run in runs)
    most = max(runs, key=lambda run: run["n_file_digests"])
    parts = [
        f"{len(runs)} runs gave {n_digests:,} digests, of which {n_different} differ from the "
        f"golden file, which has {most['n_tensor_digests']:,} of tensors and "
        f"{most['n_file_digests']} of whole outputs.",
        "",
        *_environments([run for run in runs if run["setting"] is None], most["n_tensor_digests"]),
        "",
        *_settings([run for run in runs if run["setting"] is not None]),
        "",
        f"On {results['machine']}. Not here: {'; '.join(results['not_here']) or 'nothing'}.",
    ]
    return "\n".join(parts) + "\n"


def machine() -> str:
    """Describe this machine, without the names of hosts, users or folders."""
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    libc = " ".join(platform.libc_ver())
    return f"{name}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, {libc}"


def _environments(runs: Sequence[Mapping[str, Any]], n_all: int) -> list[str]:
    header = ["Python", "NumPy", "Numba", "h5py", "HDF5", "engine", "threads", "specs", "files"]
    grouped: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for run in runs:
        engine = run["engine"]
        if run["device"]:
            version = run["versions"].get("tensorflow", "")
            engine = f"{engine} {version} on {run['device']}"
        shown = tuple(run["versions"].get(name, "–") for name in _VERSIONS)
        grouped.setdefault((*shown, engine), []).append(run)
    rows = []
    for key, group in sorted(grouped.items(), key=lambda item: _numbers(item[0])):
        threads = ", ".join(str(n) for n in sorted({run["threads"] for run in group}))
        specs = "all" if any(run["n_tensor_digests"] == n_all for run in group) else "small"
        files = "all" if any(run["has_large_files"] for run in group) else "small"
        rows.append([*key, threads, specs, files, _n_different(group)])
    return _table([*header, "differences"], rows)


def _settings(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        grouped.setdefault(run["setting"], []).append(run)
    rows = []
    for setting, group in grouped.items():
        engines = ", ".join(dict.fromkeys(run["engine"] for run in group))
        n_environments = len({run["environment"] for run in group})
        rows.append([f"`{setting}`", engines, str(n_environments), _n_different(group)])
    return _table(["setting", "engines", "environments", "differences"], rows)


def _n_different(runs: Sequence[Mapping[str, Any]]) -> str:
    return str(sum(len(run["differences"]) for run in runs))


def _numbers(key: tuple[str, ...]) -> list[Any]:
    """Give a key that sorts versions as numbers, and the engines as they are."""
    return [[int(part) for part in key[i].split(".") if part.isdigit()] for i in range(2)] + [key]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
