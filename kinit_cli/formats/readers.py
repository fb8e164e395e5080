"""Opening a weights file by what is in it, not by its name."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from kinit_cli.errors import WeightsFileError
from kinit_cli.formats.weights_file import file_error

if TYPE_CHECKING:
    from kinit_cli.formats.weights_file import WeightsFile

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_NPY_MAGIC = b"\x93NUMPY"
_EXPECTED = "an HDF5 file, a .npy file, or a directory of .npy files"
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive (.npz, .keras or .pt)", "unpack it and inspect what is inside"),
    (b"\x80", "a Python pickle", "kinit never unpickles; save the weights as HDF5 or .npy"),
    (b"GGUF", "a GGUF file", "convert it to HDF5 or .npy"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
)


def open_weights(path: str | os.PathLike[str]) -> WeightsFile:
    """Open a weights file for reading; the caller closes it.

    Parameters
    ----------
    path
        An HDF5 file, a `.npy` file, or a directory with `.npy` files anywhere below it.

    Raises
    ------
    WeightsFileError
        If there is no such file, or it is none of these, or it is damaged.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            from kinit_cli.formats.npy_reader import NpyFile

            return NpyFile(path)
        if not stat.S_ISREG(mode):
            raise file_error(
                path, expected=_EXPECTED, got="a special file", hint="name a regular file"
            )
        with path.open("rb") as file:
            head = file.read(4096)
            is_hdf5 = _has_hdf5_signature(file.fileno(), os.fstat(file.fileno()).st_size)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise WeightsFileError(
            f"{path}: expected {_EXPECTED}, got: {reason}; check the name and its access"
        ) from error
    return _open_content(path, head, is_hdf5=is_hdf5)


def _open_content(path: Path, head: bytes, *, is_hdf5: bool) -> WeightsFile:
    if is_hdf5:
        from kinit_cli.formats.hdf5_reader import Hdf5File

        return Hdf5File(path)
    if head.startswith(_NPY_MAGIC):
        from kinit_cli.formats.npy_reader import NpyFile

        return NpyFile(path)
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
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**27:
        return "a safetensors file", "convert it to HDF5 or .npy"
    return f"a file that begins with {head[:8]!r}", "name a weights file"
