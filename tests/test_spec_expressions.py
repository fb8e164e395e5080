"""The expressions of a spec: Python's arithmetic, within bounds, and nothing else."""

from __future__ import annotations

import math
import operator
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinit_cli.spec.expressions import (
    FUNCTIONS,
    MAX_BITS,
    MAX_LENGTH,
    ExpressionError,
    evaluate,
    is_param_name,
)

NAMES = {"d": 768, "n_layers": 12, "std": 0.02, "é": 3}
NOT_ARITHMETIC = "only numbers, params, + - * / // % **, and functions of them"


def error_of(text: str) -> str:
    with pytest.raises(ExpressionError) as caught:
        evaluate(text, NAMES)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", 5),
        ("0x10", 16),
        ("0b11", 3),
        ("1_000", 1000),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("2.", 2.0),
        ("d", 768),
        ("3*d", 2304),
        ("é", 3),
        (" 1\n\t+ 2 ", 3),
        ("std / sqrt(2 * n_layers)", 0.02 / math.sqrt(24)),
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 3 - 2", 5),
        ("8 / 4 / 2", 1.0),
        ("7 // 2 * 2", 6),
        ("-7 // 2", -4),
        ("-7 % 3", 2),
        ("7.5 // 2", 3.0),
        ("7.5 % 2", 1.5),
        ("4 / 2", 2.0),
        ("-2 ** 2", -4),
        ("(-2) ** 2", 4),
        ("2 ** 3 ** 2", 512),
        ("2 ** -1", 0.5),
        ("2 ** 0.5", math.sqrt(2)),
        ("0 ** 0", 1),
        ("0.0 ** 0", 1.0),
        ("2 * -3", -6),
        ("+-+3", -3),
        ("min(3, 1, 2)", 1),
        ("max(1, 2.5)", 2.5),
        ("min(4)", 4),
        ("ceil(2.1) + floor(-2.1)", 0),
        ("ceil(d / 100)", 8),
        ("sqrt(16)", 4.0),
        ("log(8, 2)", 3.0),
        ("log(1)", 0.0),
        ("max(min(d, 512), floor(sqrt(d)))", 512),
    ],
)
def test_value(text: str, expected: float) -> None:
    value = evaluate(text, NAMES)
    assert repr(value) == repr(expected)


@pytest.mark.parametrize(
    "text",
    [
        "d.real", "d[0]", "d[:]", "[1]", "(1, 2)", "1,", "{1}", "{1: 2}", "'a'", "b'a'", "f'{d}'",
        "1j", "2 + 1j", "True", "False", "None", "...", "1 < 2", "1 == 1", "1 < 2 < 3", "not 1",
        "1 and 2", "1 or 2", "1or 2", "1 if 1 else 2", "1if 2else 3", "1 in d", "1 is 1", "~1",
        "1 & 2", "1 | 2", "1 ^ 2", "1 << 2", "1 >> 2", "1 @ 2", "lambda: 1", "(lambda: 1)()",
        "(x := 1)", "[i for i in d]", "{i for i in d}", "{i: i for i in d}", "(i for i in d)",
        "sum(i for i in d)", "min(*[1])", "min(*d)", "min(**d)", "min(d, default=1)", "sqrt(x=4)",
        "2(3)", "d(3)(4)", "sqrt(4)(2)", "min.__call__(1)", "(1).bit_length()",
        "__import__('os').system('true')", "().__class__.__base__", "await d", "1 # one", "d #",
    ],
)  # fmt: skip
def test_nothing_but_arithmetic_is_an_expression(text: str) -> None:
    assert error_of(text) == NOT_ARITHMETIC


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "#", "1 +", "* 2", "1 2", "2d", "1;2", "x = 1", "x := 1", "import os", "del d",
        "yield", "return 1", "pass", "(1", "1)", "1 \\", "\\", "1\0", "$d", "d?", "d!", "２",
        "1__0", "012", "print 1", "'a", "d: 1", "->", "<>", "-.inf", ".nan",
    ],
)  # fmt: skip
def test_what_cannot_be_read(text: str) -> None:
    assert error_of(text) == "not an arithmetic expression"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("n_layer", "unknown param 'n_layer'; did you mean 'n_layers'?"),
        ("qqq + 1", "unknown param 'qqq'; known: d, n_layers, std, é"),
        ("__builtins__", "unknown param '__builtins__'; known: d, n_layers, std, é"),
        ("sqr(4)", "unknown function 'sqr'; did you mean 'sqrt'?"),
        ("pow(2, 3)", "unknown function 'pow'; known: min, max, sqrt, log, ceil, floor"),
        ("eval(1)", "unknown function 'eval'; known: min, max, sqrt, log, ceil, floor"),
        ("Sqrt(4)", "unknown function 'Sqrt'; did you mean 'sqrt'?"),
        ("1 / 0", "division by zero"),
        ("1 // 0", "division by zero"),
        ("1 % 0", "division by zero"),
        ("0 ** -1", "division by zero"),
        ("0.0 ** -1", "division by zero"),
        ("0 ** -300", "division by zero"),
        ("log(2, 1)", "division by zero"),
        ("sqrt", "the result is not a real number"),
        ("max", "the result is not a real number"),
        ("(-8) ** (1 / 3)", "the result is not a real number"),
        ("1e999", "the result is not finite"),
        ("1e308 * 10", "the result is not finite"),
        ("1e308 * 10 - 1e308 * 10", "the result is not finite"),
        ("min(1, 1e999 / 1e999)", "the result is not finite"),
        ("2.0 ** 1024", "the result is too large"),
        ("ceil(1e300)", "the result is too large"),
    ],
)
def test_error(text: str, error: str) -> None:
    assert error_of(text) == error


