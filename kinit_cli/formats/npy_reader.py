"""Reading `.npy`: one file, or all of a directory; never a pickle."""

from __future__ import annotations

import math
import os
import re
import stat
import tokenize
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kinit_cli.errors import WeightsFileError
from kinit_cli.formats.file_names import path_of_file_name
from kinit_cli.formats.fortran_order import read_fortran
from kinit_cli.formats.manifest_names import (
    MANIFEST_FILE,
    SIDECAR_SUFFIX,
    max_manifest_bytes,
)
from kinit_cli.formats.weights_file import (
    MAX_DIMENSIONS,
    TensorEntry,
    WeightsFile,
    file_error,
    natural_key,
    read_at,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from numpy.typing import NDArray

_MAX_ELEMENTS = 2**63
#: Of texts that may be as long as a header.
_MAX_SHOWN = 120
_HEADER_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    SyntaxError,
    tokenize.TokenError,
    RecursionError,
    MemoryError,
    OverflowError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """Where a tensor is: its file, the offset of the data, and the order of the elements."""

    path: Path
    offset: int
    is_fortran: bool


class NpyFile(WeightsFile):
    """One `.npy` file, or a directory of them; each is opened only while it is read."""

    layout = "flat"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stored: dict[str, _Stored] = {}
        notes: list[str] = []
        if path.is_dir():
            self.format = "npy-directory"
            files = [(_tensor_path(file, path), file) for file in _iter_files(path, notes)]
            manifest = path / MANIFEST_FILE
        else:
            self.format = "npy"
            files = [(path_of_file_name(path.stem), path)]
            manifest = path.with_name(path.name + SIDECAR_SUFFIX)
        files.sort(key=lambda item: natural_key(item[0]))
        self.entries = tuple(self._entry(name, file) for name, file in files)
        self.manifest_text = _read_manifest(manifest, len(files), notes)
        self.notes = tuple(notes)

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def read(
        self, entry: TensorEntry, start: int, stop: int, memory: NDArray[np.uint8] | None = None
    ) -> NDArray[Any]:
        """Give elements [start, stop) in C order; see `WeightsFile.read`."""
        stored = self._stored[entry.path]
        if entry.element is None:
            raise TypeError(f"{entry.path} has no numbers to read")
        try:
            if stored.is_fortran:
                return read_fortran(stored.path, stored.offset, entry, start, stop)
            with stored.path.open("rb", buffering=0) as file:
                return read_at(
                    file.fileno(),
                    stored.path,
                    entry.element,
                    offset=stored.offset + start * entry.element.itemsize,
                    n_elements=stop - start,
                    memory=memory,
                )
        except (OSError, ValueError) as error:
            raise file_error(
                stored.path,
                expected="to read its elements",
                got=str(error),
                hint="the file changed while it was read; run again on a finished file",
            ) from error

    def _entry(self, name: str, path: Path) -> TensorEntry:
        try:
            with path.open("rb") as file:
                header = _read_header(path, file)
                n_file_bytes = os.fstat(file.fileno()).st_size
        except OSError as error:
            raise file_error(
                path, expected="to read it", got=error.strerror or str(error), hint="check it"
            ) from error
        n_bytes = header.n_bytes + header.n_data_bytes
        dtype = str(header.dtype)[:_MAX_SHOWN]
        if n_file_bytes != n_bytes:
            raise file_error(
                path,
                expected=f"{n_bytes} bytes, for {dtype} of shape {header.shape}",
                got=f"{n_file_bytes}",
                hint="it is truncated or damaged: copy or generate it again",
            )
        self._stored[name] = _Stored(path=path, offset=header.n_bytes, is_fortran=header.is_fortran)
        return header.entry(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class NpyHeader:
    """What stands before the elements.

    Attributes
    ----------
    is_fortran : bool
        The elements lie otherwise than in C order.
    n_bytes : int
        Length of the header itself.
    """

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[Any]
    n_bytes: int

    @property
    def n_data_bytes(self) -> int:
        """Size of the elements, if they are not objects."""
        return math.prod(self.shape) * self.dtype.itemsize

    def entry(self, path: str) -> TensorEntry:
        """Give the tensor as a reader lists it."""
        is_numeric = self.dtype.kind in "fiub"
        return TensorEntry(
            path=path,
            shape=self.shape,
            dtype=self.dtype.name if is_numeric else str(self.dtype),
            n_elements=math.prod(self.shape),
            n_bytes=self.n_data_bytes,
            element=self.dtype if is_numeric else None,
        )


def parse_npy_header(file: BinaryIO) -> NpyHeader:
    """Read the header with which a file begins.

    Raises
    ------
    ValueError
        It is not a header, or not complete.
    """
    try:
        with warnings.catch_warnings():
            # Python 2 wrote shapes such as (3L,); NumPy reads them with a warning.
            warnings.simplefilter("ignore")
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                header = np.lib.format.read_array_header_1_0(file)
            elif version in ((2, 0), (3, 0)):
                # 3.0 differs only in how the names of fields are encoded.
                header = np.lib.format.read_array_header_2_0(file)
            else:
                raise ValueError(f"format version {version}")
    except _HEADER_ERRORS as error:
        raise ValueError(_reason(error)) from error
    shape, is_fortran, dtype = header
    _check_shape(shape)
    return NpyHeader(
        shape=shape,
        is_fortran=is_fortran and len(shape) > 1,
        dtype=dtype,
        n_bytes=file.tell(),
    )


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"{len(shape)} dimensions, more than {MAX_DIMENSIONS}")
    if any(isinstance(size, bool) or not 0 <= size < _MAX_ELEMENTS for size in shape):
        raise ValueError("a shape with sizes that no array has")
    if math.prod(shape) >= _MAX_ELEMENTS:
        raise ValueError("a shape of more elements than an array has")


def _reason(error: BaseException) -> str:
    """Say in a line what NumPy has against a header, which may be in its text as a whole."""
    # NumPy names objects by their place in memory, which would differ from run to run.
    text = re.sub(r" at 0x[0-9a-f]+", "", " ".join(str(error).split()))
    if "max_header_size" in text:
        return "a header that is longer than NumPy reads"
    if len(text) > _MAX_SHOWN:
        text = f"{text[:_MAX_SHOWN]}..."
    return text or type(error).__name__


def _read_header(path: Path, file: BinaryIO) -> NpyHeader:
    try:
        header = parse_npy_header(file)
    except ValueError as error:
        raise file_error(
            path,
            expected="a complete .npy header",
            got=str(error),
            hint="it is truncated or damaged: copy or generate it again",
        ) from error
    if header.dtype.hasobject:
        raise file_error(
            path,
            expected="numbers",
            got="pickled Python objects",
            hint="kinit never unpickles, since a pickle can run code; save a numeric array",
        )
    return header


def _iter_files(directory: Path, notes: list[str]) -> Iterator[Path]:
    """Find the `.npy` files below a directory; note symbolic links, which are not followed."""
    n_links = 0
    n_found = 0
    for folder, folder_names, file_names in os.walk(directory, onerror=_raise):
        n_links += sum(os.path.islink(os.path.join(folder, name)) for name in folder_names)
        for name in file_names:
            if not name.endswith(".npy"):
                continue
            path = Path(folder, name)
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                n_found += 1
                yield path
            n_links += stat.S_ISLNK(mode)
    if n_links:
        notes.append(f"symbolic links are not followed: {n_links}")
    if not n_found:
        raise file_error(
            directory,
            expected=".npy files in this directory",
            got="none",
            hint="name a weights file, or a directory that `kinit generate --format npy` wrote",
        )


def _raise(error: OSError) -> None:
    raise WeightsFileError(
        f"{error.filename}: expected a directory to list, got: {error.strerror}; check its access"
    ) from error


def _tensor_path(file: Path, directory: Path) -> str:
    name = file.relative_to(directory).as_posix().removesuffix(".npy")
    return path_of_file_name(name)


def _read_manifest(path: Path, n_tensors: int, notes: list[str]) -> str | None:
    if not stat.S_ISREG(path.lstat().st_mode if os.path.lexists(path) else 0):
        return None
    try:
        n_bytes, n_most = path.stat().st_size, max_manifest_bytes(n_tensors)
        if n_bytes > n_most:
            notes.append(f"{path.name} cannot be read: {n_bytes} bytes, more than {n_most}")
            return None
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        notes.append(f"{path.name} cannot be read: {error}")
        return None
