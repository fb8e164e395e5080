"""`--engine keras`: the values that the installed Keras draws, in place of the value stream's.

Each tensor is what calling Keras's own initializer gives, with the same arguments, bit for bit.
They depend on Keras's version and its backend, both of which the file says (`Origin`).

Keras is imported by `keras_plan` and not before.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from kinit_cli.draw import Called, expected_moments
from kinit_cli.engines.quiet import quiet
from kinit_cli.errors import InitializerError, UnavailableError
from kinit_cli.explicit import explicit_plan
from kinit_cli.foreign_code import fmt_error
from kinit_cli.origin import Origin
from kinit_cli.plan import Plan, TensorPlan
from kinit_cli.spec.plain import as_plain

#: Older ones know some initializers under other names.
OLDEST_VERSION = (3, 8)
INSTALL = "pip install 'kinit-cli[keras]', and tensorflow, jax or torch for its backend"

_MAX_FAULTS = 20


def keras_plan(plan: Plan, *, is_alone: bool = False) -> Plan:
    """Give a plan whose tensors are drawn by the installed Keras.

    Every seed, and every axis that a fan is taken from, stands in the arguments of the plan's
    initializers; what is expected of the elements is as before.

    Parameters
    ----------
    is_alone : bool
        See `kinit_cli.engines.quiet.quiet`.

    Raises
    ------
    UnavailableError
        Keras is missing, too old or cannot be imported, or does not know an argument that the
        plan needs.
    """
    keras = _import_keras(is_alone=is_alone)
    plan = explicit_plan(plan)
    origin = _origin_of(keras)
    faults: list[str] = []
    tensors = tuple(
        _keras_tensor(tensor, keras, faults, is_alone=is_alone) for tensor in plan.tensors
    )
    if faults:
        shown = [*faults[:_MAX_FAULTS], *([f"and {len(faults) - 20} more"] if faults[20:] else [])]
        raise UnavailableError("\n".join(shown))
    return replace(plan, tensors=tensors, origin=origin)


def keras_origin(*, is_alone: bool = False) -> Origin:
    """Say what `keras_plan` draws with.

    Parameters
    ----------
    is_alone : bool
        See `kinit_cli.engines.quiet.quiet`.

    Raises
    ------
    UnavailableError
        Keras is missing, too old or cannot be imported.
    """
    return _origin_of(_import_keras(is_alone=is_alone))


# --- the library ----------------------------------------------------------------------------


def _import_keras(*, is_alone: bool) -> Any:
    try:
        with quiet(is_alone=is_alone):
            keras: Any = importlib.import_module("keras")
    except ModuleNotFoundError as error:
        if error.name != "keras":
            raise _broken(error) from error
        raise UnavailableError(f"engine keras: Keras is not installed; {INSTALL}") from error
    except (Exception, SystemExit) as error:
        raise _broken(error) from error
    numbers = tuple(map(int, re.findall(r"\d+", keras.__version__)[:2]))
    if numbers < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        raise UnavailableError(
            f"engine keras: expected Keras {oldest} or newer, got {keras.__version__}; {INSTALL}"
        )
    return keras


def _broken(error: BaseException) -> UnavailableError:
    return UnavailableError(
        f"engine keras: Keras cannot be imported ({fmt_error(error)}); install what is missing, or "
        "choose another backend with KERAS_BACKEND=tensorflow, jax or torch"
    )


def _origin_of(keras: Any) -> Origin:
    backend = str(keras.backend.backend())
    # Keras has imported it under this name.
    version = getattr(sys.modules.get(backend), "__version__", "unknown")
    return Origin(
        engine="keras",
        version=str(keras.__version__),
        backend=backend,
        backend_version=str(version),
    )


# --- tensors --------------------------------------------------------------------------------


def _keras_tensor(
    tensor: TensorPlan, keras: Any, faults: list[str], *, is_alone: bool
) -> TensorPlan:
    if isinstance(tensor.draw, Called):
        return tensor  # a custom initializer's values are its own, whoever draws the others
    name = tensor.initializer.type.names[0]
    make = getattr(keras.initializers, tensor.initializer.type.class_name, None)
    if make is None and not tensor.is_random:
        return tensor
    if make is None:
        faults.append(f"{tensor.path}: Keras {keras.__version__} has no initializer {name}")
        return tensor
    parameters = inspect.signature(make).parameters
    args = {}
    for argument in tensor.initializer.type.arguments:
        value = tensor.initializer.args[argument.name]
        if argument.name in parameters:
            args[argument.name] = as_plain(value)
        elif value != argument.default:
            faults.append(
                f"{tensor.path}: Keras {keras.__version__} does not know the argument "
                f"{argument.name!r} of {name}; a newer Keras may"
            )
    function = functools.partial(_call, keras, make, args, tensor.path, is_alone)
    moments = expected_moments(tensor.draw, tensor.shape)
    return replace(tensor, draw=Called(function=function, moments=moments))


def _call(
    keras: Any,
    make: Callable[..., Any],
    args: Mapping[str, Any],
    path: str,
    is_alone: bool,
    shape: tuple[int, ...],
    dtype: str,
    seed: int,
) -> Any:
    """Let Keras make a tensor; the seed that it needs stands in the arguments already."""
    # Of a dtype that the backend narrows it warns; here that is an error.
    with quiet(is_alone=is_alone):
        values = make(**args)(shape, dtype=dtype)
    got = keras.backend.standardize_dtype(values.dtype)
    if got != dtype:
        backend = keras.backend.backend()
        hint = "; JAX_ENABLE_X64=1 lets JAX have 64 bits" if backend == "jax" else ""
        raise InitializerError(f"{path}: expected {dtype} from Keras on {backend}, got {got}{hint}")
    return values
