"""Every problem of a spec at once, each with its place and in words that help."""

from __future__ import annotations

from pathlib import Path

import pytest
from spec_texts import one_weight, plan_of, problems_of

from kinit_cli.errors import KinitError, Place, Problem, SpecError, suggest
from kinit_cli.spec.problems import MAX_PROBLEMS, ProblemList, SourceMap, fmt_path, fmt_value

GOLDENS = Path(__file__).parent / "goldens"


# --- all at once --------------------------------------------------------------------------------


def test_many_problems_are_reported_together() -> None:
    text = (GOLDENS / "many_problems.yaml").read_text(encoding="utf-8")
    expected = (GOLDENS / "many_problems.txt").read_text(encoding="utf-8").splitlines()
    assert len(expected) > 60
    assert problems_of(text) == expected


def test_problems_stand_in_the_order_of_the_text() -> None:
    text = (GOLDENS / "many_problems.yaml").read_text(encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        plan_of(text)
    places = [(problem.place.line, problem.place.column) for problem in caught.value.problems]
    assert places == sorted(places)  # type: ignore[type-var]
    assert len({problem.tree_path for problem in caught.value.problems}) > 55


def test_mending_all_of_them_leaves_none() -> None:
    text = "kinit: 1\nname: n\nseed: 7\n" + one_weight("shape: [2, 2], initializer: he_normal")
    assert problems_of(text) == []


def test_a_problem_says_where_what_and_what_to_do() -> None:
    with pytest.raises(SpecError) as caught:
        plan_of(one_weight("shape: [2], initializer: he_norml"))
    assert caught.value.problems == (
        Problem(
            place=Place(source="spec.yaml", line=1, column=64),
            tree_path="layers[0].weights.kernel.initializer",
            expected="a known initializer",
            got="'he_norml'",
            hint="did you mean 'he_normal'? For code of your own: --allow-code MODULE:he_norml",
        ),
    )
    assert isinstance(caught.value, KinitError)


@pytest.mark.parametrize("n_problems", [MAX_PROBLEMS, MAX_PROBLEMS + 1, MAX_PROBLEMS + 150])
def test_at_most_a_hundred_problems_are_listed(n_problems: int) -> None:
    text = "layers:\n" + "".join(f"- {number}\n" for number in range(n_problems))
    problems = problems_of(text)
    listed = [
        f"spec.yaml:{line + 2}:3: layers[{line}]: expected a mapping, got {line}"
        for line in range(MAX_PROBLEMS)
    ]
    assert problems[:MAX_PROBLEMS] == listed
    n_more = n_problems - MAX_PROBLEMS
    expected = f"expected at most {MAX_PROBLEMS} problems to list, got {n_more} more"
    assert problems[MAX_PROBLEMS:] == (
        [f"spec.yaml: {expected}; mend the ones above first"] if n_more else []
    )


def test_the_first_hundred_of_the_text_are_listed_whenever_they_are_found() -> None:
    # Dimensions are checked long after the structure, and stand before it here.
    dimensions = ", ".join(["-1"] * 30)
    layer = f"- {{name: a, weights: {{k: {{shape: [{dimensions}]}}}}}}\n"
    problems = problems_of("layers:\n" + layer + "- x\n" * 100)
    assert len(problems) == MAX_PROBLEMS + 1
    assert "shape[29]" in problems[29]
    assert "layers[1]:" in problems[30]
    assert problems[-1].endswith("got 30 more; mend the ones above first")


SEED = "a seed: a whole number from 0 to 2**64 - 1"
FORMAT = "1, the version of this format"
DTYPES = (
    "a dtype: float64, float32, float16, bfloat16, float8_e4m3fn, float8_e5m2, "
    "int8, int16, int32, int64, uint8, uint16, uint32, uint64, bool"
)


@pytest.mark.parametrize(
    ("key", "value", "expected", "got"),
    [
        ("kinit", "2", FORMAT, "2"),
        ("kinit", "1.0", FORMAT, "1.0"),
        ("kinit", "true", FORMAT, "the boolean true"),
        ("kinit", "null", FORMAT, "nothing"),
        ("seed", "-1", SEED, "-1"),
        ("seed", "18446744073709551616", SEED, "18446744073709551616"),
        ("seed", "1.0", SEED, "1.0"),
        ("seed", "true", SEED, "the boolean true"),
        ("seed", "2 + 3", SEED, "'2 + 3'"),
        ("name", "5", "a text", "5"),
        ("name", "[a]", "a text", "a list of 1"),
        ("dtype", "null", DTYPES, "nothing"),
        ("dtype", "complex64", DTYPES, "'complex64'"),
        ("layout", "null", "'keras' or 'torch'", "nothing"),
        ("layout", "5", "'keras' or 'torch'", "5"),
        ("params", "[1]", "a mapping", "a list of 1"),
        ("params", "null", "a mapping", "nothing"),
        ("defaults", "zeros", "a mapping", "'zeros'"),
    ],
)
def test_a_key_of_the_spec_with_a_wrong_value(
    key: str, value: str, expected: str, got: str
) -> None:
    place = f"spec.yaml:2:{len(key) + 3}: {key}"
    problems = problems_of(one_weight("shape: [2]", f"{key}: {value}"))
    assert problems == [f"{place}: expected {expected}, got {got}"]


@pytest.mark.parametrize("seed", ["0", "18446744073709551615", "null"])
def test_a_seed_at_the_edge(seed: str) -> None:
    assert problems_of(one_weight("shape: [2]", f"seed: {seed}")) == []


@pytest.mark.parametrize(
    ("layers", "problems"),
    [
        ("null", ["1:9: layers: expected a list, got nothing"]),
        ("{}", ["1:9: layers: expected a list, got an empty mapping"]),
        ("[[]]", ["1:10: layers[0]: expected a mapping, got an empty list"]),
        (
            "[{}]",
            [
                "1:10: layers[0]: expected the key 'name', got none; add 'name'",
                "1:10: layers[0]: expected the key 'weights', got none; add 'weights'",
            ],
        ),
        (
            "[{repeat: 2}]",
            ["1:10: layers[0]: expected the key 'layers', got none; add 'layers'"],
        ),
        (
            "[{repeat: 2, index: 5, layers: 3}]",
            [
                "1:29: layers[0].index: expected a text, got 5",
                "1:40: layers[0].layers: expected a list, got 3; write [3]",
            ],
        ),
        (
            "[{name: a, weights: [1]}]",
            ["1:29: layers[0].weights: expected a mapping, got a list of 1"],
        ),
        (
            "[{name: a, weights: {k: 5}}]",
            ["1:33: layers[0].weights.k: expected a mapping, got 5"],
        ),
        (
            "[{name: [], weights: {k: {shape: [2], initialize: 1}}}]",
            [
                "1:17: layers[0].name: expected a text, got an empty list",
                "1:47: layers[0].weights.k.initialize: expected a known key, got 'initialize'; "
                "did you mean 'initializer'?",
            ],
        ),
    ],
)
def test_a_wrong_structure(layers: str, problems: list[str]) -> None:
    expected = [f"spec.yaml:{problem}" for problem in problems]
    assert problems_of(f"layers: {layers}") == expected


def test_a_spec_without_layers() -> None:
    assert problems_of("kinit: 1\n") == [
        "spec.yaml:1:1: expected the key 'layers', got none; add 'layers'"
    ]


# --- did you mean -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (one_weight("shape: [2], initializer: HE_NORMAL"), "did you mean 'he_normal'?"),
        (one_weight("shape: [2], initializer: glorot_unifrom"), "did you mean 'glorot_uniform'?"),
        (one_weight("shape: [2], initializer: {Glorotuniform: {}}"), "'GlorotUniform'?"),
        (one_weight("shape: [2], initializer: {class_name: RandomNrmal}"), "'RandomNormal'?"),
        (one_weight("shape: [2], initializer: {normal: {std: 1}}"), "did you mean 'stddev'?"),
        (one_weight("shape: [2], initializer: {uniform: {minvalue: 0}}"), "'minval'?"),
        (one_weight("shape: [2], initializer: {class_name: Zeros, confg: {}}"), "'config'?"),
        (one_weight("shape: [2], dtype: f16"), "did you mean 'float16'?"),
        (one_weight("shape: [2], dtype: half"), "did you mean 'float16'?"),
        (one_weight("shape: [2], dtype: bf16"), "did you mean 'bfloat16'?"),
        (one_weight("shape: [2], dtype: double"), "did you mean 'float64'?"),
        (one_weight("shape: [2], dtype: Float32"), "did you mean 'float32'?"),
        (one_weight("shape: [2], dtype: boolean"), "did you mean 'bool'?"),
        (one_weight("shpe: [2], shape: [2]"), "did you mean 'shape'?"),
        (one_weight("shape: [2]", "layout: Keras"), "did you mean 'keras'?"),
        (one_weight("shape: [2]", "parms: {}"), "did you mean 'params'?"),
        (one_weight("shape: [2]", "default: {}"), "did you mean 'defaults'?"),
        (one_weight("shape: [dmodel]", "params: {d_model: 1}"), "did you mean 'd_model'?"),
        (one_weight("shape: [flor(2.5)]"), "did you mean 'floor'?"),
        ("layers: [{nme: x, weights: {k: {shape: [2]}}}]", "did you mean 'name'?"),
        ("layers: [{repeat: 1, indx: j, layers: []}]", "did you mean 'index'?"),
    ],
)
def test_did_you_mean(text: str, hint: str) -> None:
    problems = [problem.partition(" For code of your own")[0] for problem in problems_of(text)]
    assert any(problem.endswith(hint) for problem in problems)


