"""Reading YAML 1.2 and JSON: the values, and the place of every node."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from spec_texts import problems_of

from kinit_cli.errors import SpecError
from kinit_cli.spec.document import parse_document

#: A key of YAML has at most 1024 characters, of which an escaped pair takes twelve.
KEYS = st.text(max_size=80)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


def parse(text: str | bytes, source: str = "spec.yaml") -> Any:
    raw = text.encode() if isinstance(text, str) else text
    return parse_document(raw, source).data


# --- YAML 1.2 -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        ("6.02e+23", 6.02e23),
        (".5", 0.5),
        ("1.", 1.0),
        ("-0.0", -0.0),
        ("12", 12),
        ("+12", 12),
        ("-12", -12),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("18446744073709551616", 2**64),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("2001-01-01", "2001-01-01"),
        ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),
        ("1:30", "1:30"),
        ("1.2.3", "1.2.3"),
        ("=", "="),
        ("<<", "<<"),
        ("3*d", "3*d"),
        ('"5"', "5"),
        ("!!str 5", "5"),
        ("!!int '5'", 5),
        ("!!float 5", 5.0),
        ("|\n  two\n  lines\n", "two\nlines\n"),
        ("[1, a, [], {}]", [1, "a", [], {}]),
    ],
)
def test_a_yaml_scalar_is_what_yaml_1_2_says(text: str, expected: object) -> None:
    value = parse(f"key: {text}\n")["key"]
    assert repr(value) == repr(expected)
    assert type(value) is type(expected)


@pytest.mark.parametrize("key", ["1", "1.0", "yes", "null", "~", "true", "2001-01-01", "<<"])
def test_a_key_is_its_text(key: str) -> None:
    assert parse(f"{key}: 1\n") == {key: 1}


def test_comments_and_line_ends_do_not_matter() -> None:
    assert parse("# first\r\na: 1 # one\r\nb:\r\n- 2\r\n") == {"a": 1, "b": [2]}


def test_a_directive_for_1_2_changes_nothing() -> None:
    assert parse("%YAML 1.2\n---\na: yes\n") == {"a": "yes"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("%YAML 1.1\n---\na: yes\n", "1:1: expected YAML 1.2, got YAML 1.1"),
        ("# old\n%YAML 1.1\n---\na: 1e-3\n", "2:1: expected YAML 1.2, got YAML 1.1"),
    ],
)
def test_another_yaml_is_refused(text: str, message: str) -> None:
    assert problems_of(text) == [f"spec.yaml:{message}; remove the %YAML directive"]


# --- JSON ---------------------------------------------------------------------------------------


@given(JSON_VALUES, st.booleans())
@example({"\U0001f600": "\U0001f600\ud7ff"}, True)
@example([1e16, 1e-7, 5e-324, 1.7976931348623157e308], True)
def test_json_is_read_as_json(data: Any, is_ascii: bool) -> None:
    text = json.dumps(data, ensure_ascii=is_ascii)
    assert repr(parse(text, "spec.json")) == repr(data)


@given(JSON_VALUES)
@example({"\U0001f600": "\U0001f600\ud7ff"})
@example([1e16, 1e-7, 5e-324, 1.7976931348623157e308])
def test_the_yaml_reader_reads_json_as_json(data: Any) -> None:
    text = "# not JSON\n" + json.dumps(data)
    assert repr(parse(text)) == repr(data)


def test_json_is_known_by_its_name_or_its_first_character() -> None:
    # YAML has no such character.
    assert parse(' {"a":\t["\x7f"]}\n') == {"a": ["\x7f"]}
    assert parse('"\x7f"', "SPEC.JSON") == "\x7f"
    assert parse('\ufeff{"a": 1}', "spec.json") == {"a": 1}
    with pytest.raises(SpecError, match=r"^spec\.json:1:1: expected JSON, got Expecting value$"):
        parse("a: 1\n", "spec.json")


def test_yaml_may_begin_with_a_bracket() -> None:
    assert parse("{a: yes, b: [1e-3]}\n") == {"a": "yes", "b": [0.001]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1\n "b": 2}', "2:2: expected JSON, got Expecting ',' delimiter"),
        ('{"a": }', "1:7: expected JSON, got Expecting value"),
        ('{"a" 1}', "1:6: expected JSON, got Expecting ':' delimiter"),
        ("{}\n{}", "2:1: expected JSON, got Extra data"),
        ('{"a": "\t"}', "1:8: expected JSON, got Invalid control character at"),
    ],
)
def test_bad_json_is_refused_at_its_place(text: str, message: str) -> None:
    assert problems_of(text, "a.json") == [f"a.json:{message}"]


# --- places -------------------------------------------------------------------------------------


def iter_nodes(data: Any, path: tuple[str | int, ...] = ()) -> Any:
    yield path, data
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from iter_nodes(value, (*path, key))


@given(JSON_VALUES, st.sampled_from([None, 1, "\t"]), st.sampled_from(["a.json", "a.yaml"]))
def test_every_node_and_key_is_found_where_it_stands(
    data: Any, indent: int | str | None, source: str
) -> None:
    data = {"root": data}
    text = json.dumps(data, indent=indent)
    if source == "a.yaml":
        text = "# not JSON\n" + text.replace("\t", " ")
    lines = text.split("\n")
    source_map = parse_document(text.encode(), source).problems.source_map
    for path, value in iter_nodes(data):
        place = source_map.find(path)
        assert place.source == source
        rest = lines[(place.line or 0) - 1][(place.column or 0) - 1 :]
        is_container = isinstance(value, dict | list)
        begin = json.dumps(value)[0] if is_container else json.dumps(value)
        assert rest.startswith(begin)
        if path and isinstance(path[-1], str):
            place = source_map.find(path, is_key=True)
            rest = lines[(place.line or 0) - 1][(place.column or 0) - 1 :]
            assert rest.startswith(json.dumps(path[-1]) + ":")


def test_the_places_of_json_need_no_yaml() -> None:
    long_key = "k" * 5000
    text = f'{{"{long_key}": "\x7f\u2028",\r\n\t"b":\t[null, {{}}, [], "{{,:]\\"", -1e5, 7]}}\n'
    source_map = parse_document(text.encode(), "a.json").problems.source_map
    assert str(source_map.find((long_key,))) == "a.json:1:5006"
    assert str(source_map.find((long_key,), is_key=True)) == "a.json:1:2"
    assert str(source_map.find(("b",), is_key=True)) == "a.json:2:2"
    assert [source_map.find(("b", index)).column for index in range(6)] == [8, 14, 18, 22, 32, 38]


def test_what_the_text_does_not_hold_is_found_at_its_parent() -> None:
    source_map = parse_document(b"a:\n  b: [1]\n", "s.yaml").problems.source_map
    assert str(source_map.find(("a", "b", 7, "c"))) == "s.yaml:2:6"
    assert str(source_map.find(("x",))) == "s.yaml:1:1"
    assert str(source_map.find(("a", "b"), is_key=True)) == "s.yaml:2:3"
    assert str(source_map.find(("a", "x"), is_key=True)) == "s.yaml:2:3"
