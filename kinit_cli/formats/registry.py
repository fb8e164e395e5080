"""Which writer an output gets, by `--format` or by its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from kinit_cli.errors import OutputError

if TYPE_CHECKING:
    from kinit_cli.formats.base import Writer

FormatName = Literal["hdf5", "npy"]
FORMAT_NAMES: tuple[FormatName, ...] = get_args(FormatName)

_BY_SUFFIX: dict[str, FormatName] = {".h5": "hdf5", ".hdf5": "hdf5", ".npy": "npy"}


def choose_writer(out: str, format_name: str | None, *, n_tensors: int) -> Writer:
    """Choose the writer of an output.

    Parameters
    ----------
    out : str
        As the user wrote it: a trailing slash asks for a directory.
    format_name : str or None
        One of `FORMAT_NAMES`; None to go by the output's name.
    n_tensors : int
        One tensor goes to one `.npy` file, several to a directory.

    Raises
    ------
    OutputError
        The name says no format, or a directory is asked for where the format is one file.
    """
    if not out:
        raise OutputError("expected a name for the output, got an empty text")
    is_directory = out.endswith("/") or Path(out).is_dir()
    name = format_name or _by_name(out, is_directory=is_directory)
    if name == "hdf5":
        from kinit_cli.formats.hdf5 import Hdf5Writer

        if out.endswith("/"):
            raise OutputError(f"{out}: expected a file name for {name}, got a directory's")
        return Hdf5Writer()
    from kinit_cli.formats.npy import NpyDirectoryWriter, NpyFileWriter

    has_suffix = Path(out).suffix.lower() == ".npy"
    if is_directory or (n_tensors > 1 and not has_suffix and out != "-"):
        return NpyDirectoryWriter()
    return NpyFileWriter()


def _by_name(out: str, *, is_directory: bool) -> FormatName:
    if is_directory:
        return "npy"
    suffix = Path(out).suffix.lower()
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    raise OutputError(
        f"{out}: expected a name that ends in {', '.join(_BY_SUFFIX)} or '/', "
        f"got {suffix or 'no suffix'!r}; or choose with --format {'|'.join(FORMAT_NAMES)}"
    )
