"""Measuring a weights file of any size in bounded memory.

Tiles are read and measured by a few threads, a few tiles for each under way. Small tensors are
measured many at a time.
"""

from __future__ import annotations

import os
import threading
import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from kinit_cli.digest import TILE_ELEMENTS
from kinit_cli.engines.registry import get_engine
from kinit_cli.engines.saving import seconds_saved_measuring
from kinit_cli.errors import KinitError, WeightsFileError, suggest
from kinit_cli.formats.readers import open_weights
from kinit_cli.interrupts import raise_noted
from kinit_cli.pieces import Piece, iter_units
from kinit_cli.stored_names import recorded_names
from kinit_cli.summary import FileSummary, StatsAccumulator, TensorStats, TensorSummary
from kinit_cli.workers import default_jobs, iter_results

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kinit_cli.engines.base import Engine
    from kinit_cli.formats.weights_file import TensorEntry, WeightsFile
    from kinit_cli.manifest import Expectation, Manifest
    from kinit_cli.meter import Meter, TileStats

_MAX_SUGGESTIONS_FROM = 2000


def inspect_file(
    path: str | os.PathLike[str],
    *,
    pattern: str | None = None,
    jobs: int | None = None,
    progress: Callable[[int], object] | None = None,
    on_fault: Callable[[str], None] = lambda reason: None,
    is_alone: bool = False,
) -> FileSummary:
    """Measure the tensors of a weights file, kinit's or not.

    Parameters
    ----------
    path
        A weights file, an index or a directory; see `kinit_cli.formats.readers.open_weights`.
    pattern : str, optional
        Only tensors of this path, or whose path matches it as a case-sensitive glob.
    jobs : int, optional
        Threads; the cores that this process may use if absent.
    progress : callable, optional
        Called with the number of bytes each time some have been measured.
    on_fault : callable, optional
        Called with the reason if compiled code would be faster but does not work here.
    is_alone : bool
        See `kinit_cli.engines.get_engine`.

    Raises
    ------
    WeightsFileError
        If the file cannot be read, or no tensor matches.
    """
    started = time.perf_counter()
    with open_weights(path) as file:
        notes = list(file.notes)
        manifest = _read_manifest(file, notes)
        expected = _expected(file, manifest, notes)
        entries = _in_order_of_spec(select_entries(file, pattern), expected)
        numeric = [entry for entry in entries if entry.element is not None]
        jobs = jobs or default_jobs()
        engine = _choose_engine(numeric, jobs, on_fault, is_alone)
        engine.prepare({(None, entry.element) for entry in numeric if entry.element is not None})
        raise_noted()
        stats = _measure(_Worker(file, numeric, engine), jobs, progress or _ignore)
    tensors = tuple(
        _tensor_summary(entry, stats.get(entry.path), expected.get(entry.path)) for entry in entries
    )
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
        notes=tuple(notes),
    )


def select_entries(file: WeightsFile, pattern: str | None) -> tuple[TensorEntry, ...]:
    """Give the file's tensors whose path is `pattern` or matches it, all if it is None."""
    if pattern is None:
        return file.entries
    entries = tuple(
        entry for entry in file.entries if entry.path == pattern or fnmatchcase(entry.path, pattern)
    )
    if not entries:
        near = suggest(pattern, [entry.path for entry in file.entries[:_MAX_SUGGESTIONS_FROM]])
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
) -> dict[str, TensorStats]:
    """Measure tensors, each in tiles; the result does not depend on the number of threads."""
    entries = worker.entries
    stats = {one.path: StatsAccumulator().result() for one in entries if not one.n_elements}
    accumulator = StatsAccumulator()
    units = iter_units(entry.n_elements for entry in entries)
    for unit, results in iter_results(worker, units, jobs=jobs):
        n_bytes = 0
        for piece, result in zip(unit, results, strict=True):
            entry = entries[piece.tensor_index]
            n_bytes += (piece.stop - piece.start) * (entry.n_bytes // entry.n_elements)
            accumulator.add(piece.tile_index, result)
            if piece.stop == entry.n_elements:
                stats[entry.path] = accumulator.result()
                accumulator = StatsAccumulator()
        progress(n_bytes)
        raise_noted()
    return stats


class _Worker:
    """Measures pieces of tensors; called from many threads at once."""

    def __init__(self, file: WeightsFile, entries: Sequence[TensorEntry], engine: Engine) -> None:
        self.entries = entries
        self._file = file
        self._engine = engine
        self._local = threading.local()

    def __call__(self, unit: tuple[Piece, ...]) -> list[TileStats]:
        local = self._local
        if not hasattr(local, "meter"):
            local.meter = self._engine.make_meter()
            local.memory = np.empty(TILE_ELEMENTS * 8, np.uint8)
        meter: Meter = local.meter
        return [
            meter.measure(
                self._file.read(
                    self.entries[piece.tensor_index], piece.start, piece.stop, local.memory
                )
            )
            for piece in unit
        ]


def _tensor_summary(
    entry: TensorEntry, stats: TensorStats | None, expected: Expectation | None
) -> TensorSummary:
    return TensorSummary(
        path=entry.path,
        shape=entry.shape,
        dtype=entry.dtype,
        n_elements=entry.n_elements,
        n_bytes=entry.n_bytes,
        stats=stats,
        expected_mean=expected.mean if expected else None,
        expected_std=expected.stddev if expected else None,
        initializer=expected.initializer if expected else None,
        recorded_digest=expected.digest if expected else None,
    )


def _read_manifest(file: WeightsFile, notes: list[str]) -> Manifest | None:
    """Read what the file says about itself; a note says so if that cannot be used."""
    if file.manifest_text is None:
        return None
    # Reading a spec takes much importing, which other files' readers need not wait for.
    from kinit_cli.manifest import parse_manifest

    try:
        return parse_manifest(file.manifest_text, str(file.path))
    except KinitError as error:
        notes.append(f"what the file says about itself cannot be used: {error}")
        return None


def _expected(
    file: WeightsFile, manifest: Manifest | None, notes: list[str]
) -> Mapping[str, Expectation]:
    """Give what is expected of each path, in the order of the spec."""
    if manifest is None:
        return {}
    from kinit_cli.manifest import expectations

    try:
        expected = expectations(manifest, str(file.path))
    except KinitError as error:
        reasons = "; ".join(str(error).splitlines())
        notes.append(f"the spec that the file records cannot be used: {reasons}")
        return {}
    names = recorded_names(file, manifest)
    expected = {names.get(path, path): what for path, what in expected.items()}
    return _matching(file.entries, expected, notes)


def _matching(
    entries: Sequence[TensorEntry], expected: dict[str, Expectation], notes: list[str]
) -> dict[str, Expectation]:
    """Keep what is expected of tensors that the file has as the manifest records them."""
    found = {entry.path: (entry.shape, entry.dtype) for entry in entries}
    changed = [
        path for path, record in expected.items() if found.get(path) != (record.shape, record.dtype)
    ]
    if changed:
        shown = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if changed[3:] else "")
        notes.append(f"not as the file's manifest records it, or not there: {shown}")
    for path in changed:
        del expected[path]
    return expected


def _in_order_of_spec(
    entries: tuple[TensorEntry, ...], expected: Mapping[str, Expectation]
) -> tuple[TensorEntry, ...]:
    position = {path: index for index, path in enumerate(expected)}
    return tuple(sorted(entries, key=lambda entry: position.get(entry.path, len(position))))


def _ignore(n_bytes: int) -> None:
    """Take the place of a progress display."""
