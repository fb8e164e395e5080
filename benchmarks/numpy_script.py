"""What people write without kinit: GPT-2 small from NumPy's generator, saved with h5py.

    python benchmarks/numpy_script.py OUT [--sync]

The same tensors as sample_configs/gpt2_small.yaml, of the same scale; other values. With --sync the
file is on the disk when the script ends, as kinit's is.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from typing import Literal

import h5py
import numpy as np
import numpy.typing as npt

D, N_LAYERS, VOCAB, N_POSITIONS, STD = 768, 12, 50257, 1024, 0.02

#: Path, shape, what to draw, and its standard deviation or value.
Tensor = tuple[str, tuple[int, ...], Literal["normal", "constant"], float]


def iter_tensors() -> Iterator[Tensor]:
    """List the tensors in the order of the spec."""
    residual_std = STD / math.sqrt(2 * N_LAYERS)
    yield "wte/embeddings", (VOCAB, D), "normal", STD
    yield "wpe/embeddings", (N_POSITIONS, D), "normal", STD / 2
    for i in range(N_LAYERS):
        yield f"h{i}/ln_1/gamma", (D,), "constant", 1
        yield f"h{i}/ln_1/beta", (D,), "constant", 0
        yield f"h{i}/attn/c_attn/kernel", (D, 3 * D), "normal", STD
        yield f"h{i}/attn/c_attn/bias", (3 * D,), "constant", 0
        yield f"h{i}/attn/c_proj/kernel", (D, D), "normal", residual_std
        yield f"h{i}/attn/c_proj/bias", (D,), "constant", 0
        yield f"h{i}/ln_2/gamma", (D,), "constant", 1
        yield f"h{i}/ln_2/beta", (D,), "constant", 0
        yield f"h{i}/mlp/c_fc/kernel", (D, 4 * D), "normal", STD
        yield f"h{i}/mlp/c_fc/bias", (4 * D,), "constant", 0
        yield f"h{i}/mlp/c_proj/kernel", (4 * D, D), "normal", residual_std
        yield f"h{i}/mlp/c_proj/bias", (D,), "constant", 0
    yield "ln_f/gamma", (D,), "constant", 1
    yield "ln_f/beta", (D,), "constant", 0


def make(
    rng: np.random.Generator, shape: tuple[int, ...], kind: str, number: float
) -> npt.NDArray[np.float32]:
    """Make one tensor."""
    if kind == "constant":
        return np.full(shape, number, np.float32)
    values = rng.standard_normal(shape, dtype=np.float32)
    values *= np.float32(number)
    return values


def main() -> None:
    """Write the file."""
    rng = np.random.default_rng(42)
    with h5py.File(sys.argv[1], "w") as file:
        for path, shape, kind, number in iter_tensors():
            file[path] = make(rng, shape, kind, number)
    if "--sync" in sys.argv:
        descriptor = os.open(sys.argv[1], os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


if __name__ == "__main__":
    main()
