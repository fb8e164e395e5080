"""From a plan to a file: lay out, then generate, measure, hash and write each tile while in cache.

A tile is the work of one thread, and tiles finish in any order; what is collected from them is
joined in order, so the result does not depend on threads.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinit_cli.collecting import Collector, TileResult
from kinit_cli.digest import TILE_ELEMENTS, piece_digest
from kinit_cli.draw import Called, EntireDraw
from kinit_cli.dtypes import numpy_dtype
from kinit_cli.engines.base import Engine
from kinit_cli.engines.entire import make_entire
from kinit_cli.errors import OutputError
from kinit_cli.formats.atomic import staged, staged_pair
from kinit_cli.formats.base import OpenLayout, Writer
from kinit_cli.formats.manifest_names import SIDECAR_SUFFIX
from kinit_cli.interrupts import raise_noted
from kinit_cli.manifest import manifest_text
from kinit_cli.plan import Plan, TensorPlan
from kinit_cli.returned import call_function
from kinit_cli.statistics.findings import Expected
from kinit_cli.statistics.meter import TileStats
from kinit_cli.statistics.structure import has_structure, structure_of
from kinit_cli.stream import STREAM_VERSION
from kinit_cli.stream.transforms import cast_float64
from kinit_cli.summary import FileSummary, TensorSummary, count_verdicts
from kinit_cli.tile_memory import TileMemory
from kinit_cli.workers import iter_results

#: Called with the number of bytes that have been written since the last call.
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Where a plan's tensors go.

    Attributes
    ----------
    force : bool
        Replace an output that exists.
    shown_as : str or None
        The target's name in the summary, if not its path.
    """

    target: Path
    writer: Writer
    force: bool = False
    shown_as: str | None = None


def generate(
    plan: Plan,
    output: Output,
    *,
    engine: Engine,
    jobs: int,
    progress: Progress | None = None,
    accept: Callable[[Sequence[TensorSummary]], None] = lambda tensors: None,
) -> FileSummary:
    """Generate every tensor of a plan into a file or directory.

    Parameters
    ----------
    jobs : int
        Number of threads, at least 1; the bytes do not depend on it.
    accept : callable, optional
        Called with what was generated before the output takes its place; it may raise.

    Returns
    -------
    FileSummary
        With the statistics and the digest of every tensor, in the order of the plan.

    Raises
    ------
    OutputError
        The format cannot hold the plan, or the output cannot be written. Whatever is raised, the
        target is as it was.
    """
    started = time.perf_counter()
    validate_output(plan, output)
    # On this thread, where an interrupt is heard, and before there is a file to leave behind.
    prepare(plan, engine)
    with _staged(output) as (temporary, sidecar):
        layout = output.writer.lay_out(plan, temporary)
        try:
            tensors = fill(plan, layout, engine=engine, jobs=jobs, progress=progress)
        finally:
            layout.close()
        accept(tensors)
        _seal(plan, output.writer, temporary, sidecar, tensors)
    return FileSummary(
        source=output.shown_as or str(output.target),
        format=output.writer.name,
        layout=output.writer.layout_name,
        tensors=tuple(tensors),
        n_parameters=plan.n_elements,
        n_bytes=plan.n_bytes,
        seconds=time.perf_counter() - started,
        seed=plan.seed,
        stream=None if plan.origin else STREAM_VERSION,
        engine=plan.origin.engine if plan.origin else engine.name,
        origin=plan.origin,
        notes=plan.notes,
        tests=count_verdicts(tensors),
    )


def prepare(plan: Plan, engine: Engine) -> None:
    """Make an engine ready for a plan; what takes long or fails does so here."""
    kinds = {(type(tensor.draw), tensor.dtype.name) for tensor in plan.tensors}
    engine.prepare((draw, numpy_dtype(name)) for draw, name in kinds)
    raise_noted()


