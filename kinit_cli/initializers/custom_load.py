"""Finding code that a user has allowed: by `module:name`, or in installed packages."""

from __future__ import annotations

import importlib
import importlib.util
import keyword
import os
from typing import TYPE_CHECKING, Any

from kinit_cli.errors import KinitError, suggest
from kinit_cli.foreign_code import IMPORT_FOLDERS, ForeignCodeError, foreign_code

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP = "kinit.initializers"


def parse_reference(text: str) -> tuple[str, str]:
    """Split ``package.module:name`` into its module and the name in it, which may have dots.

    Raises
    ------
    ValueError
        It is written otherwise.

    Examples
    --------
    >>> parse_reference("my.inits:Spiral.tight")
    ('my.inits', 'Spiral.tight')
    """
    module, _, name = text.partition(":")
    parts = [*module.split("."), *name.split(".")]
    if not all(part.isidentifier() and not keyword.iskeyword(part) for part in parts):
        raise ValueError(f"expected MODULE:NAME, as in my_inits:spiral, got {text!r}")
    return module, name


def load_reference(text: str) -> Any:
    """Import what ``package.module:name`` stands for, from the current folder if need be.

    Raises
    ------
    KinitError
        It is written otherwise, cannot be imported, or is not there.
    """
    try:
        module_name, name = parse_reference(text)
    except ValueError as error:
        raise KinitError(f"--allow-code: {error}") from error
    if not _is_installed(module_name) and os.getcwd() not in IMPORT_FOLDERS:
        IMPORT_FOLDERS.append(os.getcwd())
    try:
        with foreign_code():
            found: Any = importlib.import_module(module_name)
    except ForeignCodeError as error:
        raise KinitError(
            f"--allow-code {text}: expected a module that can be imported, got {error}"
            f"{_where_looked(error.__cause__, module_name)}"
        ) from error
    for part in name.split("."):
        found = _attribute(found, part, text)
    return found


def entry_points() -> dict[str, list[EntryPoint]]:
    """List the initializers of installed packages by name; none of them is loaded."""
    from importlib import metadata

    found: dict[str, list[EntryPoint]] = {}
    for point in metadata.entry_points(group=ENTRY_POINT_GROUP):
        same = found.setdefault(point.name, [])
        if all(other.value != point.value for other in same):
            same.append(point)
    return found


def _is_installed(module_name: str) -> bool:
    """Tell whether a module can be found without the current folder; none is imported."""
    try:
        return importlib.util.find_spec(module_name.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False


def _attribute(found: Any, name: str, text: str) -> Any:
    try:
        with foreign_code():
            return getattr(found, name)
    except ForeignCodeError as error:
        owner = getattr(found, "__name__", type(found).__name__)
        known = [known for known in dir(found) if not known.startswith("_")]
        hint = f"; {near}" if (near := suggest(name, known)) else ""
        got = repr(name) if isinstance(error.__cause__, AttributeError) else str(error)
        raise KinitError(
            f"--allow-code {text}: expected a name in {owner}, got {got}{hint}"
        ) from error


def _where_looked(error: BaseException | None, module_name: str) -> str:
    is_absent = isinstance(error, ModuleNotFoundError) and error.name is not None
    if is_absent and f"{module_name}.".startswith(f"{error.name}."):  # type: ignore[union-attr]
        return "; it is looked for among what is installed and in the current folder"
    return "; KINIT_DEBUG=1 shows where"
