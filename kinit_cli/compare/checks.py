"""What `verify` tells: of each tensor, whether it is what it should be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kinit_cli.compare.elements import Element
    from kinit_cli.formats.weights_file import TensorEntry
    from kinit_cli.origin import Origin

#: What is wrong with a tensor: its elements; its shape or dtype; it is not in the file, or it is
#: and should not be; or its elements are right, but not what the file's manifest says of them.
CheckStatus = Literal[
    "identical", "values", "shape", "dtype", "missing", "extra", "record"
]  # fmt: skip
Method = Literal["regenerated", "digests"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstDifference:
    """The first element, in C order, that is not the expected one."""

    index: tuple[int, ...]
    expected: Element
    found: Element

    def to_json(self) -> dict[str, object]:
        """Give plain data with stable keys."""
        return {
            "index": list(self.index),
            "expected": self.expected.to_json(),
            "found": self.found.to_json(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorCheck:
    """One tensor of the file, of the spec, or of both.

    Attributes
    ----------
    expected_shape, expected_dtype
        None for a tensor that should not be there.
    shape, dtype
        As found in the file; None if it is not there.
    n_different : int or None
        Elements with other bits; None if they were not compared one by one.
    first : FirstDifference or None
        None if no element differs, or none was compared.
    digest : str or None
        Of the elements in the file; None if it is not known.
    recorded_digest : str or None
        What the file's manifest says it is.
    """

    path: str
    status: CheckStatus
    expected_shape: tuple[int, ...] | None
    expected_dtype: str | None
    shape: tuple[int, ...] | None
    dtype: str | None
    n_different: int | None = None
    first: FirstDifference | None = None
    digest: str | None = None
    recorded_digest: str | None = None

    @property
    def n_elements(self) -> int:
        """Number of elements, of those in the file if it is there."""
        shape = self.shape if self.shape is not None else self.expected_shape
        return math.prod(shape or ())

    def to_json(self) -> dict[str, object]:
        """Give plain data with stable keys."""
        return {
            "path": self.path,
            "status": self.status,
            "expected_shape": _json_shape(self.expected_shape),
            "expected_dtype": self.expected_dtype,
            "shape": _json_shape(self.shape),
            "dtype": self.dtype,
            "n_different": self.n_different,
            "first": self.first.to_json() if self.first else None,
            "digest": self.digest,
            "recorded_digest": self.recorded_digest,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """A weights file held against what it should be.

    Attributes
    ----------
    source : str
        The file, as the user named it.
    method : "regenerated" or "digests"
        Every element was made again and compared, or the elements were hashed and the digests
        compared with those that the file records.
    spec : str or None
        Where the spec came from, if not from the file.
    seed, stream, engine : int, int, str, or None
        What the values were made again with; what the manifest says for the method "digests". No
        seed if the spec has none and needs none.
    origin : Origin or None
        Whose values these are, if not those of the value stream.
    tensors : tuple of TensorCheck
        In the order of the spec, then what is not in it.
    n_parameters, n_bytes : int
        Of the tensors that were compared.
    """

    source: str
    format: str
    layout: str
    method: Method
    spec: str | None
    seed: int | None
    stream: int | None
    engine: str | None
    origin: Origin | None
    tensors: tuple[TensorCheck, ...]
    n_parameters: int
    n_bytes: int
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def differing(self) -> tuple[TensorCheck, ...]:
        """The tensors that are not what they should be."""
        return tuple(tensor for tensor in self.tensors if tensor.status != "identical")

    @property
    def is_same(self) -> bool:
        """Whether every tensor is what it should be, and there is no other."""
        return not self.differing

    def to_json(self) -> dict[str, object]:
        """Give plain data with stable keys."""
        return {
            "source": self.source,
            "format": self.format,
            "layout": self.layout,
            "method": self.method,
            "spec": self.spec,
            "seed": self.seed,
            "stream": self.stream,
            "engine": self.engine,
            "origin": self.origin.to_json() if self.origin else None,
            "is_same": self.is_same,
            "n_tensors": len(self.tensors),
            "n_differing": len(self.differing),
            "n_parameters": self.n_parameters,
            "n_bytes": self.n_bytes,
            "seconds": self.seconds,
            "notes": list(self.notes),
            "tensors": [tensor.to_json() for tensor in self.tensors],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A tensor that is expected, and the one that the file has; one of them may be missing."""

    path: str
    shape: tuple[int, ...] | None
    dtype: str | None
    entry: TensorEntry | None

    @property
    def fault(self) -> CheckStatus | None:
        """What can be told without looking at elements; None if they are to be compared."""
        if self.entry is None:
            return "missing"
        if self.shape is None:
            return "extra"
        if self.shape != self.entry.shape:
            return "shape"
        return None if self.dtype == self.entry.dtype else "dtype"

    def check(
        self,
        status: CheckStatus,
        *,
        n_different: int | None = None,
        first: FirstDifference | None = None,
        digest: str | None = None,
        recorded_digest: str | None = None,
    ) -> TensorCheck:
        """Give the result for this tensor."""
        return TensorCheck(
            path=self.path,
            status=status,
            expected_shape=self.shape,
            expected_dtype=self.dtype,
            shape=self.entry.shape if self.entry else None,
            dtype=self.entry.dtype if self.entry else None,
            n_different=n_different,
            first=first,
            digest=digest,
            recorded_digest=recorded_digest,
        )


def pair_up(
    expected: Mapping[str, tuple[tuple[int, ...], str]],
    found: Mapping[str, TensorEntry],
    entries: Sequence[TensorEntry],
    pattern: str | None,
    path_by_name: Mapping[str, str],
) -> list[Pair]:
    """Match what is expected with what is there.

    Parameters
    ----------
    expected : mapping of str to (shape, dtype)
        By path.
    found : mapping of str to TensorEntry
        By path; see `kinit_cli.compare.stored_names.find_entries`.
    pattern : str or None
        Only tensors of this path, or whose path matches it as a case-sensitive glob.
    path_by_name : mapping of str to str
        The path of an entry that nothing was expected of, by its name, if that is another.

    Returns
    -------
    list of Pair
        In the order of `expected`, then that of the entries that nothing was expected of.
    """
    pairs = [
        Pair(path=path, shape=shape, dtype=dtype, entry=found.get(path))
        for path, (shape, dtype) in expected.items()
    ]
    taken = {entry.path for entry in found.values()}
    pairs += [
        Pair(path=path_by_name.get(entry.path, entry.path), shape=None, dtype=None, entry=entry)
        for entry in entries
        if entry.path not in taken
    ]
    return [pair for pair in pairs if pattern is None or _matches(pair.path, pattern)]


def _matches(path: str, pattern: str) -> bool:
    return path == pattern or fnmatchcase(path, pattern)


def _json_shape(shape: tuple[int, ...] | None) -> list[int] | None:
    return None if shape is None else list(shape)
