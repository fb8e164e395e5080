"""Safetensors: a JSON header with every tensor's place, then their bytes without a gap.

The header is our own, since the format's library orders metadata at random. Tensors lie as that
library puts them: wider types first, then by name. The manifest stands in the header before the
digests are known, with zeros in their place, and is overwritten at the end.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kinit_cli.formats.base import pwrite_all
from kinit_cli.formats.joined_names import (
    DEFAULT_SEPARATOR,
    changed_names,
    joined_names,
    name_faults,
)
from kinit_cli.formats.layouts import FileLayout
from kinit_cli.formats.safetensors_types import (
    CODE_BY_DTYPE,
    LENGTH_BYTES,
    MANIFEST_KEY,
    MAX_HEADER_BYTES,
    METADATA_KEY,
)
from kinit_cli.manifest import blank_manifest_text
from kinit_cli.plan import Plan, TensorPlan

_ALIGNMENT = 8
_RANK = {name: rank for rank, name in enumerate(CODE_BY_DTYPE)}
#: Of a tensor in the header and in the manifest, besides its name, at the most.
_BYTES_PER_TENSOR = 1024


class SafetensorsWriter:
    """Writes one `.safetensors` file.

    Parameters
    ----------
    separator : str
        Stands for the '/' of a path in the tensor's name.
    """

    name = "safetensors"
    is_directory = False
    has_sidecar = False
    layout_name = "flat"

    def __init__(self, separator: str = DEFAULT_SEPARATOR) -> None:
        self._separator = separator

    def validate(self, plan: Plan) -> list[str]:
        """Find names that are not unique or not allowed, and a header that is too long."""
        faults = safetensors_name_faults(plan, self._separator)
        if not faults and self.estimate_bytes(plan) - plan.n_bytes > MAX_HEADER_BYTES:
            n_bytes = len(self._plan_file(plan).header)
            if n_bytes > MAX_HEADER_BYTES:
                faults.append(header_fault(n_bytes))
        return faults

    def stored_names(self, plan: Plan) -> Mapping[str, str]:
        """Give the names of tensors whose path has several parts, which is every tensor's."""
        return changed_names(plan, self._separator)

    def estimate_bytes(self, plan: Plan) -> int:
        """Allow for the header with the manifest in it."""
        return plan.n_bytes + estimate_header_bytes(plan) + 2 * len(json.dumps(plan.document))

    def lay_out(self, plan: Plan, path: Path) -> FileLayout:
        """Write the header and set the file's final size."""
        file = self._plan_file(plan)
        file.create(path)
        return FileLayout(path, file.offsets)

    def seal(self, path: Path, manifest_text: str) -> None:
        """Overwrite the manifest in the header."""
        seal_header(path, manifest_text)

    def _plan_file(self, plan: Plan) -> FilePlan:
        manifest = blank_manifest_text(plan, self.stored_names(plan))
        return plan_file(plan.tensors, joined_names(plan, self._separator), manifest)


def safetensors_name_faults(plan: Plan, separator: str) -> list[str]:
    """Find tensors whose names the format cannot hold, each with a remedy."""
    faults = name_faults(plan, separator)
    for path, name in joined_names(plan, separator).items():
        if name == METADATA_KEY:
            faults.append(f"{path!r} would be named {name!r}, which is no tensor; rename it")
    return faults


def header_fault(n_bytes: int) -> str:
    """Say that a header is too long."""
    return (
        f"its header would have {n_bytes:,} bytes, and readers take {MAX_HEADER_BYTES:,}; "
        "write fewer tensors to a file, or an .h5 file"
    )


def estimate_header_bytes(plan: Plan) -> int:
    """Give a size that the header will not exceed, but for the spec in it."""
    names = sum(16 * len(tensor.path.encode()) for tensor in plan.tensors)
    return names + _BYTES_PER_TENSOR * len(plan.tensors) + 2**12


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePlan:
    """Where everything lies in a file.

    Attributes
    ----------
    header : bytes
        The file's bytes up to the first tensor.
    offsets : list of int
        Where each tensor begins in the file, in the order in which they were given.
    """

    header: bytes
    offsets: list[int]
    n_bytes: int

    def create(self, path: Path) -> None:
        """Write the header and extend the file to its final size."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            pwrite_all(descriptor, self.header, 0)
            os.ftruncate(descriptor, self.n_bytes)
        finally:
            os.close(descriptor)


def plan_file(
    tensors: Sequence[TensorPlan], names: Mapping[str, str], manifest: str | None
) -> FilePlan:
    """Say where everything lies in a file.

    Parameters
    ----------
    names : mapping of str to str
        What each tensor is called, by path.
    manifest : str or None
        A manifest, or one that will be overwritten by another of the same length.
    """
    stop = 0
    starts: dict[str, int] = {}
    tensor_fields = {}
    for tensor in sorted(tensors, key=lambda each: (_RANK[each.dtype.name], names[each.path])):
        start, stop = stop, stop + tensor.n_bytes
        starts[tensor.path] = start
        tensor_fields[names[tensor.path]] = {
            "dtype": CODE_BY_DTYPE[tensor.dtype.name],
            "shape": list(tensor.shape),
            "data_offsets": [start, stop],
        }
    text = _metadata_start(manifest) + (b"," if tensor_fields else b"")
    text += _json_bytes(tensor_fields)[1:]
    # Spaces at the end are part of the header; with them the first tensor is aligned.
    text += b" " * (-len(text) % _ALIGNMENT)
    header = len(text).to_bytes(LENGTH_BYTES, "little") + text
    offsets = [len(header) + starts[tensor.path] for tensor in tensors]
    return FilePlan(header=header, offsets=offsets, n_bytes=len(header) + stop)


def seal_header(path: Path, manifest: str) -> None:
    """Overwrite the manifest in a file's header by one of the same length.

    Raises
    ------
    ValueError
        It is not of the same length.
    """
    start = _metadata_start(manifest)
    descriptor = os.open(path, os.O_RDWR)
    try:
        old = os.pread(descriptor, len(start), LENGTH_BYTES)
        # Quotes within the manifest are escaped, so this ends a text only where it ends.
        if old[-3:] != start[-3:]:
            raise ValueError("the manifest is not as long as the room that was left for it")
        pwrite_all(descriptor, start, LENGTH_BYTES)
    finally:
        os.close(descriptor)


def _metadata_start(manifest: str | None) -> bytes:
    """Give the beginning of the header's JSON, through the metadata's closing brace."""
    # Loaders of PyTorch models look for the format.
    metadata = {"format": "pt"} if manifest is None else {"format": "pt", MANIFEST_KEY: manifest}
    return _json_bytes({METADATA_KEY: metadata})[:-1]


def _json_bytes(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
