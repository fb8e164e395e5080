"""Write a spec of listed weights as YAML, a line for each, quickly: there may be very many."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

#: Texts that YAML reads as themselves, in a flow too; words that it reads as something else.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_WORDS = frozenset(("null", "true", "false"))


def listed_text(document: dict[str, Any], comment: str) -> str:
    """Give YAML 1.2 that reads as the same document.

    Parameters
    ----------
    document : dict
        A spec whose layers all list their weights.
    comment : str
        Lines that are put before it.
    """
    return "".join(f"{line}\n" for line in _lines(document, comment))


def _lines(document: dict[str, Any], comment: str) -> Iterator[str]:
    yield from (f"# {line}".rstrip() for line in comment.splitlines())
    yield "kinit: 1"
    for key, value in document.items():
        if key not in ("defaults", "layers"):
            yield f"{key}: {_flow(value)}"
    if "defaults" in document:
        yield "defaults:"
        yield from (f"  {_flow(name)}: {_flow(raw)}" for name, raw in document["defaults"].items())
    yield "layers:"
    for layer in document["layers"]:
        yield f"  - name: {_flow(layer['name'])}"
        yield "    weights:"
        for name, weight in layer["weights"].items():
            yield f"      {_flow(name)}: {_flow(weight)}"


def _flow(value: Any) -> str:
    if isinstance(value, str):
        is_plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
        return value if is_plain else json.dumps(value, ensure_ascii=not value.isprintable())
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return json.dumps(value)
