"""A model from NumPy's generator, saved with h5py.

    python -m benchmarks.scripts.numpy_script OUT MODEL [--sync]

With --sync the file is on the disk when the script ends, as kinit's is.
"""

from __future__ import annotations

import os
import sys
import time

import h5py
import numpy as np
import numpy.typing as npt

from benchmarks.models import iter_tensors


def make(
    rng: np.random.Generator, shape: tuple[int, ...], kind: str, number: float
) -> npt.NDArray[np.float32]:
    """Make one tensor; a HeNormal without the truncation, which NumPy does not have."""
    if kind == "constant":
        return np.full(shape, number, np.float32)
    values = rng.standard_normal(shape, dtype=np.float32)
    values *= np.float32(number)
    return values


def main() -> None:
    """Write the file."""
    started = time.perf_counter()
    rng = np.random.default_rng(42)
    with h5py.File(sys.argv[1], "w") as file:
        for path, shape, kind, number in iter_tensors(sys.argv[2]):
            file[path] = make(rng, shape, kind, number)
    if "--sync" in sys.argv:
        descriptor = os.open(sys.argv[1], os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
