"""Indented JSON in pieces: the same text as `json.dumps` gives."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinit_cli.cli.json_text import iter_json

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
NUMBERS = st.lists(st.integers() | st.floats(allow_nan=False, allow_infinity=False), max_size=5)
DOCUMENTS = st.dictionaries(
    st.text(),
    st.recursive(
        SCALARS | NUMBERS,
        lambda inner: (
            st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner)
        ),
        max_leaves=12,
    ),
    max_size=5,
)


def dumped(document: Any) -> str:
    return json.dumps(document, indent=2, allow_nan=False)


@given(DOCUMENTS)
def test_the_text_is_that_of_the_library(document: dict[str, Any]) -> None:
    assert "".join(iter_json(document)) == dumped(document)


def test_lists_come_item_by_item() -> None:
    document = {"tensors": [{"path": f"{index}, x", "shape": [1, 2]} for index in range(50)]}
    pieces = list(iter_json(document))
    assert "".join(pieces) == dumped(document)
    assert max(map(len, pieces)) < 100


@pytest.mark.parametrize("value", [math.nan, math.inf, [1, -math.inf], {"a": [0.5, math.nan]}])
def test_what_json_has_no_number_for_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        list(iter_json({"a": value}))


@pytest.mark.parametrize("document", [{"a": {1, 2}}, {"a": [b""]}, {1: 2}, {"a": {1: 2}}])
def test_what_json_does_not_have_is_refused(document: Any) -> None:
    with pytest.raises(TypeError):
        list(iter_json(document))
