"""From a spec to a flat list of weights: params, repeats and shapes, with their limits."""

from __future__ import annotations

import pytest
from spec_texts import one_weight, plan_of, problems_of

from kinit_cli.initializers.registry import INITIALIZER_TYPES
from kinit_cli.spec import expand
from kinit_cli.spec.expand import MAX_DIMENSION, MAX_ELEMENTS, MAX_RANK, MAX_TENSORS

WEIGHT = "weights: {k: {shape: [2]}}"
NAME = "a name: parts joined by '/', each {expression} with a whole value"
INDEX = "an index name of letters, digits and _ that is not in use yet"


def shapes_of(text: str) -> dict[str, tuple[int, ...]]:
    return {tensor.path: tensor.shape for tensor in plan_of(text).tensors}


# --- params -------------------------------------------------------------------------------------


def test_a_param_may_use_those_before_it() -> None:
    text = "params: {a: 2, b: a * 3, c: 'max(a, b) + 1'}\n" + one_weight("shape: [a, b, c]")
    assert shapes_of(text) == {"a/kernel": (2, 6, 7)}


def test_a_param_may_not_use_itself_or_those_after_it() -> None:
    text = one_weight("shape: [2]", "params:\n  a: a\n  b: c + 1\n  c: 3\n")
    value = "an expression with a value"
    assert problems_of(text) == [
        f"spec.yaml:3:6: params.a: expected {value}, got 'a'; unknown param 'a'; known: none",
        f"spec.yaml:4:6: params.b: expected {value}, got 'c + 1'; unknown param 'c'; known: a",
    ]


def test_the_users_of_a_faulty_param_are_not_reported() -> None:
    text = one_weight("shape: [a, b, c, d]", "params: {a: 1/0, b: x, c: true, d: []}")
    assert [problem.split(":")[3] for problem in problems_of(text)] == [
        " params.a",
        " params.b",
        " params.c",
        " params.d",
    ]


@pytest.mark.parametrize("name", ["2d", "a b", "a-b", "class", "sqrt", "''"])
def test_a_param_that_no_expression_could_use(name: str) -> None:
    shown = name.strip("'")
    path = f"params.{shown}" if shown.isidentifier() else f"params.'{shown}'"
    expected = f"expected a name of letters, digits and _, got '{shown}'"
    problems = problems_of(one_weight("shape: [2]", f"params: {{{name}: 1}}"))
    assert problems == [f"spec.yaml:2:10: {path}: {expected}"]


# --- repeat -------------------------------------------------------------------------------------


def test_repeat_counts_from_zero_and_keeps_the_order() -> None:
    text = (
        f"params: {{n: 3}}\nlayers: [{{name: first, {WEIGHT}}}, {{repeat: n - 1, layers: ["
        f"{{name: 'b{{i}}', {WEIGHT}}}, {{name: 'c{{i}}', {WEIGHT}}}]}}, {{name: last, {WEIGHT}}}]"
    )
    assert list(shapes_of(text)) == ["first/k", "b0/k", "c0/k", "b1/k", "c1/k", "last/k"]


def test_nested_repeats_know_each_others_index() -> None:
    text = """
layers:
- repeat: 2
  index: row
  layers:
  - repeat: row + 1
    index: column
    layers:
    - name: "r{row}/c{column}"
      weights: {"k{2 * row + column:02}": {shape: [row, column + 1]}}
"""
    assert shapes_of(text) == {
        "r0/c0/k00": (0, 1),
        "r1/c0/k02": (1, 1),
        "r1/c1/k03": (1, 2),
    }


def test_an_index_is_known_to_initializers() -> None:
    text = """
layers:
- repeat: 2
  layers:
  - name: "b{i}"
    weights: {k: {shape: [2], initializer: {constant: {value: i + 0.5}}}}
"""
    assert [str(tensor.initializer) for tensor in plan_of(text).tensors] == [
        "constant(value=0.5)",
        "constant(value=1.5)",
    ]


