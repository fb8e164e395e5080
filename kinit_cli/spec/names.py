"""Names of layers and weights: filling their {expressions}, and what a name may hold."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from kinit_cli.spec.expressions import ExpressionError, Number, evaluate

#: Longest tensor path, in characters.
MAX_PATH_LENGTH = 1024

_FIELD = re.compile(r"\{\{|\}\}|\{([^{}:]*)(?::(0?[1-9][0-9]?)d?)?\}|[{}]")


def fill_name(template: str, names: Mapping[str, Number]) -> str:
    """Replace each ``{expression}`` of a name by its whole-number value.

    ``{i:02}`` pads with zeros; ``{{`` and ``}}`` stand for braces.

    Raises
    ------
    ExpressionError
        A brace without its partner, or an expression without a whole value.

    Examples
    --------
    >>> fill_name("block_{i+1:02}/attn", {"i": 3})
    'block_04/attn'
    """

    def replace(match: re.Match[str]) -> str:
        token = match.group(0)
        if token in ("{{", "}}"):
            return token[0]
        if match.group(1) is None:
            raise ExpressionError(f"a single {token!r} in the name; write {token * 2!r} for one")
        value = evaluate(match.group(1), names)
        if value != int(value):
            raise ExpressionError(f"{{{match.group(1)}}} is {value}, not a whole number")
        return format(int(value), match.group(2) or "")

    return _FIELD.sub(replace, template) if "{" in template or "}" in template else template


def name_fault(name: str) -> str | None:
    """Say what keeps a name from being a path of `/`-separated parts, or None if nothing does.

    >>> name_fault("block_0/attn") is None
    True
    >>> name_fault("../x")
    "the part '..'"
    """
    if not name:
        return "an empty name"
    if len(name) > MAX_PATH_LENGTH:
        return f"{len(name)} characters"
    for part in name.split("/"):
        if part == "":
            return "an empty part (a '/' at an end, or two in a row)"
        if part in (".", ".."):
            return f"the part {part!r}"
    if name.isprintable():
        return None  # as almost all are; none of the characters below is
    for character in name:
        if unicodedata.category(character) in ("Cc", "Cs"):
            return f"the character U+{ord(character):04X}"
    return None