def test_suggest() -> None:
    assert suggest("ZEROS", ["zeros", "ones"]) == "did you mean 'zeros'?"
    assert suggest("zzz", ["zeros", "ones"]) == ""
    assert suggest("x", []) == ""


# --- places and values in words -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("a",), "a"),
        (("a", 0, "b", 1, 2), "a[0].b[1][2]"),
        (("a b",), "'a b'"),
        (("layers", 0, "weights", "b/c"), "layers[0].weights.'b/c'"),
        (("\x1b[31m",), "'\\x1b[31m'"),
        (("x" * 1000,), "'" + "x" * 27 + "..." + "x" * 28 + "'"),
    ],
)
def test_fmt_path(path: tuple[str | int, ...], text: str) -> None:
    assert fmt_path(path) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nothing"),
        (True, "the boolean true"),
        (False, "the boolean false"),
        (1, "1"),
        (1.5, "1.5"),
        ("x", "'x'"),
        ("\x1b[31m", "'\\x1b[31m'"),
        ("x" * 1000, "'" + "x" * 27 + "..." + "x" * 28 + "'"),
        ([], "an empty list"),
        ([1, 2], "a list of 2"),
        ({}, "an empty mapping"),
        ({"a": 1}, "a mapping of 1"),
    ],
)
def test_fmt_value(value: object, text: str) -> None:
    assert fmt_value(value) == text


def test_the_same_problem_is_kept_once_and_a_silenced_node_has_none() -> None:
    problems = ProblemList(SourceMap(source="s"))
    assert not problems
    problems.raise_if_any()
    problems.silence(("b",))
    problems.add(("b",), "x", "y")
    assert not problems
    problems.add(("a",), "x", "1")
    problems.add(("a",), "x", "2")
    problems.add(("a",), "y", "1")
    with pytest.raises(SpecError) as caught:
        problems.raise_if_any()
    assert str(caught.value) == "s: a: expected x, got 1\ns: a: expected y, got 1"


def test_a_hint_of_any_length_is_cut() -> None:
    place = Place(source="s.yaml")
    problem = Problem(place=place, tree_path="a", expected="b", got="c", hint="x" * 10_000)
    assert str(problem) == f"s.yaml: a: expected b, got c; {'x' * 2000}"
