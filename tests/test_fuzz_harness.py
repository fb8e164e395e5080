"""The harness itself: each thing that an input must not lead to is seen when it happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzzing import harness
from fuzzing.harness import Harness


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Harness]:
    monkeypatch.setattr(harness, "FAILURES", tmp_path / "failures")
    monkeypatch.setattr(harness, "MAX_SECONDS", 20)
    monkeypatch.setattr(harness.seeds, "warming", lambda: iter([("probe", {"main": b""})]))
    own = Harness()
    yield own
    own.close()


def test_faults_are_seen_and_the_input_is_kept(own: Harness, tmp_path: Path) -> None:
    assert own.fault_of("probe", {"main": b"fine"}) == ""
    for what, sign in (
        ("open", "opened /etc/hostname"),
        ("write", "for writing"),
        ("exec", "ran the code of <text>"),
        ("pickle", "pickle.find_class"),
        ("process", "subprocess.Popen"),
        ("raise", "ZeroDivisionError"),
        ("memory", "MemoryError"),
        ("much", "bytes of memory"),
        ("silent", "a KinitError without a text"),
        ("leave", "changed its folder"),
        ("crash", "a crash: the process ended with -11"),
    ):
        fault = own.fault_of("probe", {"main": what.encode()})
        assert sign in fault, what
    assert own.fault_of("probe", {"main": b"fine"}) == ""
    with pytest.raises(AssertionError, match=r"python -m fuzzing.worker probe"):
        own.check("probe", {"main": b"raise"})
    assert (tmp_path / "failures" / "probe" / "main").read_bytes() == b"raise"


def test_a_hang_is_seen(own: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    assert own.fault_of("probe", {"main": b"fine"}) == ""
    monkeypatch.setattr(harness, "MAX_SECONDS", 1)
    assert own.fault_of("probe", {"main": b"hang"}) == "a hang: no answer in 1 s"
    monkeypatch.setattr(harness, "MAX_SECONDS", 20)
    assert own.fault_of("probe", {"main": b"fine"}) == ""
