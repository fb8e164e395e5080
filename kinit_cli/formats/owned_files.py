"""What of a directory kinit wrote, so that it replaces nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from kinit_cli.formats.file_names import file_name_of
from kinit_cli.formats.manifest_names import (
    INDEX_MANIFEST_KEY,
    KERAS_INDEX_FILE,
    MANIFEST_FILE,
    SAFETENSORS_FILE,
    SAFETENSORS_INDEX_FILE,
)
from kinit_cli.formats.safetensors_types import (
    LENGTH_BYTES,
    MANIFEST_KEY,
    MAX_HEADER_BYTES,
    METADATA_KEY,
)

#: The names that kinit gives to shards; an index may be anybody's.
_KERAS_SHARD = re.compile(r"model_[0-9]{5,}\.weights\.h5")
_SAFETENSORS_SHARD = re.compile(r"model-[0-9]{5,}-of-[0-9]{5,}\.safetensors")
#: What is no manifest; one that the system does not let us read is another thing.
_FAULTS = (
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
)


def owned_files(directory: Path) -> set[str]:
    """Give the files, relative to the directory, that its manifest accounts for.

    Raises
    ------
    OSError
        There is a manifest, and it cannot be read.
    """
    for find in (_tensor_files, _keras_shards, _safetensors_shards, _safetensors_file):
        try:
            return find(directory)
        except _FAULTS:
            continue
    return set()


def _tensor_files(directory: Path) -> set[str]:
    listed = json.loads((directory / MANIFEST_FILE).read_bytes())["tensors"]
    return {MANIFEST_FILE, *(str(Path(f"{file_name_of(path)}.npy")) for path in listed)}


def _keras_shards(directory: Path) -> set[str]:
    return _shards_of(directory, KERAS_INDEX_FILE, _KERAS_SHARD)


def _safetensors_shards(directory: Path) -> set[str]:
    return _shards_of(directory, SAFETENSORS_INDEX_FILE, _SAFETENSORS_SHARD)


def _shards_of(directory: Path, index_name: str, shard: re.Pattern[str]) -> set[str]:
    index = json.loads((directory / index_name).read_bytes())
    _check_manifest(index["metadata"][INDEX_MANIFEST_KEY])
    files: set[str] = set()
    for names in index["weight_map"].values():
        files.update([names] if isinstance(names, str) else names)
    return {index_name, *filter(shard.fullmatch, files)}


def _safetensors_file(directory: Path) -> set[str]:
    with (directory / SAFETENSORS_FILE).open("rb") as file:
        n_bytes = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if n_bytes > MAX_HEADER_BYTES:
            raise ValueError(f"a header of {n_bytes} bytes")
        metadata: dict[str, Any] = json.loads(file.read(n_bytes))[METADATA_KEY]
    _check_manifest(metadata[MANIFEST_KEY])
    return {SAFETENSORS_FILE}


def _check_manifest(text: str) -> None:
    if "kinit" not in json.loads(text):
        raise ValueError("no manifest")
