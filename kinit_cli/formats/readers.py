"""Opening a weights file by what is in it, not by its name."""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from kinit_cli.errors import WeightsFileError
from kinit_cli.formats.manifest_names import MANIFEST_FILE
from kinit_cli.formats.safetensors_types import LENGTH_BYTES, MAX_HEADER_BYTES
from kinit_cli.formats.weights_file import file_error

if TYPE_CHECKING:
    from kinit_cli.formats.weights_file import WeightsFile

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_NPY_MAGIC = b"\x93NUMPY"
_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
#: The member of a .keras archive that is its model.
_KERAS_MEMBER = "config.json"
_EXPECTED = "an HDF5, .safetensors, .npz or .npy file, an index of several, or a directory of them"
_FOREIGN = (
    (b"\x80", "a Python pickle", "kinit never unpickles; save the weights as safetensors or HDF5"),
    (b"GGUF", "a GGUF file", "convert it to safetensors or HDF5"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
)


def open_weights(path: str | os.PathLike[str]) -> WeightsFile:
    """Open a weights file for reading; the caller closes it.

    Parameters
    ----------
    path
        A file, whatever its name: HDF5, safetensors, `.npz`, `.npy`, or the index of a set of
        safetensors or `.weights.h5` files. Or a directory: with such a set or one safetensors
        file in it, or with `.npy` files anywhere below it.

    Raises
    ------
    WeightsFileError
        If there is no such file, or it is none of these, or it is damaged.
    """
    path = Path(path)
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            return _open_directory(path)
        head = _head(path)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    # The length of a safetensors header has bytes that are 0, which JSON has not.
    if head.lstrip()[:1] == b"{" and b"\0" not in head[:LENGTH_BYTES]:
        from kinit_cli.formats.shards_reader import ShardSet

        return ShardSet(path)
    return open_file(path)


def holds_weights(path: Path) -> bool:
    """Tell by its content whether a file is one for `open_weights`, and not a spec or a model.

    What is neither, a pickle say, is taken for weights: `open_weights` says what is wrong with it.
    """
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            return True
        head = _head(path)
        if head.startswith(_ZIP_MAGICS):
            # A .keras archive is one as well.
            return not _has_member(path, _KERAS_MEMBER)
        if head.lstrip()[:1] == b"{" and b"\0" not in head[:LENGTH_BYTES]:
            return _is_index(path)
        with path.open("rb") as file:
            is_hdf5 = _has_hdf5_signature(file.fileno(), os.fstat(file.fileno()).st_size)
    except (OSError, ValueError):
        return False
    is_safetensors = head[LENGTH_BYTES : LENGTH_BYTES + 1] == b"{" and b"\0" in head[:LENGTH_BYTES]
    is_foreign = head.startswith(tuple(magic for magic, *_ in _FOREIGN))
    return is_hdf5 or is_safetensors or is_foreign or head.startswith(_NPY_MAGIC)


def open_file(path: Path) -> WeightsFile:
    """Open one file that holds tensors itself; see `open_weights`."""
    try:
        head = _head(path)
        with path.open("rb") as file:
            is_hdf5 = _has_hdf5_signature(file.fileno(), os.fstat(file.fileno()).st_size)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    return _open_content(path, head, is_hdf5=is_hdf5)


def _head(path: Path) -> bytes:
    if not stat.S_ISREG(path.stat().st_mode):
        raise file_error(path, expected=_EXPECTED, got="a special file", hint="name a regular file")
    with path.open("rb") as file:
        return file.read(4096)


def _has_member(path: Path, name: str) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return name in archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError):
        return True  # the reader of .keras archives says what is wrong with it


def _is_index(path: Path) -> bool:
    from kinit_cli.formats.json_file import parse_object

    if path.stat().st_size > MAX_HEADER_BYTES:
        return False
    return "weight_map" in parse_object(path.read_bytes())


def _unreadable(path: Path, error: OSError | ValueError) -> WeightsFileError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return WeightsFileError(
        f"{path}: expected {_EXPECTED}, got: {reason}; check the name and its access"
    )


def _open_directory(path: Path) -> WeightsFile:
    from kinit_cli.formats.npy_reader import NpyFile

    if (path / MANIFEST_FILE).exists():
        return NpyFile(path)
    from kinit_cli.formats.shards_reader import find_index

    index = find_index(path)
    return NpyFile(path) if index is None else open_weights(index)


def _open_content(path: Path, head: bytes, *, is_hdf5: bool) -> WeightsFile:
    if is_hdf5:
        from kinit_cli.formats.hdf5_reader import Hdf5File

        return Hdf5File(path)
    if head.startswith(_NPY_MAGIC):
        from kinit_cli.formats.npy_reader import NpyFile

        return NpyFile(path)
    if head.startswith(_ZIP_MAGICS):
        from kinit_cli.formats.npz_reader import NpzFile

        return NpzFile(path)
    if head[LENGTH_BYTES : LENGTH_BYTES + 1] == b"{":
        from kinit_cli.formats.safetensors_reader import SafetensorsFile

        return SafetensorsFile(path)
    got, hint = _describe_foreign(head)
    raise file_error(path, expected=_EXPECTED, got=got, hint=hint)


def _has_hdf5_signature(descriptor: int, n_bytes: int) -> bool:
    """Look where HDF5 looks: at 0, 512, 1024, 2048, ..., after a user block."""
    offset = 0
    while offset < n_bytes:
        if os.pread(descriptor, len(_HDF5_SIGNATURE), offset) == _HDF5_SIGNATURE:
            return True
        offset = max(512, 2 * offset)
    return False


def _describe_foreign(head: bytes) -> tuple[str, str]:
    if not head:
        return "an empty file", "copy or generate it again"
    for magic, what, hint in _FOREIGN:
        if head.startswith(magic):
            return what, hint
    return f"a file that begins with {head[:8]!r}", "name a weights file"
