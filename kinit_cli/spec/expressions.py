"""Arithmetic in a spec: numbers, params, + - * / // % **, parentheses, and a few functions.

The evaluator is simpleeval, cut down to arithmetic: no attribute, subscript, comparison, string
or assignment reaches it. Size, powers and results are bounded, so that no expression takes long.
"""

from __future__ import annotations

import ast
import functools
import keyword
import math
import operator
import warnings
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from kinit_cli.errors import suggest

Number: TypeAlias = int | float

MAX_LENGTH = 1000
#: Whole numbers stay below 2**MAX_BITS.
MAX_BITS = 256

FUNCTIONS: Mapping[str, Callable[..., Number]] = MappingProxyType(
    {
        "min": lambda *numbers: min(numbers),
        "max": lambda *numbers: max(numbers),
        "sqrt": math.sqrt,
        "log": math.log,
        "ceil": math.ceil,
        "floor": math.floor,
    }
)
_EVALUATED_NODES = (ast.Name, ast.UnaryOp, ast.BinOp, ast.Call, ast.Constant)
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow)
_ALLOWED_NODES = (*_EVALUATED_NODES, *_OPERATORS, ast.USub, ast.UAdd, ast.Load)
_NOT_ARITHMETIC = "only numbers, params, + - * / // % **, and functions of them"


class ExpressionError(ValueError):
    """An expression that has no value; the text says why."""


def is_param_name(name: str) -> bool:
    """Tell whether an expression could use this name for a param."""
    return name.isidentifier() and not keyword.iskeyword(name) and name not in FUNCTIONS


def fmt_known(names: Iterable[str]) -> str:
    """List names for a hint, those that could be typed.

    >>> fmt_known(["d", "n_layers", "?"])
    'known: d, n_layers'
    """
    return f"known: {', '.join(name for name in names if name.isidentifier()) or 'none'}"


def evaluate(text: str, names: Mapping[str, Number]) -> Number:
    """Give the value of an arithmetic expression.

    Parameters
    ----------
    text : str
        The expression, at most `MAX_LENGTH` characters.
    names : mapping of str to number
        The params it may use.

    Raises
    ------
    ExpressionError
        Not arithmetic, an unknown name, a division by zero, a result that is not finite.

    Examples
    --------
    >>> evaluate("0.02 / sqrt(2 * n_layers)", {"n_layers": 8})
    0.005
    >>> evaluate("3*d", {"d": 768})
    2304
    """
    from simpleeval import FunctionNotDefined, InvalidExpression, NameNotDefined

    evaluator = _evaluator()
    evaluator.names = dict(names)
    try:
        return _bounded(evaluator.eval(text, previously_parsed=_parse(text)))
    except NameNotDefined as error:
        raise ExpressionError(_unknown("param", error.name, names)) from error
    except FunctionNotDefined as error:
        raise ExpressionError(_unknown("function", error.func_name, FUNCTIONS)) from error
    except ZeroDivisionError as error:
        raise ExpressionError("division by zero") from error
    except OverflowError as error:
        raise ExpressionError("the result is too large") from error
    except (InvalidExpression, TypeError, ValueError) as error:
        raise ExpressionError(str(error).splitlines()[0]) from error
    except RecursionError as error:
        raise ExpressionError("nested too deeply") from error


@functools.lru_cache(maxsize=4096)
def _parse(text: str) -> ast.expr:
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"longer than {MAX_LENGTH} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's remarks on texts that are refused below
            tree = ast.parse(" ".join(text.split()), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ExpressionError("not an arithmetic expression") from error
    if "#" in text or not all(_is_arithmetic(node) for node in ast.walk(tree)):
        raise ExpressionError(_NOT_ARITHMETIC)
    return tree


def _is_arithmetic(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return type(node.value) in (int, float)
    if isinstance(node, ast.Call) and not isinstance(node.func, ast.Name):
        return False
    return isinstance(node, _ALLOWED_NODES)


@functools.cache
def _evaluator() -> Any:
    from simpleeval import SimpleEval

    operators: dict[type, Callable[..., Number]] = {
        ast.Add: _checked(operator.add),
        ast.Sub: _checked(operator.sub),
        ast.Mult: _checked(operator.mul),
        ast.Div: _checked(operator.truediv),
        ast.FloorDiv: _checked(operator.floordiv),
        ast.Mod: _checked(operator.mod),
        ast.Pow: _checked(_power),
        ast.USub: operator.neg,
        ast.UAdd: operator.pos,
    }
    functions = {name: _checked(function) for name, function in FUNCTIONS.items()}
    evaluator = SimpleEval(operators=operators, functions=functions)
    evaluator.nodes = {
        kind: handler for kind, handler in evaluator.nodes.items() if kind in _EVALUATED_NODES
    }
    return evaluator


def _checked(function: Callable[..., Any]) -> Callable[..., Number]:
    def call(*operands: Number) -> Number:
        return _bounded(function(*operands))

    return call


def _power(base: Number, exponent: Number) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and exponent >= 0:
        # The least number of bits that the result can have; it has at most twice as many.
        n_bits = (base.bit_length() - 1) * exponent
        if n_bits >= MAX_BITS:
            raise ExpressionError("the result is too large")
    return base**exponent


def _bounded(value: Any) -> Number:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ExpressionError("the result is not a real number")
    if isinstance(value, int):
        if value.bit_length() > MAX_BITS:
            raise ExpressionError("the result is too large")
    elif not math.isfinite(value):
        raise ExpressionError("the result is not finite")
    return value


def _unknown(what: str, name: str, known: Mapping[str, Any]) -> str:
    return f"unknown {what} {name!r}; {suggest(name, known) or fmt_known(known)}"
