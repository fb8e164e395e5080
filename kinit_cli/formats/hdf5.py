"""HDF5: one dataset a tensor, at /layer/weight, and the attributes by which Keras loads it.

`model.load_weights("x.h5")` in Keras 3 and tf.keras reads the root attribute `layer_names` and,
on each layer's group, `weight_names`. The library writes the skeleton; datasets are contiguous
and allocated early, so their offsets are known and tiles bypass the library.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinit_cli.formats.hdf5_cache import fix_metadata_cache
from kinit_cli.formats.layouts import FileLayout
from kinit_cli.formats.manifest_names import MANIFEST_ATTRIBUTE
from kinit_cli.plan import Plan, TensorPlan

if TYPE_CHECKING:
    import h5py
    import numpy as np
    from numpy.typing import NDArray

#: An attribute larger than this many bytes is split, as Keras does: HDF5 allows just under 64 KiB.
ATTRIBUTE_LIMIT = 64512

#: Loaders convert the weights of files that do not name a generation, or name "1".
_KERAS_GENERATION = b"2.0.0"
# The oldest structures: later ones hold clocks, or are not known to older readers.
_LIBRARY_VERSIONS = ("earliest", "v110")
_BYTES_PER_TENSOR = 2048
#: Shapes, or lists of weights, whose objects of the library are kept for the next tensor.
_MAX_SHARED = 1024


class Hdf5Writer:
    """Writes `.h5` files."""

    name = "hdf5"
    is_directory = False
    has_sidecar = False
    layout_name = "keras-legacy"

    def validate(self, plan: Plan) -> list[str]:
        """Find tensors whose path is also a group: in HDF5 one name cannot be both."""
        paths = {tensor.path for tensor in plan.tensors}
        return hdf5_dtype_faults(plan) + [
            f"{prefix!r} is a tensor, and so it cannot hold {tensor.path!r}; rename one of them"
            for tensor in plan.tensors
            for prefix in _prefixes(tensor.path)
            if prefix in paths
        ]

    def estimate_bytes(self, plan: Plan) -> int:
        """Allow for object headers, attributes and the manifest."""
        return estimate_hdf5_bytes(plan.tensors)

    def lay_out(self, plan: Plan, path: Path) -> FileLayout:
        """Write groups, datasets and attributes; note each dataset's offset."""
        with open_skeleton(path, self.estimate_bytes(plan)) as file:
            create = DatasetMaker(file)
            offsets = [create(tensor.path, tensor) for tensor in plan.tensors]
            _write_names(file, plan.tensors)
        return FileLayout(path, offsets)

    def seal(self, path: Path, manifest_text: str) -> None:
        """Write the manifest as one text attribute of the root group."""
        with _open(path, "r+") as file:
            file.attrs[MANIFEST_ATTRIBUTE] = manifest_text

    def stored_names(self, plan: Plan) -> Mapping[str, str]:
        """Give none: a tensor is stored under its path."""
        return {}


@contextmanager
def open_skeleton(path: Path, n_bytes: int) -> Iterator[h5py.File]:
    """Make a new file of a file that exists, with room for so many bytes."""
    # Older versions of the library crash when they may not extend a file: ask the system first.
    os.truncate(path, n_bytes)
    with _open(path, "w") as file:
        yield file


