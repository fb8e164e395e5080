"""Measuring a weights file of any size in bounded memory.

Tiles are read and measured by a few threads, a few tiles for each under way. Small tensors are
measured many at a time.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kinit_cli.checking import make_checker
from kinit_cli.digest import TensorDigest, piece_digest
from kinit_cli.engines.registry import get_engine
from kinit_cli.engines.saving import seconds_saved_measuring
from kinit_cli.errors import WeightsFileError, suggest
from kinit_cli.formats.readers import open_weights
from kinit_cli.interrupts import raise_noted
from kinit_cli.pieces import iter_units
from kinit_cli.records import read_records
from kinit_cli.statistics.tensor_stats import StatsAccumulator
from kinit_cli.summary import FileSummary, TensorSummary, count_verdicts
from kinit_cli.tile_memory import TileMemory
from kinit_cli.workers import default_jobs, iter_results

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from kinit_cli.checking import Checker
    from kinit_cli.engines.base import Engine
    from kinit_cli.formats.weights_file import TensorEntry, WeightsFile
    from kinit_cli.manifest import Expectation
    from kinit_cli.pieces import Piece
    from kinit_cli.records import Records
    from kinit_cli.statistics.distribution_test import DistributionTest
    from kinit_cli.statistics.meter import Meter, TileStats
    from kinit_cli.statistics.structure import Structure
    from kinit_cli.statistics.tensor_stats import TensorStats

_MAX_SUGGESTIONS_FROM = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """What was found in one tile.

    Attributes
    ----------
    digest : bytes or None
        Only if it is to be compared.
    structure : Structure or None
        Of the whole tensor, with its first tile.
    """

    stats: TileStats
    digest: bytes | None
    structure: Structure | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What was found of one tensor."""

    stats: TensorStats
    digest: str | None
    test: DistributionTest | None


def inspect_file(
    path: str | os.PathLike[str],
    *,
    pattern: str | None = None,
    jobs: int | None = None,
    check: bool = False,
    progress: Callable[[int], object] | None = None,
    on_fault: Callable[[str], None] = lambda reason: None,
    is_alone: bool = False,
    is_close: bool = False,
) -> FileSummary:
    """Measure the tensors of a weights file, kinit's or not.

    Parameters
    ----------
    path
        A weights file, an index or a directory; see `kinit_cli.formats.readers.open_weights`.
    pattern : str, optional
        Only tensors of this path, or whose path matches it as a case-sensitive glob; the path is
        what the file calls the tensor, or what its manifest does.
    jobs : int, optional
        Threads; the cores that this process may use if absent.
    check : bool
        Compare every tensor with the initializer and the digest that the file records for it.
    progress : callable, optional
        Called with the number of bytes each time some have been measured.
    on_fault : callable, optional
        Called with the reason if compiled code would be faster but does not work here.
    is_alone : bool
        See `kinit_cli.engines.get_engine`.
    is_close : bool
        If only one tensor is chosen, look at it closely: quantiles, first values.

    Raises
    ------
    WeightsFileError
        If the file cannot be read, no tensor matches, or there is nothing to check against.
    """
    started = time.perf_counter()
    with open_weights(path) as file:
        records = read_records(file)
        checker = make_checker(file, records) if check else None
        entries = records.in_order_of_spec(
            select_entries(file, records, pattern, records.missing if check else ())
        )
        numeric = [entry for entry in entries if entry.element is not None]
        jobs = jobs or default_jobs()
        engine = _choose_engine(numeric, jobs, on_fault, is_alone)
        engine.prepare({(None, entry.element) for entry in numeric if entry.element is not None})
        raise_noted()
        found = _measure(_Worker(file, numeric, engine, checker), jobs, progress or _ignore)
        tensors = tuple(
            _tensor_summary(entry, found.get(entry.path), records.expected.get(entry.path), checker)
            for entry in entries
        )
        if is_close and len(tensors) == 1:
            tensors = (_seen_closely(file, entries[0], tensors[0], jobs, progress or _ignore),)
    manifest = records.manifest
    missing = tuple(path for path in records.missing if records.is_chosen(path, pattern))
    return FileSummary(
        source=os.fspath(path),
        format=file.format,
        layout=file.layout,
        tensors=tensors,
        n_parameters=sum(entry.n_elements for entry in numeric),
        n_bytes=sum(entry.n_bytes for entry in entries),
        seconds=time.perf_counter() - started,
        seed=manifest.seed if manifest else None,
        stream=manifest.stream if manifest else None,
        origin=manifest.origin if manifest else None,
        notes=(*file.notes, *records.notes()),
        tests=count_verdicts(tensors, missing) if check else None,
    )


def select_entries(
    file: WeightsFile, records: Records, pattern: str | None, missing: Sequence[str] = ()
) -> tuple[TensorEntry, ...]:
    """Give the file's tensors whose path is `pattern` or matches it, all if it is None.

    There may be none only if one of `missing` matches.
    """
    entries = tuple(entry for entry in file.entries if records.is_chosen(entry.path, pattern))
    is_missing = any(records.is_chosen(name, pattern) for name in missing)
    if not entries and pattern is not None and not is_missing:
        names = [entry.path for entry in file.entries[:_MAX_SUGGESTIONS_FROM]]
        near = suggest(pattern, [*names, *(records.paths.get(name, name) for name in names)])
        raise WeightsFileError(
            f"{file.path}: expected a tensor that matches {pattern!r}, got none of its "
            f"{len(file.entries)}; {near or 'run without a pattern to list them all'}"
        )
    return entries


