"""Reading HDF5 files: any tree of groups, whoever wrote it.

The library reads the structure, and what is in chunks, in a process of its own. Elements that lie
one after the other are read straight from the file at their offset.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from kinit_cli.formats.hdf5_messages import entry_json, parse_entry
from kinit_cli.formats.hdf5_process import Hdf5Session
from kinit_cli.formats.weights_file import TensorEntry, WeightsFile, file_error, read_at

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

#: Files that the library has open at a time; each is a process.
MAX_SESSIONS = 8
_in_use: OrderedDict[Hdf5File, None] = OrderedDict()
_in_use_lock = threading.Lock()


class Hdf5File(WeightsFile):
    """An HDF5 file, opened for reading only."""

    format = "hdf5"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._session: Hdf5Session | None = None
        self._descriptor = _open(path)
        try:
            self._take(self._ask({"do": "scan"}))
            # Most files need the library no more, and a set may have many.
            self._end_session()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        self._end_session()
        with self._lock:
            if self._descriptor is not None:
                # Nothing was written that could be lost.
                with suppress(OSError):
                    os.close(self._descriptor)
                self._descriptor = None

    def read(
        self, entry: TensorEntry, start: int, stop: int, memory: NDArray[np.uint8] | None = None
    ) -> NDArray[Any]:
        """Give elements [start, stop) in C order; see `WeightsFile.read`."""
        if entry.element is None:
            raise TypeError(f"{entry.path} has no numbers to read")
        name, offset = self._places[entry.path]
        if offset is not None:
            return read_at(
                self._get_descriptor(),
                self.path,
                entry.element,
                offset=offset + start * entry.element.itemsize,
                n_elements=stop - start,
                memory=memory,
            )
        elements = np.empty(stop - start, entry.element)
        request = {"entry": entry_json(entry), "name": name, "start": start, "stop": stop}
        self._ask({"do": "read", **request}, elements.view(np.uint8))
        return elements

    def listed_layers(self) -> tuple[str, list[tuple[str, list[str]]]]:
        """Give a legacy Keras file's layers and their weights, in the order of its attributes.

        Returns
        -------
        (path of the group that holds the layers, with a "/" behind it or empty;
        [(layer, [weight, ...]), ...]; nothing if the file has no such attributes)
        """
        answer = self._ask({"do": "layers", "layout": self.layout})
        return answer["root"], [(layer, names) for layer, names in answer["layers"]]

    def _take(self, contents: dict[str, Any]) -> None:
        entries: list[TensorEntry] = []
        self._places: dict[str, tuple[str, int | None]] = {}
        for *raw, name, offset in contents["found"]:
            entry = parse_entry(raw)
            entries.append(entry)
            self._places[entry.path] = name, offset
        self.entries = tuple(entries)
        self.layout = contents["layout"]
        self.manifest_text = contents["manifest"]
        self.notes = tuple(contents["notes"])

    def _get_descriptor(self) -> int:
        if self._descriptor is None:
            raise file_error(
                self.path,
                expected="to read it",
                got="a file that was closed",
                hint="read it before it is closed",
            )
        return self._descriptor

    def _ask(
        self, request: dict[str, Any], into: NDArray[np.uint8] | None = None
    ) -> dict[str, Any]:
        with self._lock:
            self._get_descriptor()
            if self._session is None:
                self._session = Hdf5Session(self.path)
            answer = self._session.ask(request, into)
        # Only now, without the lock: the other file may be in use, and its user about to end this.
        oldest = _note_use(self)
        if oldest is not None:
            oldest._end_session()
        return answer

    def _end_session(self) -> None:
        with self._lock:
            with _in_use_lock:
                _in_use.pop(self, None)
            if self._session is not None:
                self._session.close()
                self._session = None


def _note_use(file: Hdf5File) -> Hdf5File | None:
    """Note that a file is used, and give the one that was not for longest if there are too many."""
    with _in_use_lock:
        _in_use[file] = None
        _in_use.move_to_end(file)
        return _in_use.popitem(last=False)[0] if len(_in_use) > MAX_SESSIONS else None


def _open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise file_error(
            path, expected="to read it", got=error.strerror or str(error), hint="check it"
        ) from error
