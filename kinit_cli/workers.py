"""Threads that work through a long list of tasks, a bounded number of them at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from kinit_cli.cores import count_cores

Task = TypeVar("Task")
Result = TypeVar("Result")

#: Each thread takes some 15 MB, and more of them than this gain nothing.
MAX_DEFAULT_JOBS = 16
#: Tasks in flight for each thread: enough that none waits for the next.
_TASKS_PER_THREAD = 3


def default_jobs() -> int:
    """Count the cores that this process may use, up to `MAX_DEFAULT_JOBS`."""
    return min(count_cores(), MAX_DEFAULT_JOBS)


def iter_results(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    jobs: int,
    stop: threading.Event | None = None,
) -> Iterator[tuple[Task, Result]]:
    """Call `function` on every task from `jobs` threads; yield (task, result) in their order.

    Tasks are taken from the iterable only as threads become free, so it may be endless. The first
    exception, or leaving the loop (Ctrl-C, say), ends it after the tasks that are under way; `stop`
    is set then, for long tasks to look at.
    """
    waiting: deque[tuple[Task, Future[Result]]] = deque()
    executor = ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="kinit")
    try:
        for task in tasks:
            waiting.append((task, executor.submit(function, task)))
            if len(waiting) >= _TASKS_PER_THREAD * jobs:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        if stop is not None:
            stop.set()
        executor.shutdown(wait=True, cancel_futures=True)
