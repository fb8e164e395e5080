"""The table: made by its script to the last byte, and refused when it is anything else."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from kinit_cli.errors import KinitError
from kinit_cli.stream import table
from kinit_cli.stream.table import TABLE_PATH, half_normal_table

SCRIPT_PATH = Path(__file__).parents[1] / "scripts" / "make_half_normal_table.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_half_normal_table", SCRIPT_PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def damaged_copy(tmp_path: Path) -> Path:
    damaged = bytearray(TABLE_PATH.read_bytes())
    damaged[-1] ^= 1
    path = tmp_path / "table.npy"
    path.write_bytes(damaged)
    return path


def test_the_script_makes_the_table(script: ModuleType, tmp_path: Path, capsys) -> None:
    path = tmp_path / "table.npy"
    assert script.main(["--path", str(path)]) == 0
    assert path.read_bytes() == TABLE_PATH.read_bytes()
    assert capsys.readouterr() == ("", "")


def test_check_sees_one_wrong_bit(script: ModuleType, tmp_path: Path, monkeypatch, capsys) -> None:
    made = TABLE_PATH.read_bytes()
    monkeypatch.setattr(script, "table_bytes", lambda: made)
    assert script.main(["--check"]) == 0
    assert script.main(["--check", "--path", str(damaged_copy(tmp_path))]) == 1
    assert "is not what this script makes" in capsys.readouterr().err


def test_the_installed_table_is_read_only() -> None:
    values = half_normal_table()
    assert values.shape == (2048, 3)
    with pytest.raises(ValueError, match="read-only"):
        values[0, 0] = 0


def test_a_damaged_table_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(table, "TABLE_PATH", damaged_copy(tmp_path))
    with pytest.raises(KinitError, match="reinstall"):
        half_normal_table.__wrapped__()


@pytest.mark.parametrize(
    ("replacement", "reason"),
    [
        (np.zeros((2048, 3), np.int32), "is not the table"),
        (np.zeros(3), "is not the table"),
        (np.array([{}], dtype=object), "cannot be read"),
    ],
    ids=["zeros", "shape", "pickle"],
)
def test_another_array_is_refused(
    replacement: np.ndarray, reason: str, tmp_path: Path, monkeypatch
) -> None:
    path = tmp_path / "table.npy"
    np.save(path, replacement, allow_pickle=True)
    monkeypatch.setattr(table, "TABLE_PATH", path)
    with pytest.raises(KinitError, match=reason):
        half_normal_table.__wrapped__()


def test_a_missing_table_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(table, "TABLE_PATH", tmp_path / "nowhere.npy")
    with pytest.raises(KinitError, match="cannot be read"):
        half_normal_table.__wrapped__()
