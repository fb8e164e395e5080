"""The code blocks of the documentation, and a folder in which those of one page run in order.

What a block's info string means:

    yaml [FILE], json [FILE]   a whole spec; it is planned, and kept as FILE for later blocks
    yaml fragment              a part of a spec: layers, weights, or keys of the top level
    yaml wrong FILE            a spec that has problems
    console                    commands after "$ ", each followed by all that it prints
    python                     a program
    python MODULE              a program that needs a module which may be missing
    sh, text                   for the reader only
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
#: Its blocks are run by tests/test_docs_stream.py, from the root of the repository.
STREAM_PAGE = DOCS / "stream.md"

_FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TIME = re.compile(r"\b[0-9]+\.[0-9]{2} s\b")
# Versions of Rich differ by a character in a line's length.
_RULE = re.compile("─+")
_SPEED = re.compile(r", [0-9.]+ ?[kMGT]?B/s")
_TOP_LEVEL = {"kinit", "name", "seed", "dtype", "layout", "params", "defaults", "layers"}
_FILLER = {"name": "filler", "weights": {"kernel": {"shape": [2, 3]}}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block: its info string's words, its text, and the line of its first fence."""

    words: tuple[str, ...]
    text: str
    line: int

    @property
    def is_for_reader_only(self) -> bool:
        """Tell whether the block is not to be run."""
        return self.words[0] in ("sh", "text")

    @property
    def needed_module(self) -> str | None:
        """The module that must be there for the block to run, if it says so."""
        return self.words[1] if self.words[0] == "python" and len(self.words) > 1 else None


class BlockError(AssertionError):
    """A block does not do what its page says."""


def pages() -> list[Path]:
    """List the README and the pages of docs/, but for the one about the stream."""
    return [REPOSITORY / "README.md", *sorted(set(DOCS.glob("*.md")) - {STREAM_PAGE})]


def parse_blocks(text: str) -> list[Block]:
    """List the fenced blocks of a page."""
    return [
        Block(
            words=tuple(match[1].split()) or ("",),
            text=match[2],
            line=text.count("\n", 0, match.start()) + 1,
        )
        for match in _FENCE.finditer(text)
    ]


def comparable(output: str) -> str:
    """Cut a command's output down to what is the same in every run, everywhere."""
    lines = _RULE.sub("─", _SPEED.sub("", _TIME.sub("0.00 s", output))).splitlines()
    return "\n".join(line.rstrip() for line in lines).rstrip()


class Session:
    """Runs the blocks of one page, in order, in a folder that begins with the sample specs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        shutil.copytree(REPOSITORY / "sample_configs", folder / "sample_configs")

    def run(self, block: Block) -> None:
        """Run a block; a console block's output must be the one shown.

        Raises
        ------
        BlockError
            The block does something else, or its info string means nothing.
        """
        match block.words:
            case ("console",):
                shown, got = comparable(block.text), comparable(self.console(block.text))
                if shown != got:
                    raise BlockError(f"{shown}\n--- is shown; printed is ---\n{got}")
            case ("python",) | ("python", _):
                self._run_python(block.text)
            case ("yaml", "fragment"):
                self._plan(_completed(block.text), "fragment.yaml")
            case ("yaml", "wrong", str(name)):
                self._keep(block.text, name)
                self._refuse(name)
            case ("yaml" | "json", str(name)):
                self._keep(block.text, name)
                self._plan(block.text, name)
            case ("yaml" | "json" as language,):
                self._plan(block.text, f"spec.{language}")
            case _:
                raise BlockError(f"no block is called {' '.join(block.words)!r}")

    def console(self, text: str) -> str:
        """Run a console block's commands and give the block with what they print now."""
        commands = [line for line in text.splitlines() if line.startswith("$ ")]
        if not commands or not text.startswith("$ "):
            raise BlockError("a console block begins with a line '$ command'")
        return "".join(f"{command}\n{self._output(command[2:])}" for command in commands)

    def _output(self, command: str) -> str:
        done = subprocess.run(
            command,
            shell=True,
            cwd=self._folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )
        return done.stdout

    def _environment(self) -> dict[str, str]:
        scripts = f"{Path(sys.executable).parent}{os.pathsep}{sysconfig.get_path('scripts')}"
        changes = {
            "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}",
            "COLUMNS": "80",
            "LC_ALL": "C.UTF-8",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        dropped = ("FORCE_COLOR", "KINIT_DEBUG")
        kept = {name: value for name, value in os.environ.items() if name not in dropped}
        return {**kept, **changes}

    def _run_python(self, program: str) -> None:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=self._folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode:
            raise BlockError(f"{program}\n--- fails ---\n{done.stderr[-2000:]}")

    def _keep(self, text: str, name: str) -> None:
        (self._folder / name).write_text(text, encoding="utf-8")

    def _plan(self, text: str, name: str) -> None:
        from kinit_cli.errors import KinitError
        from kinit_cli.planner import make_plan
        from kinit_cli.spec.load import parse_spec

        try:
            make_plan(parse_spec(text.encode(), name))
        except KinitError as error:
            raise BlockError(f"{text}\n--- has problems ---\n{error}") from error

    def _refuse(self, name: str) -> None:
        done = self._output(f"kinit generate {name} --dry-run; echo exit $?")
        if not done.endswith("exit 2\n"):
            raise BlockError(f"{name} is said to be wrong, but: {done}")


def _completed(text: str) -> str:
    """Make a spec of a list of layers, of some top-level keys, or of weights."""
    import json

    data = _load_yaml(text)
    spec: dict[str, Any]
    if isinstance(data, list):
        spec = {"layers": data}
    elif set(data) <= _TOP_LEVEL:
        spec = {"layers": [_FILLER], **data}
    else:
        spec = {"layers": [{"name": "layer", "weights": data}]}
    return json.dumps(spec)


def _load_yaml(text: str) -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(text)


def iter_links(text: str) -> Iterator[str]:
    """List the targets of a page's links and pictures that are no web addresses."""
    prose = _FENCE.sub("", text)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if "://" not in target:
            yield target
