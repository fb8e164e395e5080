"""What is in an HDF5 file, read with the HDF5 library: any tree of groups, whoever wrote it.

Only hard links are followed. This runs in a process of its own (`hdf5_worker`): no damaged file
may take kinit down with the library, which trusts what it reads.
"""

from __future__ import annotations

import math
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from kinit_cli.formats.hdf5_cache import fix_metadata_cache
from kinit_cli.formats.hdf5_tree import (
    OutsideDataError,
    SkippedLinks,
    check_soft_links,
    element_of,
    iter_datasets,
    links_of,
    refuse_outside,
    text_of,
    texts_of,
    unique_texts,
)
from kinit_cli.formats.manifest_names import MANIFEST_ATTRIBUTE, max_manifest_bytes
from kinit_cli.formats.weights_file import TensorEntry, file_error, iter_boxes, natural_key

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

#: A chunk is held in memory whole.
MAX_CHUNK_BYTES = 256 * 2**20
#: Beyond this declared size, at least a thousandth must really be stored.
MAX_SPARSE_BYTES = 4 * 2**30

_CHUNK_CACHE_BYTES = 48 * 2**20
_MAX_OPEN_DATASETS = 2
_HDF5_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, MemoryError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A dataset: what to list of it, and where it is.

    Attributes
    ----------
    name : bytes
        In the file.
    offset : int or None
        Of its first byte, if its elements lie there one after the other as they are.
    """

    entry: TensorEntry
    name: bytes
    offset: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a file holds; see `WeightsFile`."""

    found: tuple[Found, ...]
    layout: str
    manifest_text: str | None
    notes: tuple[str, ...]


