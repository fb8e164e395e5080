"""Is a weights file what it says it is? Made again from its spec and compared bit for bit.

Generation runs as it does for a file, but into a layout that writes nothing: it reads the same
elements of the file and compares.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from kinit_cli.checks import CheckStatus, FirstDifference, Pair, TensorCheck, Verification, pair_up
from kinit_cli.comparison import Comparison
from kinit_cli.digest import TILE_ELEMENTS, TensorDigest, piece_digest
from kinit_cli.elements import flat_index
from kinit_cli.engines.registry import get_engine
from kinit_cli.engines.saving import seconds_saved_generating
from kinit_cli.errors import KinitError, WeightsFileError
from kinit_cli.formats.readers import open_weights
from kinit_cli.interrupts import raise_noted
from kinit_cli.manifest import Manifest, TensorRecord, parse_manifest, plan_of
from kinit_cli.pieces import Piece, iter_units
from kinit_cli.pipeline import Progress, fill, prepare
from kinit_cli.plan import Plan
from kinit_cli.planner import make_plan
from kinit_cli.stream import STREAM_VERSION
from kinit_cli.workers import default_jobs, iter_results

if TYPE_CHECKING:
    from kinit_cli.engines.base import Engine
    from kinit_cli.formats.weights_file import TensorEntry, WeightsFile
    from kinit_cli.spec.load import LoadedSpec


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
    jobs: int | None = None,
    progress: Progress | None = None,
    on_fault: Callable[[str], None] = lambda reason: None,
    is_alone: bool = False,
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
    jobs : int, optional
        Threads; the cores that this process may use if absent. The result does not depend on it.
    progress : callable, optional
        Called with the number of bytes each time some have been compared.
    on_fault, is_alone
        See `kinit_cli.engines.get_engine`.

    Raises
    ------
    WeightsFileError
        The file cannot be read, or says nothing about itself and there is no `spec`, or its
        values are of another stream version or another library.
    SpecError
        The spec has problems.
    """
    started = time.perf_counter()
    jobs = jobs or default_jobs()
    with open_weights(path) as file:
        notes = list(file.notes)
        manifest = _manifest(file, notes, is_needed=spec is None)
        plan = _plan(file, manifest, spec, notes)
        expected = {one.path: (one.shape, one.dtype.name) for one in plan.tensors}
        pairs = _pairs(file, expected, pattern)
        comparison = Comparison(file, {pair.path: pair.entry for pair in pairs if not pair.fault})
        part = comparison.part_of(plan)
        saved = seconds_saved_generating(part, jobs)
        engine = get_engine("auto", seconds_saved=saved, on_fault=on_fault, is_alone=is_alone)
        digests = _regenerate(part, comparison, engine, jobs, progress)
    checks = [_check(pair, comparison, digests.get(pair.path), manifest) for pair in pairs]
    checks += _unfounded_records(manifest, {pair.path for pair in pairs}, expected, pattern)
    verification = Verification(
        method="regenerated",
        spec=spec.problems.source_map.source if spec else None,
        seed=None if plan.is_seed_drawn else plan.seed,
        stream=STREAM_VERSION,
        engine=engine.name,
        origin=None,
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
    path, pattern, jobs, progress
        See `verify_file`.

    Raises
    ------
    WeightsFileError
        The file cannot be read, or says nothing about itself.
    """
    started = time.perf_counter()
    with open_weights(path) as file:
        manifest = _manifest(file, [], is_needed=True)
        assert manifest is not None
        expected = {name: (one.shape, one.dtype) for name, one in manifest.tensors.items()}
        pairs = _pairs(file, expected, pattern)
        compared = [pair.entry for pair in pairs if pair.entry and not pair.fault]
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
        notes=tuple(file.notes),
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


def _manifest(file: WeightsFile, notes: list[str], *, is_needed: bool) -> Manifest | None:
    if file.manifest_text is None:
        if is_needed:
            raise WeightsFileError(
                f"{file.path}: expected kinit's manifest in it, which has the spec and the seed, "
                "got none; give the spec it was made from with --spec"
            )
        notes.append("the file says nothing about itself: it has no manifest")
        return None
    try:
        return parse_manifest(file.manifest_text, str(file.path))
    except WeightsFileError as error:
        if is_needed:
            raise
        notes.append(f"what the file says about itself cannot be used: {error}")
        return None


def _plan(
    file: WeightsFile, manifest: Manifest | None, spec: LoadedSpec | None, notes: list[str]
) -> Plan:
    if manifest is not None:
        _check_stream(file, manifest)
    if spec is None:
        assert manifest is not None
        return plan_of(manifest, str(file.path))
    if spec.model.seed is None and manifest is not None:
        spec = replace(
            spec,
            model=spec.model.model_copy(update={"seed": manifest.seed}),
            document={**spec.document, "seed": manifest.seed},
        )
    plan = make_plan(spec)
    if plan.is_seed_drawn and any(t.is_random and t.initializer.seed is None for t in plan.tensors):
        raise KinitError(
            f"{spec.problems.source_map.source}: expected a seed, got none, and {file.path} "
            "records none either; give --seed"
        )
    if manifest is not None and manifest.spec != plan.document:
        notes.append("the file records a spec that is written otherwise than this one")
    return plan


def _check_stream(file: WeightsFile, manifest: Manifest) -> None:
    """Refuse values that this kinit cannot make again."""
    if manifest.origin is not None:
        raise WeightsFileError(
            f"{file.path}: its values are {manifest.origin}: expected values of kinit's own "
            "stream, which can be made again; --quick compares with the recorded digests"
        )
    if manifest.stream != STREAM_VERSION:
        raise WeightsFileError(
            f"{file.path}: expected values of stream version {STREAM_VERSION}, got "
            f"{manifest.stream}; another version of kinit can make them again, and --quick "
            "compares with the recorded digests"
        )


def _pairs(
    file: WeightsFile, expected: dict[str, tuple[tuple[int, ...], str]], pattern: str | None
) -> list[Pair]:
    pairs = pair_up(expected, file.entries, pattern, is_nameless=file.format == "npy")
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
    expected: dict[str, tuple[tuple[int, ...], str]],
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
    return [pair.check("missing") for pair in pair_up(unknown, (), pattern, is_nameless=False)]


# --- digests ----------------------------------------------------------------------------------


def _hash(
    file: WeightsFile, entries: Sequence[TensorEntry], jobs: int, progress: Progress | None
) -> list[str]:
    """Give the digest of each tensor."""
    local = threading.local()

    def work(unit: tuple[Piece, ...]) -> list[bytes]:
        if not hasattr(local, "memory"):
            local.memory = np.empty(TILE_ELEMENTS * 8, np.uint8)
        return [
            piece_digest(file.read(entries[one.tensor_index], one.start, one.stop, local.memory))
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
