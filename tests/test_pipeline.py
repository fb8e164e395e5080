"""How the pipeline uses an engine from many threads."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from spec_texts import plan_of

from kinit_cli.draw import Orthogonal, matrix_shape
from kinit_cli.engines.numpy import NumpyEngine
from kinit_cli.errors import OutputError
from kinit_cli.formats.hdf5 import Hdf5Writer
from kinit_cli.formats.npy import NpyDirectoryWriter
from kinit_cli.pipeline import Output, generate
from kinit_cli.planner import make_plan
from kinit_cli.spec.load import parse_spec
from kinit_cli.stream.identity import StreamKey

#: More than half a tile each, so that no thread has two of them in one unit of work.
SPEC = b"""\
seed: 1
layers:
  - name: layer
    weights:
      o1: {shape: [800, 800], initializer: orthogonal}
      n1: {shape: [800, 800], initializer: random_normal}
      o2: {shape: [800, 800], initializer: orthogonal}
      o3: {shape: [800, 800], initializer: orthogonal}
      o4: {shape: [800, 800], initializer: orthogonal}
"""


class RecordingEngine(NumpyEngine):
    """Gives zeros for a matrix, after a while; records which threads asked and how many at once."""

    def __init__(self) -> None:
        self.n_calls = 0
        self.most_at_once = 0
        self.threads: set[int] = set()
        self._n_active = 0
        self._lock = threading.Lock()

    def orthogonal(
        self, draw: Orthogonal, stream_key: StreamKey, shape: tuple[int, ...], **options: Any
    ) -> NDArray[np.float64]:
        with self._lock:
            self.n_calls += 1
            self._n_active += 1
            self.most_at_once = max(self.most_at_once, self._n_active)
            self.threads.add(threading.get_ident())
        time.sleep(0.05)
        with self._lock:
            self._n_active -= 1
        return np.zeros(matrix_shape(shape))


def test_orthogonal_tensors_are_made_one_at_a_time(tmp_path: Path) -> None:
    engine = RecordingEngine()
    plan = make_plan(parse_spec(SPEC, "test.yaml"))
    output = Output(target=tmp_path / "w", writer=NpyDirectoryWriter())
    generate(plan, output, engine=engine, jobs=4)
    assert engine.n_calls == 4
    assert len(engine.threads) > 1
    assert engine.most_at_once == 1


def test_a_matrix_that_nobody_waits_for_is_given_up(tmp_path: Path) -> None:
    has_begun = threading.Event()
    ended: list[BaseException] = []

    class FailingEngine(NumpyEngine):
        def fill(self, *arguments: Any, **options: Any) -> None:
            has_begun.wait(30)
            raise OSError("the other tensor failed")

        def orthogonal(self, *arguments: Any, on_block: Any = None, **options: Any) -> Any:
            has_begun.set()
            deadline = time.monotonic() + 30
            try:
                while time.monotonic() < deadline:
                    on_block()
            except BaseException as error:
                ended.append(error)
                raise

    plan = plan_of(
        "seed: 1\nlayers: [{name: a, weights: {k: {shape: [1024, 1024]},"
        " m: {shape: [1024, 1024], initializer: orthogonal}}}]"
    )
    output = Output(target=tmp_path / "a.h5", writer=Hdf5Writer())
    with pytest.raises(OutputError, match="the other tensor failed; nothing was changed"):
        generate(plan, output, engine=FailingEngine(), jobs=2)
    assert [type(error).__name__ for error in ended] == ["_StoppedError"]
