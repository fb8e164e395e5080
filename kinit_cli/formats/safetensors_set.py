"""A directory of safetensors files, as Hugging Face's libraries write and load a model.

What fits into one file is `model.safetensors`. Larger models are cut into shards, and an index
says which tensor is where; it holds the manifest, which is of the whole set.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kinit_cli.formats.index_file import add_to_index, write_index
from kinit_cli.formats.joined_names import DEFAULT_SEPARATOR, changed_names, joined_names
from kinit_cli.formats.layouts import FilesLayout
from kinit_cli.formats.manifest_names import (
    SAFETENSORS_FILE,
    SAFETENSORS_INDEX_FILE,
)
from kinit_cli.formats.safetensors import (
    FilePlan,
    SafetensorsWriter,
    estimate_header_bytes,
    header_fault,
    plan_file,
    safetensors_name_faults,
    seal_header,
)
from kinit_cli.formats.safetensors_types import MAX_HEADER_BYTES
from kinit_cli.formats.shards import DEFAULT_MAX_SHARD_BYTES, split_tensors
from kinit_cli.manifest import blank_manifest_text
from kinit_cli.plan import Plan, TensorPlan


class SafetensorsSetWriter:
    """Writes a directory with a `model.safetensors`, or with shards and their index.

    Parameters
    ----------
    max_shard_bytes : int
        Of the elements in one file, if they are not those of one tensor.
    """

    name = "safetensors-set"
    is_directory = True
    has_sidecar = False
    layout_name = "flat"

    def __init__(
        self, max_shard_bytes: int = DEFAULT_MAX_SHARD_BYTES, separator: str = DEFAULT_SEPARATOR
    ) -> None:
        self._max_shard_bytes = max_shard_bytes
        self._separator = separator

    def validate(self, plan: Plan) -> list[str]:
        """Find names that are not unique or not allowed, and a header that is too long."""
        if plan.n_bytes <= self._max_shard_bytes:
            return SafetensorsWriter(self._separator).validate(plan)
        faults = safetensors_name_faults(plan, self._separator)
        if not faults and estimate_header_bytes(plan) > MAX_HEADER_BYTES:
            files = self._plan_files(plan)
            n_bytes = max(len(file.header) for _, file in files.values())
            faults += [header_fault(n_bytes)] if n_bytes > MAX_HEADER_BYTES else []
        return faults

    def stored_names(self, plan: Plan) -> Mapping[str, str]:
        """Give the names of tensors whose path has several parts, which is every tensor's."""
        return changed_names(plan, self._separator)

    def estimate_bytes(self, plan: Plan) -> int:
        """Allow for headers, the index and whole blocks of the disk."""
        # No two neighbours together fit into one shard.
        n_shards = min(len(plan.tensors), 2 * (plan.n_bytes // self._max_shard_bytes) + 1)
        return (
            SafetensorsWriter().estimate_bytes(plan)
            + estimate_header_bytes(plan)
            + (n_shards * 2**13)
        )

    def lay_out(self, plan: Plan, path: Path) -> FilesLayout:
        """Write every file's header and set its final size; write the index."""
        place_by_tensor = {}
        weight_map = {}
        names = joined_names(plan, self._separator)
        files = self._plan_files(plan)
        for file_name, (tensors, file) in files.items():
            file.create(path / file_name)
            for tensor, offset in zip(tensors, file.offsets, strict=True):
                place_by_tensor[tensor.path] = str(path / file_name), offset
                weight_map[names[tensor.path]] = file_name
        if SAFETENSORS_FILE not in files:
            write_index(path / SAFETENSORS_INDEX_FILE, {"total_size": plan.n_bytes}, weight_map)
        places = [place_by_tensor[tensor.path] for tensor in plan.tensors]
        return FilesLayout([file for file, _ in places], [offset for _, offset in places])

    def seal(self, path: Path, manifest_text: str) -> None:
        """Put the manifest into the index, or into the only file."""
        if (path / SAFETENSORS_INDEX_FILE).exists():
            add_to_index(path / SAFETENSORS_INDEX_FILE, manifest_text)
        else:
            seal_header(path / SAFETENSORS_FILE, manifest_text)

    def _plan_files(self, plan: Plan) -> dict[str, tuple[list[TensorPlan], FilePlan]]:
        """Give each file's tensors, and where they lie in it."""
        names = joined_names(plan, self._separator)
        shards = split_tensors(plan.tensors, self._max_shard_bytes)
        if len(shards) == 1:
            manifest = blank_manifest_text(plan, self.stored_names(plan))
            return {SAFETENSORS_FILE: (shards[0], plan_file(shards[0], names, manifest))}
        return {
            f"model-{number:05}-of-{len(shards):05}.safetensors": (
                shard,
                plan_file(shard, names, None),
            )
            for number, shard in enumerate(shards, start=1)
        }
