"""Work in threads: in order, not too far ahead, and over as soon as it is not wanted."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from kinit_cli.workers import iter_results


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_results_come_in_the_order_of_the_tasks(jobs: int) -> None:
    def later_is_faster(task: int) -> int:
        time.sleep(0.002 * (20 - task))
        return -task

    results = list(iter_results(later_is_faster, range(20), jobs=jobs))
    assert results == [(task, -task) for task in range(20)]


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_at_most_three_tasks_a_thread_are_taken_ahead(jobs: int) -> None:
    n_taken = 0

    def endless() -> Iterator[int]:
        nonlocal n_taken
        for task in itertools.count():
            n_taken += 1
            yield task

    results = iter_results(lambda task: task, endless(), jobs=jobs)
    for n_received, (task, _) in enumerate(itertools.islice(results, 50)):
        assert task == n_received
        # What is taken and not yet received, the task that has just come included.
        assert jobs < n_taken - n_received <= 3 * jobs
    results.close()


class Recorder:
    """A task that says when it starts and ends; only the first one is over at once."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.started: list[int] = []
        self.ended: list[int] = []
        self.second_started = threading.Event()
        self._error = error

    def __call__(self, task: int) -> int:
        self.started.append(task)
        if task == 0 and self._error is not None:
            # All of the tasks that are taken ahead shall be waiting by now.
            time.sleep(0.1)
            raise self._error
        if task:
            self.second_started.set()
            # Long enough for the others to be cancelled meanwhile.
            time.sleep(0.5)
        self.ended.append(task)
        return task


@pytest.mark.parametrize("error", [ValueError("one"), KeyboardInterrupt()])
def test_an_exception_cancels_the_tasks_that_have_not_started(error: BaseException) -> None:
    work = Recorder(error)
    with pytest.raises(type(error)) as caught:
        list(iter_results(work, itertools.count(), jobs=1))
    assert caught.value is error
    assert work.started in ([0], [0, 1])
    assert work.ended == work.started[1:]


def test_leaving_the_loop_cancels_the_tasks_that_have_not_started() -> None:
    work = Recorder()
    results = iter_results(work, itertools.count(), jobs=1)
    assert next(results) == (0, 0)
    assert work.second_started.wait(10)
    results.close()
    assert work.started == [0, 1]
    assert work.ended == [0, 1]


@pytest.mark.parametrize("n_received", [0, 1, 3])
def test_no_thread_is_left(n_received: int) -> None:
    before = set(threading.enumerate())
    results = iter_results(lambda task: task, range(10), jobs=3)
    for _ in range(n_received):
        next(results)
    results.close()
    assert set(threading.enumerate()) <= before
