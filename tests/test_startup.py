"""Asking for help loads nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

#: Each takes from 30 ms to seconds to import.
HEAVY = ("h5py", "ml_dtypes", "numba", "numpy", "pydantic", "rich", "ruamel", "scipy", "tensorflow")

_PROGRAM = """
import json, sys
from kinit_cli.cli.main import run
code = run(json.loads(sys.argv[1]))
modules = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"code": code, "modules": modules}), file=sys.stderr)
"""


def _imported(*argv: str) -> tuple[int, set[str], str]:
    """Give the exit code, the top-level modules imported, and what went to stdout."""
    result = subprocess.run(
        [sys.executable, "-c", _PROGRAM, json.dumps(argv)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    report = json.loads(result.stderr.splitlines()[-1])
    return report["code"], set(report["modules"]), result.stdout


@pytest.mark.parametrize(
    "argv",
    [
        ("--help",),
        ("--version",),
        *((name, "--help") for name in ("generate", "inspect", "verify", "diff", "lock")),
        ("generat",),
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(argv: tuple[str, ...]) -> None:
    code, modules, stdout = _imported(*argv)
    assert {"click", "kinit_cli"} <= modules
    assert not modules & set(HEAVY)
    assert code == (2 if argv == ("generat",) else 0)
    assert bool(stdout) == (code == 0)


def test_the_check_sees_what_a_command_imports(tmp_path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text("layers: [{name: a, weights: {b: {shape: [2]}}}]")
    code, modules, _ = _imported("generate", str(spec), "-o", str(tmp_path / "a.h5"), "-q")
    assert code == 0
    assert {"h5py", "numpy", "pydantic", "ruamel"} <= modules
    assert "rich" not in modules


def test_the_package_is_light() -> None:
    program = "import sys, kinit_cli; print(*sorted(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    modules = {name.partition(".")[0] for name in result.stdout.split()}
    assert "kinit_cli" in modules
    assert not modules & {*HEAVY, "click"}
