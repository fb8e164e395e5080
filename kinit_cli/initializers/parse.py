"""Read an initializer as a spec writes it: alias, {class_name, config}, or {alias: {args}}."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from kinit_cli.errors import suggest
from kinit_cli.initializers.base import (
    Argument,
    CustomError,
    Customs,
    Initializer,
    InitializerType,
)
from kinit_cli.initializers.registry import BY_NAME
from kinit_cli.spec.expressions import ExpressionError, Number, evaluate
from kinit_cli.spec.problems import ProblemList, TreePath, fmt_value

_SERIALIZED_KEYS = ("class_name", "config", "module", "registered_name", "build_config")
#: A name that says where its code is.
_REFERENCE = re.compile(r"[\w.]+:[\w.]+")
#: A text among a custom initializer's arguments that stands for a number.
_EXPRESSION = re.compile(r"\{([^{}]*)\}")
_FORMS = "an initializer: a name, {class_name, config} or {name: {arguments}}"


def parse_initializer(
    raw: Any,
    names: Mapping[str, Number],
    path: TreePath,
    problems: ProblemList,
    customs: Customs,
) -> tuple[Initializer, TreePath] | None:
    """Read an initializer and its arguments.

    Parameters
    ----------
    names : mapping
        Params and indices that expressions may use, with their values.
    customs : Customs
        Where to look for an initializer that is not kinit's own.

    Returns
    -------
    (initializer, tree path of its arguments), or None if there were problems, which are noted
    """
    found = _Finder(problems, customs).find(raw, path)
    if found is None:
        return None
    kind, config, config_path = found
    if config is None:
        config = {}
    if not isinstance(config, dict):
        expected = f"a mapping of arguments for {kind.names[0]}"
        problems.add(config_path, expected, fmt_value(config), _form_hint(kind, config))
        return None
    reader = _ArgumentReader(names, problems)
    read = reader.read_custom if kind.is_custom else reader.read
    args = read(kind, config, config_path)
    return None if args is None else (Initializer(type=kind, args=args), config_path)


class _Finder:
    """Finds the initializer that a spec names, in whatever form, noting every problem."""

    def __init__(self, problems: ProblemList, customs: Customs) -> None:
        self._problems = problems
        self._customs = customs

    def find(self, raw: Any, path: TreePath) -> tuple[InitializerType, Any, TreePath] | None:
        """Give the type, the config as written, and the config's tree path."""
        if isinstance(raw, str):
            return self._named(raw, None, path, path)
        if not isinstance(raw, dict) or not raw:
            self._problems.add(path, _FORMS, fmt_value(raw))
            return None
        if "class_name" in raw:
            return self._serialized(raw, path)
        if len(raw) > 1:
            self._problems.add(path, _FORMS, f"a mapping with {', '.join(map(repr, raw))}")
            return None
        ((name, config),) = raw.items()
        return self._named(name, config, (*path, name), (*path, name), is_key=True)

    def _serialized(
        self, raw: dict[str, Any], path: TreePath
    ) -> tuple[InitializerType, Any, TreePath] | None:
        for key in raw:
            if key not in _SERIALIZED_KEYS:
                hint = suggest(key, _SERIALIZED_KEYS) or "arguments belong under 'config'"
                expected = "a known key"
                self._problems.add((*path, key), expected, fmt_value(key), hint, is_key=True)
        name = raw["class_name"]
        if not isinstance(name, str):
            self._problems.add((*path, "class_name"), "an initializer's name", fmt_value(name))
            return None
        return self._named(name, raw.get("config"), (*path, "class_name"), (*path, "config"))

    def _named(
        self,
        name: str,
        config: Any,
        name_path: TreePath,
        config_path: TreePath,
        *,
        is_key: bool = False,
    ) -> tuple[InitializerType, Any, TreePath] | None:
        try:
            kind = BY_NAME.get(name) or self._customs.find(name)
        except CustomError as error:
            for fault in error.faults:
                self._problems.add(name_path, fault.expected, fault.got, fault.hint, is_key=is_key)
            return None
        if kind is None:
            expected, hint = "a known initializer", self._hint(name)
            self._problems.add(name_path, expected, fmt_value(name), hint, is_key=is_key)
            return None
        return kind, config, config_path

    def _hint(self, name: str) -> str:
        customs = self._customs.names()
        near = suggest(name, [*BY_NAME, *customs])
        known = f"known: {', '.join(sorted({*_shown_names(), *customs}))};"
        start = f"{near} For" if near else f"{known} for"
        reference = f"MODULE:{name}" if name.isidentifier() else "MODULE:NAME"
        if _REFERENCE.fullmatch(name):
            reference = name
        return f"{start} code of your own: --allow-code {reference}"


