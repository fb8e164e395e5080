"""Which writer an output gets, by `--format` or by its name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from kinit_cli.errors import OutputError, suggest
from kinit_cli.formats.joined_names import DEFAULT_SEPARATOR
from kinit_cli.formats.shards import DEFAULT_MAX_SHARD_BYTES

if TYPE_CHECKING:
    from kinit_cli.formats.base import Writer

FormatName = Literal["hdf5", "npy", "npz", "safetensors", "weights.h5"]
FORMAT_NAMES: tuple[FormatName, ...] = get_args(FormatName)

_BY_SUFFIX: dict[str, FormatName] = {
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".weights.h5": "weights.h5",
    ".npy": "npy",
    ".npz": "npz",
    ".safetensors": "safetensors",
}
_JOINED: tuple[FormatName, ...] = ("npz", "safetensors")
_SHARDED: tuple[FormatName, ...] = ("safetensors", "weights.h5")


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatOptions:
    """What some formats let the user choose.

    Attributes
    ----------
    separator : str or None
        Stands for the '/' of a path where the format has no folders.
    max_shard_bytes : int or None
        Largest file of a set.
    """

    separator: str | None = None
    max_shard_bytes: int | None = None


def choose_writer(
    out: str,
    format_name: str | None,
    *,
    n_tensors: int,
    options: FormatOptions = FormatOptions(),
) -> Writer:
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
        The name says no format; a directory is asked for where the format is one file, or the
        other way round; or the format has no such option.
    """
    if not out:
        raise OutputError("expected a name for the output, got an empty text")
    if format_name is not None and format_name not in FORMAT_NAMES:
        hint = suggest(str(format_name), FORMAT_NAMES) or f"known are {', '.join(FORMAT_NAMES)}"
        raise OutputError(f"{out}: no format is called {format_name!r}; {hint}")
    is_directory = out.endswith("/") or Path(out).is_dir()
    name = format_name or _by_name(out)
    _check_options(out, name, options)
    _check_kind(out, name, format_name)
    if name in _SHARDED:
        return _sharded_writer(out, name, options, is_directory=is_directory)
    if name == "npy":
        return _npy_writer(out, n_tensors, is_directory=is_directory)
    if out.endswith("/"):
        raise OutputError(f"{out}: expected a file name for {name}, got a directory's")
    if name == "npz":
        from kinit_cli.formats.npz import NpzWriter

        return NpzWriter(options.separator or DEFAULT_SEPARATOR)
    from kinit_cli.formats.hdf5 import Hdf5Writer

    return Hdf5Writer()


def _check_kind(out: str, name: FormatName, format_name: str | None) -> None:
    """Refuse a name that is a file's where there is a directory that is not asked for."""
    if format_name is None and name != "npy" and not out.endswith("/") and Path(out).is_dir():
        several = name if name in _SHARDED else "npy"
        raise OutputError(
            f"{out}: expected a file, by its name, got a directory; choose another name, "
            f"or -o {out}/ --format {several} for a directory of files"
        )


def _check_options(out: str, name: str, options: FormatOptions) -> None:
    if options.separator is not None and name not in _JOINED:
        raise OutputError(
            f"{out}: expected no --separator for {name}, whose tensors keep their paths; "
            f"it is for {' and '.join(_JOINED)}"
        )
    if options.max_shard_bytes is not None and name not in _SHARDED:
        raise OutputError(
            f"{out}: expected no --max-shard-size for {name}; it is for {' and '.join(_SHARDED)}"
        )


def _sharded_writer(out: str, name: str, options: FormatOptions, *, is_directory: bool) -> Writer:
    has_suffix = out.lower().endswith(f".{name}") or out == "-"
    is_set = is_directory or (options.max_shard_bytes is not None and not has_suffix)
    if options.max_shard_bytes is not None and not is_set:
        raise OutputError(
            f"{out}: expected a directory for the files that --max-shard-size makes, "
            f"got a file name; -o DIR/ --format {name}"
        )
    max_shard_bytes = options.max_shard_bytes or DEFAULT_MAX_SHARD_BYTES
    separator = options.separator or DEFAULT_SEPARATOR
    if name == "safetensors":
        from kinit_cli.formats.safetensors import SafetensorsWriter
        from kinit_cli.formats.safetensors_set import SafetensorsSetWriter

        if is_set:
            return SafetensorsSetWriter(max_shard_bytes, separator)
        return SafetensorsWriter(separator)
    from kinit_cli.formats.keras_weights import KerasWeightsSetWriter, KerasWeightsWriter

    return KerasWeightsSetWriter(max_shard_bytes) if is_set else KerasWeightsWriter()


def _npy_writer(out: str, n_tensors: int, *, is_directory: bool) -> Writer:
    from kinit_cli.formats.npy import NpyDirectoryWriter, NpyFileWriter

    has_suffix = Path(out).suffix.lower() == ".npy"
    if is_directory or (n_tensors > 1 and not has_suffix and out != "-"):
        return NpyDirectoryWriter()
    return NpyFileWriter()


def _by_name(out: str) -> FormatName:
    if out.endswith("/"):
        return "npy"
    # The longest that fits: .weights.h5 ends in .h5.
    for suffix in sorted(_BY_SUFFIX, key=len, reverse=True):
        if out.lower().endswith(suffix):
            return _BY_SUFFIX[suffix]
    if Path(out).is_dir():
        return "npy"
    suffix = Path(out).suffix.lower()
    raise OutputError(
        f"{out}: expected a name that ends in {', '.join(_BY_SUFFIX)} or '/', "
        f"got {suffix or 'no suffix'!r}; or choose with --format {'|'.join(FORMAT_NAMES)}"
    )
