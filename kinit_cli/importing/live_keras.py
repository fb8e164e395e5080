"""The variables of a Keras model with classes that kinit does not know, as Keras itself has them.

The installed Keras builds the model from its JSON, without values: variables have shapes and
initializers and no memory. Only Keras's own classes, and what the user allows by name, are let in
before anything is built; Keras's safe mode refuses code within the JSON.

Keras is imported by `live_document` and not before.
"""

from __future__ import annotations

import importlib
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from kinit_cli.engines.quiet import quiet
from kinit_cli.errors import KinitError
from kinit_cli.foreign_code import ForeignCodeError, foreign_code
from kinit_cli.importing.names import split_path

#: Where the JSON of a model may take classes from; other modules of Keras do more than layers.
_MODULES = re.compile(
    r"builtins|keras|keras\.(layers|models|initializers|regularizers|constraints|activations|"
    r"dtype_policies|random)|keras\.(src\.)?ops(\..*)?|keras\.src\.(layers|models)\..*"
)
_DROPPED = ("compile_config", "optimizer_config")
#: Of values that no initializer says: more of them are not written into a spec.
_MAX_VALUES = 2**16


def live_document(data: dict[str, Any], source: str, allowed: Mapping[str, Any]) -> dict[str, Any]:
    """Build a model without values and list its variables.

    Parameters
    ----------
    data : dict
        What ``model.to_json()`` gives.
    allowed : mapping of str to object
        The user's own classes and functions, by ``module:name``.

    Returns
    -------
    dict
        A spec's document in which each variable's path is its place in a ``.weights.h5`` file.

    Raises
    ------
    KinitError
        The JSON names a class of another module that is not allowed, Keras cannot build it, or an
        initializer cannot be written down.
    """
    data = {key: value for key, value in data.items() if key not in _DROPPED}
    _refuse_foreign(data, source, allowed)
    customs = {}
    for reference, item in allowed.items():
        customs[reference.partition(":")[2]] = item
    try:
        with quiet(is_alone=True), foreign_code(), _without_warnings():
            keras: Any = importlib.import_module("keras")
            for name, item in list(customs.items()):
                customs[keras.saving.get_registered_name(item) or name] = item
            model = _build(keras, json.dumps(data), customs)
            variables = _saved_variables(model)
            seeds = set(_iter_seeds(data))
            weights = [
                (path, variable, _written(keras, variable, seeds, f"{source}: {path}"))
                for path, variable in variables.items()
            ]
    except ForeignCodeError as error:
        if isinstance(error.__cause__, KinitError):
            raise error.__cause__ from None
        raise KinitError(
            f"{source}: expected a model that the installed Keras can build, got {_reason(error)}; "
            "for classes of your own: --allow-code MODULE:CLASS"
        ) from error
    if not weights:
        hint = "call model.build(input_shape) or the model itself before model.to_json()"
        raise KinitError(f"{source}: expected a model that is built, got no variables; {hint}")
    return _document(data, weights)


def _reason(error: ForeignCodeError) -> str:
    """Give the innermost of the errors that Keras packs into one another."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error.__cause__))
    inner = [part.strip() for part in re.split(r"(?:Exception|Error) encountered:", text)][-1]
    first = inner.splitlines()[0] if len(inner) < len(text) and inner else ""
    return f"{type(error.__cause__).__name__}: {first}" if first else str(error)


def _refuse_foreign(node: Any, source: str, allowed: Mapping[str, Any]) -> None:
    """Refuse every class that is neither Keras's nor allowed, before any is looked up."""
    names = {reference.partition(":")[2] for reference in allowed}
    for item in _iter_nodes(node):
        class_name, module = item.get("class_name"), item.get("module")
        if class_name == "__lambda__":
            raise KinitError(
                f"{source}: expected a model without code in it, got a Lambda; make it a class of "
                "your own and allow that"
            )
        if not isinstance(class_name, str) or "module" not in item or class_name in names:
            continue
        is_own = module is None and str(item.get("registered_name")).rpartition(">")[2] in names
        if not is_own and not (isinstance(module, str) and _MODULES.fullmatch(module)):
            where = f"{module}:{class_name}" if isinstance(module, str) else f"MODULE:{class_name}"
            raise KinitError(
                f"{source}: expected Keras's own classes, got {class_name!r}; "
                f"allow it with --allow-code {where}"
            )