def _shown_names() -> set[str]:
    return {kind.names[0] for kind in BY_NAME.values()}


def _form_hint(kind: InitializerType, config: Any) -> str:
    if kind.is_custom:
        return "give each argument by its name"
    if not kind.arguments:
        return f"write just {kind.names[0]}"
    if isinstance(config, dict | list):
        return ""
    return f"write {{{kind.names[0]}: {{{kind.arguments[0].name}: {fmt_value(config)}}}}}"


class _ArgumentReader:
    """Reads the arguments of one initializer, noting every problem."""

    def __init__(self, names: Mapping[str, Number], problems: ProblemList) -> None:
        self._names = names
        self._problems = problems
        self._is_sound = True

    def read(
        self, kind: InitializerType, config: dict[str, Any], path: TreePath
    ) -> dict[str, Any] | None:
        known = {argument.name: argument for argument in kind.arguments}
        for key in config:
            if key not in known:
                hint = suggest(key, known) or (
                    f"known: {', '.join(known)}" if known else "it takes no arguments"
                )
                expected = f"an argument of {kind.names[0]}"
                self._fail((*path, key), expected, fmt_value(key), hint, is_key=True)
        args = {}
        for name, argument in known.items():
            if argument.is_required and name not in config:
                self._fail(path, f"the argument {name} for {kind.names[0]}", "none")
            if name in config:
                args[name] = self._value(argument, config[name], (*path, name))
            else:
                args[name] = argument.default
        return args if self._is_sound else None

    def read_custom(
        self, kind: InitializerType, config: dict[str, Any], path: TreePath
    ) -> dict[str, Any] | None:
        """Take whatever there is; it is for the initializer to say what it takes."""
        args = {key: self._custom_value(raw, (*path, key)) for key, raw in config.items()}
        return args if self._is_sound else None

    def _custom_value(self, raw: Any, path: TreePath) -> Any:
        if isinstance(raw, dict):
            return {key: self._custom_value(item, (*path, key)) for key, item in raw.items()}
        if isinstance(raw, list):
            return [self._custom_value(item, (*path, i)) for i, item in enumerate(raw)]
        if isinstance(raw, str) and (match := _EXPRESSION.fullmatch(raw)):
            return self._evaluated(match.group(1), path)
        return raw.replace("{{", "{").replace("}}", "}") if isinstance(raw, str) else raw

    def _fail(self, path: TreePath, expected: str, got: str, hint: str = "", **place: bool) -> None:
        self._is_sound = False
        self._problems.add(path, expected, got, hint, **place)

    def _value(self, argument: Argument, raw: Any, path: TreePath) -> Any:
        readers: dict[str, Callable[[Argument, Any, TreePath], Any]] = {
            "number": self._number,
            "count": self._count,
            "flag": self._flag,
            "choice": self._choice,
            "axes": self._axes,
            "seed": self._seed,
            "values": self._values,
            "window": self._window,
        }
        return readers[argument.kind](argument, raw, path)

    def _number(self, argument: Argument, raw: Any, path: TreePath) -> float | None:
        value = self._evaluated(raw, path)
        if value is None:
            return None
        lowest = argument.lowest
        if lowest is not None and (
            value < lowest or (argument.is_lowest_excluded and value == lowest)
        ):
            bound = "more than" if argument.is_lowest_excluded else "at least"
            self._fail(path, f"{argument.name} {bound} {lowest:g}", str(value))
            return None
        if argument.highest is not None and value > argument.highest:
            self._fail(path, f"{argument.name} at most {argument.highest:g}", str(value))
            return None
        return float(value)

    def _count(self, argument: Argument, raw: Any, path: TreePath) -> int | None:
        value = self._evaluated(raw, path)
        if value is None:
            return None
        if value != value // 1 or value < 1:
            self._fail(path, f"{argument.name}: a whole number from 1 on", str(value))
            return None
        return int(value)

    def _flag(self, argument: Argument, raw: Any, path: TreePath) -> bool | None:
        if isinstance(raw, bool):
            return raw
        self._fail(path, f"{argument.name}: true or false", fmt_value(raw))
        return None

    def _evaluated(self, raw: Any, path: TreePath) -> Number | None:
        if isinstance(raw, bool) or not isinstance(raw, int | float | str):
            self._fail(path, "a number or an expression", fmt_value(raw))
            return None
        if not isinstance(raw, str):
            return raw
        if not self._problems.source_map.has_expressions:
            self._fail(path, "a number", fmt_value(raw))
            return None
        try:
            return evaluate(raw, self._names)
        except ExpressionError as error:
            self._fail(path, "an expression with a value", fmt_value(raw), str(error))
            return None

    def _choice(self, argument: Argument, raw: Any, path: TreePath) -> str | None:
        if raw is None and argument.is_nullable:
            return None
        word = raw
        if isinstance(raw, str) and argument.name == "distribution":
            word = raw.lower()
        if word in argument.choices:
            return str(word)
        hint = suggest(raw, argument.choices) if isinstance(raw, str) else ""
        known = (*argument.choices, "null") if argument.is_nullable else argument.choices
        self._fail(path, f"{argument.name}: {', '.join(known)}", fmt_value(raw), hint)
        return None

    def _axes(self, argument: Argument, raw: Any, path: TreePath) -> tuple[int, ...] | None:
        if raw is None:
            return None
        if isinstance(raw, list) and all(type(axis) is int for axis in raw):
            return tuple(raw)
        self._fail(path, "a list of axes (whole numbers), or null", fmt_value(raw))
        return None

    def _seed(self, argument: Argument, raw: Any, path: TreePath) -> int | None:
        if isinstance(raw, dict) and raw.get("class_name") == "SeedGenerator":
            config = raw.get("config")
            raw = config.get("seed") if isinstance(config, dict) else raw
        if isinstance(raw, str):
            raw = self._evaluated(raw, path)
        if raw is None:
            return None
        if type(raw) is not int or not 0 <= raw < 2**64:
            self._fail(path, "a seed: a whole number from 0 to 2**64 - 1, or null", fmt_value(raw))
            return None
        return raw

    def _values(self, argument: Argument, raw: Any, path: TreePath) -> Any:
        if isinstance(raw, dict) and raw.get("class_name") == "__numpy__":
            config = raw.get("config")
            raw = config.get("value") if isinstance(config, dict) else raw
        return self._nested(raw, path)

    def _window(self, argument: Argument, raw: Any, path: TreePath) -> Any:
        if raw is None or isinstance(raw, str):
            return None if raw is None else self._choice(argument, raw, path)
        if isinstance(raw, dict | list):
            values = self._values(argument, raw, path)
            if isinstance(values, tuple) or values is None:
                return values
        self._fail(path, "a window's name, a list of its samples, or null", fmt_value(raw))
        return None

    def _nested(self, raw: Any, path: TreePath) -> Any:
        if isinstance(raw, bool):
            return int(raw)
        if not isinstance(raw, list):
            return self._evaluated(raw, path)
        items = [self._nested(item, (*path, i)) for i, item in enumerate(raw)]
        shapes = {_nested_shape(item) for item in items}
        if len(shapes) > 1:
            self._fail(path, "nested lists of equal lengths", "lists of different lengths")
            return None
        return tuple(items)


def _nested_shape(value: Any) -> tuple[int, ...]:
    if not isinstance(value, tuple):
        return ()
    return (len(value), *(_nested_shape(value[0]) if value else ()))