@contextmanager
def _open(path: Path, mode: str) -> Iterator[h5py.File]:
    """Open a file, and raise what the library says of the system as an `OSError` with its number.

    h5py raises the library's failures as ValueError, RuntimeError or OSError, the number in the
    text.
    """
    import h5py

    try:
        # The temporary is locked by us already, and HDF5's own lock would collide with that.
        with h5py.File(path, mode, libver=_LIBRARY_VERSIONS, locking=False) as file:
            fix_metadata_cache(file.id)
            yield file
    except (OSError, ValueError, RuntimeError) as error:
        number = re.search(r"errno = (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def estimate_hdf5_bytes(tensors: Sequence[TensorPlan]) -> int:
    """Give a size in bytes that a file with these tensors will not exceed."""
    names = sum(8 * len(tensor.path.encode()) for tensor in tensors)
    n_bytes = sum(tensor.n_bytes for tensor in tensors)
    return n_bytes + names + _BYTES_PER_TENSOR * len(tensors) + 2**16


def hdf5_dtype_faults(plan: Plan) -> list[str]:
    """Find tensors of a dtype that no reader of HDF5 files would know."""
    return [
        f"{tensor.path!r} is {tensor.dtype.name}, which HDF5 cannot hold; "
        "use --dtype bfloat16 or a .safetensors file"
        for tensor in plan.tensors
        if tensor.dtype.name.startswith("float8")
    ]


class DatasetMaker:
    """Creates datasets through h5py's low-level interface, which is three times as fast."""

    def __init__(self, file: h5py.File) -> None:
        from h5py import h5d, h5p, h5t

        self._file = file.id
        self._links = h5p.create(h5p.LINK_CREATE)
        self._links.set_create_intermediate_group(True)
        self._links.set_char_encoding(h5t.CSET_UTF8)
        self._creation = h5p.create(h5p.DATASET_CREATE)
        self._creation.set_alloc_time(h5d.ALLOC_TIME_EARLY)
        self._creation.set_fill_time(h5d.FILL_TIME_NEVER)
        self._creation.set_obj_track_times(False)
        self._create = h5d.create
        self._types: dict[str, Any] = {}
        self._spaces: dict[tuple[int, ...], Any] = {}

    def __call__(self, path: str, tensor: TensorPlan) -> int:
        """Create one dataset and give the offset of its bytes in the file."""
        name = path.encode("utf-8")
        kind = self._types.get(tensor.dtype.name) or self._add_type(tensor.dtype.name)
        space = self._spaces.get(tensor.shape) or self._add_space(tensor.shape)
        dataset = self._create(self._file, name, kind, space, self._creation, self._links)
        if tensor.dtype.name == "bfloat16":
            import h5py

            h5py.Dataset(dataset).attrs["dtype"] = "bfloat16"
        offset = dataset.get_offset()
        # A dataset without elements has no place in the file, and no tile.
        return 0 if offset is None else int(offset)

    def _add_type(self, name: str) -> Any:
        import numpy as np
        from h5py import h5t

        # bfloat16 as Keras stores it: two opaque bytes and an attribute that names the type.
        dtype = np.dtype("V2") if name == "bfloat16" else np.dtype(name).newbyteorder("<")
        kind = self._types[name] = h5t.py_create(dtype, logical=True)
        return kind

    def _add_space(self, shape: tuple[int, ...]) -> Any:
        from h5py import h5s

        if len(self._spaces) >= _MAX_SHARED:
            self._spaces.clear()
        space = h5s.create_simple(shape) if shape else h5s.create(h5s.SCALAR)
        self._spaces[shape] = space
        return space


def _write_names(file: h5py.File, tensors: Sequence[TensorPlan]) -> None:
    import numpy as np

    weights_by_layer: dict[str, list[str]] = {}
    # A model within the model is one layer to Keras, which then wants what is trained first.
    for tensor in sorted(tensors, key=lambda tensor: not tensor.is_trainable):
        weights_by_layer.setdefault(tensor.layer, []).append(tensor.weight)
    # What is in no layer is in no list; Keras does not look for it.
    layers = [layer for layer in dict.fromkeys(tensor.layer for tensor in tensors) if layer]
    write = _NameWriter(file)
    for layer in layers:
        write(layer, "weight_names", weights_by_layer[layer])
    if layers:
        write(".", "layer_names", layers)
    file.attrs["keras_version"] = np.bytes_(_KERAS_GENERATION)


class _NameWriter:
    """Writes lists of texts as attributes, through h5py's low-level interface.

    Most layers have the same weights, so what their attribute is made of is made once.
    """

    def __init__(self, file: h5py.File) -> None:
        from h5py import h5a, h5o

        self._file = file.id
        self._open = h5o.open
        self._create = h5a.create
        self._exists = h5a.exists
        self._parts: dict[tuple[str, ...], list[_AttributePart]] = {}

    def __call__(self, group: str, name: str, texts: Sequence[str]) -> None:
        """Write texts as fixed-width bytes, in as many attributes as HDF5 needs.

        More than `ATTRIBUTE_LIMIT` bytes go to ``name0``, ``name1`` and so on, which Keras joins.

        Parameters
        ----------
        group : str
            Path of a group that exists and has no such attribute.
        """
        key = (name, *texts)
        parts = self._parts.get(key)
        if parts is None:
            if len(self._parts) >= _MAX_SHARED:
                self._parts.clear()
            parts = self._parts[key] = list(_iter_parts(name, texts))
        opened = self._open(self._file, group.encode("utf-8"))
        for part in parts:
            # It never does; but without the question HDF5's cache, and so the order of things in
            # the headers of a file with thousands of layers, would not be what h5py makes it.
            self._exists(opened, part.name)
            attribute = self._create(opened, part.name, part.kind, part.space)
            attribute.write(part.array, mtype=part.kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class _AttributePart:
    """One attribute: its name, its elements, and their type and space in HDF5's terms."""

    name: bytes
    array: NDArray[np.bytes_]
    kind: Any
    space: Any


def _iter_parts(name: str, texts: Sequence[str]) -> Iterator[_AttributePart]:
    import numpy as np
    from h5py import h5s, h5t

    whole = np.array([text.encode("utf-8") for text in texts])
    is_split = whole.nbytes > ATTRIBUTE_LIMIT
    n_per_part = ATTRIBUTE_LIMIT // whole.itemsize if is_split else len(whole)
    kind = h5t.py_create(whole.dtype, logical=True)
    for index, start in enumerate(range(0, len(whole), n_per_part)):
        array = whole[start : start + n_per_part]
        yield _AttributePart(
            name=(f"{name}{index}" if is_split else name).encode("utf-8"),
            array=array,
            kind=kind,
            space=h5s.create_simple(array.shape),
        )


def _prefixes(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:length]) for length in range(1, len(parts))]
