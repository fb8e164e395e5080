"""What the TensorFlow engine leaves to the CPU engine, and what it does when TensorFlow fails."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from every_engine import needs_tensorflow, tensorflow_engine
from stream_vectors import (
    assert_same_bits,
)
from tensorflow_fills import (
    BLOCK,
    DRAWS,
    KEY,
    REFERENCE,
    check,
    every_mode,
    filled,
)

from kinit_cli.draw import Normal, Orthogonal
from kinit_cli.dtypes import numpy_dtype
from kinit_cli.engines.base import Engine
from kinit_cli.engines.tensorflow_devices import Device
from kinit_cli.errors import KinitError
from kinit_cli.statistics.meter import Meter

pytestmark = [pytest.mark.tensorflow, needs_tensorflow]

# --- who does what ------------------------------------------------------------------------------


def test_short_and_odd_work_is_the_cpu_engines(launched: list[tuple[str, int]]) -> None:
    from kinit_cli.engines.tensorflow import MIN_ELEMENTS

    engine = tensorflow_engine("xla", min_elements=MIN_ELEMENTS)
    check(engine, DRAWS[1], "float32", MIN_ELEMENTS - 1, 3)
    aligned = np.zeros(MIN_ELEMENTS, np.float32)
    unaligned = np.zeros(4 * MIN_ELEMENTS + 1, np.uint8)[1:].view(np.float32)
    foreign = np.zeros(MIN_ELEMENTS, ">f4")
    for out in (unaligned, foreign):
        engine.fill(out, DRAWS[1], KEY, start=0, shape=out.shape)
    assert isinstance(engine.make_meter(), Meter)
    draw = Orthogonal(gain=2.0)
    expected = REFERENCE.orthogonal(draw, KEY, (6, 4))
    assert engine.orthogonal(draw, KEY, (6, 4)).tobytes() == expected.tobytes()
    assert launched == []
    engine.fill(aligned, DRAWS[1], KEY, start=0, shape=aligned.shape)
    assert launched
    assert_same_bits(unaligned.copy(), aligned)
    assert_same_bits(foreign.astype("<f4"), aligned)


def test_only_a_few_sizes_are_launched(launched: list[tuple[str, int]]) -> None:
    engine = tensorflow_engine("xla", block_elements=BLOCK)
    engine.prepare([(Normal, numpy_dtype("float32"))])
    for count in range(1, 3 * BLOCK, 9973):
        filled(engine, DRAWS[1], "float32", count)
    assert {size for _, size in launched} == {2**14, 2**15, 2**16}


def test_devices_are_used_in_turn() -> None:
    from kinit_cli.engines.tensorflow import TensorFlowEngine

    devices = [Device(label="cpu"), Device(label="cpu")]
    engine = TensorFlowEngine(REFERENCE, pytest.fail, devices, min_elements=1)
    used: list[int] = []
    for index, lane in enumerate(engine._lanes):
        launch = lane.programs.launch
        lane.programs.launch = lambda *arguments, i=index, f=launch: used.append(i) or f(*arguments)  # type: ignore[method-assign]
    engine.prepare([(Normal, numpy_dtype("float32"))])
    used.clear()
    for start in range(4):
        check(engine, DRAWS[1], "float32", 100, start)
    assert used == [0, 1, 0, 1]


def test_two_calls_at_a_time_use_a_device() -> None:
    engine = tensorflow_engine("xla", block_elements=BLOCK)
    engine.prepare([(Normal, numpy_dtype("float32"))])
    (lane,) = engine._lanes  # type: ignore[attr-defined]
    launch, lock, n_now, most = lane.programs.launch, threading.Lock(), 0, 0
    is_second = threading.Event()

    def counted(*arguments: Any) -> Any:
        nonlocal n_now, most
        with lock:
            n_now += 1
            most = max(most, n_now)
            if n_now == 2:
                is_second.set()
        # The first call waits for a second one; a third must not come meanwhile.
        is_second.wait(10)
        try:
            return launch(*arguments)
        finally:
            with lock:
                n_now -= 1

    lane.programs.launch = counted
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda start: filled(engine, DRAWS[1], "float32", 100, start), range(12)))
    assert most == 2


# --- what fails ---------------------------------------------------------------------------------


@every_mode
def test_a_mode_that_gives_other_bits_is_not_used(
    mode: str, launched: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from kinit_cli.engines.tensorflow_programs import Programs

    make = Programs._make_program

    def wrong(self: Programs, kind: Any, is_double: bool, used: Any, size: int) -> Any:
        program = make(self, kind, is_double, used, size)
        return (lambda *arguments: -program(*arguments)) if used == mode else program

    monkeypatch.setattr(Programs, "_make_program", wrong)
    engine = tensorflow_engine("xla", "eager", block_elements=BLOCK)
    engine.prepare([(Normal, numpy_dtype("float32"))])
    launched.clear()
    check(engine, DRAWS[1], "float32", 1000, 5)
    assert launched == [("eager" if mode == "xla" else "xla", 2**14)]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (lambda *arguments: 1 / 0, "ZeroDivisionError: division by zero"),
        (None, "it gives other values than the NumPy engine"),
    ],
)
def test_where_no_mode_works_the_cpu_engine_does_it(
    fault: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kinit_cli.engines import tensorflow

    faults: list[str] = []
    engine = tensorflow.TensorFlowEngine(
        REFERENCE, faults.append, [Device(label="cpu")], min_elements=1
    )
    monkeypatch.setattr(tensorflow, "_fill", fault or (lambda out, *rest: out.fill(0)))
    engine.prepare([(Normal, numpy_dtype("float32")), (None, numpy_dtype("int8"))])
    for _ in range(2):
        check(engine, DRAWS[1], "float32", 1000, 5)
    assert faults == [
        f"the TensorFlow engine fails for Normal of float32 on cpu ({reason}); "
        "NumPy does it, with the same values but slower"
    ]


@pytest.fixture
def scarce(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], Engine]:
    """Give an engine whose device has room for so many elements, at launch or when fetched."""
    import tensorflow as tf

    from kinit_cli.engines import tensorflow

    def make(when: str, room: int) -> Engine:
        engine = tensorflow_engine("xla", block_elements=2**19)
        engine.prepare([(Normal, numpy_dtype("float32"))])
        (lane,) = engine._lanes  # type: ignore[attr-defined]
        launch, fetch = lane.programs.launch, tensorflow._fetch

        def check_room(size: int) -> None:
            if size > room:
                raise tf.errors.ResourceExhaustedError(None, None, "OOM")

        def scarce_launch(job: Any, mode: Any, first_word: int, size: int) -> Any:
            if when == "launch":
                check_room(size)
            return launch(job, mode, first_word, size)

        def scarce_fetch(values: Any, wanted: slice) -> Any:
            if when == "fetch":
                check_room(values.shape[0])
            return fetch(values, wanted)

        lane.programs.launch = scarce_launch
        monkeypatch.setattr(tensorflow, "_fetch", scarce_fetch)
        return engine

    return make


@pytest.mark.parametrize("when", ["launch", "fetch"])
def test_blocks_are_halved_where_memory_is_short(
    when: str, scarce: Callable[[str, int], Engine], launched: list[tuple[str, int]]
) -> None:
    engine = scarce(when, 2**17)
    check(engine, DRAWS[1], "float32", 2**20 + 77, 5)
    assert engine._lanes[0].block_elements == 2**17  # type: ignore[attr-defined]
    # They stay short.
    launched.clear()
    check(engine, DRAWS[1], "float32", 2**20, 4)
    assert [size for _, size in launched] == [2**17] * 8


@pytest.mark.parametrize("when", ["launch", "fetch"])
def test_a_device_without_room_is_told(when: str, scarce: Callable[[str, int], Engine]) -> None:
    engine = scarce(when, 2**15)
    with pytest.raises(KinitError, match=r"device cpu has no room for blocks of 65,536 elements"):
        filled(engine, DRAWS[1], "float32", 2**20)
    # Nobody waits for a place that was never given back.
    check(engine, DRAWS[1], "float32", 2**15, 0)


def test_a_device_that_breaks_is_told() -> None:
    import tensorflow as tf

    engine = tensorflow_engine("xla", block_elements=BLOCK)
    check(engine, DRAWS[1], "float32", 100, 0)

    def broken(*arguments: Any) -> Any:
        raise tf.errors.InternalError(None, None, "it fell off the bus")

    engine._lanes[0].programs.launch = broken  # type: ignore[attr-defined]
    with pytest.raises(KinitError, match=r"device cpu failed \(InternalError: it fell off.*numba"):
        filled(engine, DRAWS[1], "float32", 100)
