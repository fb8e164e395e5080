"""`kinit inspect --depth`: tensors joined by the first parts of their paths."""

from __future__ import annotations

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import Kinit

RNG = np.random.default_rng(5)
TENSORS = {
    "a": RNG.standard_normal(7).astype("f4"),
    "b1/attn/q": RNG.standard_normal((40, 3)).astype("f2"),
    "b1/attn/k": np.array([3.0, np.nan, -np.inf, 4.0]),
    "b1/mlp/up": np.full((2, 5), 1e300),
    "b2/attn/q": np.zeros((0, 3), "f4"),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        for name, values in TENSORS.items():
            file[name] = values
        file["b2/[red]"] = "text"
    return path


def groups(kinit: Kinit, *options: str) -> dict[str, dict[str, object]]:
    done = kinit("inspect", "w.h5", "--json", *options)
    assert done.returncode == 0, done.stderr
    return {group["path"]: group for group in json.loads(done.stdout)["groups"]}


def norm(*names: str) -> float:
    values = np.concatenate([TENSORS[name].ravel().astype(np.longdouble) for name in names])
    return float(np.sqrt(np.sum(values[np.isfinite(values)] ** 2)))


def test_sums_of_groups(kinit: Kinit, path: Path) -> None:
    found = groups(kinit, "--depth", "2")
    assert list(found) == ["a", "b1/attn", "b1/mlp", "b2/[red]", "b2/attn"]
    attention = found["b1/attn"]
    assert attention.pop("l2_norm") == pytest.approx(norm("b1/attn/q", "b1/attn/k"), rel=1e-12)
    assert attention == {
        "path": "b1/attn",
        "n_tensors": 2,
        "n_parameters": 124,
        "n_bytes": 240 + 32,
        "dtypes": ["float64", "float16"],
        "n_nan": 1,
        "n_inf": 1,
        "n_failed": 0,
    }
    # The squares exceed float64, the norm does not.
    assert found["b1/mlp"]["l2_norm"] == pytest.approx(norm("b1/mlp/up"), rel=1e-12)
    assert (found["b2/[red]"]["n_parameters"], found["b2/[red]"]["l2_norm"]) == (0, None)
    whole = groups(kinit, "--depth", "1")
    assert {name: group["n_tensors"] for name, group in whole.items()} == {"a": 1, "b1": 3, "b2": 2}
    assert set(groups(kinit, "--depth", "9")) == {*TENSORS, "b2/[red]"}
    assert set(groups(kinit, "b1/*", "--depth", "1")) == {"b1"}


def test_dots_part_names_without_folders(kinit: Kinit, tmp_path: Path) -> None:
    names = ["h.0.attn.w", "h.0.mlp.w", "h.1.attn.w", "wte", "x.y/a", "x.z/a"]
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for name in names:
            file[name] = np.ones(2)
    assert list(groups(kinit, "--depth", "2")) == ["h.0", "h.1", "wte", "x.y/a", "x.z/a"]
    assert list(groups(kinit, "--depth", "1")) == ["h", "wte", "x.y", "x.z"]


def test_largest_first(kinit: Kinit, path: Path) -> None:
    assert list(groups(kinit, "--depth", "1", "--sort", "size")) == ["b1", "a", "b2"]
    done = kinit("inspect", "w.h5", "--depth", "1", "--sort", "mean")
    assert done.returncode == 2
    assert b"'--depth' goes with '--sort name' or 'size', not 'mean'" in done.stderr
    assert json.loads(kinit("inspect", "w.h5", "--json").stdout)["groups"] is None


def test_what_is_shown(kinit: Kinit, path: Path) -> None:
    shown = kinit("inspect", "w.h5", "--depth", "2").stdout.decode()
    lines = [re.sub(r"\s+", " ", line).strip() for line in shown.splitlines()]
    assert lines[0] == "group tensors parameters size share L2 norm dtype"
    assert "b1/mlp 1 10 80 bytes 20.6 % 3.16e+300 float64" in lines
    flagged = next(index for index, line in enumerate(lines) if line.startswith("1 NaN, 1 Inf"))
    assert lines[flagged - 1].startswith("b1/attn 2 124 272 bytes 70.1 %")
    assert any(line.startswith("b2/[red] 1 0") for line in lines)
    assert "6 tensors, 141 parameters" in shown


def test_tensors_that_fail_are_counted(kinit: Kinit, tmp_path: Path) -> None:
    spec = {"seed": 1, "layers": [{"name": "a", "weights": {"k": {"shape": [90, 90]}}}]}
    (tmp_path / "s.json").write_text(json.dumps(spec))
    assert kinit("generate", "s.json", "-o", "w.h5", "-q").returncode == 0
    with h5py.File(tmp_path / "w.h5", "a") as file:
        file["a/k"][...] *= 2
    done = kinit("inspect", "w.h5", "--check", "--depth", "1")
    assert done.returncode == 1
    assert "1 failed" in done.stdout.decode()