def _iter_nodes(node: Any) -> Iterator[dict[str, Any]]:
    waiting = [node]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _iter_seeds(data: Any) -> Iterator[int]:
    for item in _iter_nodes(data):
        if type(item.get("seed")) is int:
            yield item["seed"]


@contextmanager
def _without_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Keras and its backend, about what they do themselves
        yield


def _build(keras: Any, text: str, customs: dict[str, Any]) -> Any:
    from keras.src.backend.common import global_state

    try:
        with keras.StatelessScope(initialize_variables=False):
            return keras.models.model_from_json(text, custom_objects=customs)
    finally:
        # Keras would fill them all as soon as anything else is built.
        global_state.set_global_attribute("uninitialized_variables", [])


def _saved_variables(model: Any) -> dict[str, Any]:
    """Give the variables that Keras would save, by their place in a ``.weights.h5`` file."""
    from keras.src.saving import saving_lib

    variables: dict[str, Any] = {}

    class Recorder(saving_lib.H5IOStore):  # type: ignore[misc]
        """Stands for a file and notes which variable would go where."""

        def __init__(self) -> None:
            self._group = ""

        def __bool__(self) -> bool:
            return True

        def make(self, path: str, metadata: Any = None) -> Recorder:
            self._group = f"{path}/vars" if path else "vars"
            return self

        def __setitem__(self, key: str, variable: Any) -> None:
            variables[f"{self._group}/{key}"] = variable

    saving_lib._save_state(
        model,
        weights_store=Recorder(),
        assets_store=None,
        inner_path="",
        visited_saveables=set(),
    )
    return variables


def _written(keras: Any, variable: Any, seeds: set[int], where: str) -> Any:
    """Give a variable's initializer as a spec writes it."""
    initializer = getattr(variable, "_initializer", None)
    if not isinstance(initializer, keras.initializers.Initializer):
        return _values(keras, variable, initializer, where)
    config = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in initializer.get_config().items()
        if value is not None
    }
    if type(config.get("seed")) is int and config["seed"] not in seeds:
        del config["seed"]  # drawn by Keras for a layer that was given none
    kind = type(initializer)
    is_own = not kind.__module__.startswith("keras.")
    name = f"{kind.__module__}:{kind.__qualname__}" if is_own else kind.__name__
    return {name: config} if config else name


def _values(keras: Any, variable: Any, initializer: Any, where: str) -> Any:
    """Write down the values of what is no initializer but a function or an array."""
    shape = tuple(variable.shape)
    expected = "an initializer of a class, or one that gives the same few values each time"
    if np.prod(shape, dtype=object) > _MAX_VALUES:
        raise KinitError(f"{where}: expected {expected}, got one of {shape}; list it in a spec")
    if initializer is None:
        made = [keras.ops.convert_to_numpy(variable.value)] * 2
    else:
        made = [
            np.asarray(keras.ops.convert_to_numpy(initializer(shape, dtype="float32")))
            for _ in range(2)
        ]
    values = made[0].astype(np.float64)
    if not np.array_equal(values, made[1]):
        raise KinitError(f"{where}: expected {expected}, got a random one; list it in a spec")
    if values.size and (values == values.flat[0]).all():
        value = float(values.flat[0])
        return {0.0: "zeros", 1.0: "ones"}.get(value, {"constant": {"value": value}})
    return {"constant": {"value": values.tolist()}} if values.size else "zeros"


def _document(data: dict[str, Any], weights: list[tuple[str, Any, Any]]) -> dict[str, Any]:
    config = data.get("config")
    name = config.get("name") if isinstance(config, dict) else None
    layers: dict[str, dict[str, Any]] = {}
    for path, variable, initializer in weights:
        layer, weight = split_path(path)
        written: dict[str, Any] = {"shape": [int(size) for size in variable.shape]}
        dtype = str(variable._dtype)
        if dtype != "float32":
            written["dtype"] = dtype
        layers.setdefault(layer, {})[weight] = {**written, "initializer": initializer}
    document: dict[str, Any] = {"name": name} if isinstance(name, str) else {}
    document["layers"] = [
        {"name": layer.replace("{", "{{").replace("}", "}}"), "weights": listed}
        for layer, listed in layers.items()
    ]
    return document
