"""Numbers of a spec: written out or as an expression, checked where they are used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kinit_cli.spec.expressions import ExpressionError, Number, evaluate
from kinit_cli.spec.problems import ProblemList, TreePath, fmt_value

MAX_DIMENSION = 2**40


def evaluated(
    value: Any, names: Mapping[str, Number], path: TreePath, problems: ProblemList
) -> Number | None:
    """Give the value of a number or an expression, or None after noting what is wrong."""
    if not isinstance(value, str):
        return value  # type: ignore[no-any-return]
    if not problems.source_map.has_expressions:
        problems.add(path, "a number", fmt_value(value))
        return None
    try:
        return evaluate(value, names)
    except ExpressionError as error:
        problems.add(path, "an expression with a value", fmt_value(value), str(error))
        return None


def whole_number(
    value: Any,
    names: Mapping[str, Number],
    path: TreePath,
    problems: ProblemList,
    *,
    lowest: int = 0,
    highest: int = MAX_DIMENSION,
) -> int | None:
    """Give the whole value of a number or an expression, or None after noting what is wrong."""
    number = evaluated(value, names, path, problems)
    if number is None:
        return None
    if number != number // 1 or not lowest <= number <= highest:
        got = fmt_value(number)
        if isinstance(value, str):
            got = f"{fmt_value(value)} = {got}"
        hint = "use // for a whole quotient" if number != number // 1 else ""
        problems.add(path, f"a whole number from {lowest} to {highest:,}", got, hint)
        return None
    return int(number)
