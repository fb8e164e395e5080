"""`.weights.h5`: HDF5 as Keras 3 arranges it, by its classes of layers and not by names.

A variable is the dataset `<object>/vars/<number>`, where the object's path is made of the classes
and attributes that lead to it, as in ``layers/dense_1/vars/0``. The plan says these paths.
A set of files is a directory with shards and an index that says which group is where.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kinit_cli.formats.hdf5 import (
    DatasetMaker,
    Hdf5Writer,
    estimate_hdf5_bytes,
    hdf5_dtype_faults,
    open_skeleton,
)
from kinit_cli.formats.index_file import add_to_index, write_index
from kinit_cli.formats.layouts import FileLayout, FilesLayout
from kinit_cli.formats.manifest_names import KERAS_INDEX_FILE
from kinit_cli.formats.shards import DEFAULT_MAX_SHARD_BYTES, split_tensors
from kinit_cli.plan import Plan, TensorPlan
from kinit_cli.spec.keras_paths import KERAS_PLACE

if TYPE_CHECKING:
    import h5py

#: An element of a list of layers, which is the layer itself and not a part of one.
_LAYER_GROUP = re.compile(r"(?:.*/)?layers/[^/]+/vars")
_MAX_SHOWN = 3


class KerasWeightsWriter:
    """Writes one `.weights.h5` file."""

    name = "hdf5"
    is_directory = False
    has_sidecar = False
    layout_name = "keras3-weights"

    def validate(self, plan: Plan) -> list[str]:
        """Find tensors whose place in Keras's arrangement is not known or not sound."""
        return keras_path_faults(plan) + hdf5_dtype_faults(plan)

    def stored_names(self, plan: Plan) -> Mapping[str, str]:
        """Give every tensor's place in Keras's arrangement."""
        return {tensor.path: _path_of(tensor) for tensor in plan.tensors}

    def estimate_bytes(self, plan: Plan) -> int:
        """Allow for object headers, groups and the manifest with the places in it."""
        return estimate_hdf5_bytes(plan.tensors) + _bytes_of_places(plan)

    def lay_out(self, plan: Plan, path: Path) -> FileLayout:
        """Write groups and datasets; note each dataset's offset."""
        return FileLayout(path, _lay_out_file(path, plan.tensors))

    def seal(self, path: Path, manifest_text: str) -> None:
        """Write the manifest as one text attribute of the root group, which Keras ignores."""
        Hdf5Writer().seal(path, manifest_text)


class KerasWeightsSetWriter:
    """Writes a directory with `model.weights.json` and the shards that it lists.

    Parameters
    ----------
    max_shard_bytes : int
        Of the elements in one file, if they are not those of one tensor.
    """

    name = "hdf5-set"
    is_directory = True
    has_sidecar = False
    layout_name = "keras3-weights"

    def __init__(self, max_shard_bytes: int = DEFAULT_MAX_SHARD_BYTES) -> None:
        self._max_shard_bytes = max_shard_bytes

    def validate(self, plan: Plan) -> list[str]:
        """Find tensors whose place in Keras's arrangement is not known or not sound."""
        return KerasWeightsWriter().validate(plan)

    def stored_names(self, plan: Plan) -> Mapping[str, str]:
        """Give every tensor's place in Keras's arrangement."""
        return KerasWeightsWriter().stored_names(plan)

    def estimate_bytes(self, plan: Plan) -> int:
        """Allow for each file's structures, and for the index with the manifest in it."""
        shards = split_tensors(plan.tensors, self._max_shard_bytes)
        return sum(map(estimate_hdf5_bytes, shards)) + 2 * _bytes_of_places(plan)

    def lay_out(self, plan: Plan, path: Path) -> FilesLayout:
        """Write every shard's groups and datasets, and the index."""
        files: list[str] = []
        offsets: list[int] = []
        names_by_group: defaultdict[str, list[str]] = defaultdict(list)
        for number, shard in enumerate(split_tensors(plan.tensors, self._max_shard_bytes)):
            name = f"model_{number:05}.weights.h5"
            (path / name).touch()
            offsets += _lay_out_file(path / name, shard)
            files += [str(path / name)] * len(shard)
            for group in dict.fromkeys(f"/{_group_of(tensor)}" for tensor in shard):
                names_by_group[group].append(name)
        write_index(path / KERAS_INDEX_FILE, {"total_size": plan.n_bytes}, names_by_group)
        return FilesLayout(files, offsets)

    def seal(self, path: Path, manifest_text: str) -> None:
        """Put the manifest into the index."""
        add_to_index(path / KERAS_INDEX_FILE, manifest_text)


def keras_path_faults(plan: Plan) -> list[str]:
    """Find tensors that Keras would not find, or would find where another one is."""
    missing = [tensor.path for tensor in plan.tensors if tensor.keras_path is None]
    if missing:
        more = f" and {len(missing) - _MAX_SHOWN} more" if len(missing) > _MAX_SHOWN else ""
        return [
            f"expected to know where Keras looks for {', '.join(missing[:_MAX_SHOWN])}{more}; "
            "a .weights.h5 file needs layer types (type: Dense) or a Keras model as the spec; "
            "plain weights go to an .h5 file"
        ]
    faults = []
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    for tensor in plan.tensors:
        path = _path_of(tensor)
        if KERAS_PLACE.fullmatch(path) is None:
            faults.append(f"expected a place such as layers/dense/vars/0, got {path!r}")
            continue
        numbers[_group_of(tensor)].append(int(path.rpartition("/")[2]))
    for group, found in numbers.items():
        if sorted(found) != list(range(len(found))):
            faults.append(f"expected the variables of {group!r} to be 0, 1, ..., got {found}")
    return faults


def _lay_out_file(path: Path, tensors: Sequence[TensorPlan]) -> list[int]:
    with open_skeleton(path, estimate_hdf5_bytes(tensors)) as file:
        create = DatasetMaker(file)
        offsets = [create(_path_of(tensor), tensor) for tensor in tensors]
        _name_layers(file, tensors)
    return offsets


def _name_layers(file: h5py.File, tensors: Sequence[TensorPlan]) -> None:
    """Write the names of layers, as Keras does, for people: it does not read them."""
    layer_by_group = {_group_of(tensor): tensor.layer for tensor in tensors}
    for group, layer in layer_by_group.items():
        if layer and _LAYER_GROUP.fullmatch(group):
            file[group].attrs["name"] = layer


def _path_of(tensor: TensorPlan) -> str:
    assert tensor.keras_path is not None
    return tensor.keras_path


def _group_of(tensor: TensorPlan) -> str:
    return _path_of(tensor).rpartition("/")[0]


def _bytes_of_places(plan: Plan) -> int:
    # In the index each stands in the manifest and in the list of groups; a group is new with each.
    return sum(2**11 + 16 * len(_path_of(tensor).encode()) for tensor in plan.tensors)
