"""Names of layers and weights: filling their expressions, and what a name may hold."""

from __future__ import annotations

import pytest
from spec_texts import plan_of, problems_of

from kinit_cli.spec.expressions import ExpressionError
from kinit_cli.spec.names import MAX_PATH_LENGTH, fill_name, name_fault

NAME = "a name: parts joined by '/', each {expression} with a whole value"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("a/b", "a/b"),
        ("b{i}", "b7"),
        ("{i:02}", "07"),
        ("{i:3}", "  7"),
        ("{i:03d}", "007"),
        ("{-i:03}", "-07"),
        ("{i + 1}_{i // 2}", "8_3"),
        ("{14 / 2}", "7"),
        ("{max(i, 9)}", "9"),
        ("{{i}}", "{i}"),
        ("{{{i}}}", "{7}"),
        ("}}{{", "}{"),
        ("{ i }", "7"),
    ],
)
def test_fill_name(template: str, expected: str) -> None:
    assert fill_name(template, {"i": 7}) == expected


@pytest.mark.parametrize(
    ("template", "error"),
    [
        ("{", "a single '{' in the name; write '{{' for one"),
        ("b}", "a single '}' in the name; write '}}' for one"),
        ("{i", "a single '{' in the name; write '{{' for one"),
        ("{i:x}", "a single '{' in the name; write '{{' for one"),
        ("{i:100}", "a single '{' in the name; write '{{' for one"),
        ("{i:{i}}", "a single '{' in the name; write '{{' for one"),
        ("{}", "not an arithmetic expression"),
        ("{i!r}", "not an arithmetic expression"),
        ("{i.real}", "only numbers, params, + - * / // % **, and functions of them"),
        ("{j}", "unknown param 'j'; known: i"),
        ("{i / 2}", "{i / 2} is 3.5, not a whole number"),
    ],
)
def test_fill_name_refuses(template: str, error: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        fill_name(template, {"i": 7})
    assert str(caught.value) == error


PARTS = [
    ("", "an empty name"),
    ("/", "an empty part (a '/' at an end, or two in a row)"),
    ("/abs", "an empty part (a '/' at an end, or two in a row)"),
    ("a/", "an empty part (a '/' at an end, or two in a row)"),
    ("a//b", "an empty part (a '/' at an end, or two in a row)"),
    (".", "the part '.'"),
    ("..", "the part '..'"),
    ("../../etc/passwd", "the part '..'"),
    ("a/./b", "the part '.'"),
    ("a/..", "the part '..'"),
    ("a\0b", "the character U+0000"),
    ("a\nb", "the character U+000A"),
    ("\x1b[31m", "the character U+001B"),
    ("a\x7fb", "the character U+007F"),
    ("a\x9bb", "the character U+009B"),
    ("a\ud800b", "the character U+D800"),
    ("x" * 10_000, "10000 characters"),
    ("x" * (MAX_PATH_LENGTH + 1), f"{MAX_PATH_LENGTH + 1} characters"),
]


@pytest.mark.parametrize(("name", "fault"), PARTS)
def test_name_fault(name: str, fault: str) -> None:
    assert name_fault(name) == fault


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "a/b/c",
        "...",
        ".a",
        "a b",
        "é",
        "層/重み",
        "\U0001f600",
        "a\\b",
        "C:x",
        "[/]",
        "-1",
        "x" * 1024,
    ],
)
def test_a_name_without_fault(name: str) -> None:
    assert name_fault(name) is None


@pytest.mark.parametrize(
    ("name", "fault"), [part for part in PARTS if part[0] and "\ud800" not in part[0]]
)
def test_a_faulty_name_of_a_layer_and_of_a_weight(name: str, fault: str) -> None:
    quoted = '"' + "".join(f"\\U{ord(character):08x}" for character in name) + '"'
    text = f"layers:\n- name: {quoted}\n  weights: {{k: {{shape: [2]}}}}\n"
    text += f"- name: b\n  weights:\n    ? {quoted}\n    : {{shape: [2]}}\n"
    layer, weight = problems_of(text)
    assert layer.startswith(f"spec.yaml:2:9: layers[0].name: expected {NAME}, got ")
    assert layer.endswith(f"; it has {fault}")
    assert weight.startswith("spec.yaml:6:7: layers[1].weights.")
    assert weight.endswith(f"; it has {fault}")
    assert len(layer) < 250
    assert len(weight) < 310


def test_unicode_names_stay_as_they_are() -> None:
    plan = plan_of("layers: [{name: 層/é, weights: {\U0001f600: {shape: [2]}}}]")
    assert plan.tensors[0].path == "層/é/\U0001f600"


def test_a_name_that_is_too_long_only_as_a_path() -> None:
    layer, weight = "x" * 1000, "y" * 24
    text = f"layers: [{{name: {layer}, weights: {{{weight}: {{shape: [2]}}}}}}]"
    (problem,) = problems_of(text)
    expected = f"expected a path of at most {MAX_PATH_LENGTH} characters, got 1025 characters"
    assert problem == f"spec.yaml:1:1029: layers[0].weights.{weight}: {expected}"
    assert len(plan_of(text.replace("x" * 1000, "x" * 999)).tensors) == 1


def test_only_a_layer_may_have_an_empty_name() -> None:
    (problem,) = problems_of('layers: [{name: "", weights: {"": {shape: [2]}}}]')
    assert "got ''; it has an empty name" in problem
    (problem,) = problems_of(
        'layers: [{name: "", type: Embedding, config: {input_dim: 2, output_dim: 2}}]'
    )
    assert "got ''; it has an empty name" in problem
