"""What `verify` shows."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from verified import (
    change,
    edit_manifest,
    loaded,
    written,
)

from kinit_cli.compare.checks import Verification
from kinit_cli.compare.verification import verify_file
from kinit_cli.render.text import Console
from kinit_cli.render.verification import render_verification


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# --- shown ------------------------------------------------------------------------------------


def shown(found: Verification, width: int = 80) -> str:
    console = Console(width=width, color_system=None, highlight=False, markup=False)
    with console.capture() as capture:
        render_verification(replace(found, seconds=0.0), console=console)
    # Versions of Rich differ by a character in the length of the line below the headers.
    lines = re.sub("─+", "─", capture.get()).splitlines()
    return "\n".join(line.rstrip() for line in lines)


@pytest.mark.parametrize("width", [1, 30, 63])
def test_no_column_vanishes_from_a_narrow_terminal(width: int) -> None:
    written("w.h5")
    change("w.h5", "a/q", lambda values: values.astype("f4"))
    found = verify_file("w.h5")
    assert shown(found, width) == shown(found, 64)
    assert "a/q     dtype        float64   float32" in shown(found, width)


def test_what_is_shown() -> None:
    written("w.h5")
    assert shown(verify_file("w.h5")) == (
        "w.h5: every bit is what the spec gives (seed 42, stream 1)\n"
        "6 tensors, 890 parameters, 4.6 kB (4.5 KiB), 0.00 s"
    )
    change("w.h5", "z/kernel", lambda values: values * np.float32(2))
    change("w.h5", "z/bias", lambda values: -values)
    change("w.h5", "m/n", lambda values: None)
    change("w.h5", "a/q", lambda values: values.astype("f4"))
    change("w.h5", "m/f", lambda values: np.zeros((1, 3), bool))
    edit_manifest("w.h5", lambda m: m["tensors"]["m/e"].update(digest="1" * 64))
    assert (
        shown(verify_file("w.h5"))
        == """\
tensor    differs     at     expected      found
─
z/kernel  600 of 600  [0,0]  -0.43003154   -0.8600631
z/bias    30 of 30    [0]    0.0           -0.0
a/q       dtype              float64       float32
m/n       missing            int64 scalar
m/f       shape              bool 3        bool 1×3
m/e       record             af1349b9f5f9  111111111111

w.h5: 6 tensors are not as expected
6 tensors, 630 parameters, 2.5 kB (2.5 KiB), 0.00 s"""
    )


def test_many_rows_are_cut(tmp_path: Path) -> None:
    layers = "[{name: 'b{i}', weights: {k: {shape: [2]}}}]"
    text = f"seed: 1\nlayers: [{{repeat: 300, index: i, layers: {layers}}}]"
    written("w.h5", text)
    found = verify_file("w.h5", spec=loaded(text.replace("[2]", "[3]")))
    lines = shown(found).splitlines()
    assert len(lines) < 50
    assert "(260 of 300 are not shown; --json has them all)" in lines
    assert len(found.to_json()["tensors"]) == 300  # type: ignore[arg-type]


def test_names_are_shown_verbatim() -> None:
    with h5py.File("w.h5", "w") as file:
        file["[/]\x1b[31m"] = np.zeros(3)
    spec = loaded("seed: 1\nlayers: [{name: a, weights: {b: {shape: [2]}}}]")
    assert "[/]\\x1b[31m" in shown(verify_file("w.h5", spec=spec))
