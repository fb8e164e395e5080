"""From somebody's function, class or object, and its arguments, to what draws a tensor.

Nothing is known of such code but what `inspect.signature` says; it is run here, guarded.
"""

from __future__ import annotations

import copy
import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from kinit_cli.draw import Called, Draw
from kinit_cli.errors import suggest
from kinit_cli.foreign_code import ForeignCodeError, foreign_code
from kinit_cli.initializers.base import Args, CustomError, Fault, InitializerType, Target

#: Of a function; None if it does not say, as some that are written in C.
Parameters: TypeAlias = "Sequence[inspect.Parameter] | None"

_BY_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_BY_POSITION = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
)
#: What a function is called with besides its arguments.
_GIVEN = ("shape", "dtype")


def custom_type(name: str, thing: Any) -> InitializerType:
    """Make an initializer type, called `name`, of a function, a class or an object."""
    return InitializerType(
        class_name=name,
        names=(name,),
        arguments=(),
        resolve=partial(_resolve, name, thing),
        summary="Code of the user's own.",
        is_custom=True,
    )


def usability_fault(thing: Any) -> Fault | None:
    """Say why something cannot be an initializer, or None if it may be one."""
    if callable(thing) and (not isinstance(thing, type) or _has_call(thing)):
        return None
    got = f"the class {thing.__name__}" if isinstance(thing, type) else type(thing).__name__
    return Fault(expected="a function, or a class or object with __call__(shape, dtype)", got=got)


def _has_call(cls: type) -> bool:
    # `cls.__call__` alone would find that of its metaclass, which makes objects.
    return any("__call__" in vars(base) for base in cls.__mro__)


def _resolve(name: str, thing: Any, args: Args, target: Target) -> Draw:
    if isinstance(thing, type):
        return _of_class(name, thing, args, target)
    if not _has(thing, "get_config", name):
        return _of_function(name, thing, args, target)
    if not args:
        return _of_object(name, thing, {}, None)
    if not _has(thing, "from_config", name):
        fault = f"an argument of {name}", "it is a ready-made object, which takes none"
        raise CustomError(*(_unknown(key, *fault) for key in args))
    return _of_class(name, type(thing), args, target)


def _has(thing: Any, attribute: str, name: str) -> bool:
    try:
        with foreign_code():
            return hasattr(thing, attribute)
    except ForeignCodeError as error:
        expected = f"{name} to say whether it has {attribute}"
        raise CustomError(Fault(expected=expected, got=str(error))) from error


# --- functions ------------------------------------------------------------------------------


def _of_function(name: str, function: Any, args: Args, target: Target) -> Called:
    """Bind a function's arguments; those of the config are passed by keyword."""
    parameters = _parameters(function)
    given = dict(args)
    if _takes(parameters, "seed") and given.get("seed") is None:
        given["seed"] = target.seed
    faults = _function_faults(name, parameters, given)
    if faults:
        raise CustomError(*faults)
    takes_dtype = _takes(parameters, "dtype", or_any=True)

    def call(shape: tuple[int, ...], dtype: str, seed: int) -> Any:
        with_dtype = {"dtype": dtype} if takes_dtype else {}
        return function(shape, **copy.deepcopy(given), **with_dtype)

    return Called(function=call, config={**_defaults(parameters), **given})


def _function_faults(name: str, parameters: Parameters, given: Args) -> list[Fault]:
    if parameters is None:
        return []
    if not parameters or parameters[0].kind not in _BY_POSITION:
        expected = f"{name} to take a shape as its first argument"
        return [Fault(expected=expected, got=_fmt_signature(parameters))]
    others = parameters if parameters[0].kind == parameters[0].VAR_POSITIONAL else parameters[1:]
    return _argument_faults(name, others, given, is_given=_GIVEN)


def _defaults(parameters: Parameters) -> dict[str, Any]:
    """Give the defaults that a spec could give as well: they may be others one day."""
    return {
        parameter.name: parameter.default
        for parameter in (parameters or ())[1:]
        if parameter.kind in _BY_KEYWORD
        and parameter.name not in _GIVEN
        and _is_plain_value(parameter.default)
    }


def _is_plain_value(value: Any) -> bool:
    if not isinstance(value, str | bool | int | float | None):
        return False
    try:
        _plain(value, "")
    except _NotPlainError:
        return False
    return True


# --- classes and their objects --------------------------------------------------------------


def _of_class(name: str, cls: type, args: Args, target: Target) -> Called:
    """Make an object as Keras does: by `from_config`, or else with the config as arguments."""
    config = dict(args)
    if _class_takes_seed(cls) and config.get("seed") is None:
        config["seed"] = target.seed
    make: Callable[[Any], Any] = getattr(cls, "from_config", lambda config: cls(**config))
    try:
        with foreign_code():
            made = make(copy.deepcopy(config))
    except ForeignCodeError as error:
        is_about_arguments = isinstance(error.__cause__, TypeError)
        faults = _argument_faults(name, _init_parameters(cls), config) if is_about_arguments else []
        general = Fault(expected=f"arguments that {name} can be made with", got=str(error))
        raise CustomError(*(faults or [general])) from error
    return _of_object(name, made, config, config.get("seed"))


