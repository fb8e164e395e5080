"""A model from torch.nn.init, saved as safetensors.

    python -m benchmarks.scripts.torch_script OUT MODEL

OMP_NUM_THREADS tells PyTorch its threads.
"""

from __future__ import annotations

import sys
import time

import torch
from safetensors.torch import save_file
from torch.nn import init

from benchmarks.models import iter_tensors


def make(shape: tuple[int, ...], kind: str, number: float) -> torch.Tensor:
    """Make one tensor; a HeNormal without the truncation, as kaiming_normal_ does."""
    tensor = torch.empty(shape)
    if kind == "constant":
        return init.constant_(tensor, number)
    if kind == "he_normal":
        return init.kaiming_normal_(tensor, nonlinearity="relu")
    return init.normal_(tensor, 0.0, number)


def main() -> None:
    """Write the file."""
    started = time.perf_counter()
    torch.manual_seed(42)
    tensors = {
        path.replace("/", "."): make(shape, kind, number)
        for path, shape, kind, number in iter_tensors(sys.argv[2])
    }
    save_file(tensors, sys.argv[1])
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