class Hdf5Content:
    """An HDF5 file that is open in this process.

    Parameters
    ----------
    path : Path
        Of the file.
    shown : Path
        What messages call it.

    Attributes
    ----------
    on_progress : callable
        Called again and again while there is progress; a damaged file may keep the library in
        a loop without end.
    """

    def __init__(self, path: Path, shown: Path) -> None:
        self.path = shown
        self.on_progress: Callable[[], object] = lambda: None
        self._open_datasets: OrderedDict[bytes, h5py.Dataset] = OrderedDict()
        self._file = _open(path, shown)
        self._descriptor = self._file.id.get_vfd_handle()
        self._n_file_bytes = os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Let go of the file, and of the library's lock on it."""
        self._open_datasets.clear()
        self._file.close()

    def scan(self) -> Contents:
        """Give what the file holds.

        Raises
        ------
        WeightsFileError
            It is damaged, points out of itself, or declares what it does not hold.
        """
        with self._reading("its structure"):
            return self._scan()

    def read(self, entry: TensorEntry, name: bytes, start: int, stop: int) -> NDArray[Any]:
        """Give elements [start, stop) of the dataset `name`, which is to be as `entry` says."""
        assert entry.element is not None
        elements = np.empty(stop - start, entry.element)
        with self._reading(repr(entry.path)):
            dataset = self._dataset(name, entry)
            n_done = 0
            for box in iter_boxes(entry.shape, start, stop):
                part = np.asarray(dataset[box]).reshape(-1)
                elements[n_done : n_done + part.size] = part.view(entry.element)
                n_done += part.size
                self.on_progress()
        return elements

    def listed_layers(self, layout: str) -> tuple[str, list[tuple[str, list[str]]]]:
        """Give a legacy Keras file's layers and their weights, in the order of its attributes.

        Returns
        -------
        (path of the group that holds the layers, with a "/" behind it or empty;
        [(layer, [weight, ...]), ...]; nothing if the file has no such attributes)
        """
        with self._reading("its lists of layers"):
            is_model = layout == "keras-legacy" and not _has_layer_names(self._file.id)
            root = self._file["model_weights"] if is_model else self._file
            layers = [
                (layer, texts_of(root[layer].attrs, "weight_names"))
                for layer in texts_of(root.attrs, "layer_names")
                if isinstance(root.get(layer, getlink=True), h5py.HardLink)
            ]
        return ("model_weights/" if is_model else ""), layers

    def _dataset(self, name: bytes, entry: TensorEntry) -> h5py.Dataset:
        if name in self._open_datasets:
            self._open_datasets.move_to_end(name)
            return self._open_datasets[name]
        dataset = h5py.Dataset(_open_with_chunk_cache(self._file.id, name))
        refuse_outside(name, dataset.id)
        if replace(self._found(name, dataset.id).entry, path=entry.path) != entry:
            raise ValueError("the file changed while it was read")
        self._open_datasets[name] = dataset
        if len(self._open_datasets) > _MAX_OPEN_DATASETS:
            self._open_datasets.popitem(last=False)
        return dataset

    def _scan(self) -> Contents:
        skipped = SkippedLinks()
        found = []
        for name, dataset in iter_datasets(self._file.id, skipped):
            found.append(self._found(name, dataset))
            self.on_progress()
        self._check_total([one.entry for one in found])
        check_soft_links(self._file.id, skipped)
        paths = unique_texts([one.name for one in found])
        found = [
            replace(one, entry=replace(one.entry, path=path))
            for path, one in zip(paths, found, strict=True)
        ]
        found.sort(key=lambda one: natural_key(one.entry.path))
        manifest = self._file.attrs.get(MANIFEST_ATTRIBUTE)
        manifest = manifest.decode("utf-8") if isinstance(manifest, bytes) else manifest
        is_long = isinstance(manifest, str) and len(manifest) > max_manifest_bytes(len(found))
        notes = ("the kinit manifest is longer than one can be, and not read",) if is_long else ()
        return Contents(
            found=tuple(found),
            layout=self._find_layout([one.entry for one in found]),
            manifest_text=manifest if isinstance(manifest, str) and not is_long else None,
            notes=notes + skipped.notes(),
        )

    def _found(self, name: bytes, dataset: h5py.h5d.DatasetID) -> Found:
        properties = dataset.get_create_plist()
        stored_type = dataset.get_type()
        element, shown = element_of(dataset)
        shape = dataset.shape if dataset.shape is not None else (0,)
        entry = TensorEntry(
            path=text_of(name),
            shape=shape,
            dtype=shown,
            n_elements=math.prod(shape),
            n_bytes=math.prod(shape) * stored_type.get_size(),
            element=element,
        )
        self._check_size(entry, dataset, properties)
        is_raw = (
            element is not None
            and properties.get_layout() == h5py.h5d.CONTIGUOUS
            and 0 < entry.n_bytes == dataset.get_storage_size()
            and h5py.h5t.py_create(dataset.dtype, logical=True).equal(stored_type)
        )
        offset = dataset.get_offset() if is_raw else None
        if offset is not None and offset + entry.n_bytes > self._n_file_bytes:
            raise file_error(
                self.path,
                expected=f"{entry.n_bytes} bytes of {entry.path!r} at offset {offset}",
                got=f"a file of {self._n_file_bytes} bytes",
                hint="it is truncated: copy or generate it again",
            )
        return Found(entry=entry, name=name, offset=offset)

    def _check_total(self, entries: list[TensorEntry]) -> None:
        """Refuse many datasets that declare together what none of them may alone."""
        n_declared = sum(entry.n_bytes for entry in entries)
        if n_declared > MAX_SPARSE_BYTES and self._n_file_bytes * 1000 < n_declared:
            raise file_error(
                self.path,
                expected=f"stored elements in its datasets, which declare {n_declared} bytes",
                got=f"a file of {self._n_file_bytes} bytes",
                hint="they were never filled, or are made to exhaust their reader",
            )

    def _check_size(
        self, entry: TensorEntry, dataset: h5py.h5d.DatasetID, properties: h5py.h5p.PropDCID
    ) -> None:
        n_stored, layout = dataset.get_storage_size(), properties.get_layout()
        if entry.n_bytes > MAX_SPARSE_BYTES and n_stored * 1000 < entry.n_bytes:
            raise file_error(
                self.path,
                expected=f"stored elements in {entry.path!r}, which declares {entry.n_bytes} bytes",
                got=f"{n_stored} bytes stored",
                hint="it was never filled, or is made to exhaust its reader",
            )
        if layout == h5py.h5d.CHUNKED:
            n_chunk_bytes = math.prod(properties.get_chunk()) * dataset.get_type().get_size()
            if n_chunk_bytes > MAX_CHUNK_BYTES:
                raise file_error(
                    self.path,
                    expected=f"chunks of at most {MAX_CHUNK_BYTES} bytes in {entry.path!r}",
                    got=f"{n_chunk_bytes}",
                    hint="rewrite it with smaller chunks (h5repack -l CHUNK=...)",
                )
        if properties.fill_value_defined() == h5py.h5d.FILL_VALUE_UNDEFINED:
            self._check_all_written(entry, dataset, properties)

    def _check_all_written(
        self, entry: TensorEntry, dataset: h5py.h5d.DatasetID, properties: h5py.h5p.PropDCID
    ) -> None:
        """Refuse elements that were never written and that no fill value stands for."""
        if properties.get_layout() == h5py.h5d.CHUNKED:
            steps = zip(entry.shape, properties.get_chunk(), strict=True)
            n_chunks, what = math.prod(-(-size // step) for size, step in steps), "chunks"
            n_written = dataset.get_num_chunks()
        else:
            n_chunks, what = entry.n_bytes, "bytes"
            n_written = dataset.get_storage_size()
        if n_written < n_chunks:
            raise file_error(
                self.path,
                expected=f"{n_chunks} {what} of {entry.path!r}, which has no fill value",
                got=f"{n_written} that were written",
                hint="write all of its elements, or give it a fill value",
            )

    def _find_layout(self, entries: list[TensorEntry]) -> str:
        roots = [self._file.id]
        if (b"model_weights", h5py.h5l.TYPE_HARD) in links_of(self._file.id):
            roots.append(h5py.h5o.open(self._file.id, b"model_weights"))
        for root in roots:
            if _has_layer_names(root):
                return "keras-legacy"
        pattern = re.compile(r"(layers|_layer_checkpoint_dependencies)/.*vars/[0-9]+")
        is_keras3 = any(pattern.fullmatch(entry.path) for entry in entries)
        return "keras3-weights" if is_keras3 else "flat"

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        try:
            yield
        except OutsideDataError as error:
            raise file_error(
                self.path,
                expected="all data in the file itself",
                got=str(error),
                hint="kinit follows nothing out of a file; repack it into one (h5repack, h5copy)",
            ) from error
        except _HDF5_ERRORS as error:
            raise file_error(
                self.path,
                expected=f"to read {what}",
                got=f"an HDF5 error: {_reason(error)}",
                hint="the file is damaged, or needs a filter that is not installed",
            ) from error


def _has_layer_names(group: h5py.h5g.GroupID) -> bool:
    return any(h5py.h5a.exists(group, name) for name in (b"layer_names", b"layer_names0"))


def _open(path: Path, shown: Path) -> h5py.File:
    try:
        file = h5py.File(path, "r", locking="best-effort")
        fix_metadata_cache(file.id)
        return file
    except _HDF5_ERRORS as error:
        raise file_error(
            shown,
            expected="a complete HDF5 file",
            got=f"{path.stat().st_size} bytes that HDF5 cannot open: {_reason(error)}",
            hint="it is truncated or damaged, or still being written: copy or generate it again",
        ) from error


def _open_with_chunk_cache(file: h5py.h5f.FileID, name: bytes) -> h5py.h5d.DatasetID:
    """Open a dataset with a cache for a row of chunks, so that tiles do not decode them twice."""
    cache = _chunk_cache(h5py.h5d.open(file, name))
    if cache is None:
        return h5py.h5d.open(file, name)
    # While a dataset is open, whoever opens it again gets the cache that it has.
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    access.set_chunk_cache(*cache, 1.0)
    return h5py.h5d.open(file, name, access)


def _chunk_cache(dataset: h5py.h5d.DatasetID) -> tuple[int, int] | None:
    """Give the slots and bytes of the cache for a dataset in chunks; None for any other."""
    properties = dataset.get_create_plist()
    if properties.get_layout() != h5py.h5d.CHUNKED:
        return None
    chunk, shape = properties.get_chunk(), dataset.shape
    n_chunk_bytes = math.prod(chunk) * dataset.get_type().get_size()
    n_in_row = math.prod(-(-size // step) for size, step in zip(shape[1:], chunk[1:], strict=True))
    n_cached = max(1, min(2 * n_in_row, _CHUNK_CACHE_BYTES // n_chunk_bytes))
    return min(10 * n_cached, 10**6) | 1, n_cached * n_chunk_bytes


def _reason(error: BaseException) -> str:
    """Give the part of an h5py message that says why."""
    text = " ".join(str(error).split())
    inner = re.search(r"\((.*)\)\s*$", text)
    return inner.group(1) if inner else text or type(error).__name__
