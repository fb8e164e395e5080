"""Is a weights file what it says it is? Made again from its spec and compared bit for bit.

Generation runs as it does for a file, but into a layout that writes nothing: it reads the same
elements of the file and compares.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

from kinit_cli.compare.checks import (
    CheckStatus,
    FirstDifference,
    Pair,
    TensorCheck,
    Verification,
    pair_up,
)
from kinit_cli.compare.comparison import Comparison
from kinit_cli.compare.elements import flat_index
from kinit_cli.compare.remaking import plan_again, read_manifest
from kinit_cli.compare.stored_names import find_entries, recorded_paths
from kinit_cli.digest import TensorDigest, piece_digest
from kinit_cli.errors import WeightsFileError
from kinit_cli.formats.readers import open_weights
from kinit_cli.formats.weights_file import settle_sums
from kinit_cli.interrupts import raise_noted
from kinit_cli.means import Means
from kinit_cli.pieces import Piece, iter_units
from kinit_cli.pipeline import Progress, fill, prepare
from kinit_cli.stream import STREAM_VERSION
from kinit_cli.tile_memory import TileMemory
from kinit_cli.workers import default_jobs, iter_results

if TYPE_CHECKING:
    from kinit_cli.engines.base import Engine
    from kinit_cli.formats.weights_file import TensorEntry, WeightsFile
    from kinit_cli.initializers.base import Customs
    from kinit_cli.manifest import Manifest, TensorRecord
    from kinit_cli.plan import Plan
    from kinit_cli.spec.load import LoadedSpec

#: Shape and dtype by path.
_Expected = dict[str, tuple[tuple[int, ...], str]]


class _About(TypedDict):
    source: str
    format: str
    layout: str
    n_parameters: int
    n_bytes: int
    seconds: float


def verify_file(
    path: str | os.PathLike[str],
    *,
    spec: LoadedSpec | None = None,
    pattern: str | None = None,
    customs: Customs | None = None,
    means: Means | None = None,
    progress: Progress | None = None,
    on_fault: Callable[[str], None] = lambda reason: None,
) -> Verification:
    """Make a file's tensors again and compare every bit.

    Parameters
    ----------
    path
        A weights file of any format that kinit reads.
    spec : LoadedSpec, optional
        In place of the one that the file records. The file's seed goes for one that has none.
    pattern : str, optional
        Only tensors of this path, or whose path matches it as a case-sensitive glob.
    customs : Customs, optional
        Initializers that are not kinit's own; those of installed packages if absent.
    means : Means, optional
        What computes the values again; the result does not depend on it. Values that a library
        drew are drawn by that library.
    progress : callable, optional
        Called with the number of bytes each time some have been compared.
    on_fault
        See `kinit_cli.engines.get_engine`.

    Raises
    ------
    WeightsFileError
        The file cannot be read, or says nothing about itself and there is no `spec`, or its
        values are of another stream version, or of code that is not at hand.
    UnavailableError
        There is no such engine or device, or the library that drew the values is another one here.
    SpecError
        The spec has problems.
    """
    started = time.perf_counter()
    means = means or Means()
    with open_weights(path) as file:
        notes = list(file.notes)
        manifest = read_manifest(file, notes, is_needed=spec is None)
        plan = plan_again(file, manifest, spec, notes, customs=customs, is_alone=means.is_alone)
        expected = {one.path: (one.shape, one.dtype.name) for one in plan.tensors}
        keras_paths = {one.path: one.keras_path for one in plan.tensors if one.keras_path}
        pairs = _pairs(file, manifest, expected, pattern, keras_paths)
        comparison = Comparison(file, {pair.path: pair.entry for pair in pairs if not pair.fault})
        part = comparison.part_of(plan)
        engine = means.engine_for(part, on_fault)
        file.sum_errors = {}
        digests = _regenerate(part, comparison, engine, means.jobs, progress)
    checks = [_check(pair, comparison, digests.get(pair.path), manifest) for pair in pairs]
    notes += settle_sums(file, _differing(pairs, checks))
    checks += _unfounded_records(manifest, {pair.path for pair in pairs}, expected, pattern)
    verification = Verification(
        method="regenerated",
        spec=spec.problems.source_map.source if spec else None,
        seed=None if plan.is_seed_drawn else plan.seed,
        stream=None if plan.origin else STREAM_VERSION,
        engine=plan.origin.engine if plan.origin else engine.name,
        origin=plan.origin,
        tensors=tuple(checks),
        notes=tuple(notes),
        **_about(path, file, pairs),
    )
    return replace(verification, seconds=time.perf_counter() - started)


def verify_digests(
    path: str | os.PathLike[str],
    *,
    pattern: str | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Hash a file's tensors and compare with the digests that it records; nothing is made again.

    Parameters
    ----------
    path, pattern, progress
        See `verify_file`.
    jobs : int, optional
        Threads; the cores that this process may use if absent. The result does not depend on it.

    Raises
    ------
    WeightsFileError
        The file cannot be read, or says nothing about itself.
    """
    started = time.perf_counter()
    with open_weights(path) as file:
        manifest = read_manifest(file, [], is_needed=True, is_quick=True)
        assert manifest is not None
        expected = {name: (one.shape, one.dtype) for name, one in manifest.tensors.items()}
        pairs = _pairs(file, manifest, expected, pattern)
        compared = [pair.entry for pair in pairs if pair.entry and not pair.fault]
        file.sum_errors = {}
        digests = _hash(file, compared, jobs or default_jobs(), progress)
    found = {entry.path: digest for entry, digest in zip(compared, digests, strict=True)}
    checks = [_check_digest(pair, found, manifest.tensors.get(pair.path)) for pair in pairs]
    verification = Verification(
        method="digests",
        spec=None,
        seed=manifest.seed,
        stream=manifest.stream,
        engine=None,
        origin=manifest.origin,
        tensors=tuple(checks),
        notes=(*file.notes, *settle_sums(file, _differing(pairs, checks))),
        **_about(path, file, pairs),
    )
    return replace(verification, seconds=time.perf_counter() - started)


