"""Every problem of a spec at once, each with its place; and what the command line changes."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from spec_texts import one_weight, plan_of, problems_of

from kinit_cli.errors import KinitError, Place, Problem, SpecError, suggest
from kinit_cli.plan import Plan, make_plan
from kinit_cli.spec.document import MAX_BYTES
from kinit_cli.spec.load import Overrides, load_spec
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
            hint="did you mean 'he_normal'?",
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
    assert any(problem.endswith(hint) for problem in problems_of(text))


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


# --- where a spec comes from --------------------------------------------------------------------


def error_of(source: str | Path) -> str:
    with pytest.raises(KinitError) as caught:
        load_spec(source)
    return str(caught.value)


def test_a_spec_from_a_file(small_spec: Path) -> None:
    assert len(make_plan(load_spec(small_spec)).tensors) == 4
    assert len(make_plan(load_spec(str(small_spec))).tensors) == 4


def test_the_file_is_named_in_its_problems(tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text('{\n "layers":\t3}')
    with pytest.raises(SpecError) as caught:
        make_plan(load_spec(path))
    assert str(caught.value) == f"{path}:2:12: layers: expected a list, got 3; write [3]"


def test_what_is_no_file(tmp_path: Path) -> None:
    missing = tmp_path / "no.yaml"
    loop = tmp_path / "loop.yaml"
    loop.symlink_to(loop)
    file = tmp_path / "file"
    file.write_text("")
    assert error_of(tmp_path) == f"{tmp_path}: expected a spec file, got a directory"
    assert error_of(missing) == f"{missing}: expected a spec file, got no such file"
    for path in (str(loop), str(file / "spec.yaml"), str(tmp_path / ("x" * 300)), "a\0b"):
        assert error_of(path).startswith(f"{path!r}: expected a readable spec file, got: ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all")
def test_a_file_that_may_not_be_read(small_spec: Path) -> None:
    small_spec.chmod(0)
    expected = f"{str(small_spec)!r}: expected a readable spec file, got: Permission denied"
    assert error_of(small_spec) == expected


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no /dev/zero")
def test_a_file_without_end() -> None:
    assert error_of("/dev/zero").startswith(f"/dev/zero: expected at most {MAX_BYTES} bytes, got ")


def test_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    text = one_weight("shape: [2], initializer: nope")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    with pytest.raises(SpecError, match=r"^<stdin>:1:64: layers\[0\]"):
        make_plan(load_spec("-"))


# --- what the command line changes --------------------------------------------------------------

SPEC = "seed: 3\ndtype: float32\nparams: {d: 4, e: 2*d}\n" + one_weight("shape: [d, e]")


def overridden(**changes: object) -> Plan:
    return plan_of(SPEC, overrides=Overrides(**changes))  # type: ignore[arg-type]


def test_no_override_changes_nothing() -> None:
    assert overridden() == overridden(params={}) == plan_of(SPEC)


def test_the_seed_is_set_and_recorded() -> None:
    plan = overridden(seed=9)
    assert (plan.seed, plan.is_seed_drawn, plan.document["seed"]) == (9, False, 9)
    assert plan == plan_of(SPEC.replace("seed: 3", "seed: 9"))
    assert plan.tensors[0].stream_key != plan_of(SPEC).tensors[0].stream_key


def test_seed_zero_is_a_seed() -> None:
    assert overridden(seed=0).seed == 0


def test_the_dtype_is_set_where_a_weight_has_none() -> None:
    text = "layers: [{name: a, weights: {k: {shape: [2]}, m: {shape: [2], dtype: int8}}}]"
    plan = plan_of(text, overrides=Overrides(seed=1, dtype="bfloat16"))
    assert [tensor.dtype.name for tensor in plan.tensors] == ["bfloat16", "int8"]
    assert plan.document["dtype"] == "bfloat16"


def test_params_are_set_and_what_depends_on_them_follows() -> None:
    plan = overridden(params={"d": "5 * 2"})
    assert plan.tensors[0].shape == (10, 20)
    assert plan.document["params"] == {"d": 10, "e": "2*d"}
    assert overridden(params={"e": "1", "d": "2"}).tensors[0].shape == (2, 1)


def test_the_spec_itself_is_not_changed(small_spec: Path) -> None:
    before = small_spec.read_bytes()
    load_spec(small_spec, Overrides(seed=1, dtype="float16"))
    assert small_spec.read_bytes() == before


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"dd": "1"}, "--set dd=1: expected a param of the spec; did you mean 'd'?"),
        ({"zzz": "1"}, "--set zzz=1: expected a param of the spec; known: d, e"),
        ({"d": "2*e"}, "--set d=2*e: expected a number; unknown param 'e'; known: none"),
        ({"d": ""}, "--set d=: expected a number; not an arithmetic expression"),
        ({"d": "1/0"}, "--set d=1/0: expected a number; division by zero"),
    ],
)
def test_a_param_that_cannot_be_set(params: dict[str, str], message: str) -> None:
    with pytest.raises(KinitError) as caught:
        overridden(params=params)
    assert str(caught.value) == message


@pytest.mark.parametrize("params", ["", "params: 3", "params: [d]"])
def test_no_param_of_a_spec_without_any_can_be_set(params: str) -> None:
    with pytest.raises(KinitError, match=r"^--set d=1: expected a param of the spec; known: none$"):
        plan_of(one_weight("shape: [2]", params), overrides=Overrides(params={"d": "1"}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "1:7: seed: expected a seed: a whole number from 0 to 2**64 - 1, got -1"),
        ({"dtype": "f16"}, "2:8: dtype: expected a dtype: "),
        ({"params": {"d": "-2"}}, "4:47: layers[0].weights.kernel.shape[0]: expected a whole "),
        ({"params": {"d": "1.2"}}, "4:47: layers[0].weights.kernel.shape[0]: expected a whole "),
    ],
)
def test_an_override_is_checked_like_the_spec(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        overridden(**changes)
    assert str(caught.value).startswith(f"spec.yaml:{message}")


def test_an_override_mends_a_faulty_value() -> None:
    plan = plan_of(SPEC.replace("seed: 3", "seed: -3"), overrides=Overrides(seed=3))
    assert plan == plan_of(SPEC)


def test_an_override_of_what_is_no_mapping() -> None:
    with pytest.raises(SpecError, match="expected a mapping with 'layers', got a list of 1"):
        plan_of("- a", overrides=Overrides(seed=3, dtype="float16", params={"d": "1"}))
