"""The index of a set of files: a JSON object that says which tensor is in which file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from kinit_cli.formats.manifest_names import INDEX_MANIFEST_KEY


def write_index(
    path: Path, metadata: Mapping[str, object], weight_map: Mapping[str, object]
) -> None:
    """Write an index with its keys in order."""
    index = {"metadata": metadata, "weight_map": weight_map}
    text = json.dumps(index, indent=2, sort_keys=True, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def add_to_index(path: Path, manifest_text: str) -> None:
    """Add the manifest to an index that `write_index` wrote."""
    index = json.loads(path.read_text(encoding="utf-8"))
    metadata = {**index["metadata"], INDEX_MANIFEST_KEY: manifest_text}
    write_index(path, metadata, index["weight_map"])