def test_an_unknown_param_among_none() -> None:
    with pytest.raises(ExpressionError, match=r"^unknown param 'd'; known: none$"):
        evaluate("d", {})


@pytest.mark.parametrize(
    "text", ["sqrt(-1)", "log(0)", "log(-1)", "min()", "sqrt()", "sqrt(1, 2)", "log()", "-sqrt"]
)
def test_what_the_functions_refuse(text: str) -> None:
    assert error_of(text) not in ("", NOT_ARITHMETIC, "not an arithmetic expression")


def test_python_does_not_comment_on_expressions() -> None:
    script = (
        "from kinit_cli.spec.expressions import ExpressionError, evaluate\n"
        "for text in ('1or 2', '0x1for d in d', r\"'\\d'\", '1 is 1', '1(2)'):\n"
        "    try:\n"
        "        evaluate(text, {})\n"
        "    except ExpressionError as error:\n"
        "        print(error)\n"
    )
    command = [sys.executable, "-W", "always", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-2:] == [NOT_ARITHMETIC] * 2


# --- bounds -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 ** 255", 2**255),
        ("2 ** 255 - 1 + 2 ** 255", 2**256 - 1),
        ("-(2 ** 255 - 1 + 2 ** 255)", 1 - 2**256),
        ("3 ** 161", 3**161),
        ("(-3) ** 161", -(3**161)),
        ("1 ** 10 ** 70", 1),
        ("(-1) ** (10 ** 70 + 1)", -1),
        ("0 ** 10 ** 70", 0),
        ("2 ** 2 ** 2 ** 2", 65536),
        ("10 ** 77", 10**77),
    ],
)
def test_whole_numbers_within_the_bound_are_exact(text: str, expected: int) -> None:
    value = evaluate(text, {})
    assert value == expected
    assert type(value) is int


@pytest.mark.parametrize(
    "text",
    [
        "2 ** 256",
        "2 ** 256 - 1",
        "2 ** 255 * 2",
        "2 ** 255 + 2 ** 255",
        "(2 ** 255 + 2 ** 255) // 2",
        "(0 - 2 ** 255 - 2 ** 255) // 2",
        "2 ** 255 * 2 // 2",
        "max(9" + "9" * 80 + ", 1) * 0",
        "-(2 ** 255) - 2 ** 255",
        "3 ** 162",
        "9 ** 9 ** 9 ** 9",
        "(10 ** 70) ** (10 ** 70)",
        "(-2) ** 10 ** 70",
        str(2**MAX_BITS),
        "9" * MAX_LENGTH,
    ],
)
def test_whole_numbers_beyond_the_bound_are_refused(text: str) -> None:
    assert error_of(text) == "the result is too large"


def test_length() -> None:
    assert evaluate("1" + "+1" * 400 + " " * (MAX_LENGTH - 801), {}) == 401
    assert error_of("1" + " " * MAX_LENGTH) == f"longer than {MAX_LENGTH} characters"


