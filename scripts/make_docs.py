"""Make what the documentation takes from the program: run it after any change of the output.

- docs/commands.md, from the commands' help;
- docs/terminal.svg, from a real `kinit inspect`;
- docs/tensors.svg, from a real `kinit inspect --plot`, if Matplotlib is installed;
- what the commands print in the console blocks of the other pages;
- the main figures in the README, from benchmarks/results.md;
- the tables of docs/reproducibility.md, from docs/reproducibility.json.

Times and speeds differ from run to run: where nothing else has changed, nothing is rewritten.
"""

from __future__ import annotations

import argparse
import html
import importlib.util
import io
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import reproducibility_page
from doc_pages import (
    DOCS,
    REPOSITORY,
    Session,
    comparable,
    pages,
    parse_blocks,
)
from rich.console import Console
from rich.text import Text

from kinit_cli.cli.main import cli, run

COMMANDS_PAGE = DOCS / "commands.md"
PICTURE = DOCS / "terminal.svg"
_PICTURE_COLUMNS = 116
_PICTURE_COMMANDS = (
    "kinit generate sample_configs/lstm_classifier.yaml -o lstm.h5 --quiet",
    "kinit inspect lstm.h5",
)
PLOT = DOCS / "tensors.svg"
_PLOT_COMMANDS = (_PICTURE_COMMANDS[0], "kinit inspect lstm.h5 --plot tensors.svg --quiet")

_FIGURES_BEGIN, _FIGURES_END = "<!-- benchmarks/results.md -->\n", "<!-- end -->\n"

_COMMANDS_INTRO = """\
# The commands

Made from the commands' own help by `make docs`. `kinit-cli` and `python -m kinit_cli` are the same
program as `kinit`.

What a command finds goes to stdout, everything else (notes, progress, errors) to stderr. With
`--json` stdout is [one JSON document](json.md) with stable keys, for an error too. Progress is
drawn only on a terminal; `NO_COLOR` and `FORCE_COLOR` are heeded. Nothing is ever asked.

| exit code | meaning |
|---:|---|
| 0 | fine |
| 1 | a difference: from the spec, the other file, the lock; `check`: a fault, `--strict`: advice |
| 2 | wrong usage, a spec with problems, an unreadable or unwritable file, an internal error |
| 130, 143 | interrupted by Ctrl-C, ended by SIGTERM; the output is as it was before |
"""

# Rich's own frame, without its fonts from the web.
_SVG_FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: monospace; font-size: {char_height}px; \
line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix" xml:space="preserve">
{matrix}
</g>
</g>
</svg>
"""


def main(arguments: list[str] | None = None) -> int:
    """Write the pages; give the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    options = parser.parse_args(arguments)
    stale = [path for path, text in made_files().items() if is_stale(path, text)]
    for path in stale:
        print(f"{'stale' if options.check else 'written'}: {path.relative_to(REPOSITORY)}")
        if not options.check:
            path.write_text(made_files()[path], encoding="utf-8")
    if options.check:
        return 1 if stale else 0
    insert_figures()
    reproducibility_page.refresh()
    for page in pages():
        refresh(page)
    return 0


def made_files() -> dict[Path, str]:
    """Make the files that come from the program alone."""
    made = {COMMANDS_PAGE: commands_page(), PICTURE: picture()}
    if importlib.util.find_spec("matplotlib"):
        made[PLOT] = plot()
    return made


def is_stale(path: Path, text: str) -> bool:
    """Tell whether a file differs from what it should be in more than times."""
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    shown = picture_text if path in (PICTURE, PLOT) else str
    return comparable(shown(old)) != comparable(shown(text))


# --- commands -------------------------------------------------------------------------------


def commands_page() -> str:
    """Make the command reference, a console block for each command."""
    names = cli.list_commands(cli.make_context("kinit", [], resilient_parsing=True))
    calls = ["kinit", *(f"kinit {name}" for name in names)]
    with tempfile.TemporaryDirectory() as folder:
        session = Session(Path(folder))
        parts = [_COMMANDS_INTRO]
        for call in calls:
            shown = session.console(f"$ {call} --help\n").rstrip()
            parts.append(f"## {call}\n\n```console\n{shown}\n```\n")
    return "\n".join(parts)


# --- the picture ----------------------------------------------------------------------------


def picture() -> str:
    """Draw a terminal in which a sample spec has been generated and inspected."""
    console = Console(
        record=True,
        width=_PICTURE_COLUMNS,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
        _environ={},
    )
    with sample_folder():
        for command in _PICTURE_COMMANDS:
            console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
            with mock.patch("kinit_cli.render.summary.make_console", return_value=console):
                code = run(command.split()[1:])
            if code:
                raise SystemExit(f"{command}: exit code {code}")
    svg = console.export_svg(title="kinit", code_format=_SVG_FORMAT, unique_id="kinit")
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def plot() -> str:
    """Draw the tensors of a sample spec."""
    with sample_folder() as folder:
        for command in _PLOT_COMMANDS:
            code = run(command.split()[1:])
            if code:
                raise SystemExit(f"{command}: exit code {code}")
        svg = (folder / PLOT.name).read_text(encoding="utf-8")
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


@contextmanager
def sample_folder() -> Iterator[Path]:
    """Work in a folder with the sample specs for a while."""
    with tempfile.TemporaryDirectory() as folder, working_directory(Path(folder)):
        shutil.copytree(REPOSITORY / "sample_configs", "sample_configs")
        yield Path(folder)


@contextmanager
def working_directory(folder: Path) -> Iterator[None]:
    """Work in another folder for a while."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def picture_text(svg: str) -> str:
    """Give the words of a picture, without the letters' places and colours."""
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    return "\n".join(html.unescape(text).replace("\xa0", " ").rstrip() for text in texts)


# --- figures --------------------------------------------------------------------------------


def figures() -> str:
    """Give what the README shows of the benchmarks: what comes before their first heading."""
    results = (REPOSITORY / "benchmarks" / "results.md").read_text(encoding="utf-8")
    return results.partition("\n## ")[0]


def insert_figures() -> None:
    """Put the main table of the benchmarks into the README."""
    readme = REPOSITORY / "README.md"
    head, _, rest = readme.read_text(encoding="utf-8").partition(_FIGURES_BEGIN)
    _, _, tail = rest.partition(_FIGURES_END)
    text = f"{head}{_FIGURES_BEGIN}{figures()}{_FIGURES_END}{tail}"
    readme.write_text(text, encoding="utf-8")


# --- console blocks -------------------------------------------------------------------------


def refresh(page: Path) -> None:
    """Run a page's blocks in order and put what the commands print now in its console blocks."""
    text = page.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        session = Session(Path(folder))
        for block in parse_blocks(text):
            if block.words == ("console",):
                made = session.console(block.text)
                made = "\n".join(line.rstrip() for line in made.splitlines()).rstrip() + "\n"
                if comparable(made) != comparable(block.text):
                    text = text.replace(f"console\n{block.text}```", f"console\n{made}```")
            elif not block.is_for_reader_only and block.needed_module is None:
                session.run(block)
    if text != page.read_text(encoding="utf-8"):
        print(f"written: {page.relative_to(REPOSITORY)}")
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
