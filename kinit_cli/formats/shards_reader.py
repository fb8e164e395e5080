"""Reading sets of files through their index: safetensors shards, and those of Keras 3."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinit_cli.formats.json_file import JsonError, parse_object
from kinit_cli.formats.manifest_names import INDEX_MANIFEST_KEY
from kinit_cli.formats.safetensors_types import MAX_HEADER_BYTES
from kinit_cli.formats.weights_file import TensorEntry, WeightsFile, file_error, natural_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

#: Files of a set, each of which is opened.
MAX_SHARDS = 10_000
KERAS_INDEX_SUFFIX = ".weights.json"
_MAX_SHOWN = 3
_MAX_NAME_BYTES = 255
#: Control characters but NUL, which is told of otherwise, and halves of a surrogate pair.
_NO_TEXT = re.compile("[\x01-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    """An index that has been checked.

    Attributes
    ----------
    files_by_name : mapping of str to tuple of str
        Files, in the folder of the index, by tensor (or by group, in a Keras set).
    """

    files_by_name: Mapping[str, tuple[str, ...]]
    manifest_text: str | None

    def files(self) -> list[str]:
        return sorted({file for files in self.files_by_name.values() for file in files})


class ShardSet(WeightsFile):
    """The files that an index lists, as one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        index = _read_index(path)
        self.manifest_text = index.manifest_text
        self._shards: dict[str, WeightsFile] = {}
        try:
            for name in index.files():
                self._shards[name] = _open_shard(path.with_name(name))
            self._join(index)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the files; a second call does nothing."""
        for shard in self._shards.values():
            shard.close()

    def read(
        self, entry: TensorEntry, start: int, stop: int, memory: NDArray[np.uint8] | None = None
    ) -> NDArray[Any]:
        """Give elements [start, stop) in C order; see `WeightsFile.read`."""
        return self._shards[self._file_by_path[entry.path]].read(entry, start, stop, memory)

    def _join(self, index: _Index) -> None:
        formats = {shard.format for shard in self._shards.values()}
        if len(formats) > 1:
            raise self._error("files of one format", f"{' and '.join(sorted(formats))}")
        is_keras = formats == {"hdf5"}
        self.format = "hdf5-set" if is_keras else "safetensors-set"
        self.layout = next(iter(self._shards.values())).layout
        self._file_by_path: dict[str, str] = {}
        entries: list[TensorEntry] = []
        n_unlisted = 0
        for file, shard in self._shards.items():
            for entry in shard.entries:
                listed = f"/{entry.path.rpartition('/')[0]}" if is_keras else entry.path
                if file not in index.files_by_name.get(listed, ()):
                    n_unlisted += 1
                    continue
                if entry.path in self._file_by_path:
                    first = self._file_by_path[entry.path]
                    raise self._error(f"{entry.path!r} in one file", f"it in {first} and in {file}")
                self._file_by_path[entry.path] = file
                entries.append(entry)
        self._check_all_there(index, is_keras=is_keras)
        self.entries = tuple(sorted(entries, key=lambda entry: natural_key(entry.path)))
        notes = {note: None for shard in self._shards.values() for note in shard.notes}
        if n_unlisted:
            notes[f"in the files and not in their index, left out: {n_unlisted} tensors"] = None
        self.notes = tuple(notes)

    def _check_all_there(self, index: _Index, *, is_keras: bool) -> None:
        found: defaultdict[str, set[str]] = defaultdict(set)
        for path, file in self._file_by_path.items():
            found[f"/{path.rpartition('/')[0]}" if is_keras else path].add(file)
        missing = [
            f"{name!r} in {file}"
            for name, files in index.files_by_name.items()
            for file in files
            if file not in found[name]
        ]
        if missing:
            more = f" and {len(missing) - _MAX_SHOWN} more" if len(missing) > _MAX_SHOWN else ""
            raise self._error(f"{', '.join(missing[:_MAX_SHOWN])}{more}", "none there")

    def _error(self, expected: str, got: str) -> Exception:
        return file_error(
            self.path,
            expected=expected,
            got=got,
            hint="the index and its files do not belong together: copy or generate them again",
        )


def find_index(directory: Path) -> Path | None:
    """Give what a directory with a model in a known set of files is read by, or None.

    Raises
    ------
    WeightsFileError
        There are several.
    """
    for pattern in ("*.safetensors.index.json", f"*{KERAS_INDEX_SUFFIX}", "*.safetensors"):
        found = sorted(path for path in directory.glob(pattern) if path.is_file())
        if len(found) > 1:
            raise file_error(
                directory,
                expected="one model in this directory",
                got=f"{', '.join(path.name for path in found[:_MAX_SHOWN])}",
                hint="name the file that you mean",
            )
        if found:
            return found[0]
    return None


def _read_index(path: Path) -> _Index:
    try:
        n_bytes = path.stat().st_size
        if n_bytes > MAX_HEADER_BYTES:
            raise JsonError(f"{n_bytes} bytes of JSON")
        raw = parse_object(path.read_bytes())
        weight_map = raw.get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise JsonError("no weight_map that lists tensors")
        files = {name: _files(value) for name, value in weight_map.items()}
        index = _Index(files_by_name=files, manifest_text=_manifest(raw.get("metadata")))
        if len(index.files()) > MAX_SHARDS:
            raise JsonError(f"{len(index.files())} files")
    except (JsonError, OSError) as error:
        raise file_error(
            path,
            expected="an index of weights files",
            got=str(error),
            hint="name a weights file, or the index of several",
        ) from error
    return index


def _files(value: Any) -> tuple[str, ...]:
    names = value if isinstance(value, list) else [value]
    for name in names:
        if not isinstance(name, str) or not name or _NO_TEXT.search(name):
            raise JsonError("a weight_map that does not name files")
        if name in (".", "..") or any(mark in name for mark in "/\\\0"):
            raise JsonError(f"the file {name[:80]!r}, which may be outside of its folder")
        if len(os.fsencode(name)) > _MAX_NAME_BYTES:
            raise JsonError(f"the file {name[:80]!r}, whose name is longer than one can be")
    return tuple(dict.fromkeys(names))


def _manifest(metadata: Any) -> str | None:
    manifest = metadata.get(INDEX_MANIFEST_KEY) if isinstance(metadata, dict) else None
    return manifest if isinstance(manifest, str) else None


def _open_shard(path: Path) -> WeightsFile:
    from kinit_cli.formats.readers import open_file

    if not path.is_file():
        raise file_error(
            path,
            expected="this file of a set",
            got="none",
            hint="the set is incomplete: copy or generate it again",
        )
    return open_file(path)
