"""NumPy's `.npy`: one tensor to a file, several to a directory with a manifest."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Mapping
from pathlib import Path

from kinit_cli.dtypes import EXTENSION_DTYPES, numpy_dtype
from kinit_cli.formats.base import pwrite_all
from kinit_cli.formats.file_names import file_name_of
from kinit_cli.formats.layouts import FilesLayout
from kinit_cli.formats.manifest_names import MANIFEST_FILE
from kinit_cli.plan import Plan, TensorPlan

#: Longest file name that common file systems take, in bytes.
MAX_NAME_BYTES = 255
_HEADER_BYTES = 4096


class NpyDirectoryWriter:
    """Writes a directory with one file a tensor, at layer/weight.npy, and `kinit.json`."""

    name = "npy-directory"
    is_directory = True
    has_sidecar = False
    layout_name = "flat"

    def validate(self, plan: Plan) -> list[str]:
        """Find dtypes that NumPy cannot name and paths that are no file names."""
        files = {f"{tensor.path}.npy" for tensor in plan.tensors}
        faults = npy_dtype_faults(plan, ".npy")
        for tensor in plan.tensors:
            parts = f"{tensor.path}.npy".split("/")
            if any(len(part.encode()) > MAX_NAME_BYTES for part in parts):
                faults.append(f"{tensor.path[:80]!r}... has a part too long for a file name")
            if any("/".join(parts[:length]) in files for length in range(1, len(parts))):
                faults.append(f"a folder of {tensor.path!r} is the file of another tensor")
            if parts[0] == MANIFEST_FILE:
                faults.append(f"{tensor.path!r} has the manifest's name; rename the layer")
            if "\\" in tensor.path:
                faults.append(f"{tensor.path!r} has a '\\', which is no part of a file name")
        return faults

    def estimate_bytes(self, plan: Plan) -> int:
        """Allow for headers, whole blocks of the disk and the manifest."""
        names = sum(2 * len(tensor.path.encode()) for tensor in plan.tensors)
        return plan.n_bytes + names + 3 * _HEADER_BYTES * len(plan.tensors) + 2**16

    def lay_out(self, plan: Plan, path: Path) -> FilesLayout:
        """Create every file with its header and its final size."""
        files = [f"{path}/{file_name_of(tensor.path)}.npy" for tensor in plan.tensors]
        folders = dict.fromkeys(file.rpartition("/")[0] for file in files)
        for folder in folders:
            os.makedirs(folder, exist_ok=True)
        headers = [_create(*each) for each in zip(files, plan.tensors, strict=True)]
        return FilesLayout(files, headers)

    def seal(self, path: Path, manifest_text: str) -> None:
        """Write the manifest beside the tensors."""
        (path / MANIFEST_FILE).write_text(manifest_text + "\n", encoding="utf-8")

    def stored_names(self, plan: Plan) -> Mapping[str, str]:
        """Give none: a tensor is stored under its path."""
        return {}


class NpyFileWriter:
    """Writes the only tensor of a plan to one file; the manifest goes to a file beside it."""

    name = "npy"
    is_directory = False
    has_sidecar = True
    layout_name = "flat"

    def validate(self, plan: Plan) -> list[str]:
        """Check that there is one tensor and that NumPy can name its dtype."""
        if len(plan.tensors) == 1:
            return npy_dtype_faults(plan, ".npy")
        return [
            f"an .npy file holds one tensor, and the spec has {len(plan.tensors)}; "
            "write them to a directory: --format npy -o DIR/"
        ]

    def estimate_bytes(self, plan: Plan) -> int:
        """Allow for the header."""
        return plan.n_bytes + _HEADER_BYTES

    def lay_out(self, plan: Plan, path: Path) -> FilesLayout:
        """Write the header and set the file's final size."""
        file = os.fspath(path)
        return FilesLayout([file], [_create(file, plan.tensors[0])])

    def seal(self, path: Path, manifest_text: str) -> None:
        """Leave the file as it is: a header of NumPy's has no room for a manifest."""

    def stored_names(self, plan: Plan) -> Mapping[str, str]:
        """Give none: a tensor is stored under its path."""
        return {}


def _create(file: str, tensor: TensorPlan) -> int:
    """Write a header, extend the file to its final size, and give the header's length."""
    header = npy_header(tensor.dtype.name, tensor.shape)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        pwrite_all(descriptor, header, 0)
        os.ftruncate(descriptor, len(header) + tensor.n_bytes)
    finally:
        os.close(descriptor)
    return len(header)


@functools.lru_cache(maxsize=1024)
def npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Give the header that `numpy.save` writes for a C-order array."""
    from numpy.lib import format as npy_format

    stream = io.BytesIO()
    descr = npy_format.dtype_to_descr(numpy_dtype(dtype))
    fields = {"descr": descr, "fortran_order": False, "shape": shape}
    npy_format.write_array_header_1_0(stream, fields)
    return stream.getvalue()


def npy_dtype_faults(plan: Plan, suffix: str) -> list[str]:
    """Find tensors of a dtype that a header of NumPy's cannot name."""
    return [
        f"{tensor.path!r} is {tensor.dtype.name}, which {suffix} cannot name; "
        "use --dtype float32 or a .safetensors file"
        for tensor in plan.tensors
        if tensor.dtype.name in EXTENSION_DTYPES
    ]