def validate_output(plan: Plan, output: Output) -> None:
    """Check that the format can hold the plan and the disk has room for it.

    Raises
    ------
    OutputError
        With every reason why not.
    """
    faults = output.writer.validate(plan)
    if faults:
        shown = [*faults[:20], *([f"and {len(faults) - 20} more"] if faults[20:] else [])]
        raise OutputError(f"{output.shown_as or output.target}: " + "\n".join(shown))
    if not output.target.parent.is_dir():
        return  # staging says so
    n_needed = output.writer.estimate_bytes(plan)
    n_free = shutil.disk_usage(output.target.parent).free
    if n_needed > n_free:
        raise OutputError(
            f"{output.target}: expected {n_needed:,} bytes of free space, got {n_free:,}; "
            "free some, or write elsewhere"
        )


@contextmanager
def _staged(output: Output) -> Iterator[tuple[Path, Path | None]]:
    """Stage an output, and the manifest's own file for a format that has no room for one."""
    target, writer = output.target, output.writer
    if writer.has_sidecar:
        sidecar = target.with_name(target.name + SIDECAR_SUFFIX)
        with staged_pair(target, sidecar, force=output.force) as both:
            yield both
    else:
        with staged(target, is_directory=writer.is_directory, force=output.force) as temporary:
            yield temporary, None


def _seal(
    plan: Plan,
    writer: Writer,
    temporary: Path,
    sidecar: Path | None,
    tensors: Sequence[TensorSummary],
) -> None:
    """Write the manifest, whose digests are known now."""
    digests = {tensor.path: tensor.digest or "" for tensor in tensors}
    text = manifest_text(plan, digests, writer.stored_names(plan))
    writer.seal(temporary, text)
    if sidecar is not None:
        sidecar.write_text(text + "\n", encoding="utf-8")


# --- tiles ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Span:
    """Consecutive tiles of a tensor; all of them if it can only be made whole.

    Attributes
    ----------
    values : array or None
        The elements, if they are made already.
    """

    tensor_index: int
    tile_index: int
    n_elements: int
    values: NDArray[Any] | None = None


def fill(
    plan: Plan,
    layout: OpenLayout,
    *,
    engine: Engine,
    jobs: int,
    progress: Progress | None = None,
    is_measured: bool = True,
) -> list[TensorSummary]:
    """Generate every tensor of a plan, tile by tile, into wherever the layout puts it.

    Parameters
    ----------
    engine : Engine
        `prepare` was called with it.
    is_measured : bool
        Take statistics, which a use that needs only the digests can do without.

    Returns
    -------
    list of TensorSummary
        In the order of the plan; without `stats` and `test` if nothing was measured.
    """
    progress = progress or (lambda n_bytes: None)
    make_collector = partial(Collector, is_ours=plan.origin is None, is_measured=is_measured)
    collectors: dict[int, Collector] = {}
    summaries: list[TensorSummary | None] = [None] * len(plan.tensors)
    for index, tensor in enumerate(plan.tensors):
        if not tensor.n_elements:
            summaries[index] = make_collector(tensor).summary()
    worker = _Worker(plan, layout, engine, jobs, is_measured=is_measured)
    units = _iter_units(plan, engine.span_elements)
    for _, results in iter_results(worker, units, jobs=jobs, stop=worker.stop):
        for result in results:
            index = result.tensor_index
            if index not in collectors:
                collectors[index] = make_collector(plan.tensors[index])
            if collectors[index].add(result):
                summaries[index] = collectors.pop(index).summary()
            progress(result.n_bytes)
        raise_noted()
    return [summary for summary in summaries if summary is not None]


def _iter_units(plan: Plan, span_elements: int) -> Iterator[list[_Span]]:
    """Cut the plan into units of work of up to a span; small tensors share one."""
    unit: list[_Span] = []
    room = span_elements
    for index, tensor in enumerate(plan.tensors):
        for span in _iter_spans(index, tensor, span_elements):
            if span.n_elements > room and unit:
                yield unit
                unit, room = [], span_elements
            unit.append(span)
            room -= span.n_elements
    if unit:
        yield unit


