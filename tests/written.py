"""What the tests of the writers share: plans, files, and the values that must be in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kinit_cli.draw import Orthogonal
from kinit_cli.dtypes import DTYPES, numpy_dtype
from kinit_cli.engines import get_engine
from kinit_cli.formats.base import Writer
from kinit_cli.pipeline import Output, generate
from kinit_cli.plan import Plan
from kinit_cli.planner import make_plan
from kinit_cli.spec.load import parse_spec
from kinit_cli.stream.transforms import cast_float64
from kinit_cli.summary import FileSummary

#: Several tiles, a partial one, tensors smaller than a tile, every kind of draw.
MIXED_SPEC = """\
seed: 11
layers:
  - name: big
    weights:
      normal: {shape: [1500, 1500], initializer: random_normal}
      cut: {shape: [1100, 1000], dtype: float64, initializer: truncated_normal}
      even: {shape: [1048577], dtype: float16, initializer: random_uniform}
      eye: {shape: [1030, 1040], initializer: {identity: {gain: 2}}}
      row: {shape: [1100, 1000], initializer: {constant: {value: [[1.5]]}}}
  - name: small
    weights:
      q: {shape: [30, 50], initializer: orthogonal}
      scalar: {shape: [], initializer: he_normal}
      none: {shape: [0, 5]}
      flags: {shape: [3], dtype: bool, initializer: {constant: {value: [1, 0, 1]}}}
      steps: {shape: [2], dtype: uint64, initializer: {constant: {value: 18446744073709551615}}}
  - name: 層/b
    weights:
      кernel: {shape: [3, 3, 4, 8], initializer: glorot_normal}
"""


def plan_text(text: str) -> Plan:
    return make_plan(parse_spec(text.encode(), "test.yaml"))


def write(plan: Plan, target: Path, writer: Writer, jobs: int = 2) -> FileSummary:
    output = Output(target=target, writer=writer)
    return generate(plan, output, engine=get_engine("numpy"), jobs=jobs)


def values_of(plan: Plan) -> dict[str, np.ndarray[Any, Any]]:
    """Draw every tensor in one piece."""
    engine = get_engine("numpy")
    values = {}
    for tensor in plan.tensors:
        out = np.full(tensor.n_elements, 77, numpy_dtype(tensor.dtype.name))
        if isinstance(tensor.draw, Orthogonal):
            matrix = engine.orthogonal(tensor.draw, tensor.stream_key, tensor.shape)
            cast_float64(matrix.reshape(-1), out)
        else:
            engine.fill(out, tensor.draw, tensor.stream_key, start=0, shape=tensor.shape)
        values[tensor.path] = out.reshape(tensor.shape)
    return values


def assert_same(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> None:
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


def plan_of_all_dtypes(*left_out: str) -> Plan:
    """Give a tensor of every dtype, a scalar and an empty one among them."""
    names = [name for name in DTYPES if name not in left_out]
    weights = [f"w_{name}: {{shape: [3, 5], dtype: {name}, {_draw(name)}}}" for name in names]
    weights += ["scalar: {shape: [], initializer: random_normal}", "none: {shape: [4, 0]}"]
    return plan_text(f"seed: 5\nlayers: [{{name: a/b, weights: {{{', '.join(weights)}}}}}]")


def _draw(name: str) -> str:
    return f"initializer: {'random_normal' if DTYPES[name].kind == 'float' else 'ones'}"
