"""Texts that are no spec: empty, broken, foreign, endless or hostile; each with its message."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spec_texts import one_weight, plan_of, problems_of

from kinit_cli.errors import KinitError, SpecError
from kinit_cli.spec import document
from kinit_cli.spec.document import MAX_BYTES, MAX_DEPTH, parse_document

N_FUZZ_EXAMPLES = int(os.environ.get("KINIT_FUZZ_EXAMPLES", "300"))
EMPTY = "expected a model spec, got an empty file; see docs/spec.md for a first spec"


@pytest.mark.parametrize("text", ["", " \n\t\n", "\ufeff", "# only\n# comments", "---\n...\n# x\n"])
def test_an_empty_text(text: str) -> None:
    expected = [f"s.yaml: {EMPTY}"]
    if text.startswith("---"):
        expected = ["s.yaml:2:1: expected a mapping with 'layers', got nothing; see docs/spec.md"]
    assert problems_of(text, "s.yaml") == expected


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("hello", "'hello'"),
        ("5", "5"),
        ("true", "the boolean true"),
        ("null", "nothing"),
        ("[]", "an empty list"),
        ("- a\n- b\n", "a list of 2"),
    ],
)
def test_a_document_that_is_no_mapping(text: str, got: str) -> None:
    expected = f"s.yaml:1:1: expected a mapping with 'layers', got {got}; see docs/spec.md"
    assert problems_of(text, "s.yaml") == [expected]


@pytest.mark.parametrize(
    ("raw", "got"),
    [
        (b"name: \xff\n", "byte 0xff at offset 6"),
        (b"\xef\xbb\xbfname: \xff\n", "byte 0xff at offset 9"),
        ("name: é\n".encode("latin-1"), "byte 0xe9 at offset 6"),
        ("a: 1".encode("utf-16"), "byte 0xff at offset 0"),
        (b"a: \xed\xa0\x80", "byte 0xed at offset 3"),
    ],
)
def test_not_utf8(raw: bytes, got: str) -> None:
    expected = f"s.yaml: expected UTF-8 text, got {got}; save the file as UTF-8"
    assert problems_of(raw, "s.yaml") == [expected]


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert parse("\ufeffa: 1\n") == {"a": 1}
    assert problems_of("\ufeffa: 1\n")[0].startswith("spec.yaml:1:1: ")


def test_too_many_bytes() -> None:
    expected = (
        f"expected at most {MAX_BYTES} bytes, got {MAX_BYTES + 1} bytes; use repeat and params"
    )
    assert problems_of(b" " * (MAX_BYTES + 1)) == [f"spec.yaml: {expected}"]


def test_two_documents() -> None:
    expected = "spec.yaml: expected one document, got 2 documents; split the file at '---'"
    assert problems_of("a: 1\n---\nb: 2\n") == [expected]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a:\n  b: 1\n c: 2\n", "3:2"),
        ("layers:\n\t- x\n", "2:1"),
        ("layers: *x\n", "1:9"),
        ('name: "never closed\n', "2:1"),
        ("a: b: c\n", "1:5"),
        ("a: [1\nb: 2\n", "2:2"),
        ('name: "\\xZZ"\n', "1:10"),
        ('name: "\\U00110000"\n', "1:10"),
        ("%YAML 2.0\n---\na: 1\n", "1:1"),
        ("%YAML 1.3\n---\na: 1\n", "2:4"),
        ("%YAML x\n---\na: 1\n", "1:7"),
        ("a: 1\nname: a\0b\n", "2:8"),
        ("a: 1\nname: '\x1b'\n", "2:8"),
        ("name: '\x7f'\n", "1:8"),
        ("name: '\x9b'\n", "1:8"),
        ("name: \ufffe\n", "1:7"),
    ],
)
def test_bad_yaml_is_refused_at_its_place(text: str, place: str) -> None:
    (problem,) = problems_of(text)
    assert problem.startswith(f"spec.yaml:{place}: expected YAML 1.2 or JSON, got ")


def test_duplicate_keys_are_all_found() -> None:
    text = "\n".join(
        [
            "a: 1",
            "b: {x: 1, x: 2,",
            "    'x': 3}",
            "a: 2",
            "c: [{y: 1, y: 1}]",
            "1: a",
            '"1": b',
        ]
    )
    parsed = parse_document(text.encode(), "s.yaml")
    with pytest.raises(SpecError) as caught:
        parsed.problems.raise_if_any()
    assert str(caught.value).splitlines() == [
        "s.yaml:2:11: b.x: expected each key once, got 'x' again; it stands first in line 2",
        "s.yaml:3:5: b.x: expected each key once, got 'x' again; it stands first in line 2",
        "s.yaml:4:1: a: expected each key once, got 'a' again; it stands first in line 1",
        "s.yaml:5:12: c[0].y: expected each key once, got 'y' again; it stands first in line 5",
        "s.yaml:7:1: '1': expected each key once, got '1' again; it stands first in line 6",
    ]
    assert parsed.data == {"a": 1, "b": {"x": 1}, "c": [{"y": 1}], "1": "a"}


def test_duplicate_keys_in_json_are_all_found() -> None:
    layer = '{"name": "a", "weights": {"k": {"shape": [1]}}}'
    text = (
        '{"name": "a",\n\t"name": "\\ud83d\\ude00\x7f", "\\u006eame": null,\n'
        f'"params": {{"p": 1,\t"p": 2}}, "layers": [{layer},\n {{"name": "b", "name": "b",'
        f' "weights": {{"{"k" * 2000}": {{"shape": [1]}}}}}}]}}'
    )
    again = "expected each key once, got"
    assert problems_of(text, "s.json") == [
        f"s.json:2:2: name: {again} 'name' again; it stands first in line 1",
        f"s.json:2:27: name: {again} 'name' again; it stands first in line 1",
        f"s.json:3:20: params.p: {again} 'p' again; it stands first in line 3",
        f"s.json:4:16: layers[1].name: {again} 'name' again; it stands first in line 4",
        "s.json:4:41: layers[1].weights.'" + "k" * 27 + "..." + "k" * 28 + "': "
        "expected a name: parts joined by '/', each {expression} with a whole value, "
        "got '" + "k" * 27 + "..." + "k" * 28 + "'; it has 2000 characters",
    ]


@pytest.mark.parametrize("key", ["? [a]\n: 1", "? {a: 1}\n: 1"])
def test_a_key_that_is_no_text(key: str) -> None:
    expected = "'?': expected a text as key, got a list or mapping as key"
    assert f"spec.yaml:2:3: {expected}" in problems_of(f"layers: []\n{key}\n")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("!foo 5", "plain YAML, got the tag '!foo'; remove it"),
        ("!!set {a}", "plain YAML, got the tag 'tag:yaml.org,2002:set'; remove it"),
        ("!!omap [a: 1]", "plain YAML, got the tag 'tag:yaml.org,2002:omap'; remove it"),
        ("!!binary aGk=", "plain YAML, got the tag 'tag:yaml.org,2002:binary'; remove it"),
        ("!x [1]", "plain YAML, got the tag '!x'; remove it"),
        (
            "!!python/object/apply:os.system [ls]",
            "plain YAML, got the tag 'tag:yaml.org,2002:python/object/apply:os.system'; remove it",
        ),
        ("!!bool maybe", "a valid bool, got 'maybe'"),
        ("!!int x", "a valid int, got 'x'"),
        ("!!int ''", "a valid int, got ''"),
        ("!!float ''", "a valid float, got ''"),
        ("-_", "a valid int, got '-_'"),
        (".inf", "a finite number that float64 can hold, got inf"),
        ("-.inf", "a finite number that float64 can hold, got -inf"),
        (".nan", "a finite number that float64 can hold, got nan"),
        ("1e400", "a finite number that float64 can hold, got inf"),
        ("0x1" + "0" * 256, "a finite number that float64 can hold, got one of 1025 bits"),
        ("-0x1" + "0" * 5000, "a finite number that float64 can hold, got one of 20001 bits"),
        ('"\\ud800"', "Unicode text, got '\\ud800'; half a surrogate pair"),
        ('"\\ude00\\ud83d"', "Unicode text, got '\\ude00\\ud83d'; half a surrogate pair"),
    ],
)
@pytest.mark.parametrize("path", ["name", "params.p", "seed"])
def test_a_node_that_is_no_plain_value_is_one_problem(path: str, value: str, message: str) -> None:
    line = f"params: {{p: {value}}}" if path == "params.p" else f"{path}: {value}"
    column = line.index(value) + 1
    problems = problems_of(one_weight("shape: [2]", line))
    assert problems == [f"spec.yaml:2:{column}: {path}: expected {message}"]


def test_a_large_whole_number_is_kept_exactly() -> None:
    assert parse(f"a: {2**1023 + 1}\n") == {"a": 2**1023 + 1}


@pytest.mark.parametrize("source", ["s.json", "s.yaml"])
def test_more_digits_than_python_reads(source: str) -> None:
    (problem,) = problems_of('{"layers": [],\n "seed": ' + "1" * 5000 + "}", source)
    assert problem.startswith(f"{source}:2:10: seed: expected a valid int, got '1111")


@pytest.mark.parametrize(
    ("text", "place"),
    [("NaN", "got nan"), ("Infinity", "got inf"), ("-Infinity", "got -inf"), ("1e999", "got inf")],
)
def test_json_numbers_that_are_none(text: str, place: str) -> None:
    spec = (
        '{"params":\t{"p": ' + text + '},\n"layers": [{"name":"a","weights":{"k":{"shape":[1]}}}]}'
    )
    message = f"params.p: expected a finite number that float64 can hold, {place}"
    assert problems_of(spec, "s.json") == [f"s.json:1:18: {message}"]


def test_half_surrogate_pairs_as_keys() -> None:
    spec = '{"\\ud800": 1, "defaults": {"\\udfff": "zeros"}, "layers": [1]}'
    assert problems_of(spec) == [
        "spec.yaml:1:2: '\\ud800': expected Unicode text, got '\\ud800'; half a surrogate pair",
        "spec.yaml:1:28: defaults.'\\udfff': "
        "expected Unicode text, got '\\udfff'; half a surrogate pair",
        "spec.yaml:1:59: layers[0]: expected a mapping, got 1",
    ]


def parse(text: str) -> Any:
    return parse_document(text.encode(), "spec.yaml").data


# --- aliases and depth --------------------------------------------------------------------------


def test_aliases_repeat_what_they_name() -> None:
    text = "a: &x [1, {b: &y 2}]\nb: *x\nc: *y\n? &k d\n: *k\n"
    assert parse(text) == {"a": [1, {"b": 2}], "b": [1, {"b": 2}], "c": 2, "d": "d"}


def test_an_anchor_may_be_set_again() -> None:
    assert parse("a: &x 1\nb: &x 2\nc: *x\n") == {"a": 1, "b": 2, "c": 2}


def test_two_layers_may_share_their_weights() -> None:
    text = "layers:\n- {name: a, weights: &w {k: {shape: [2]}}}\n- {name: b, weights: *w}\n"
    assert [tensor.path for tensor in plan_of(text).tensors] == ["a/k", "b/k"]


def test_a_merge_key_is_a_key_like_any_other() -> None:
    text = "a: &a {shape: [2]}\nb: {<<: *a}\n"
    assert parse(text) == {"a": {"shape": [2]}, "b": {"<<": {"shape": [2]}}}


def bomb(n_levels: int, width: int) -> str:
    levels = [f"l0: &l0 [{', '.join(['x'] * width)}]"]
    for level in range(1, n_levels):
        levels.append(f"l{level}: &l{level} [{', '.join([f'*l{level - 1}'] * width)}]")
    return "\n".join(levels)


def test_an_alias_bomb_is_refused_after_its_limit() -> None:
    # 9**60 nodes if it were unfolded: that this test ends is the point of it.
    (problem,) = problems_of(bomb(60, 9))
    assert problem.startswith("spec.yaml:1:")
    assert problem.endswith(
        "expected aliases that repeat at most 100000 nodes, got more; use repeat"
    )


def test_aliases_below_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    text = bomb(3, 2)  # repeats 2 * (1 + 2) + 2 * (1 + 2 * 3) nodes
    monkeypatch.setattr(document, "MAX_ALIASED_NODES", 20)
    assert parse(text)["l2"] == [[["x", "x"], ["x", "x"]]] * 2
    monkeypatch.setattr(document, "MAX_ALIASED_NODES", 19)
    with pytest.raises(SpecError, match="repeat at most 19 nodes"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layers: &a [*a]\n", "1:9: layers[0]"),
        ("a: 1\nparams: &p {q: {r: *p}}\n", "2:9: params.q.r"),
        ("&r [1, *r]\n", "1:1: [1]"),
    ],
)
def test_an_alias_to_its_own_parent(text: str, message: str) -> None:
    expected = "expected a tree, got an alias to its own parent"
    assert problems_of(text) == [f"spec.yaml:{message}: {expected}"]


@pytest.mark.parametrize("source", ["s.json", "s.yaml"])
def test_nesting_up_to_the_limit(source: str) -> None:
    def nested(depth: int) -> str:
        text = '{"params": {"p": ' + "[" * (depth - 1) + "]" * (depth - 1) + '}, "layers": []}'
        return text if source == "s.json" else "# not JSON\n" + text

    line = 1 if source == "s.json" else 2
    deepest = problems_of(nested(MAX_DEPTH), source)
    assert deepest[0].endswith("expected a number or an expression, got a list of 1")
    too_deep = f"{source}:{line}:24: params.p[0][0][0][0][0][0]: expected at most 64 levels, got"
    assert f"{too_deep} deeper nesting" in problems_of(nested(MAX_DEPTH + 1), source)


@pytest.mark.parametrize("source", ["s.json", "s.yaml"])
@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
@pytest.mark.parametrize("n_levels", [300, 900, 20_000])
def test_nesting_far_beyond_the_limit(source: str, opening: str, n_levels: int) -> None:
    closing = "".join({"[": "]", "{": "}"}.get(character, "") for character in reversed(opening))
    text = '{"layers": ' + opening * n_levels + "1" + closing * n_levels + "}"
    problems = problems_of(text, source)
    assert any("expected at most 64 levels, got deeper nesting" in line for line in problems)


# --- anything at all ----------------------------------------------------------------------------

SOUND = b"""\
kinit: 1
name: "n\\u00e9"
seed: 3
params: {d: 4, e: "2*d"}
defaults: {kernel: {random_normal: {stddev: 1e-2}}}
layers:
  - {repeat: 2, index: i, layers: [{name: "b{i}", weights: {kernel: {shape: [d, e]}}}]}
  - name: &n c
    weights: {w: {shape: [2, 2], dtype: float16, initializer: {class_name: Identity}}}
