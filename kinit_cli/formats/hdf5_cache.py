"""The HDF5 library's cache of a file's structure, at a fixed size."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import h5py

_METADATA_CACHE_BYTES = 4 * 2**20


def fix_metadata_cache(file: h5py.h5f.FileID) -> None:
    """Hold the library's cache of headers and names at one size, whatever there is to do.

    Left alone it grows with the file. What is in it when a header is full also decides where the
    header's parts go, so a rule that adapts would show in the bytes of large files.
    """
    config = file.get_mdc_config()
    config.incr_mode = config.decr_mode = config.flash_incr_mode = 0
    config.set_initial_size = True
    config.initial_size = config.min_size = config.max_size = _METADATA_CACHE_BYTES
    file.set_mdc_config(config)
