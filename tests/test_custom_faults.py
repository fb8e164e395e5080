"""What is wrong with custom initializers is found in planning, with its place in the spec."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from custom_specs import plan_with, problems_with, spec_of
from custom_things import Plain, Scaled, ramp

from kinit_cli.draw import Called
from kinit_cli.errors import KinitError, SpecError
from kinit_cli.initializers.custom import CustomInitializers
from kinit_cli.planner import make_plan
from kinit_cli.spec.load import parse_spec


def needs(shape: Any, dtype: Any = None, *, width: int, depth: int = 1) -> Any: ...


class Refusing(Scaled):
    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        if config["scale"] < 0:
            raise ValueError("scale is\nnegative")
        return "no object" if config["scale"] == 0 else cls(**config)


def config_that_is(value: Any) -> type:
    return type("Odd", (Plain,), {"get_config": lambda self: value})


NO_JSON = "expected get_config() of Odd to give a mapping of JSON data, got"


@pytest.mark.parametrize(
    ("thing", "initializer", "problems"),
    [
        (
            needs, {"f": {"widht": 1, "dtype": "f4"}},
            [
                ": expected the argument 'width' of f, got none; it has no default",
                ".f.widht: expected an argument of f, got 'widht'; did you mean 'width'?",
                ".f.dtype: expected an argument of f, got 'dtype'; kinit gives it itself",
            ],
        ),
        (needs, "f", [": expected the argument 'width' of f, got none; it has no default"]),
        (
            ramp, {"f": {"zzz": 1}},
            [".f.zzz: expected an argument of f, got 'zzz'; known: step"],
        ),
        (
            lambda shape: None, {"f": {"zzz": 1}},
            [".f.zzz: expected an argument of f, got 'zzz'; it takes no arguments"],
        ),
        (lambda: None, "f", [": expected f to take a shape as its first argument, got ()"]),
        (
            ramp, {"f": 5},
            [".f: expected a mapping of arguments for f, got 5; give each argument by its name"],
        ),
        (
            ramp, {"f": {"step": "{1 +}"}},
            [
                ".f.step: expected an expression with a value, got '1 +'; "
                "not an arithmetic expression"
            ],
        ),
        (
            Scaled, {"f": {"scle": 1}},
            [
                ": expected the argument 'scale' of f, got none; it has no default",
                ".f.scle: expected an argument of f, got 'scle'; did you mean 'scale'?",
            ],
        ),
        (
            Refusing, {"f": {"scale": -1}},
            [": expected arguments that f can be made with, got ValueError: scale is negative"],
        ),
        (
            Refusing, {"f": {"scale": 0}},
            [": expected f to make an object with __call__(shape, dtype), got str"],
        ),
        (
            Refusing(1), {"f": {"scale": 0}},
            [": expected f to make an object with __call__(shape, dtype), got str"],
        ),
        (
            config_that_is({})(), {"f": {"factor": 2}},
            [
                ".f.factor: expected an argument of f, got 'factor'; "
                "it is a ready-made object, which takes none"
            ],
        ),
        (config_that_is(None), "Odd", [f": {NO_JSON} NoneType"]),
        (config_that_is({"a": {"b": [0, {1}]}}), "Odd", [f": {NO_JSON} set as 'a.b[1]'"]),
        (config_that_is({"a": np.float32(1)}), "Odd", [f": {NO_JSON} float32 as 'a'"]),
        (config_that_is({"a": float("nan")}), "Odd", [f": {NO_JSON} nan as 'a'"]),
        (config_that_is({1: 2}), "Odd", [f": {NO_JSON} dict"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_a_problem_of_the_spec(
    thing: Any, initializer: Any, problems: list[str]
) -> None:
    name = "Odd" if initializer == "Odd" else "f"
    got = problems_with({name: thing}, initializer)
    assert sorted(got) == sorted(problems)


def test_a_problem_has_its_place_in_the_text() -> None:
    text = spec_of({"k": "ones", "m": {"needs": {"widht": 1}}})
    with pytest.raises(SpecError) as caught:
        make_plan(
            parse_spec(text.encode(), "spec.json"),
            customs=CustomInitializers(objects={"needs": needs}),
        )
    places = [problem.place for problem in caught.value.problems]
    columns = [text.index('{"needs"') + 1, text.index('"widht"') + 1]
    assert [(place.line, place.column) for place in places] == [(1, column) for column in columns]


def test_a_type_error_from_within_is_not_taken_for_a_wrong_argument() -> None:
    class Odd(Plain):
        def __init__(self, factor: int = 1) -> None:
            raise TypeError("of another kind")

    assert problems_with({"Odd": Odd}, {"Odd": {"factor": 2}}) == [
        ": expected arguments that Odd can be made with, got TypeError: of another kind"
    ]


def test_a_tuple_in_a_config_is_recorded_as_a_list() -> None:
    plan = plan_with({"Odd": config_that_is({"axes": (0, 1)})}, {"k": "Odd"})
    assert plan.tensors[0].initializer_config()["config"] == {"axes": [0, 1]}
    assert isinstance(plan.tensors[0].draw, Called)


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        (
            {"he_normal": ramp},
            "initializer 'he_normal': expected a name of its own, got 'he_normal', which is one of "
            "kinit's initializers; rename it",
        ),
        (
            {"f": 5},
            "initializer 'f': expected a function, or a class or object with "
            "__call__(shape, dtype), got int",
        ),
        (
            {"f": dict},
            "initializer 'f': expected a function, or a class or object with "
            "__call__(shape, dtype), got the class dict",
        ),
    ],
)
def test_objects_that_are_no_initializers(objects: Any, message: str) -> None:
    with pytest.raises(KinitError) as caught:
        CustomInitializers(objects=objects)
    assert str(caught.value) == message