"""
SOUND_JSON = json.dumps(
    {
        "seed": 3,
        "params": {"d": 4},
        "layers": [{"name": "a", "weights": {"k": {"shape": ["d"], "initializer": {"zeros": {}}}}}],
    }
).encode()
PIECES = st.sampled_from(
    b"{ } [ ] : , - ? | > ' \" % @ & * ! ~ # \n \t \r \0 \xff \xc3\xa9 \\u \\ud800 null .nan 1e9 "
    b"0x 1e999 true -1 {i} d **9 !!int << --- ... repeat layers".split(b" ")
)


def check_that_only_problems_are_raised(raw: bytes, source: str) -> None:
    try:
        plan_of(raw, source).to_json()
    except KinitError as error:
        assert str(error)  # noqa: PT017


def test_the_fuzzed_specs_are_sound() -> None:
    assert len(plan_of(SOUND).tensors) == 3
    assert len(plan_of(SOUND_JSON).tensors) == 1


@settings(max_examples=N_FUZZ_EXAMPLES)
@given(st.binary(), st.sampled_from(["a.yaml", "a.json"]))
def test_fuzz_bytes(raw: bytes, source: str) -> None:
    check_that_only_problems_are_raised(raw, source)


@settings(max_examples=N_FUZZ_EXAMPLES)
@given(
    st.sampled_from([SOUND, SOUND_JSON]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 12), PIECES), min_size=1, max_size=4),
)
def test_fuzz_damaged_specs(raw: bytes, damages: list[tuple[int, int, bytes]]) -> None:
    for start, length, piece in damages:
        raw = raw[:start] + piece + raw[start + length :]
    check_that_only_problems_are_raised(raw, "a.yaml")
