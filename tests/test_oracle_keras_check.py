"""Values of Keras follow the same laws: its files pass `inspect --check`, changed ones do not."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from oracles import import_oracle

from kinit_cli.engines import get_engine
from kinit_cli.engines.keras import keras_plan
from kinit_cli.formats.hdf5 import Hdf5Writer
from kinit_cli.inspect import inspect_file
from kinit_cli.pipeline import Output, generate
from kinit_cli.planner import make_plan
from kinit_cli.spec.load import parse_spec
from kinit_cli.summary import FileSummary

keras = import_oracle("keras")

pytestmark = [
    pytest.mark.oracle,
    # TensorFlow's tensors, when NumPy asks for a copy of one.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]

SPEC = """\
seed: 3
layers:
  - name: a
    weights:
      normal: {shape: [300, 50], initializer: {random_normal: {mean: 1, stddev: 0.02}}}
      cut: {shape: [300, 500], initializer: he_normal}
      uniform: {shape: [300, 500], initializer: glorot_uniform}
      double: {shape: [30, 50], initializer: lecun_normal, dtype: float64}
      half: {shape: [30, 50], initializer: he_uniform, dtype: float16}
      matrix: {shape: [60, 50], initializer: orthogonal}
      double_matrix: {shape: [60, 50], initializer: {orthogonal: {gain: 2}}, dtype: float64}
      identity: {shape: [50, 50], initializer: {identity: {gain: 0.3}}}
      constant: {shape: [50], initializer: {constant: {value: 0.1}}}
      count: {shape: [50], initializer: ones, dtype: int32}
      real: {shape: [64, 1, 33], initializer: {stft: {side: real, window: hann, scaling: density}}}
      imag: {shape: [6, 1, 129], initializer: {stft: {side: imag}}}
"""
CHANGED = ("cut", "uniform", "matrix", "double_matrix", "identity", "constant", "real")


def verdicts(summary: FileSummary) -> dict[str, str]:
    return {tensor.path[2:]: tensor.test.verdict for tensor in summary.tensors if tensor.test}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> FileSummary:
    path = tmp_path_factory.mktemp("keras") / "w.h5"
    plan = keras_plan(make_plan(parse_spec(SPEC.encode(), "spec.yaml")))
    output = Output(target=path, writer=Hdf5Writer())
    return generate(plan, output, engine=get_engine("numpy"), jobs=1)


def test_what_keras_draws_passes(made: FileSummary) -> None:
    """While it is drawn, only means are tested."""
    untested = {name for name, verdict in verdicts(made).items() if verdict != "pass"}
    assert untested == {"real", "imag"}
    assert made.tests is not None
    assert made.tests.n_failed == 0


def test_the_file_passes(made: FileSummary) -> None:
    found = inspect_file(made.source, check=True)
    assert verdicts(found) == dict.fromkeys(verdicts(made), "pass")


def test_scaled_values_of_keras_are_caught(made: FileSummary, tmp_path: Path) -> None:
    target = tmp_path / "w.h5"
    target.write_bytes(Path(made.source).read_bytes())
    with h5py.File(target, "a") as file:
        for name in CHANGED:
            file[f"a/{name}"][...] *= np.float32(1.03)
    found = inspect_file(target, check=True)
    wrong = {
        tensor.path[2:]
        for tensor in found.tensors
        if tensor.test and any("digest" not in reason for reason in tensor.test.reasons)
    }
    assert wrong == set(CHANGED)
