"""What tests share: a small spec, and the command line as a real process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

SMALL_SPEC = """\
seed: 7
layers:
  - name: dense
    weights:
      kernel: {shape: [20, 10]}
      bias: {shape: [10]}
  - name: rnn
    weights:
      recurrent_kernel: {shape: [16, 64]}
      count: {shape: [], dtype: int64}
"""

# An example may be slow on a busy machine; the whole run has a limit of its own. The same
# examples are drawn each time, so that one commit has one result; `make fuzz` draws new ones.
settings.register_profile("kinit", deadline=None, derandomize=True)
settings.register_profile("fuzz", deadline=None)
settings.load_profile("fuzz" if "KINIT_FUZZ_EXAMPLES" in os.environ else "kinit")

Kinit = Callable[..., "subprocess.CompletedProcess[bytes]"]


def kinit_environment(**changes: str) -> dict[str, str]:
    """Give an environment in which output does not depend on the terminal."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("FORCE_COLOR", "NO_COLOR", "COLUMNS", "KINIT_DEBUG")
    }
    return {**kept, "PYTHONWARNINGS": "error", **changes}


@pytest.fixture
def small_spec(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL_SPEC, encoding="utf-8")
    return path


@pytest.fixture
def kinit(tmp_path: Path) -> Kinit:
    """Run `python -m kinit_cli` in `tmp_path` and give the finished process, bytes untouched."""

    def run(*arguments: str, stdin: bytes = b"", **environment: str) -> object:
        return subprocess.run(
            [sys.executable, "-m", "kinit_cli", *arguments],
            cwd=tmp_path,
            input=stdin,
            capture_output=True,
            env=kinit_environment(**environment),
            timeout=120,
            check=False,
        )

    return run  # type: ignore[return-value]


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Note the mode and the elements of each launch of the TensorFlow engine."""
    from kinit_cli.engines.tensorflow_programs import Programs

    calls: list[tuple[str, int]] = []
    launch = Programs.launch

    def noted(self: Programs, job: Any, mode: Any, first_word: int, size: int) -> Any:
        calls.append((mode, size))
        return launch(self, job, mode, first_word, size)

    monkeypatch.setattr(Programs, "launch", noted)
    return calls
