"""Faults injected into real runs, a bounded part of `make faults`; and the page of its results."""

from __future__ import annotations

import errno
import json
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY / "scripts"))

from faults import kills, page, points, races, systems  # noqa: E402
from faults.client import Ended, Worker, find_compiler  # noqa: E402
from faults.judge import Bench, Row  # noqa: E402
from faults.outputs import OUTPUTS  # noqa: E402

H5, _, _, _, NPY, DIRECTORY, SET, *_ = OUTPUTS
DOCS = REPOSITORY / "docs"


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    if sys.platform != "linux" or find_compiler() is None:
        pytest.skip("injecting faults needs Linux and a C compiler")
    with Worker() as started:
        yield started


@pytest.fixture
def bench(worker: Worker) -> Iterator[Bench]:
    # In memory, where syncing takes no time.
    fast = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=fast if fast.is_dir() else None) as folder:
        yield Bench(Path(folder), worker)


def new_row() -> Row:
    return Row(fault="a fault", how="in a test")


@pytest.mark.parametrize("output", [H5, NPY, DIRECTORY, SET], ids=lambda output: output.name)
def test_a_kill_before_any_call_leaves_the_old_or_the_new(bench: Bench, output: object) -> None:
    row = new_row()
    points.crash_points(bench, row, output, has_old=True, number=signal.SIGKILL)
    assert not row.violations
    assert row.n > 30
    assert row.n_old
    assert row.n_new
    assert row.n == row.n_old + row.n_new + row.n_bare
    assert (row.n_bare > 0) == (output is NPY)


def test_an_interrupt_at_any_call_leaves_the_old_or_the_new(bench: Bench) -> None:
    row = new_row()
    points.crash_points(bench, row, NPY, has_old=True, number=signal.SIGTERM)
    assert not row.violations
    assert row.n == row.n_old + row.n_new > 30


def test_a_directory_taken_away_is_put_back_where_names_cannot_be_swapped(bench: Bench) -> None:
    row = new_row()
    points.crash_points(
        bench, row, DIRECTORY, has_old=True, number=signal.SIGKILL, unknown="renameat2"
    )
    assert not row.violations
    assert row.n_away > 0


@pytest.mark.parametrize(
    ("names", "number"),
    [(("fsync",), errno.EIO), (("rename", "renameat2"), errno.EBUSY), (("close",), errno.EIO)],
)
def test_a_call_that_fails_is_one_line(bench: Bench, names: tuple[str, ...], number: int) -> None:
    row = new_row()
    for output in (NPY, SET):
        points.failing_calls(bench, row, output, has_old=True, names=names, number=number)
    assert not row.violations
    assert row.n >= 3


def test_a_disk_that_fills_up_at_any_call(bench: Bench) -> None:
    disk = bench.folder.parent / "disk"
    place = shlex.quote(str(disk))
    row = new_row()
    with systems.small_disk(disk) as is_mounted:
        if not is_mounted:
            pytest.skip("mounting a small file system is not allowed here")
        bench.move(disk)
        filled = f"cat /dev/zero > {place}/filler 2> /dev/null || true"
        systems.stopped(bench, row, NPY, filled, f"rm {place}/filler", has_old=True)
    assert not row.violations
    assert row.n_old
    assert row.n_new


def test_random_kills(worker: Worker, tmp_path: Path) -> None:
    row = kills.random_kills(Bench(tmp_path, worker, units=400), OUTPUTS, 10)
    assert not row.violations
    assert row.n == 10


def test_runs_at_once(bench: Bench) -> None:
    rows = list(races.iter_rows(bench, [H5, NPY, DIRECTORY], rounds=2))
    assert [violation for row in rows for violation in row.violations] == []
    assert [row.n for row in rows] == [6, 6, 6, 6]


# --- the judge, and the page ----------------------------------------------------------------


def test_the_judge_sees_what_is_wrong(bench: Bench) -> None:
    killed = Ended(code=-9, stderr="")
    said = "kinit: w.h5: the disk is full; nothing was changed\n"
    for ended, damage in (
        (killed, lambda: (bench.folder / "w.h5").write_bytes(b"half")),
        (killed, lambda: (bench.folder / "w.h5").unlink()),
        (killed, lambda: (bench.folder / "litter").write_bytes(b"")),
        (Ended(code=-7, stderr=""), lambda: None),
        (Ended(code=0, stderr=""), lambda: None),
        (Ended(code=1, stderr=said), lambda: None),
        (Ended(code=2, stderr="Traceback\n" + said), lambda: None),
        (
            Ended(code=2, stderr=said),
            lambda: shutil.copy(bench.folder / "w.h5", bench.folder / "x"),
        ),
    ):
        row = new_row()
        bench.prepare(H5, has_old=True)
        damage()
        bench.judge(row, H5, ended, has_old=True)
        assert row.violations, ended
    row = new_row()
    bench.prepare(H5, has_old=True)
    bench.judge(row, H5, Ended(code=2, stderr=said), has_old=True)
    assert not row.violations


def test_the_page_is_what_the_results_give() -> None:
    text = (DOCS / "reliability.json").read_text(encoding="utf-8")
    assert page.render(text) == (DOCS / "reliability.md").read_text(encoding="utf-8")
    rows = {row["fault"]: row for row in json.loads(text)["rows"]}
    assert sum(row["n_violations"] for row in rows.values()) == 0
    assert rows["SIGKILL at a random moment"]["n"] == 100
    assert len(rows["SIGKILL at a random moment"]["outputs"]) == len(OUTPUTS)
