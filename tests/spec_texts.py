"""What the tests of the spec share: from a text to a plan, or to the list of its problems."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinit_cli.draw import EntireDraw
from kinit_cli.dtypes import numpy_dtype
from kinit_cli.engines import get_engine
from kinit_cli.engines.entire import make_entire
from kinit_cli.errors import SpecError
from kinit_cli.plan import Plan, TensorPlan
from kinit_cli.planner import make_plan
from kinit_cli.spec.load import Overrides, parse_spec
from kinit_cli.stream.transforms import cast_float64


def plan_of(
    text: str | bytes, source: str = "spec.yaml", overrides: Overrides | None = None
) -> Plan:
    raw = text.encode() if isinstance(text, str) else text
    return make_plan(parse_spec(raw, source, overrides))


def problems_of(
    text: str | bytes, source: str = "spec.yaml", overrides: Overrides | None = None
) -> list[str]:
    """List every problem as the user reads it; none for a spec that is sound."""
    try:
        plan_of(text, source, overrides)
    except SpecError as error:
        return [str(problem) for problem in error.problems]
    return []


def one_weight(arguments: str, before: str = "") -> str:
    """Write a spec of one weight `a/kernel`; `arguments` stand in line 1 from column 39 on."""
    return f"layers: [{{name: a, weights: {{kernel: {{{arguments}}}}}}}]\n{before}"


def tensor_of(initializer: Any, shape: str = "[6, 4]", **weight: str) -> TensorPlan:
    """Plan one weight `a/kernel`; the initializer is written as JSON, which is YAML."""
    others = "".join(f", {key}: {value}" for key, value in weight.items())
    text = one_weight(f"shape: {shape}, initializer: {json.dumps(initializer)}{others}")
    return plan_of(f"seed: 1\n{text}").tensors[0]


def values_of(tensor: TensorPlan) -> NDArray[Any]:
    """Generate a tensor that has been planned."""
    out = np.full(tensor.n_elements, 0xA5, np.uint8).repeat(tensor.dtype.n_bytes)
    values = out.view(numpy_dtype(tensor.dtype.name))
    engine, key, shape = get_engine("numpy"), tensor.stream_key, tensor.shape
    if isinstance(tensor.draw, EntireDraw):
        cast_float64(make_entire(engine, tensor.draw, key, shape), values)
    else:
        engine.fill(values, tensor.draw, key, start=0, shape=shape)
    return values.reshape(shape)


def places_of(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """List the paths of all nodes."""
    yield path
    if isinstance(node, dict | list):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in items:
            yield from places_of(value, (*path, key))


def replaced(node: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """Copy data with another value at a path."""
    if not path:
        return value
    made = copy.copy(node)
    made[path[0]] = replaced(node[path[0]], path[1:], value)
    return made