def _choose_engine(
    entries: Sequence[TensorEntry],
    jobs: int,
    on_fault: Callable[[str], None],
    is_alone: bool,
) -> Engine:
    n_elements = sum(entry.n_elements for entry in entries)
    seconds_saved = seconds_saved_measuring(len(entries), n_elements, jobs)
    return get_engine("auto", seconds_saved=seconds_saved, on_fault=on_fault, is_alone=is_alone)


def _measure(
    worker: _Worker,
    jobs: int,
    progress: Callable[[int], object],
) -> dict[str, _Found]:
    """Measure tensors, each in tiles; the result does not depend on the number of threads."""
    entries, checker = worker.entries, worker.checker
    found = {one.path: _Collector(one, checker).result() for one in entries if not one.n_elements}
    collector: _Collector | None = None
    units = iter_units(entry.n_elements for entry in entries)
    for unit, parts in iter_results(worker, units, jobs=jobs):
        n_bytes = 0
        for piece, part in zip(unit, parts, strict=True):
            entry = entries[piece.tensor_index]
            n_bytes += (piece.stop - piece.start) * (entry.n_bytes // entry.n_elements)
            collector = collector or _Collector(entry, checker)
            collector.add(piece.tile_index, part)
            if piece.stop == entry.n_elements:
                found[entry.path] = collector.result()
                collector = None
        progress(n_bytes)
        raise_noted()
    return found


class _Worker:
    """Measures pieces of tensors; called from many threads at once."""

    def __init__(
        self,
        file: WeightsFile,
        entries: Sequence[TensorEntry],
        engine: Engine,
        checker: Checker | None,
    ) -> None:
        self.entries = entries
        self.checker = checker
        self._file = file
        self._engine = engine
        self._local = threading.local()
        self._memory = TileMemory()

    def __call__(self, unit: tuple[Piece, ...]) -> list[_Part]:
        local = self._local
        if not hasattr(local, "meter"):
            local.meter = self._engine.make_meter()
        return [self._measure(piece, local.meter) for piece in unit]

    def _measure(self, piece: Piece, meter: Meter) -> _Part:
        entry = self.entries[piece.tensor_index]
        values = self._file.read(entry, piece.start, piece.stop, self._memory.room)
        has_digest = self.checker is not None and self.checker.has_digest(entry.path)
        digest = piece_digest(values) if has_digest else None
        stats = meter.measure(values)
        structure = None if piece.start else self._structure(entry, values)
        return _Part(stats=stats, digest=digest, structure=structure)

    def _structure(self, entry: TensorEntry, values: NDArray[Any]) -> Structure | None:
        """Look at a tensor whose first tile is here; of what is larger some is read again."""
        if self.checker is None:
            return None
        is_here = values.size == entry.n_elements

        def read(start: int, stop: int) -> NDArray[Any]:
            return values[start:stop] if is_here else self._file.read(entry, start, stop)

        return self.checker.structure_of(entry, read)


class _Collector:
    """Joins what was found in one tensor's tiles."""

    def __init__(self, entry: TensorEntry, checker: Checker | None) -> None:
        self._entry = entry
        self._checker = checker
        self._stats = StatsAccumulator()
        has_digest = checker is not None and checker.has_digest(entry.path)
        self._digest = TensorDigest() if has_digest else None
        self._structure: Structure | None = None

    def add(self, index: int, part: _Part) -> None:
        """Take what was found in tile `index`."""
        self._structure = self._structure or part.structure
        self._stats.add(index, part.stats)
        if self._digest is not None and part.digest is not None:
            self._digest.add(index, part.digest)

    def result(self) -> _Found:
        """Give what was found, once all tiles are in."""
        stats = self._stats.result()
        digest = self._digest.hexdigest() if self._digest else None
        test = None
        if self._checker is not None:
            grid_counts, structure = self._stats.grid_counts, self._structure
            test = self._checker.judge(self._entry, stats, grid_counts, structure, digest)
        return _Found(stats=stats, digest=digest, test=test)


def _tensor_summary(
    entry: TensorEntry,
    found: _Found | None,
    expected: Expectation | None,
    checker: Checker | None,
) -> TensorSummary:
    test = found.test if found else None
    if checker is not None and found is None:  # no numbers
        test = checker.judge(entry, None, None, None, None)
    return TensorSummary(
        path=entry.path,
        shape=entry.shape,
        dtype=entry.dtype,
        n_elements=entry.n_elements,
        n_bytes=entry.n_bytes,
        stats=found.stats if found else None,
        expected_mean=expected.mean if expected else None,
        expected_std=expected.stddev if expected else None,
        initializer=expected.initializer if expected else None,
        digest=found.digest if found else None,
        recorded_digest=expected.digest if expected else None,
        test=test,
        draw=expected.draw if expected else None,
    )


def _seen_closely(
    file: WeightsFile,
    entry: TensorEntry,
    tensor: TensorSummary,
    jobs: int,
    progress: Callable[[int], object],
) -> TensorSummary:
    from kinit_cli.close_up import look_closely

    if tensor.stats is None:
        return tensor
    close_up = look_closely(file, entry, tensor.stats, jobs=jobs, progress=progress)
    return replace(tensor, close_up=close_up)


def _ignore(n_bytes: int) -> None:
    """Take the place of a progress display."""
