"""`kinit inspect --sort`."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from kinit_cli.cli.main import run
from kinit_cli.ordering import SORT_KEYS

VALUES = {
    "b10": [1.0, 2, 3], "b9": [-5.0, 5], "text": None, "none": [np.nan], "a": [4.0, 4, 4, 4],
}  # fmt: skip
ORDERS = {
    "name": ["a", "b9", "b10", "none", "text"],
    "size": ["a", "b10", "b9", "text", "none"],
    "mean": ["a", "b10", "b9", "none", "text"],
    "std": ["b9", "b10", "a", "none", "text"],
    "min": ["a", "b10", "b9", "none", "text"],
    "max": ["b9", "a", "b10", "none", "text"],
}


def test_every_order_is_tested() -> None:
    assert set(ORDERS) == set(SORT_KEYS)


@pytest.mark.parametrize("key", SORT_KEYS)
def test_tensors_come_in_the_order_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    path = str(tmp_path / "w.h5")
    with h5py.File(path, "w") as file:
        for name, values in VALUES.items():
            file[name] = "hello, this is text" if values is None else np.array(values, np.float32)
    assert run(["inspect", path, "--sort", key, "--json"]) == 0
    tensors = json.loads(capsys.readouterr().out)["tensors"]
    found = [tensor["path"] for tensor in tensors]
    if key == "size":
        sizes = [tensor["n_bytes"] for tensor in tensors]
        assert sizes == sorted(sizes, reverse=True)
        assert [name for name in found if name != "text"] == ["a", "b10", "b9", "none"]
    else:
        assert found == ORDERS[key]
    assert run(["inspect", path, "--sort", key]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [
        line.split()[0] for line in lines[2:] if line.split()[:1] and line.split()[0] in VALUES
    ] == found


def test_ours_is_in_the_order_of_the_spec_without_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text("layers: [{name: a, weights: {z: {shape: [9]}, b: {shape: [8]}}}]\n")
    assert run(["generate", "s.yaml", "-o", "w.h5", "-q"]) == 0
    for options, expected in (([], ["a/z", "a/b"]), (["--sort", "name"], ["a/b", "a/z"])):
        assert run(["inspect", "w.h5", "--json", *options]) == 0
        tensors = json.loads(capsys.readouterr().out)["tensors"]
        assert [tensor["path"] for tensor in tensors] == expected
    assert run(["inspect", "w.h5", "--sort", "other"]) == 2
    assert "'name', 'size', 'mean', 'std', 'min', 'max'" in capsys.readouterr().err