def test_an_index_ends_with_its_repeat() -> None:
    text = (
        f"layers: [{{repeat: 1, layers: [{{name: 'b{{i}}', {WEIGHT}}}]}},\n"
        f" {{name: 'c{{i}}', {WEIGHT}}}]"
    )
    assert problems_of(text) == [
        f"spec.yaml:2:9: layers[1].name: expected {NAME}, got 'c{{i}}'; "
        "unknown param 'i'; known: none"
    ]


def test_two_repeats_in_a_row_may_share_an_index() -> None:
    repeats = [f"{{repeat: 1, layers: [{{name: '{x}{{i}}', {WEIGHT}}}]}}" for x in "bc"]
    assert list(shapes_of(f"layers: [{', '.join(repeats)}]")) == ["b0/k", "c0/k"]


@pytest.mark.parametrize(
    ("before", "index"),
    [
        ("params: {i: 1}", ""),
        ("params: {n: 1}", "index: n,"),
        ("", "index: 1a,"),
        ("", "index: if,"),
        ("", "index: sqrt,"),
        ("", "index: '',"),
    ],
)
def test_an_index_must_be_a_new_name(before: str, index: str) -> None:
    text = f"{before}\nlayers: [{{repeat: 2, {index} layers: [{{name: x, {WEIGHT}}}]}}]"
    name = index.removeprefix("index: ").strip("',") or ("" if index else "i")
    (problem,) = problems_of(text)
    assert f"layers[0].index: expected {INDEX}, got '{name}'; choose another" in problem


def test_an_index_may_not_hide_another() -> None:
    inner = f"{{repeat: 2, layers: [{{name: 'b{{i}}', {WEIGHT}}}]}}"
    assert problems_of(f"layers: [{{repeat: 2, layers: [{inner}]}}]") == [
        f"spec.yaml:1:31: layers[0].layers[0].index: expected {INDEX}, got 'i'; choose another"
    ]


@pytest.mark.parametrize(
    ("count", "got"),
    [
        ("-1", "-1"),
        ("1.5", "1.5; use // for a whole quotient"),
        ("3 / 2", "'3 / 2' = 1.5; use // for a whole quotient"),
        ("1000001", "1000001"),
    ],
)
def test_a_count_is_a_whole_number(count: str, got: str) -> None:
    text = f"layers: [{{repeat: {count}, layers: [{{name: x, weights: {{k: {{}}}}}}]}}]"
    count_problem, inner_problem = problems_of(text)
    expected = f"expected a whole number from 0 to {MAX_TENSORS:,}, got {got}"
    assert count_problem == f"spec.yaml:1:19: layers[0].repeat: {expected}"
    assert inner_problem.endswith(
        "layers[0].layers[0].weights.k: expected the key 'shape', got none; add 'shape'"
    )


def test_what_is_repeated_is_checked_though_the_count_is_wrong() -> None:
    text = "layers: [{repeat: x, layers: [{name: 'b{i}', weights: {k: {shape: [y]}}}]}]"
    value = "expected an expression with a value"
    assert problems_of(text) == [
        f"spec.yaml:1:19: layers[0].repeat: {value}, got 'x'; unknown param 'x'; known: none",
        "spec.yaml:1:68: layers[0].layers[0].weights.k.shape[0]: "
        f"{value}, got 'y'; unknown param 'y'; known: i",
    ]


def test_repeat_zero_times_is_nothing() -> None:
    text = f"layers: [{{repeat: 0, layers: [{{name: b, {WEIGHT}}}]}}, {{name: c, {WEIGHT}}}]"
    assert list(shapes_of(text)) == ["c/k"]


