"""Where a spec comes from, and what the command line changes in it."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from spec_texts import one_weight, plan_of

from kinit_cli.errors import KinitError, SpecError
from kinit_cli.plan import Plan
from kinit_cli.planner import make_plan
from kinit_cli.spec.document import MAX_BYTES
from kinit_cli.spec.load import Overrides, load_spec

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
