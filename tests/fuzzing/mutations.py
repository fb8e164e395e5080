"""Changing an input with its structure in mind; every choice is Hypothesis's, so it can shrink."""

from __future__ import annotations

import copy
import json
import struct
from typing import Any

from hypothesis import strategies as st

#: Numbers at the edges of their kinds.
NUMBERS = (
    0, 1, 2, 3, 4, 7, 8, 16, 127, 128, 255, 256, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32,
    2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 8, 2**64 - 1,
)  # fmt: skip
TEXTS = (
    "", "x", ".", "..", "../../x", "/abs", "C:\\x", "a\0b", "\x1b[31mred", "a\nb", "[bold]x", "[/]",
    "x" * 10_000, "é", "\u202e", "nan", "9**9**9", "{i}", "a/b", "a//b", "kernel", "float8_e4m3fn",
    "O", "main.json", "other.npz", "F64", "I8", "bool", "he_normal", "__metadata__", "\U0001f600",
)  # fmt: skip
VALUES = (
    None, True, False, -1, 1.5, -0.0, 1e308, *NUMBERS, 10**30, *TEXTS, [], {}, [[]], [0], [2**63],
    [1] * 70, [{}], {"a": 1}, {"class_name": "Zeros", "config": {}}, [[[[[[[[[[1]]]]]]]]]],
)  # fmt: skip


def places() -> st.SearchStrategy[int]:
    """Give something that chooses among any number of places."""
    return st.integers(0, 2**24 - 1)


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Change bytes, above all those that are not 0, which hold the structure."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        used = [index for index, byte in enumerate(data) if byte] or [0]
        at = used[draw(places()) % len(used)]
        _damage(draw, data, at)
    return bytes(data)


def _damage(draw: st.DrawFn, data: bytearray, at: int) -> None:
    kind = draw(st.integers(0, 7))
    if kind == 0:
        data[at : at + 1] = bytes([draw(st.integers(0, 255))])
    elif kind == 1 and data:
        data[at % len(data)] ^= 1 << draw(st.integers(0, 7))
    elif kind in (2, 3):
        form = draw(st.sampled_from(["<Q", "<I", "<H", ">I"]))
        number = draw(st.one_of(st.sampled_from(NUMBERS), st.integers(0, len(data))))
        packed = struct.pack(form, number % 256 ** struct.calcsize(form))
        data[at : at + len(packed)] = packed
    elif kind == 4:
        other, n_bytes = draw(places()) % (len(data) + 1), draw(st.sampled_from([1, 4, 8, 16, 64]))
        data[at : at + n_bytes] = data[other : other + n_bytes]
    elif kind == 5:
        n_bytes = draw(st.sampled_from([1, 2, 4, 8, 16, 64]))
        data[at : at + n_bytes] = bytes(len(data[at : at + n_bytes]))
    elif kind == 6:
        del data[at:]
    else:
        data[at:at] = draw(st.binary(max_size=9))


@st.composite
def changed_json(draw: st.DrawFn, tree: Any) -> Any:
    """Put odd values into a tree, take parts out, move them, name them otherwise."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, 4))):
        found = list(_nodes(tree))
        if not found:
            break
        parent, key = found[draw(places()) % len(found)]
        kind = draw(st.integers(0, 9))
        if kind <= 5:
            # A copy: what is put in may be changed next.
            parent[key] = copy.deepcopy(draw(st.sampled_from(VALUES)))
        elif kind == 6:
            del parent[key]
        elif kind == 7:
            other, other_key = found[draw(places()) % len(found)]
            parent[key] = copy.deepcopy(other[other_key])
        elif kind == 8 and isinstance(parent, dict):
            parent[draw(st.sampled_from(TEXTS))] = parent.pop(key)
        else:
            parent[key] = _nested(parent[key], draw(st.sampled_from([1, 20, 70])))
    return tree


@st.composite
def changed_text(draw: st.DrawFn, text: bytes, pieces: tuple[bytes, ...]) -> bytes:
    """Put pieces of the language where they do not belong."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(places()) % (len(text) + 1)
        n_bytes = draw(st.integers(0, 12))
        text = text[:at] + draw(st.sampled_from(pieces)) + text[at + n_bytes :]
    return text


def json_bytes(tree: Any) -> bytes:
    """Write a tree as JSON, with what JSON has not as Python writes it."""
    return json.dumps(tree).encode()


def _nodes(tree: Any) -> Any:
    if isinstance(tree, dict | list):
        for key in tree if isinstance(tree, dict) else range(len(tree)):
            yield tree, key
            yield from _nodes(tree[key])


def _nested(value: Any, depth: int) -> Any:
    for _ in range(depth):
        value = [value]
    return value
