"""Pythons that are on this machine, each with kinit's libraries at their oldest or their newest.

Environments are made in .venv-matrix, once, and hold only what kinit needs to run; kinit itself is
taken from this repository.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

REPOSITORY = Path(__file__).parents[1]
FOLDER = REPOSITORY / ".venv-matrix"
#: Paths of further Pythons, separated as in PATH; they come before those that are found.
PYTHONS_VARIABLE = "KINIT_PYTHONS"

#: The minor versions of Python 3 that are looked for; kinit needs the first.
MINORS = range(10, 16)
#: Every requirement at its lower bound, or all as new as pip makes them.
Libraries = Literal["oldest", "newest"]
LIBRARIES: tuple[Libraries, ...] = get_args(Libraries)

_INSTALL_SECONDS = 900
_START_SECONDS = 60
_REQUIREMENT = re.compile(r'^    "([\w.-]+)>=([\w.]+)([^"]*)",$', re.MULTILINE)
_REQUIREMENT_NAME = re.compile(r"^[\w.-]+", re.MULTILINE)
_VERSION_PROGRAM = "import sys; print(*sys.version_info[:2], sys.implementation.name)"


class NotHereError(Exception):
    """An environment cannot be had on this machine; the reason is for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A Python with libraries.

    Attributes
    ----------
    label : str
        For people.
    python : str
        The path of its interpreter.
    variables : tuple of (str, str)
        Names and values of environment variables that it needs.
    """

    label: str
    python: str
    variables: tuple[tuple[str, str], ...] = ()


def environment_here() -> Environment:
    """Give the environment in which this runs."""
    return Environment(label="this environment", python=sys.executable)


def environment_of(minor: int, libraries: Libraries, extras: tuple[str, ...] = ()) -> Environment:
    """Give Python 3.minor with kinit's requirements, made if it is not there yet.

    Parameters
    ----------
    extras : tuple of str
        Optional requirements of pyproject.toml that are installed as well.

    Raises
    ------
    NotHereError
        This machine has no such Python, or pip cannot install what it needs.
    """
    label = f"Python 3.{minor}, {libraries} libraries"
    python = find_pythons().get(minor)
    if python is None:
        raise NotHereError(f"{label}: no Python 3.{minor} here (PATH, pyenv, {PYTHONS_VARIABLE})")
    wanted = requirements(libraries, extras)
    folder = FOLDER / "-".join([f"3.{minor}", libraries, *extras])
    made = folder / "bin" / "python"
    stamp = folder / "installed.json"
    if not (made.exists() and stamp.exists() and json.loads(stamp.read_bytes()) == wanted):
        shutil.rmtree(folder, ignore_errors=True)
        try:
            _make(python, folder, wanted)
        except NotHereError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise NotHereError(f"{label}: {error}") from error
        stamp.write_text(json.dumps(wanted), encoding="utf-8")
    variables = (("NUMBA_CACHE_DIR", str(folder / "numba-cache")),)
    return Environment(label=label, python=str(made), variables=variables)


@lru_cache(maxsize=1)
def find_pythons() -> dict[int, str]:
    """Find the CPythons that kinit can run on: their paths by their minor version."""
    found: dict[int, str] = {}
    for path in _candidates():
        minor = _minor_of(path)
        if minor is not None and minor in MINORS:
            found.setdefault(minor, path)
    return dict(sorted(found.items()))


def has_module(environment: Environment, name: str) -> bool:
    """Tell whether an environment has a module, without importing it."""
    program = f"import importlib.util; print(importlib.util.find_spec({name!r}) is not None)"
    return _output([environment.python, "-c", program]) == "True"


def requirements(libraries: Libraries, extras: tuple[str, ...] = ()) -> list[str]:
    """List what kinit needs to run, as pyproject.toml has it, for pip.

    Raises
    ------
    ValueError
        A requirement has no lower bound.
    """
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    lists = [_list_of(text, "dependencies"), *(_list_of(text, extra) for extra in extras)]
    wanted = []
    for listed in lists:
        n_quoted = sum(line.startswith('    "') for line in listed.splitlines())
        matches = list(_REQUIREMENT.finditer(listed))
        if not matches or len(matches) != n_quoted:
            raise ValueError("pyproject.toml: expected NAME>=VERSION in every requirement")
        relation = "==" if libraries == "oldest" else ">="
        wanted += [f"{name}{relation}{bound}{rest}" for name, bound, rest in map(_groups, matches)]
    return wanted


def _groups(match: re.Match[str]) -> tuple[str, str, str]:
    return match[1], match[2], match[3]


def _list_of(text: str, name: str) -> str:
    """Give the lines of a list in pyproject.toml; tomllib came with Python 3.11."""
    match = re.search(rf"^{name} = \[\n(.*?)^\]$", text, re.MULTILINE | re.DOTALL)
    if match is None:
        raise ValueError(f"pyproject.toml: expected a list {name}")
    return match[1]


def _candidates() -> list[str]:
    given = [path for path in os.environ.get(PYTHONS_VARIABLE, "").split(os.pathsep) if path]
    on_path = [shutil.which(f"python3.{minor}") for minor in MINORS]
    return [*given, sys.executable, *filter(None, on_path), *_pyenv_pythons()]


def _pyenv_pythons() -> list[str]:
    """List what pyenv has installed; its shims run only the versions that are switched on."""
    root = os.environ.get("PYENV_ROOT")
    if root is None and shutil.which("pyenv") is not None:
        root = _output(["pyenv", "root"])
    return sorted(map(str, Path(root).glob("versions/3.*/bin/python"))) if root else []


def _minor_of(python: str) -> int | None:
    """Give the minor version of a CPython 3 that works, or None."""
    words = (_output([python, "-c", _VERSION_PROGRAM]) or "").split()
    if len(words) != 3 or (words[0], words[2]) != ("3", "cpython"):
        return None
    return int(words[1])


def _output(command: list[str]) -> str | None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_START_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _make(python: str, folder: Path, wanted: list[str]) -> None:
    """Make an environment; nothing large is compiled, which would take minutes, or fail."""
    _install([python, "-m", "venv", str(folder)])
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install"]
    names = ",".join(_REQUIREMENT_NAME.findall("\n".join(wanted)))
    _install(
        [
            *pip,
            "--quiet",
            "--retries",
            "1",
            "--timeout",
            "30",
            "--prefer-binary",
            "--only-binary",
            names,
            *wanted,
        ]
    )


def _install(command: list[str]) -> None:
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=False,
            env={**variables, "PIP_NO_INPUT": "1"},
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NotHereError(f"{type(error).__name__}: {error}") from error
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise NotHereError(_reason(lines) or f"exit code {done.returncode}")


def _reason(lines: list[str]) -> str:
    """Give the line of pip's that says most."""
    errors = [line for line in lines if line.startswith("ERROR: ")]
    told = [line for line in errors if "No matching distribution" in line] or errors or lines[-1:]
    return told[-1].removeprefix("ERROR: ")[:300] if told else ""
