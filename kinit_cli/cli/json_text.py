"""JSON as `json.dumps` indents it, but quickly and in pieces.

With an indent, Python's own encoder is slow and keeps all its pieces: of a file of 100,000 tensors
that is a gigabyte.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from json.encoder import encode_basestring_ascii
from typing import Any

_PLAIN = json.JSONEncoder(allow_nan=False)
_INDENT = "  "


def iter_json(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the text of `json.dumps(document, indent=2, allow_nan=False)`, lists item by item.

    Raises
    ------
    ValueError
        A number is NaN or infinite.
    TypeError
        There is something that JSON does not have.
    """
    newline = "\n" + _INDENT
    before = "{" + newline
    for key, value in document.items():
        yield f"{before}{_fmt_key(key)}: "
        if isinstance(value, list | tuple) and value:
            yield from _iter_list(value, newline)
        else:
            yield _fmt(value, newline)
        before = "," + newline
    yield "\n}" if document else "{}"


def _iter_list(values: list[Any] | tuple[Any, ...], newline: str) -> Iterator[str]:
    inner = newline + _INDENT
    before = "[" + inner
    for value in values:
        yield before + _fmt(value, inner)
        before = "," + inner
    yield newline + "]"


def _fmt(value: Any, newline: str) -> str:
    """Write a value whose lines after the first begin with `newline`."""
    if value is None:
        return "null"
    kind = type(value)
    if kind is str:
        return encode_basestring_ascii(value)
    if kind is int:
        return repr(value)
    if kind is float and math.isfinite(value):
        return repr(value)
    if isinstance(value, Mapping):
        inner = newline + _INDENT
        items = [f"{_fmt_key(key)}: {_fmt(item, inner)}" for key, item in value.items()]
        return f"{{{inner}{f',{inner}'.join(items)}{newline}}}" if items else "{}"
    if isinstance(value, list | tuple):
        return _fmt_list(value, newline)
    return _PLAIN.encode(value)


def _fmt_list(values: list[Any] | tuple[Any, ...], newline: str) -> str:
    if not values:
        return "[]"
    inner = newline + _INDENT
    if all(type(value) in (int, float) for value in values):
        # Without an indent the encoder is a fast one, and numbers have no comma in them.
        return f"[{inner}{_PLAIN.encode(values)[1:-1].replace(', ', f',{inner}')}{newline}]"
    return f"[{inner}{f',{inner}'.join([_fmt(value, inner) for value in values])}{newline}]"


def _fmt_key(key: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"keys are texts, got {key!r}")
    return encode_basestring_ascii(key)
