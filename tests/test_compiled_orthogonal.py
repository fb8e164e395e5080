"""The compiled orthogonal matrices: the bits of the NumPy reference, whatever the threads."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading

import numpy as np
import pytest
from conftest import kinit_environment
from stream_vectors import assert_same_bits, case_key, load_vectors

pytest.importorskip("numba")

from kinit_cli.compiled import orthogonal
from kinit_cli.stream import orthogonal as reference
from kinit_cli.stream import reference as stream_reference
from kinit_cli.stream.identity import StreamKey, explicit_stream_key
from kinit_cli.stream.orthogonal import ExactnessError

KEY = explicit_stream_key(11)
SQUARE = [(n, n) for n in (1, 2, 63, 64, 65, 127, 128, 129, 200)]
TALL = [(7, 1), (5, 2), (1030, 3), (500, 64), (400, 70), (300, 140), (2050, 130), (513, 333)]


@pytest.fixture
def threads_for_all(monkeypatch) -> None:
    """Share the smallest work, too."""
    monkeypatch.setattr(orthogonal, "_MIN_ELEMENTS_FOR_THREADS", 0)
    monkeypatch.setattr(orthogonal, "_MIN_ELEMENTS_TO_SHARE", 0)


@pytest.mark.usefixtures("threads_for_all")
@pytest.mark.parametrize("shape", SQUARE + TALL + [(n, m) for m, n in TALL])
def test_it_is_the_reference(shape: tuple[int, int]) -> None:
    expected = reference.orthogonal_matrix(KEY, *shape, -0.3)
    for jobs in (1, 2, 3):
        matrix = orthogonal.orthogonal_matrix(KEY, *shape, -0.3, jobs=jobs)
        assert_same_bits(matrix, expected)
        assert matrix.flags.c_contiguous


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
@pytest.mark.parametrize("gain", [1.0, -2.0, 0.0, -0.0, 1.7, 1e-310])
def test_it_is_the_reference_for_every_seed_and_gain(seed: int, gain: float) -> None:
    key = explicit_stream_key(seed)
    for shape in [(70, 90), (90, 70)]:
        expected = reference.orthogonal_matrix(key, *shape, gain)
        assert_same_bits(orthogonal.orthogonal_matrix(key, *shape, gain), expected)


def test_it_is_the_reference_where_threads_pay() -> None:
    expected = reference.orthogonal_matrix(KEY, 600, 450, 1.0)
    for jobs in (0, 1, 2, 5):
        assert_same_bits(orthogonal.orthogonal_matrix(KEY, 600, 450, 1.0, jobs=jobs), expected)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_empty_matrices(shape: tuple[int, int]) -> None:
    assert_same_bits(orthogonal.orthogonal_matrix(KEY, *shape, 1.0), np.zeros(shape))


def test_the_largest_keys() -> None:
    key = StreamKey(key=2**64 - 1, nonce=2**64 - 2)
    expected = reference.orthogonal_matrix(key, 1500, 2, 1.0)
    assert_same_bits(orthogonal.orthogonal_matrix(key, 1500, 2, 1.0), expected)


@pytest.mark.parametrize(("key", "sign"), [(41794, 1.0), (110595, -1.0)])
def test_a_pivot_of_zero_becomes_one_with_its_sign(key: int, sign: float) -> None:
    stream_key = StreamKey(key=key, nonce=0)
    words = stream_reference.words(stream_key, 0, 1)
    assert abs(stream_reference.normal_units(words)[0]) >> 10 == 0
    assert abs(orthogonal.orthogonal_matrix(stream_key, 1, 1, 1.0)[0, 0] - sign) < 1e-11
    for shape in [(1, 1), (30, 20)]:
        expected = reference.orthogonal_matrix(stream_key, *shape, 1.0)
        assert_same_bits(orthogonal.orthogonal_matrix(stream_key, *shape, 1.0), expected)


@pytest.mark.parametrize("case", load_vectors()["orthogonal"], ids=lambda c: str(c["rows"]))
def test_the_answers_of_the_stream(case: dict) -> None:
    size = case["rows"], case["cols"], case["gain"]
    matrix = orthogonal.orthogonal_matrix(case_key(case), *size, jobs=2)
    first = matrix.reshape(-1)[: len(case["first_hex"])]
    assert [value.hex() for value in first.tolist()] == case["first_hex"]
    assert hashlib.sha256(matrix.tobytes()).hexdigest() == case["sha256_float64"]


@pytest.mark.usefixtures("threads_for_all")
def test_cutting_in_other_strips_changes_nothing(monkeypatch) -> None:
    expected = orthogonal.orthogonal_matrix(KEY, 300, 280, 1.0)
    for width in (16, 48, 112):
        monkeypatch.setattr(orthogonal, "MAX_STRIP_WIDTH", width)
        assert_same_bits(orthogonal.orthogonal_matrix(KEY, 300, 280, 1.0), expected)


@pytest.mark.parametrize("stop", [2.0**45, 0.6 * 2.0**50])
def test_products_that_are_not_exact_are_refused_as_by_the_reference(stop, monkeypatch) -> None:
    monkeypatch.setattr(reference, "EXACT_STOP", stop)
    outcomes = []
    for function in (reference.orthogonal_matrix, orthogonal.orthogonal_matrix):
        calls: list[None] = []
        with pytest.raises(ExactnessError, match="same on every machine") as caught:
            function(KEY, 200, 150, 1.0, on_block=lambda calls=calls: calls.append(None))
        outcomes.append((str(caught.value), len(calls)))
    assert outcomes[0] == outcomes[1]


@pytest.mark.usefixtures("threads_for_all")
@pytest.mark.parametrize("fatal_call", [1, 2, 3])
def test_giving_the_work_up_leaves_no_thread(fatal_call: int) -> None:
    callers = []

    def on_block() -> None:
        callers.append(threading.current_thread())
        if len(callers) == fatal_call:
            raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        orthogonal.orthogonal_matrix(KEY, 200, 190, 1.0, jobs=3, on_block=on_block)
    assert threading.active_count() == before
    assert callers == [threading.current_thread()] * fatal_call


@pytest.mark.usefixtures("threads_for_all")
def test_a_fault_in_a_thread_is_raised(monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    before = threading.active_count()
    monkeypatch.setattr(orthogonal, "reflect_and_project", fail)
    with pytest.raises(MemoryError):
        orthogonal.orthogonal_matrix(KEY, 200, 190, 1.0, jobs=3)
    assert threading.active_count() == before


def test_it_runs_uncompiled() -> None:
    script = """
from kinit_cli.compiled.orthogonal import orthogonal_matrix
from kinit_cli.stream import orthogonal
from kinit_cli.stream.identity import explicit_stream_key

key = explicit_stream_key(11)
for shape in [(3, 2), (2, 5)]:
    expected = orthogonal.orthogonal_matrix(key, *shape, 1.0)
    assert orthogonal_matrix(key, *shape, 1.0, jobs=2).tobytes() == expected.tobytes()
"""
    environment = kinit_environment(NUMBA_DISABLE_JIT="1")
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=120)
