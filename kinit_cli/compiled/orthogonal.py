"""Orthogonal matrices, compiled: the bits of kinit_cli.stream.orthogonal (docs/stream.md, 6).

One pass over the matrix, in strips of columns, takes a block's product away and projects what is
left on the vectors of the next block. The columns of the identity that the next block adds need no
product; they are projected when its reflectors are drawn, by another thread meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from kinit_cli.compiled.reflectors import (
    COLUMN_STEP,
    MAX_STRIP_WIDTH,
    ROWS_PER_TILE,
    SCRATCH_SHAPE,
    VECTORS_PER_STEP,
    draw_reflectors,
    fill_gram,
    project_identity,
    reflect_and_finish,
    reflect_and_project,
)
from kinit_cli.stream.orthogonal import (
    REFLECTORS_PER_BLOCK,
    low_scale_of_matrix,
    scale_of_projections,
    validate_exact,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kinit_cli.stream.identity import StreamKey

    Matrix: TypeAlias = NDArray[np.float64]
    #: Called with scratch memory, shape SCRATCH_SHAPE; gives the largest |Y|.
    Task: TypeAlias = Callable[[Matrix], float]

#: Starting threads for a smaller matrix takes as long as the matrix does.
_MIN_ELEMENTS_FOR_THREADS = 1 << 17
#: A pass over fewer elements gains nothing from waking a thread.
_MIN_ELEMENTS_TO_SHARE = 1 << 15
_CACHE_LINE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """Reflectors and what projecting on them needs: see `reflect_and_project`."""

    u: Matrix
    max_u: float
    c: Matrix
    d: Matrix
    #: The largest |Y| of the identity's columns that the block adds.
    max_own_y: float


def orthogonal_matrix(
    stream_key: StreamKey,
    rows: int,
    cols: int,
    gain: float,
    *,
    jobs: int = 1,
    on_block: Callable[[], None] | None = None,
) -> NDArray[np.float64]:
    """Give `gain` times a Haar-distributed matrix with orthonormal columns, or rows if fewer.

    Parameters
    ----------
    jobs : int
        Threads that work on it, the caller's included; it changes no bit.
    on_block : callable, optional
        Called before each block of reflectors; it may raise to give the work up.

    Returns
    -------
    array of float64, shape (rows, cols), C-contiguous

    Raises
    ------
    ExactnessError
        If the sizes or values do not allow exact products.
    """
    m, n = max(rows, cols), min(rows, cols)
    if n == 0:
        return np.zeros((rows, cols))
    with _Team(jobs if m * n >= _MIN_ELEMENTS_FOR_THREADS else 1) as team:
        work = _Work(stream_key, m, n, team)
        for k0 in reversed(range(0, n, REFLECTORS_PER_BLOCK)):
            if on_block is not None:
                on_block()
            work.begin_block(k0)
            if k0 > 0:
                work.reflect(k0)
        return work.finish(is_transposed=rows < cols, gain=float(gain))


class _Work:
    """A matrix under way: the first columns of the identity, then blocks of reflectors applied."""

    def __init__(self, stream_key: StreamKey, m: int, n: int, team: _Team) -> None:
        self._stream_key = stream_key
        self._team = team
        self._q = np.zeros((m, n))
        np.fill_diagonal(self._q, 1.0)
        self._signs = np.empty(n)
        #: Solved projections on the block that comes next, and the largest of them in old columns.
        self._y = np.zeros((min(n, REFLECTORS_PER_BLOCK), n))
        self._max_y = 0.0
        self._scale = 0.0
        #: By their first reflectors.
        self._blocks: dict[int, _Block] = {}

    def begin_block(self, k0: int) -> None:
        """Draw what was not drawn meanwhile, and choose the scale of the projections."""
        wanted = {k0, max(0, k0 - REFLECTORS_PER_BLOCK)} - set(self._blocks)
        self._team.run([partial(self._draw, k) for k in wanted], self._jobs(k0))
        block = self._blocks[k0]
        max_y = max(self._max_y, block.max_own_y)
        self._scale = scale_of_projections(max_y)
        # Low halves are at most 2^19, and high halves reach that: of the identity's column a pivot
        # belongs to, the projection is not below 1.
        validate_exact(block.d.size, block.max_u, float(np.rint(max_y * self._scale)))

    def reflect(self, k0: int) -> None:
        """Apply the block from k0 on, and project on the one before it."""
        block, following = self._blocks.pop(k0), self._blocks[k0 - REFLECTORS_PER_BLOCK]
        tasks: list[Task] = []
        if k0 >= 2 * REFLECTORS_PER_BLOCK:
            tasks.append(partial(self._draw, k0 - 2 * REFLECTORS_PER_BLOCK))
        for c0, c1 in self._strips(k0):
            strip = (self._q, k0, c0, c1, block.u, self._y, self._scale)
            rest = (following.u, following.c, following.d, low_scale_of_matrix(self._q.shape[0]))
            tasks.append(partial(reflect_and_project, *strip, *rest))
        self._max_y = max(self._team.run(tasks, self._jobs(k0)))

    def finish(self, *, is_transposed: bool, gain: float) -> Matrix:
        """Apply the first block, the signs and the gain."""
        u = self._blocks.pop(0).u
        out = np.empty(self._q.shape[::-1]) if is_transposed else self._q
        tasks: list[Task] = []
        for c0, c1 in self._strips(0):
            strip = (self._q, c0, c1, u, self._y, self._scale)
            rest = (self._signs, gain, out, is_transposed)
            tasks.append(partial(reflect_and_finish, *strip, *rest))
        self._team.run(tasks, self._jobs(0))
        return out

    def _draw(self, k0: int, scratch: Matrix) -> float:
        m, n = self._q.shape
        n_reflectors = min(REFLECTORS_PER_BLOCK, n - k0)
        n_tiles = -(-(m - k0) // ROWS_PER_TILE)
        u = _aligned_empty(n_tiles * ROWS_PER_TILE, REFLECTORS_PER_BLOCK)
        key, nonce = np.uint64(self._stream_key.key), np.uint64(self._stream_key.nonce)
        signs = self._signs[k0 : k0 + n_reflectors]
        max_u = draw_reflectors(key, nonce, m, k0, u, signs, np.empty((VECTORS_PER_STEP, m - k0)))
        c, d = np.empty((n_reflectors, n_reflectors)), np.empty(n_reflectors)
        fill_gram(u, c, d, scratch)
        max_own_y = project_identity(u, c, d, k0, self._y)
        self._blocks[k0] = _Block(u=u, max_u=max_u, c=c, d=d, max_own_y=max_own_y)
        return 0.0

    def _jobs(self, k0: int) -> int:
        m, n = self._q.shape
        return self._team.jobs if (m - k0) * (n - k0) >= _MIN_ELEMENTS_TO_SHARE else 1

    def _strips(self, k0: int) -> Iterator[tuple[int, int]]:
        """Cut columns [k0, n) in strips that keep all threads busy, if there are so many."""
        n = self._q.shape[1]
        jobs = self._jobs(k0)
        n_strips = -(-(n - k0) // (MAX_STRIP_WIDTH * jobs)) * jobs
        n_steps = -(-(n - k0) // (COLUMN_STEP * n_strips))
        for c0 in range(k0, n, n_steps * COLUMN_STEP):
            yield c0, min(c0 + n_steps * COLUMN_STEP, n)


class _Team:
    """The calling thread and others, each with scratch memory of its own.

    Leaving the context waits for all of them.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = max(1, jobs)
        self._scratch: list[Matrix] = []
        self._executor: ThreadPoolExecutor | None = None

    def __enter__(self) -> _Team:
        return self

    def __exit__(self, *_: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)

    def run(self, tasks: list[Task], jobs: int) -> list[float]:
        """Give the results of the tasks, in any order, from at most so many threads."""
        waiting = deque(tasks)
        n_threads = min(jobs, len(tasks))
        while len(self._scratch) < n_threads:
            self._scratch.append(_aligned_empty(*SCRATCH_SHAPE))
        if n_threads > 1 and self._executor is None:
            self._executor = ThreadPoolExecutor(self.jobs - 1, thread_name_prefix="kinit")
        others: list[Future[list[float]]] = []
        try:
            for scratch in self._scratch[1:n_threads]:
                assert self._executor is not None
                others.append(self._executor.submit(_drain, waiting, scratch))
            results = _drain(waiting, self._scratch[0]) if tasks else []
        finally:
            waiting.clear()
            wait(others)
        return results + [result for other in others for result in other.result()]


def _drain(waiting: deque[Task], scratch: Matrix) -> list[float]:
    results: list[float] = []
    while True:
        try:
            task = waiting.popleft()
        except IndexError:
            return results
        results.append(task(scratch))


def _aligned_empty(rows: int, cols: int) -> Matrix:
    """Give an array that begins with a cache line: a vector across two of them takes longer."""
    memory = np.empty(rows * cols * 8 + _CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % _CACHE_LINE
    return memory[start : start + rows * cols * 8].view(np.float64).reshape(rows, cols)