def test_a_problem_of_every_round_is_reported_once() -> None:
    text = (
        "layers: [{repeat: 1000, layers: [{name: 'b{i}', weights: {k: {shape: [i - 2000],"
        " initializer: nope}, m: {shape: [2], initializer: he_norml}}}]}]"
    )
    assert problems_of(text) == [
        "spec.yaml:1:71: layers[0].layers[0].weights.k.shape[0]: "
        "expected a whole number from 0 to 1,099,511,627,776, got 'i - 2000' = -2000",
        "spec.yaml:1:95: layers[0].layers[0].weights.k.initializer: expected a known initializer, "
        f"got 'nope'; known: {', '.join(sorted({kind.names[0] for kind in INITIALIZER_TYPES}))}"
        "; for code of your own: --allow-code MODULE:nope",
        "spec.yaml:1:131: layers[0].layers[0].weights.m.initializer: "
        "expected a known initializer, got 'he_norml'; did you mean 'he_normal'? "
        "For code of your own: --allow-code MODULE:he_norml",
    ]


# --- shapes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("[]", ()),
        ("[0]", (0,)),
        ("[3, 0, 2]", (3, 0, 2)),
        ("[2.0]", (2,)),
        ("[1e2]", (100,)),
        ("['2*3', 4 / 2, 7 // 2]", (6, 2, 3)),
        (f"[{MAX_DIMENSION}, 256]", (MAX_DIMENSION, 256)),
        (f"[{', '.join('1' * MAX_RANK)}]", (1,) * MAX_RANK),
        (f"[{MAX_DIMENSION}, {MAX_DIMENSION}, 0]", (MAX_DIMENSION, MAX_DIMENSION, 0)),
    ],
)
def test_shape(shape: str, expected: tuple[int, ...]) -> None:
    assert shapes_of(one_weight(f"shape: {shape}, initializer: zeros")) == {"a/kernel": expected}


WHOLE = f"expected a whole number from 0 to {MAX_DIMENSION:,}, got "
NUMBER = "expected a number or an expression, got "


@pytest.mark.parametrize(
    ("dimension", "message"),
    [
        ("-1", f"{WHOLE}-1"),
        ("1.5", f"{WHOLE}1.5; use // for a whole quotient"),
        ("-0.5", f"{WHOLE}-0.5; use // for a whole quotient"),
        ("3 / 2", f"{WHOLE}'3 / 2' = 1.5; use // for a whole quotient"),
        ("1 - 2", f"{WHOLE}'1 - 2' = -1"),
        (str(MAX_DIMENSION + 1), f"{WHOLE}{MAX_DIMENSION + 1}"),
        ("1e300", f"{WHOLE}1e+300"),
        ("1" + "0" * 300, f"{WHOLE}1" + "0" * 17 + "..." + "0" * 19),
        ("true", f"{NUMBER}the boolean true"),
        ("null", f"{NUMBER}nothing"),
        ("[2]", f"{NUMBER}a list of 1"),
        ("{a: 1}", f"{NUMBER}a mapping of 1"),
        ("two", "expected an expression with a value, got 'two'; unknown param 'two'; known: none"),
        ("''", "expected an expression with a value, got ''; not an arithmetic expression"),
    ],
)
def test_a_faulty_dimension(dimension: str, message: str) -> None:
    problems = problems_of(one_weight(f"shape: [4, {dimension}, 4]"))
    assert problems == [f"spec.yaml:1:50: layers[0].weights.kernel.shape[1]: {message}"]


def test_all_faulty_dimensions_are_reported() -> None:
    problems = problems_of(one_weight("shape: [-1, x, 1.5, 2, null]"))
    places = [problem.split(":")[3] for problem in problems]
    assert places == [f" layers[0].weights.kernel.shape[{axis}]" for axis in (0, 1, 2, 4)]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("3", "expected a list, got 3; write [3]"),
        ("2*d", "expected a list, got '2*d'; write ['2*d']"),
        ("true", "expected a list, got the boolean true"),
        ("null", "expected a list, got nothing"),
        ("{}", "expected a list, got an empty mapping"),
        (f"[{', '.join('1' * 33)}]", "expected at most 32 dimensions, got 33 dimensions"),
        (
            f"[{MAX_DIMENSION}, 257]",
            "expected at most 2**48 (281,474,976,710,656) elements, "
            "got 282,574,488,338,432 elements",
        ),
    ],
)
def test_a_faulty_shape(shape: str, message: str) -> None:
    problems = problems_of(one_weight(f"shape: {shape}"))
    assert problems == [f"spec.yaml:1:46: layers[0].weights.kernel.shape: {message}"]


