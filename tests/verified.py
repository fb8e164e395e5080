"""What the tests of `verify` share: files, what is done to them, and what was found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from kinit_cli.compare.checks import TensorCheck, Verification
from kinit_cli.digest import TILE_ELEMENTS
from kinit_cli.engines import get_engine
from kinit_cli.formats.registry import choose_writer
from kinit_cli.pipeline import Output, generate
from kinit_cli.plan import Plan
from kinit_cli.planner import make_plan
from kinit_cli.spec.load import LoadedSpec, parse_spec

SPEC = """\
seed: 42
layers:
  - {name: z, weights: {kernel: {shape: [20, 30], initializer: he_normal}, bias: {shape: [30]}}}
  - {name: a, weights: {q: {shape: [16, 16], initializer: orthogonal, dtype: float64}}}
  - name: m
    weights: {n: {shape: [], dtype: int64}, f: {shape: [3], dtype: bool}, e: {shape: [0]}}
"""
ONE = "seed: 5\nlayers: [{name: z, weights: {kernel: {shape: [20, 30]}}}]"
#: Three tiles, the last of them short.
LARGE_SHAPE = (3, TILE_ELEMENTS // 2 + 1000, 2)
LARGE = f"seed: 9\nlayers: [{{name: big, weights: {{kernel: {{shape: {list(LARGE_SHAPE)}}}}}}}]"
OUTPUTS = ["w.h5", "w/"]


def plan_of(text: str) -> Plan:
    return make_plan(parse_spec(text.encode(), "spec.yaml"))


def written(target: str, text: str = SPEC) -> str:
    plan = plan_of(text)
    writer = choose_writer(target, None, n_tensors=len(plan.tensors))
    output = Output(target=Path(target), writer=writer)
    generate(plan, output, engine=get_engine("numpy"), jobs=1)
    return target


def change(target: str, path: str, edit: Callable[[Any], Any]) -> None:
    """Put another array in place of a tensor, or none."""
    if target.endswith("/"):
        file = Path(target, f"{path}.npy")
        values = edit(np.load(file))
        file.unlink() if values is None else np.save(file, values)
        return
    with h5py.File(target, "a") as opened:
        values = edit(opened[path][()])
        del opened[path]
        if values is not None:
            opened[path] = values


def edit_manifest(target: str, edit: Callable[[Any], None]) -> None:
    if target.endswith("/"):
        file = Path(target, "kinit.json")
        manifest = json.loads(file.read_text("utf-8"))
        edit(manifest)
        file.write_text(json.dumps(manifest), "utf-8")
        return
    with h5py.File(target, "a") as opened:
        manifest = json.loads(opened.attrs["kinit"])
        edit(manifest)
        opened.attrs["kinit"] = json.dumps(manifest)


def statuses(found: Verification) -> dict[str, str]:
    return {tensor.path: tensor.status for tensor in found.differing}


def only(found: Verification) -> TensorCheck:
    (tensor,) = found.differing
    return tensor


def loaded(text: str) -> LoadedSpec:
    return parse_spec(text.encode(), "other.yaml")
