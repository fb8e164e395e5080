"""A spec from the header of a weights file: names, shapes, dtypes, and no numbers."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kinit_cli.dtypes import DTYPES
from kinit_cli.errors import WeightsFileError
from kinit_cli.importing.names import JOINED_FORMATS, path_of, separator_of, split_path
from kinit_cli.importing.rules import initializer_for
from kinit_cli.spec.names import name_fault

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kinit_cli.formats.weights_file import TensorEntry, WeightsFile
    from kinit_cli.importing.settings import Settings

_MAX_SHOWN = 5
_DEFAULT_DTYPE = "float32"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedWeights:
    """A spec's document, and what is to be said of it.

    Attributes
    ----------
    notes : tuple of str
        What was left out, and what the command that makes such a file again needs.
    """

    document: dict[str, Any]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weight:
    """One weight of the spec.

    Attributes
    ----------
    default_name : str
        Under which `defaults` may have its initializer.
    """

    layer: str
    name: str
    entry: TensorEntry
    initializer: Any

    @property
    def default_name(self) -> str:
        return self.name if self.name.startswith("vars/") else self.name.rpartition("/")[2]


def import_weights(file: WeightsFile, settings: Settings) -> ImportedWeights:
    """Write down the tensors of an opened file, with initializers by their names.

    Raises
    ------
    WeightsFileError
        No tensor can be generated, or one has a name that no path becomes.
    KinitError
        A setting matches no tensor.
    """
    separator = separator_of((entry.path for entry in file.entries), file.format)
    known = [entry for entry in file.entries if entry.dtype in DTYPES]
    left_out = [entry for entry in file.entries if entry.dtype not in DTYPES]
    places, notes = _places(file, known, separator)
    if not file.format.startswith("safetensors"):
        notes.extend(file.notes)  # that one's only says which dtypes are not known, as is said here
    if not places:
        dtypes = ", ".join(sorted({entry.dtype for entry in left_out})) or "no tensors"
        raise WeightsFileError(f"{file.path}: expected tensors that kinit can make, got {dtypes}")
    is_torch = any(name == "weight" and len(entry.shape) > 1 for _, name, entry in places)
    weights = [_weight(*place, settings, is_torch=is_torch) for place in places]
    settings.refuse_unused(str(file.path), _path(*places[0][:2]))
    if left_out:
        shown = _listed([f"{entry.path!r} ({entry.dtype})" for entry in left_out])
        notes.append(f"left out, of dtypes that kinit cannot make: {shown}")
    if file.format in JOINED_FORMATS and separator == "/":
        notes.append("names have a '/': generate with --separator / to have them again")
    return ImportedWeights(document=_document(weights, is_torch=is_torch), notes=tuple(notes))


def _places(
    file: WeightsFile, entries: list[TensorEntry], separator: str
) -> tuple[list[tuple[str, str, TensorEntry]], list[str]]:
    """Give each tensor's layer and name within it, in the order of the spec."""
    if file.layout == "keras-legacy":
        return _legacy_places(file, entries)
    places = []
    for entry in entries:
        path = path_of(entry.path, separator)
        fault = name_fault(path)
        if fault:
            raise WeightsFileError(
                f"{file.path}: expected names that a spec can have, got {entry.path[:80]!r}, "
                f"which has {fault}; rename the tensor"
            )
        places.append((*split_path(path), entry))
    return places, []


def _legacy_places(
    file: WeightsFile, entries: list[TensorEntry]
) -> tuple[list[tuple[str, str, TensorEntry]], list[str]]:
    """Take layers and weights in the order of the file's lists, by which Keras loads them."""
    from kinit_cli.formats.hdf5_reader import Hdf5File

    assert isinstance(file, Hdf5File)
    root, layers = file.listed_layers()
    by_path = {entry.path: entry for entry in entries}
    places = []
    for layer, names in layers:
        for name in names:
            entry = by_path.pop(f"{root}{layer}/{name}", None)
            if entry is not None:
                places.append((layer, name, entry))
    rest = sorted(by_path)
    if not root:
        # In no list and so in no layer, or the file would get layers that the model has not.
        return [*places, *(("", path, by_path[path]) for path in rest)], []
    notes = [f"a whole model, of which the weights are taken and not: {_listed(rest)}"]
    return places, notes if rest else []


def _weight(
    layer: str, name: str, entry: TensorEntry, settings: Settings, *, is_torch: bool
) -> _Weight:
    path = _path(layer, name)
    found = settings.find((path, entry.path))
    if found is None:
        is_float = DTYPES[entry.dtype].kind == "float"
        found = initializer_for(path, entry.shape, is_float=is_float, is_torch=is_torch)
    return _Weight(layer=layer, name=name, entry=entry, initializer=found)


def _path(layer: str, name: str) -> str:
    return f"{layer}/{name}" if layer else name


def _document(weights: list[_Weight], *, is_torch: bool) -> dict[str, Any]:
    dtype = _commonest(weight.entry.dtype for weight in weights)
    document: dict[str, Any] = {} if dtype == _DEFAULT_DTYPE else {"dtype": dtype}
    if is_torch:
        document["layout"] = "torch"
    defaults = _defaults(weights)
    if defaults:
        document["defaults"] = defaults
    layers: dict[str, dict[str, Any]] = {}
    for weight in weights:
        written: dict[str, Any] = {"shape": list(weight.entry.shape)}
        if weight.entry.dtype != dtype:
            written["dtype"] = weight.entry.dtype
        if defaults.get(weight.default_name) != weight.initializer:
            written["initializer"] = weight.initializer
        layers.setdefault(weight.layer, {})[_escaped(weight.name)] = written
    document["layers"] = [
        {"name": _escaped(layer), "weights": listed} for layer, listed in layers.items()
    ]
    return document


def _defaults(weights: list[_Weight]) -> dict[str, Any]:
    """Give the commonest initializer for each name that several weights have."""
    by_name: dict[str, list[_Weight]] = {}
    for weight in weights:
        by_name.setdefault(weight.default_name, []).append(weight)
    return {
        name: json.loads(_commonest(json.dumps(weight.initializer) for weight in found))
        for name, found in by_name.items()
        if len(found) > 1
    }


def _commonest(texts: Iterable[str]) -> str:
    return Counter(texts).most_common(1)[0][0]


def _escaped(name: str) -> str:
    return name.replace("{", "{{").replace("}", "}}")


def _listed(texts: list[str]) -> str:
    shown = ", ".join(texts[:_MAX_SHOWN])
    return f"{shown} and {len(texts) - _MAX_SHOWN} more" if len(texts) > _MAX_SHOWN else shown