def _about(path: str | os.PathLike[str], file: WeightsFile, pairs: Sequence[Pair]) -> _About:
    """Give what both ways tell of a file; they fill in the time."""
    compared = [pair.entry for pair in pairs if pair.entry and not pair.fault]
    return _About(
        source=os.fspath(path),
        format=file.format,
        layout=file.layout,
        n_parameters=sum(entry.n_elements for entry in compared),
        n_bytes=sum(entry.n_bytes for entry in compared),
        seconds=0.0,
    )


# --- what is expected -------------------------------------------------------------------------


def _pairs(
    file: WeightsFile,
    manifest: Manifest | None,
    expected: _Expected,
    pattern: str | None,
    keras_paths: Mapping[str, str] | None = None,
) -> list[Pair]:
    found = find_entries(file, manifest, expected, keras_paths or {})
    pairs = pair_up(expected, found, file.entries, pattern, recorded_paths(file, manifest))
    if pattern is not None and not pairs:
        raise WeightsFileError(
            f"{file.path}: expected a tensor that matches {pattern!r}, got none; "
            "run without a pattern to compare them all"
        )
    return pairs


def _regenerate(
    part: Plan, comparison: Comparison, engine: Engine, jobs: int, progress: Progress | None
) -> dict[str, str | None]:
    """Make tensors again, compare them, and give the digest of each by its path."""
    prepare(part, engine)
    made = fill(part, comparison, engine=engine, jobs=jobs, progress=progress, is_measured=False)
    return {tensor.path: tensor.digest for tensor in made}


# --- results ----------------------------------------------------------------------------------


def _check(
    pair: Pair, comparison: Comparison, digest: str | None, manifest: Manifest | None
) -> TensorCheck:
    record = manifest.tensors.get(pair.path) if manifest else None
    recorded = record.digest if record else None
    if pair.fault is not None:
        return pair.check(pair.fault, recorded_digest=recorded)
    difference = comparison.differences.get(pair.path)
    if difference is not None:
        assert pair.shape is not None
        first = FirstDifference(
            index=flat_index(difference.index, pair.shape),
            expected=difference.expected,
            found=difference.found,
        )
        n_different = difference.count
        return pair.check("values", n_different=n_different, first=first, recorded_digest=recorded)
    said = record and (record.shape, record.dtype, record.digest)
    is_true = manifest is None or said == (pair.shape, pair.dtype, digest)
    return pair.check(
        "identical" if is_true else "record",
        n_different=0,
        digest=digest,
        recorded_digest=recorded,
    )


def _unfounded_records(
    manifest: Manifest | None,
    paths: set[str],
    expected: _Expected,
    pattern: str | None,
) -> list[TensorCheck]:
    """List what the manifest records though neither the spec nor the file has it."""
    if manifest is None:
        return []
    unknown = {
        path: (record.shape, record.dtype)
        for path, record in manifest.tensors.items()
        if path not in paths and path not in expected
    }
    return [pair.check("missing") for pair in pair_up(unknown, {}, (), pattern, {})]


def _differing(pairs: Sequence[Pair], checks: Sequence[TensorCheck]) -> set[str]:
    """Give what the file calls the tensors whose elements differ."""
    results = zip(pairs, checks, strict=True)
    return {pair.entry.path for pair, one in results if pair.entry and one.status == "values"}


# --- digests ----------------------------------------------------------------------------------


def _hash(
    file: WeightsFile, entries: Sequence[TensorEntry], jobs: int, progress: Progress | None
) -> list[str]:
    """Give the digest of each tensor."""
    memory = TileMemory()

    def work(unit: tuple[Piece, ...]) -> list[bytes]:
        return [
            piece_digest(file.read(entries[one.tensor_index], one.start, one.stop, memory.room))
            for one in unit
        ]

    digests = [TensorDigest() for _ in entries]
    units = iter_units(entry.n_elements for entry in entries)
    for unit, results in iter_results(work, units, jobs=jobs):
        for piece, result in zip(unit, results, strict=True):
            digests[piece.tensor_index].add(piece.tile_index, result)
            entry = entries[piece.tensor_index]
            if progress is not None:
                progress((piece.stop - piece.start) * (entry.n_bytes // entry.n_elements))
        raise_noted()
    return [digest.hexdigest() for digest in digests]


def _check_digest(pair: Pair, found: dict[str, str], record: TensorRecord | None) -> TensorCheck:
    recorded = record.digest if record else None
    if pair.fault is not None:
        return pair.check(pair.fault, recorded_digest=recorded)
    assert pair.entry is not None
    digest = found[pair.entry.path]
    status: CheckStatus = "identical" if digest == recorded else "values"
    return pair.check(status, digest=digest, recorded_digest=recorded)
