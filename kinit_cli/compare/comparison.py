"""A layout that writes nothing: what is generated into it is compared with a file."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kinit_cli.compare.elements import Element, differing_bits, element_at, has_same_bits
from kinit_cli.draw import Called
from kinit_cli.dtypes import numpy_dtype
from kinit_cli.formats.base import Buffer
from kinit_cli.plan import Plan
from kinit_cli.tile_memory import TileMemory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kinit_cli.formats.weights_file import TensorEntry, WeightsFile


@dataclass(slots=True, kw_only=True)
class Difference:
    """What differs in one tensor, so far: how many elements, and the first in C order."""

    count: int
    index: int
    expected: Element
    found: Element


class Comparison:
    """A layout that compares what it is given with a file, from many threads at once."""

    def __init__(self, file: WeightsFile, entries: Mapping[str, TensorEntry | None]) -> None:
        self._file = file
        self._by_path = entries
        self._entries: list[TensorEntry | None] = []
        self._dtypes: list[np.dtype[Any]] = []
        self._lock = threading.Lock()
        self._memory = TileMemory()
        #: By path; only tensors that differ.
        self.differences: dict[str, Difference] = {}
        self._paths: list[str] = []

    def part_of(self, plan: Plan) -> Plan:
        """Give the part of a plan that is to be made, to be written to this layout.

        Functions are called for every tensor that has one: what they draw may depend on the
        calls before.
        """
        tensors = [
            tensor
            for tensor in plan.tensors
            if tensor.path in self._by_path or isinstance(tensor.draw, Called)
        ]
        self._paths = [tensor.path for tensor in tensors]
        self._entries = [self._by_path.get(tensor.path) for tensor in tensors]
        self._dtypes = [numpy_dtype(tensor.dtype.name) for tensor in tensors]
        return replace(plan, tensors=tuple(tensors))

    def write(self, tensor_index: int, byte_offset: int, data: Buffer) -> None:
        """Compare bytes of a tensor with those in the file."""
        entry = self._entries[tensor_index]
        if entry is None:
            return
        expected = np.frombuffer(data, self._dtypes[tensor_index])
        start = byte_offset // expected.itemsize
        found = self._file.read(entry, start, start + expected.size, self._memory.room)
        if not has_same_bits(expected, found):
            self._note(self._paths[tensor_index], start, expected, found)

    def close(self) -> None:
        """Do nothing: the file is the caller's."""

    def _note(self, path: str, start: int, expected: NDArray[Any], found: NDArray[Any]) -> None:
        differs = differing_bits(expected, found)
        first = int(differs.argmax())
        here = Difference(
            count=int(np.count_nonzero(differs)),
            index=start + first,
            expected=element_at(expected, first),
            found=element_at(found, first),
        )
        with self._lock:
            known = self.differences.get(path)
            if known is None:
                self.differences[path] = here
                return
            here.count += known.count
            self.differences[path] = here if here.index < known.index else known
            self.differences[path].count = here.count
