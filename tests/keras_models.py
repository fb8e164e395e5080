"""What Keras itself says of a model's variables, listed without making their values."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any

from oracles import import_oracle

from kinit_cli.plan import Plan
from kinit_cli.planner import make_plan
from kinit_cli.spec.expand import evaluate_params, expand
from kinit_cli.spec.load import parse_spec

keras = import_oracle("keras")
from keras.src.backend.common import global_state  # noqa: E402
from keras.src.saving import saving_lib  # noqa: E402


class _Recorder(saving_lib.H5IOStore):  # type: ignore[misc]
    """Stands for a ``.weights.h5`` file and notes which variable would go where."""

    def __init__(self) -> None:
        self.variables: dict[str, Any] = {}
        self._path = ""

    def __bool__(self) -> bool:
        return True

    def make(self, path: str, metadata: Any = None) -> _Recorder:
        self._path = path
        return self

    def __setitem__(self, key: str, variable: Any) -> None:
        self.variables[f"{self._path}/vars/{key}"] = variable


def unfilled(build: Callable[[], Any]) -> Any:
    """Build a model whose variables have shapes and no values."""
    keras.utils.clear_session()
    try:
        with (
            warnings.catch_warnings(),
            keras.StatelessScope(initialize_variables=False),
        ):
            warnings.simplefilter("ignore")  # of Keras, about what it does itself
            return build()
    finally:
        global_state.set_global_attribute("uninitialized_variables", [])


def saved_variables(model: Any) -> dict[str, Any]:
    """Give the variables that Keras would save, by their path in a ``.weights.h5`` file."""
    recorder = _Recorder()
    saving_lib._save_state(
        model, weights_store=recorder, assets_store=None, inner_path="", visited_saveables=set()
    )
    return recorder.variables


def plan_of(document: Any) -> Plan:
    return make_plan(parse_spec(json.dumps(document).encode(), "spec.json"))


def assert_same_variables(document: Any, model: Any, *, is_frozen: bool = False) -> Plan:
    """Check every weight of a spec against the variables of Keras's model.

    A weight is called trainable if Keras makes it so, whether or not its layer is frozen.
    """
    variables = saved_variables(model)
    spec = parse_spec(json.dumps({"seed": 1, **document}).encode(), "spec.json")
    params = evaluate_params(spec.model.params, spec.problems)
    decls = expand(spec.model, params, spec.problems)
    plan = make_plan(spec)
    by_path = {tensor.keras_path: tensor for tensor in plan.tensors}
    assert set(by_path) == set(variables)
    for decl in decls:
        tensor, variable = by_path[decl.keras_path], variables[decl.keras_path]
        found = (tensor.shape, tensor.dtype.name, decl.typed.is_trainable, tensor.weight)
        name = variable.path.split("/")[-1]
        assert found[:2] == (tuple(variable.shape), variable._dtype), decl.path
        assert found[2] == variable.trainable or is_frozen, decl.path
        # The one of ConvNeXt has no name of its own.
        assert found[3].split("/")[-1] == name or name.startswith("variable")
        _assert_same_initializer(tensor, variable)
    # In the order in which Keras lists them; states of generators are not weights.
    positions = {id(variable): place for place, variable in enumerate(model.variables)}
    order = [positions[id(variables[tensor.keras_path])] for tensor in plan.tensors]
    assert order == sorted(order)
    return plan


def _assert_same_initializer(tensor: Any, variable: Any) -> None:
    initializer = variable._initializer
    found = tensor.initializer.config()
    if not isinstance(initializer, keras.initializers.Initializer):
        assert found["class_name"] == "UnitForgetBias", tensor.path
        values = keras.ops.convert_to_numpy(initializer(tensor.shape, dtype="float32"))
        assert values.tolist() == list(tensor.draw.values), tensor.path
        return
    expected = keras.initializers.serialize(initializer)
    config, wanted = dict(found["config"]), dict(expected["config"])
    # A layer that changes an initializer gives it the seed that it has drawn.
    if config.get("seed") is None:
        config.pop("seed", None)
        wanted.pop("seed", None)
    wanted = {
        name: tuple(value) if isinstance(value, list) else value for name, value in wanted.items()
    }
    assert (found["class_name"], config) == (expected["class_name"], wanted), tensor.path
