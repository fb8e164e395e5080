"""Reading safetensors files, and nothing from them but what their header can prove.

The header is checked as the format's own library checks it: the tensors' places must follow one
another from the first byte after the header to the last of the file.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kinit_cli.dtypes import numpy_dtype
from kinit_cli.formats.json_file import JsonError, parse_object
from kinit_cli.formats.safetensors_types import (
    DTYPE_BY_CODE,
    LENGTH_BYTES,
    MANIFEST_KEY,
    MAX_HEADER_BYTES,
    METADATA_KEY,
)
from kinit_cli.formats.weights_file import (
    MAX_DIMENSIONS,
    TensorEntry,
    WeightsFile,
    file_error,
    natural_key,
    read_at,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

#: Bits of an element of types that are listed and not measured.
_FURTHER_BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "C64": 64,
}  # fmt: skip
_CODE = re.compile(r"[A-Za-z0-9_]{1,20}")
_DAMAGED = "it is damaged, or made to mislead its reader: copy or generate it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A tensor and the half-open range of its bytes after the header."""

    entry: TensorEntry
    start: int
    stop: int


class SafetensorsFile(WeightsFile):
    """A safetensors file; it is opened only while it is read, since a model may have many."""

    format = "safetensors"
    layout = "flat"

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                n_file_bytes = os.fstat(file.fileno()).st_size
                header = _read_header(path, file.read(LENGTH_BYTES), n_file_bytes, file.read)
        except OSError as error:
            raise file_error(
                path, expected="to read it", got=error.strerror or str(error), hint="check it"
            ) from error
        self._data_offset = LENGTH_BYTES + len(header)
        try:
            fields = parse_object(header)
            self.metadata = _metadata(fields.pop(METADATA_KEY, None))
            places = [_place(name, field) for name, field in fields.items()]
            _check_places(places, n_file_bytes - self._data_offset)
        except JsonError as fault:
            raise file_error(
                path, expected="a sound safetensors header", got=str(fault), hint=_DAMAGED
            ) from fault
        self._starts = {place.entry.path: place.start for place in places}
        entries = (place.entry for place in places)
        self.entries = tuple(sorted(entries, key=lambda entry: natural_key(entry.path)))
        self.manifest_text = self.metadata.get(MANIFEST_KEY)
        unknown = sorted({entry.dtype for entry in self.entries if entry.element is None})
        self.notes = (f"listed and not measured: {', '.join(unknown)}",) if unknown else ()

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def read(
        self, entry: TensorEntry, start: int, stop: int, memory: NDArray[np.uint8] | None = None
    ) -> NDArray[Any]:
        """Give elements [start, stop) in C order; see `WeightsFile.read`."""
        if entry.element is None:
            raise TypeError(f"{entry.path} has no numbers to read")
        try:
            with self.path.open("rb", buffering=0) as file:
                return read_at(
                    file.fileno(),
                    self.path,
                    entry.element,
                    offset=self._data_offset
                    + self._starts[entry.path]
                    + start * entry.element.itemsize,
                    n_elements=stop - start,
                    memory=memory,
                )
        except OSError as error:
            raise file_error(
                self.path,
                expected="to read its elements",
                got=error.strerror or str(error),
                hint="the file changed while it was read; run again on a finished file",
            ) from error


def _read_header(path: Path, length: bytes, n_file_bytes: int, read: Any) -> bytes:
    n_bytes = int.from_bytes(length, "little")
    if len(length) < LENGTH_BYTES or n_bytes > n_file_bytes - LENGTH_BYTES:
        raise file_error(
            path,
            expected=f"a safetensors header of {n_bytes} bytes",
            got=f"a file of {n_file_bytes} bytes",
            hint="it is truncated or damaged: copy or generate it again",
        )
    if n_bytes > MAX_HEADER_BYTES:
        raise file_error(
            path,
            expected=f"a safetensors header of at most {MAX_HEADER_BYTES} bytes",
            got=f"{n_bytes}",
            hint="no reader of the format takes it",
        )
    header: bytes = read(n_bytes)
    return header


def _metadata(raw: Any) -> dict[str, str]:
    if raw is None:
        return {}
    if not isinstance(raw, dict) or not all(isinstance(value, str) for value in raw.values()):
        raise JsonError(f"{METADATA_KEY} that does not map texts to texts")
    return raw


def _place(name: str, field: Any) -> _Place:
    shown = f"{name[:80]!r}"
    if "\0" in name:
        raise JsonError(f"a name with the character U+0000, {shown}")
    if not isinstance(field, dict) or not {"dtype", "shape", "data_offsets"} <= field.keys():
        raise JsonError(f"{shown} without dtype, shape and data_offsets")
    code, shape, offsets = field["dtype"], field["shape"], field["data_offsets"]
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise JsonError(f"{shown} with a dtype that is no name")
    if not _are_sizes(shape):
        raise JsonError(f"{shown} with a shape that is no list of sizes")
    if len(shape) > MAX_DIMENSIONS:
        raise JsonError(f"{shown} with {len(shape)} dimensions, more than {MAX_DIMENSIONS}")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise JsonError(f"{shown} with data_offsets that are no range")
    start, stop = offsets
    n_elements = math.prod(shape)
    if n_elements >= 2**63:
        raise JsonError(f"{shown} with {len(str(n_elements))}-digit many elements")
    element = numpy_dtype(DTYPE_BY_CODE[code]) if code in DTYPE_BY_CODE else None
    n_bits = _FURTHER_BITS.get(code) if element is None else 8 * element.itemsize
    if n_bits is not None and n_elements * n_bits != 8 * (stop - start):
        raise JsonError(f"{shown} with {stop - start} bytes for {code} of shape {shape}")
    entry = TensorEntry(
        path=name,
        shape=tuple(shape),
        dtype=code if element is None else DTYPE_BY_CODE[code],
        n_elements=n_elements,
        n_bytes=stop - start,
        element=element,
    )
    return _Place(entry=entry, start=start, stop=stop)


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(
        type(size) is int and 0 <= size < 2**63 for size in value
    )


def _check_places(places: list[_Place], n_bytes: int) -> None:
    """Check that the tensors fill the file, without a gap, an overlap or a rest."""
    stop = 0
    for place in sorted(places, key=lambda place: (place.start, place.stop)):
        if place.start != stop:
            what = "a gap" if place.start > stop else "an overlap"
            raise JsonError(f"{what} before {place.entry.path[:80]!r}, at byte {place.start}")
        stop = place.stop
    if stop != n_bytes:
        raise JsonError(f"{n_bytes} bytes after the header, {stop} of them in tensors")
