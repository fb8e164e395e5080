"""What the tests of custom initializers share: plans and files that use objects at hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinit_cli.engines import get_engine
from kinit_cli.errors import SpecError
from kinit_cli.formats.npy import NpyDirectoryWriter
from kinit_cli.initializers.custom import CustomInitializers
from kinit_cli.pipeline import Output, generate
from kinit_cli.plan import Plan
from kinit_cli.planner import make_plan
from kinit_cli.spec.load import parse_spec
from kinit_cli.summary import FileSummary


def spec_of(weights: Mapping[str, Any], **top: Any) -> str:
    """Write a spec of the layer `a`; a weight is an initializer, of shape [4, 3], or a mapping."""
    full = {
        name: weight if isinstance(weight, dict) and "shape" in weight else written(weight)
        for name, weight in weights.items()
    }
    return json.dumps({"seed": 7, **top, "layers": [{"name": "a", "weights": full}]})


def written(initializer: Any, shape: tuple[int, ...] = (4, 3), **others: Any) -> dict[str, Any]:
    return {"shape": list(shape), "initializer": initializer, **others}


def plan_with(objects: Mapping[str, Any], weights: Mapping[str, Any], **top: Any) -> Plan:
    spec = parse_spec(spec_of(weights, **top).encode(), "spec.json")
    return make_plan(spec, customs=CustomInitializers(objects=objects))


def problems_with(objects: Mapping[str, Any], initializer: Any) -> list[str]:
    """List the problems of a spec of one weight, without their places in the text."""
    try:
        plan_with(objects, {"k": initializer})
    except SpecError as error:
        return [
            f"{problem.tree_path.removeprefix('layers[0].weights.k.initializer')}: "
            f"expected {problem.expected}, got {problem.got}; {problem.hint}".removesuffix("; ")
            for problem in error.problems
        ]
    return []


def write(plan: Plan, folder: Path, *, jobs: int = 1) -> FileSummary:
    output = Output(target=folder, writer=NpyDirectoryWriter())
    return generate(plan, output, engine=get_engine("numpy"), jobs=jobs)


def values_with(
    objects: Mapping[str, Any], weights: Mapping[str, Any], folder: Path, **top: Any
) -> dict[str, NDArray[Any]]:
    """Generate into a folder and give each weight's values as NumPy reads them."""
    write(plan_with(objects, weights, **top), folder)
    return {name: np.load(folder / "a" / f"{name}.npy") for name in weights}