@pytest.mark.parametrize("text", ["-" * 999 + "1", "(" * 499 + "1" + ")" * 499, "+(" * 333 + "1"])
def test_nesting(text: str) -> None:
    assert error_of(text) in ("nested too deeply", "not an arithmetic expression")


def test_moderate_nesting_is_fine() -> None:
    assert evaluate("(" * 50 + "1" + ")" * 50, {}) == 1
    assert evaluate("sqrt(" * 50 + "1" + ")" * 50, {}) == 1


# --- Python as the oracle -----------------------------------------------------------------------

OPERATORS: dict[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}
PYTHON_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": min,
    "max": max,
    "sqrt": math.sqrt,
    "log": math.log,
    "ceil": math.ceil,
    "floor": math.floor,
}

NUMBERS = st.integers(0, 2**70) | st.integers(0, 12) | st.floats(0, 1e30, allow_subnormal=False)
TREES = st.recursive(
    NUMBERS | st.sampled_from(sorted(NAMES)),
    lambda inner: (
        st.tuples(inner, st.sampled_from(sorted(OPERATORS)), inner)
        | st.tuples(st.sampled_from("+-"), inner)
        | st.tuples(st.sampled_from(["sqrt", "log", "ceil", "floor"]), inner)
        | st.tuples(st.sampled_from(["min", "max"]), inner, inner)
    ),
    max_leaves=10,
)


class Refused(Exception):  # noqa: N818
    pass


def bounded(value: Any) -> Any:
    if isinstance(value, complex) or not math.isfinite(value):
        raise Refused
    if isinstance(value, int) and abs(value) >= 2**256:
        raise Refused
    return value


def value_by_python(tree: Any) -> Any:
    if not isinstance(tree, tuple):
        return NAMES[tree] if isinstance(tree, str) else tree
    if tree[0] in ("+", "-"):
        operand = value_by_python(tree[1])
        return -operand if tree[0] == "-" else operand
    if tree[0] in PYTHON_FUNCTIONS:
        return bounded(PYTHON_FUNCTIONS[tree[0]](*map(value_by_python, tree[1:])))
    left, symbol, right = value_by_python(tree[0]), tree[1], value_by_python(tree[2])
    are_whole = isinstance(left, int) and isinstance(right, int)
    if symbol == "**" and are_whole and right > 256:
        if abs(left) > 1:
            raise Refused
        return left ** (2 + right % 2)
    return bounded(OPERATORS[symbol](left, right))


def text_of(tree: Any) -> str:
    match tree:
        case (str(symbol), operand) if symbol in "+-":
            return f"{symbol}({text_of(operand)})"
        case (left, str(symbol), right) if symbol in OPERATORS:
            return f"({text_of(left)}) {symbol} ({text_of(right)})"
        case (str(name), *operands):
            return f"{name}({', '.join(map(text_of, operands))})"
    return str(tree)


@given(TREES)
def test_expressions_are_pythons_arithmetic(tree: Any) -> None:
    try:
        expected = bounded(value_by_python(tree))
    except (Refused, ArithmeticError, ValueError):
        expected = None
    try:
        value = evaluate(text_of(tree), NAMES)
    except ExpressionError:
        value = None
    assert repr(value) == repr(expected)


@given(st.text(max_size=20) | st.text(alphabet="0123456789.e+-*/%()d, min#_'\n", max_size=20))
def test_any_text_has_a_value_or_an_error(text: str) -> None:
    try:
        value = evaluate(text, NAMES)
    except ExpressionError as error:
        assert str(error)  # noqa: PT017
    else:
        assert type(value) in (int, float)
        assert math.isfinite(value)


# --- names --------------------------------------------------------------------------------------


def test_the_functions() -> None:
    assert sorted(FUNCTIONS) == ["ceil", "floor", "log", "max", "min", "sqrt"]


@pytest.mark.parametrize("name", ["d", "n_layers", "_", "d2", "É", "match", "type"])
def test_a_name_for_a_param(name: str) -> None:
    assert is_param_name(name)
    assert evaluate(f"{name} + 1", {name: 2}) == 3


@pytest.mark.parametrize("name", ["", "2d", "a b", "a-b", "a.b", "if", "None", "sqrt", "min", "{"])
def test_no_name_for_a_param(name: str) -> None:
    assert not is_param_name(name)