def _iter_spans(index: int, tensor: TensorPlan, span_elements: int) -> Iterator[_Span]:
    n_elements = tensor.n_elements
    if not n_elements:
        return
    if isinstance(tensor.draw, EntireDraw):
        yield _Span(index, 0, n_elements)
        return
    values = None
    if isinstance(tensor.draw, Called):
        # Here and not in a worker: other people's code is called on one thread, in the order of
        # the plan, so that what it draws from a generator of its own is the same each time.
        values = call_function(tensor.draw, tensor).reshape(-1)
        span_elements = TILE_ELEMENTS
    for start in range(0, n_elements, span_elements):
        stop = min(start + span_elements, n_elements)
        part = None if values is None else values[start:stop]
        yield _Span(index, start // TILE_ELEMENTS, stop - start, part)


class _StoppedError(Exception):
    """The run has ended; nobody waits for the result."""


class _Worker:
    """Does the units of work; called from many threads at once."""

    def __init__(
        self, plan: Plan, layout: OpenLayout, engine: Engine, jobs: int, *, is_measured: bool
    ) -> None:
        self._is_measured = is_measured
        self._plan = plan
        self._layout = layout
        self._engine = engine
        self._jobs = jobs
        self._local = threading.local()
        self._memory = TileMemory(engine.span_elements)
        # Whole matrices take much memory: one at a time.
        self._whole_lock = threading.Lock()
        #: Set when nobody waits for results any more.
        self.stop = threading.Event()

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise _StoppedError

    def __call__(self, unit: list[_Span]) -> list[TileResult]:
        return [result for span in unit for result in self._iter_results(span)]

    def _iter_results(self, span: _Span) -> Iterator[TileResult]:
        tensor = self._plan.tensors[span.tensor_index]
        if isinstance(tensor.draw, EntireDraw):
            with self._whole_lock:
                yield from self._iter_entire(span.tensor_index, tensor, tensor.draw)
            return
        values = span.values
        if values is None:
            values = self._buffer(tensor, span.n_elements)
            start = span.tile_index * TILE_ELEMENTS
            self._engine.fill(
                values, tensor.draw, tensor.stream_key, start=start, shape=tensor.shape
            )
        for offset in range(0, values.size, TILE_ELEMENTS):
            tile_index = span.tile_index + offset // TILE_ELEMENTS
            yield self._finish(span.tensor_index, tile_index, values[offset:][:TILE_ELEMENTS])

    def _iter_entire(
        self, tensor_index: int, tensor: TensorPlan, draw: EntireDraw
    ) -> Iterator[TileResult]:
        elements = make_entire(
            self._engine,
            draw,
            tensor.stream_key,
            tensor.shape,
            jobs=self._jobs,
            on_block=self._check_stop,
        )

        def read(start: int, stop: int) -> NDArray[Any]:
            out = self._buffer(tensor, stop - start)
            cast_float64(elements[start:stop], out)
            return out

        structure = None
        if self._is_measured and has_structure(draw):
            expected = Expected(draw=draw, shape=tensor.shape, dtype=tensor.dtype.name)
            structure = structure_of(read, expected)
        for tile_index, start in enumerate(range(0, elements.size, TILE_ELEMENTS)):
            out = read(start, min(start + TILE_ELEMENTS, elements.size))
            result = self._finish(tensor_index, tile_index, out)
            yield result if tile_index else replace(result, structure=structure)

    def _finish(self, tensor_index: int, tile_index: int, out: NDArray[Any]) -> TileResult:
        stats = self._measure(out) if self._is_measured else None
        digest = piece_digest(out)
        offset = tile_index * TILE_ELEMENTS * out.itemsize
        self._layout.write(tensor_index, offset, out.view(np.uint8).data)
        return TileResult(tensor_index, tile_index, stats, digest, out.nbytes)

    def _measure(self, out: NDArray[Any]) -> TileStats:
        local = self._local
        if not hasattr(local, "meter"):
            local.meter = self._engine.make_meter()
        stats: TileStats = local.meter.measure(out)
        return stats

    def _buffer(self, tensor: TensorPlan, n_elements: int) -> NDArray[Any]:
        """Give the thread's own memory for a span as an array of the tensor's dtype."""
        dtype = numpy_dtype(tensor.dtype.name)
        view: NDArray[Any] = self._memory.room[: n_elements * dtype.itemsize].view(dtype)
        return view
