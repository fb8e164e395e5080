"""Which tensors of two weights files differ, and by how much, in bounded memory.

The files may be of different formats. Tensors are matched by path, which a file's manifest gives
where the file has other names; those that are left over are matched as `stored_names` does.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

import numpy as np

from kinit_cli.compare.distance import Distance, Spot, Tolerance, distance
from kinit_cli.compare.elements import flat_index
from kinit_cli.compare.stored_names import match_names, recorded_paths
from kinit_cli.errors import KinitError, WeightsFileError
from kinit_cli.formats.readers import open_weights
from kinit_cli.formats.weights_file import settle_sums
from kinit_cli.interrupts import raise_noted
from kinit_cli.pieces import Piece, iter_units
from kinit_cli.tile_memory import TileMemory
from kinit_cli.workers import default_jobs, iter_results

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from kinit_cli.formats.weights_file import TensorEntry, WeightsFile

#: identical: the same dtype, shape and bits. equal: every value is equal, but the dtype or some
#: bits are others. close: within the tolerance.
DiffStatus = Literal[
    "identical", "equal", "close", "different", "shape", "not_compared", "only_a", "only_b"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorDiff:
    """One tensor of the files A and B, or of one of them.

    Attributes
    ----------
    a, b : TensorEntry or None
        Each called by its path, if its file's manifest says it, else as in the file.
    distance : Distance or None
        None if the elements were not compared.
    first : Spot or None
        The first element that makes it different, or if it is close, that is not equal, or if
        all are equal, that has other bits.
    """

    a: TensorEntry | None
    b: TensorEntry | None
    status: DiffStatus
    distance: Distance | None = None
    first: Spot | None = None

    @property
    def path(self) -> str:
        """The tensor's path, in A if it is there."""
        entry = self.a or self.b
        assert entry is not None
        return entry.path

    @property
    def index(self) -> tuple[int, ...] | None:
        """The place of the first difference."""
        return flat_index(self.first.index, self.a.shape) if self.first and self.a else None

    def to_json(self) -> dict[str, object]:
        """Give plain data with stable keys; no NaN or infinity, but null."""
        found, first, index = self.distance, self.first, self.index
        return {
            "status": self.status,
            **_entry_json(self.a, "a"),
            **_entry_json(self.b, "b"),
            "n_different": found.n_values if found else None,
            "n_beyond": found.n_beyond if found else None,
            "n_not_finite": found.n_not_finite if found else None,
            "max_abs": _json_number(found.max_abs) if found else None,
            "max_rel": _json_number(found.max_rel) if found else None,
            "first": None
            if first is None or index is None
            else {"index": list(index), "a": first.a.to_json(), "b": first.b.to_json()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDiff:
    """Two weights files and their tensors.

    Attributes
    ----------
    source_a, source_b : str
        The files, as the user named them.
    tolerance : Tolerance or None
        None if only identical tensors are the same.
    tensors : tuple of TensorDiff
        In the order of A, then what is only in B.
    n_bytes : int
        Of the tensors whose elements were compared, in both files.
    """

    source_a: str
    source_b: str
    format_a: str
    format_b: str
    tolerance: Tolerance | None
    tensors: tuple[TensorDiff, ...]
    n_bytes: int
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def differing(self) -> tuple[TensorDiff, ...]:
        """The tensors that are not the same: all but identical ones, if there is no tolerance."""
        good = ("identical",) if self.tolerance is None else ("identical", "equal", "close")
        return tuple(tensor for tensor in self.tensors if tensor.status not in good)

    @property
    def is_same(self) -> bool:
        """Whether no tensor differs."""
        return not self.differing

    def to_json(self) -> dict[str, object]:
        """Give plain data with stable keys."""
        return {
            "source_a": self.source_a,
            "source_b": self.source_b,
            "format_a": self.format_a,
            "format_b": self.format_b,
            "rtol": self.tolerance.rtol if self.tolerance else None,
            "atol": self.tolerance.atol if self.tolerance else None,
            "is_same": self.is_same,
            "n_tensors": len(self.tensors),
            "n_differing": len(self.differing),
            "n_bytes": self.n_bytes,
            "seconds": self.seconds,
            "notes": list(self.notes),
            "tensors": [tensor.to_json() for tensor in self.tensors],
        }


def diff_files(
    path_a: str | os.PathLike[str],
    path_b: str | os.PathLike[str],
    *,
    pattern: str | None = None,
    tolerance: Tolerance | None = None,
    jobs: int | None = None,
    progress: Callable[[int], object] = lambda n_bytes: None,
) -> FileDiff:
    """Compare the tensors of two weights files of any formats.

    Parameters
    ----------
    pattern : str, optional
        Only tensors of this path in either file, or whose path matches it as a case-sensitive
        glob.
    tolerance : Tolerance, optional
        What counts as the same; without, only identical tensors do.
    jobs : int, optional
        Threads; the cores that this process may use if absent. The result does not depend on it.
    progress : callable, optional
        Called with the number of bytes, of both files, each time some have been compared.

    Raises
    ------
    WeightsFileError
        A file cannot be read, or no tensor matches.
    """
    started = time.perf_counter()
    with open_weights(path_a) as file_a, open_weights(path_b) as file_b:
        paths = _paths(file_a), _paths(file_b)
        pairs = _select(match_entries(file_a, file_b, *paths), pattern, paths, (file_a, file_b))
        compared = [
            (a, b)
            for a, b in pairs
            if a and b and a.shape == b.shape and a.element is not None and b.element is not None
        ]
        file_a.sum_errors, file_b.sum_errors = {}, {}
        worker = _Worker(file_a, file_b, compared, tolerance or Tolerance())
        distances = _distances(worker, compared, jobs or default_jobs(), progress)
        results = zip(compared, distances, strict=True)
        different = [pair for pair, one in results if one.n_bits or one.n_values]
        notes = [f"{file.path}: {note}" for file in (file_a, file_b) for note in file.notes]
        notes += settle_sums(file_a, {a.path for a, _ in different})
        notes += settle_sums(file_b, {b.path for _, b in different})
    by_entry = {a.path: one for (a, _), one in zip(compared, distances, strict=True)}
    called = [(_called(a, paths[0]), _called(b, paths[1])) for a, b in pairs]
    found = [by_entry.get(a.path) if a else None for a, _ in pairs]
    tensors = [
        _tensor_diff(a, b, one, tolerance) for (a, b), one in zip(called, found, strict=True)
    ]
    return FileDiff(
        source_a=os.fspath(path_a),
        source_b=os.fspath(path_b),
        format_a=file_a.format,
        format_b=file_b.format,
        tolerance=tolerance,
        tensors=tuple(tensors),
        n_bytes=sum(a.n_bytes + b.n_bytes for a, b in compared),
        seconds=time.perf_counter() - started,
        notes=tuple(notes),
    )


# --- matching ---------------------------------------------------------------------------------

Pair = tuple["TensorEntry | None", "TensorEntry | None"]
#: Of the tensors of a file, by their names in it.
Paths = dict[str, str]


def match_entries(
    file_a: WeightsFile, file_b: WeightsFile, paths_a: Paths, paths_b: Paths
) -> list[Pair]:
    """Find the tensors of two files that are the same one, by path.

    Of those left over, one that no manifest speaks of is what the other file calls by its name.

    Parameters
    ----------
    paths_a, paths_b : mapping of str to str
        See `kinit_cli.compare.stored_names.recorded_paths`.

    Returns
    -------
    list of (entry of A or None, entry of B or None)
        In the order of A, then what is only in B.
    """
    rest = {paths_b[entry.path]: entry for entry in file_b.entries}
    in_a = {paths_a[entry.path]: entry for entry in file_a.entries}
    found = match_names(in_a, rest)
    if not found and len(in_a) == len(rest) == 1 and "npy" in (file_a.format, file_b.format):
        # A single .npy file is called what the user likes.
        found = dict(zip(in_a, rest, strict=True))
    taken = set(found.values())
    by_name = {entry.path: path for path, entry in rest.items() if path not in taken}
    for path, entry in in_a.items():
        other = by_name.get(entry.path)
        # If both are recorded, they are different tensors in the same place of their files.
        if other is not None and path not in found and entry.path in (path, other):
            found[path] = other
    pairs: list[Pair] = [
        (entry, rest.pop(found[path]) if path in found else None) for path, entry in in_a.items()
    ]
    return pairs + [(None, entry) for entry in rest.values()]


def _paths(file: WeightsFile) -> Paths:
    """Give the path of each tensor by its name; a manifest that cannot be used is left aside."""
    if file.manifest_text is None:
        return recorded_paths(file, None)
    # Reading a spec takes much importing, which other files' readers need not wait for.
    from kinit_cli.manifest import parse_manifest

    try:
        return recorded_paths(file, parse_manifest(file.manifest_text, str(file.path)))
    except KinitError:
        return recorded_paths(file, None)


def _called(entry: TensorEntry | None, paths: Paths) -> TensorEntry | None:
    return None if entry is None else replace(entry, path=paths[entry.path])


def _select(
    pairs: list[Pair],
    pattern: str | None,
    paths: tuple[Paths, Paths],
    files: tuple[WeightsFile, WeightsFile],
) -> list[Pair]:
    if pattern is None:
        return pairs

    def is_chosen(path: str) -> bool:
        return path == pattern or fnmatchcase(path, pattern)

    selected = [
        pair
        for pair in pairs
        if any(e and is_chosen(side[e.path]) for e, side in zip(pair, paths, strict=True))
    ]
    if not selected:
        raise WeightsFileError(
            f"{files[0].path}, {files[1].path}: expected a tensor that matches {pattern!r}, "
            "got none; run without a pattern to compare them all"
        )
    return selected


# --- comparing --------------------------------------------------------------------------------


class _Worker:
    """Compares pieces of pairs of tensors; called from many threads at once."""

    def __init__(
        self,
        file_a: WeightsFile,
        file_b: WeightsFile,
        pairs: Sequence[tuple[TensorEntry, TensorEntry]],
        tolerance: Tolerance,
    ) -> None:
        self._files = file_a, file_b
        self._pairs = pairs
        self._tolerance = tolerance
        self._memories = TileMemory(), TileMemory()

    def __call__(self, unit: tuple[Piece, ...]) -> list[Distance]:
        return [self._compare(piece) for piece in unit]

    def _compare(self, piece: Piece) -> Distance:
        sides = zip(self._files, self._pairs[piece.tensor_index], self._memories, strict=True)
        a, b = (_read(file, entry, piece, memory.room) for file, entry, memory in sides)
        return distance(a, b, self._tolerance, start=piece.start)


def _read(
    file: WeightsFile, entry: TensorEntry, piece: Piece, memory: NDArray[np.uint8]
) -> NDArray[np.generic]:
    return file.read(entry, piece.start, piece.stop, memory)


def _distances(
    worker: _Worker,
    pairs: Sequence[tuple[TensorEntry, TensorEntry]],
    jobs: int,
    progress: Callable[[int], object],
) -> list[Distance]:
    distances = [Distance() for _ in pairs]
    units = iter_units(a.n_elements for a, _ in pairs)
    for unit, results in iter_results(worker, units, jobs=jobs):
        for piece, result in zip(unit, results, strict=True):
            index = piece.tensor_index
            distances[index] = distances[index].joined(result)
            a, b = pairs[index]
            n_bytes = (a.n_bytes + b.n_bytes) // a.n_elements
            progress((piece.stop - piece.start) * n_bytes)
        raise_noted()
    return distances


def _tensor_diff(
    a: TensorEntry | None,
    b: TensorEntry | None,
    found: Distance | None,
    tolerance: Tolerance | None,
) -> TensorDiff:
    if a is None or b is None:
        return TensorDiff(a=a, b=b, status="only_b" if a is None else "only_a")
    if a.shape != b.shape:
        return TensorDiff(a=a, b=b, status="shape")
    if found is None:
        return TensorDiff(a=a, b=b, status="not_compared")
    status, first = _status(found, tolerance, is_one_dtype=a.dtype == b.dtype)
    return TensorDiff(a=a, b=b, status=status, distance=found, first=first)


def _status(
    found: Distance, tolerance: Tolerance | None, *, is_one_dtype: bool
) -> tuple[DiffStatus, Spot | None]:
    if not found.n_values:
        is_identical = is_one_dtype and not found.n_bits
        return "identical" if is_identical else "equal", found.first_bits
    if tolerance is None:
        return "different", found.first_value
    if not found.n_beyond:
        return "close", found.first_value
    return "different", found.first_beyond


def _entry_json(entry: TensorEntry | None, side: str) -> dict[str, object]:
    return {
        f"path_{side}": entry.path if entry else None,
        f"shape_{side}": list(entry.shape) if entry else None,
        f"dtype_{side}": entry.dtype if entry else None,
    }


def _json_number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
