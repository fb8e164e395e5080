"""What docs/json.md says of the documents, to hold documents against."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "json.md"
#: Heading of a table of the page -> where such objects are in a document.
OBJECTS = {
    "An initializer": ["tensors", "initializer_config"],
    "Statistics": ["tensors", "stats"],
    "A histogram": ["tensors", "stats", "histogram"],
}

Keys = dict[str, set[str]]


def documented(heading: str, column: str = "", *, table: int = 0) -> Keys:
    """Give the types of each key that a table of the page lists, for one kind of document.

    Parameters
    ----------
    column : str
        Only the rows with a mark in this column, if there is one.
    """
    section = re.split(rf"^##+ {re.escape(heading)}$", PAGE.read_text("utf-8"), flags=re.M)[1]
    section = re.split(r"^##+ ", section, flags=re.M)[0]
    header, rows = re.findall(r"^(\|.*)\n\|[-|]+\|\n((?:\|.*\n)+)", section, re.M)[table]
    names = cells_of(header)
    keys: Keys = {}
    for row in rows.splitlines():
        cells = dict(zip(names, cells_of(row), strict=True))
        key = cells[names[0]].strip("`")
        assert key not in keys
        if not column or cells[column]:
            assert cells.get(column, "✓") == "✓"
            keys[key] = set(cells["type"].split(" or "))
    assert keys
    return keys


def cells_of(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().removeprefix("|").removesuffix("|").split("|")]


def type_of(value: object) -> str:
    """Name a value's type as the page does; an empty array may be one of anything."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            (item,) = {type_of(item) for item in value} or {""}
            return f"array of {item}"
        case _:
            return "object"


def check_object(found: object, keys: Keys) -> None:
    assert isinstance(found, dict)
    assert set(found) == set(keys)
    for key, value in found.items():
        types, got = keys[key], type_of(value)
        fits = any(a.startswith(got) for a in types) if got == "array of " else got in types
        assert fits, (key, value, types)


def objects_at(document: Any, path: list[str]) -> Iterator[Any]:
    """Go down keys and through arrays, leaving out what is null."""
    if isinstance(document, list):
        for item in document:
            yield from objects_at(item, path)
    elif not path and document is not None:
        yield document
    elif document is not None:
        yield from objects_at(document[path[0]], path[1:])


def check_test(document: Any) -> None:
    if document.get("tests"):
        check_object(document["tests"], documented("A test"))
        for test in objects_at(document, ["tensors", "test"]):
            check_object(test, documented("A test", table=1))


def check_document(document: Any, column: str) -> None:
    check_test(document)
    check_object(document, documented("What a command prints", column))
    if document.get("origin"):
        check_object(document["origin"], documented("An origin"))
    assert document["tensors"]
    for tensor in document["tensors"]:
        check_object(tensor, documented("A tensor", column))
        for quantile in tensor.get("quantiles") or ():
            check_object(quantile, documented("A quantile"))
    for group in document.get("groups") or ():
        check_object(group, documented("A group"))
    for heading, path in OBJECTS.items():
        if path[1] in documented("A tensor", column):
            found = list(objects_at(document, path))
            assert found, heading
            for item in found:
                check_object(item, documented(heading))


def check_verification(document: Any) -> None:
    check_object(document, documented("What verify prints"))
    if document["origin"]:
        check_object(document["origin"], documented("An origin"))
    for tensor in document["tensors"]:
        check_object(tensor, documented("A verified tensor"))
        if tensor["first"]:
            check_object(tensor["first"], documented("A first difference"))
            for side in ("expected", "found"):
                check_object(tensor["first"][side], documented("An element"))


def check_diff(document: Any) -> None:
    check_object(document, documented("What diff prints"))
    for tensor in document["tensors"]:
        check_object(tensor, documented("A compared tensor"))
        if tensor["first"]:
            check_object(tensor["first"], documented("A first difference of two files"))
            for side in "ab":
                check_object(tensor["first"][side], documented("An element"))


def check_lock(document: Any) -> None:
    column, rows = ("check", "changes") if document["check"] else ("write", "tensors")
    check_object(document, documented("What lock prints", column))
    heading = "A changed tensor" if document["check"] else "A locked tensor"
    for tensor in document[rows]:
        check_object(tensor, documented(heading))