def test_the_limits() -> None:
    limits = (MAX_RANK, MAX_DIMENSION, MAX_ELEMENTS, MAX_TENSORS)
    assert limits == (32, 2**40, 2**48, 1_000_000)


# --- counts -------------------------------------------------------------------------------------


def test_tensors_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expand, "MAX_TENSORS", 6)
    inner = f"{{repeat: n, index: j, layers: [{{name: 'b{{i}}_{{j}}', {WEIGHT}}}]}}"
    body = f"layers: [{{repeat: 3, layers: [{inner}]}}]"
    assert len(shapes_of(f"params: {{n: 2}}\n{body}")) == 6
    assert problems_of(f"params: {{n: 3}}\n{body}") == [
        "spec.yaml:2:9: layers: expected at most 6 tensors, got more"
    ]


def test_faulty_tensors_are_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expand, "MAX_TENSORS", 6)
    layer = "{name: 'b{i}', weights: {k: {shape: [-1]}, m: {shape: [-1]}}}"
    text = f"layers: [{{repeat: 4, layers: [{layer}]}}]"
    with_faults = problems_of(text)
    assert with_faults[0] == "spec.yaml:1:9: layers: expected at most 6 tensors, got more"
    assert len(with_faults) == 3


@pytest.mark.parametrize(
    "innermost", ["", "{name: x, weights: {}}", "{repeat: 0, index: k, layers: []}"]
)
def test_repeats_without_weights_end(innermost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expand, "MAX_STEPS", 1000)
    inner = f"{{repeat: 1000000, index: j, layers: [{innermost}]}}"
    assert problems_of(f"layers: [{{repeat: 1000000, layers: [{inner}]}}]") == [
        "spec.yaml:1:9: layers: expected at most 1,000 layers and rounds of repeats, got more"
    ]


@pytest.mark.parametrize(
    "layers", ["[]", "[{name: a, weights: {}}]", "[{repeat: 0, layers: [{name: a, weights: {}}]}]"]
)
def test_a_spec_without_weights(layers: str) -> None:
    expected = "expected at least one weight, got none; list a layer with weights"
    assert problems_of(f"layers: {layers}") == [f"spec.yaml:1:9: layers: {expected}"]


def test_the_order_of_weights_is_that_of_the_text() -> None:
    layers = "{name: b, weights: {z: {shape: [1]}, a: {shape: [2]}}}, "
    layers += "{name: a, weights: {z: {shape: [3]}}}"
    assert list(shapes_of(f"layers: [{layers}]")) == ["b/z", "b/a", "a/z"]


def test_weights_in_no_layer_have_their_own_names_as_paths() -> None:
    plan = plan_of(
        "layers:\n- {name: '', weights: {scale: {shape: []}, a/b: {shape: [2]}}}\n"
        "- name: m\n  type: Sequential\n  layers: [{name: '', weights: {w: {shape: [3]}}}]"
    )
    found = [(tensor.path, tensor.layer, tensor.weight) for tensor in plan.tensors]
    assert found == [("scale", "", "scale"), ("a/b", "", "a/b"), ("m/w", "m", "w")]


def test_a_path_that_is_a_place_in_a_keras_file_is_one() -> None:
    plan = plan_of(
        "layers: [{name: layers/dense, weights: {vars/0: {shape: [2]}, x: {shape: []}}}]"
    )
    assert [tensor.keras_path for tensor in plan.tensors] == ["layers/dense/vars/0", None]