def _of_object(name: str, made: Any, config: Args, own_seed: Any) -> Called:
    """Call an object; a seed that its config gives is passed in place of the tensor's."""
    if not callable(made):
        expected = f"{name} to make an object with __call__(shape, dtype)"
        raise CustomError(Fault(expected=expected, got=type(made).__name__))
    parameters = _parameters(made)
    takes_dtype = _takes(parameters, "dtype", or_any=True)
    takes_seed = _takes(parameters, "seed")

    def call(shape: tuple[int, ...], dtype: str, seed: int) -> Any:
        arguments: dict[str, Any] = {"dtype": dtype} if takes_dtype else {}
        if takes_seed:
            arguments["seed"] = seed if own_seed is None else own_seed
        return made(shape, **arguments)

    return Called(function=call, config=_complete_config(name, made, config))


def _complete_config(name: str, made: Any, config: Args) -> dict[str, Any]:
    """Give what `get_config` says as plain JSON data, or the given config if it has none."""
    if not _has(made, "get_config", name):
        return dict(config)
    expected = f"get_config() of {name} to give a mapping of JSON data"
    try:
        with foreign_code():
            complete = _plain(made.get_config(), "")
    except ForeignCodeError as error:
        cause = error.__cause__
        got = str(cause) if isinstance(cause, _NotPlainError) else str(error)
        raise CustomError(Fault(expected=expected, got=got)) from error
    if not isinstance(complete, dict):
        raise CustomError(Fault(expected=expected, got=type(complete).__name__))
    return complete


class _NotPlainError(Exception):
    """A value that JSON does not have."""


def _plain(value: Any, where: str) -> Any:
    """Copy JSON data; subclasses of its types become the types themselves."""
    match value:
        case None | bool():
            return value
        case int() if abs(value) <= sys.float_info.max:
            return int(value)
        case float() if math.isfinite(value):
            return float(value)
        case str() if _is_unicode(value):
            return str(value)
        case list() | tuple():
            return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
        case Mapping() if all(isinstance(key, str) for key in value):
            return {
                str(key): _plain(item, f"{where}.{key}".lstrip(".")) for key, item in value.items()
            }
    shown = repr(value) if isinstance(value, float) else type(value).__name__
    if isinstance(value, str):
        shown = "half a surrogate pair"
    raise _NotPlainError(f"{shown}{f' as {where!r}' if where else ''}")


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


# --- signatures -----------------------------------------------------------------------------


def _parameters(function: Any) -> Parameters:
    try:
        with foreign_code():
            return list(inspect.signature(function).parameters.values())
    except ForeignCodeError:
        return None  # it does not say, as some that are written in C


def _init_parameters(cls: type) -> Parameters:
    """Give the parameters of a class's constructor without `self`."""
    if cls.__init__ is object.__init__:  # type: ignore[misc]
        return _parameters(cls)
    parameters = _parameters(cls.__init__)  # type: ignore[misc]
    return parameters if parameters is None else parameters[1:]


def _class_takes_seed(cls: type) -> bool:
    """Tell whether a constructor takes a seed, or passes what it does not know to one that does."""
    for base in cls.__mro__:
        if "__init__" in vars(base):
            parameters = _parameters(vars(base)["__init__"])
            if _takes(parameters, "seed"):
                return True
            if not _takes(parameters, "", or_any=True):
                return False
    return False


def _takes(parameters: Parameters, name: str, *, or_any: bool = False) -> bool:
    """Tell whether a keyword is a parameter by this name; or, with `or_any`, is taken at all."""
    if parameters is None:
        return or_any
    return any(
        (parameter.name == name and parameter.kind in _BY_KEYWORD)
        or (or_any and parameter.kind == parameter.VAR_KEYWORD)
        for parameter in parameters
    )


def _argument_faults(
    name: str, parameters: Parameters, args: Args, *, is_given: Sequence[str] = ()
) -> list[Fault]:
    """Find arguments that are not known, or that are missing."""
    if parameters is None:
        return []
    known = [p.name for p in parameters if p.kind in _BY_KEYWORD and p.name not in is_given]
    faults = []
    for key in args:
        if key in is_given:
            faults.append(_unknown(key, f"an argument of {name}", "kinit gives it itself"))
        elif not _takes(parameters, key, or_any=True):
            hint = suggest(key, known)
            hint = hint or (f"known: {', '.join(known)}" if known else "it takes no arguments")
            faults.append(_unknown(key, f"an argument of {name}", hint))
    for parameter in parameters:
        if parameter.default is not parameter.empty or parameter.name in (*args, *is_given):
            continue
        if parameter.kind in (*_BY_KEYWORD, parameter.POSITIONAL_ONLY):
            expected = f"the argument {parameter.name!r} of {name}"
            faults.append(Fault(expected=expected, got="none", hint="it has no default"))
    return faults


def _unknown(key: str, expected: str, hint: str) -> Fault:
    return Fault(argument=key, expected=expected, got=repr(key), hint=hint, is_key=True)


def _fmt_signature(parameters: Sequence[inspect.Parameter]) -> str:
    return f"({', '.join(map(str, parameters))})"
