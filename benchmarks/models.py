"""The models that are written to files: their tensors for the peers' scripts, specs for kinit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

GPT2_SPEC = Path(__file__).parents[1] / "sample_configs" / "gpt2_small.yaml"
GPT2_BYTES = 497_759_232
_D, _N_LAYERS, _VOCAB, _N_POSITIONS, _STD = 768, 12, 50257, 1024, 0.02

_WIDE_SPEC = """\
seed: 1
params: {n: %d}
layers:
  - repeat: n
    layers:
      - name: "layer_{i}"
        weights:
          kernel: {shape: [2000, 2000], initializer: he_normal}
"""
_WIDE_SIDE = 2000
_WIDE_LAYER_BYTES = _WIDE_SIDE * _WIDE_SIDE * 4

#: Path, shape, what to draw, and its standard deviation or value.
Tensor = tuple[str, tuple[int, ...], Literal["normal", "he_normal", "constant"], float]


def iter_tensors(model: str) -> Iterator[Tensor]:
    """List the tensors of `gpt2`, or of `wide:LAYERS`, in the order of the spec."""
    name, _, n_layers = model.partition(":")
    return _iter_gpt2() if name == "gpt2" else _iter_wide(int(n_layers))


def wide_model(n_bytes: int) -> str:
    """Name the model of HeNormal kernels of 16 MB that has about so many bytes."""
    return f"wide:{_n_wide_layers(n_bytes)}"


def wide_spec(n_bytes: int) -> str:
    """Write the spec of `wide_model(n_bytes)`."""
    return _WIDE_SPEC % _n_wide_layers(n_bytes)


def wide_bytes(n_bytes: int) -> int:
    """Give the bytes that `wide_model(n_bytes)` really has."""
    return _n_wide_layers(n_bytes) * _WIDE_LAYER_BYTES


def _n_wide_layers(n_bytes: int) -> int:
    return max(1, round(n_bytes / _WIDE_LAYER_BYTES))


def _iter_wide(n_layers: int) -> Iterator[Tensor]:
    for i in range(n_layers):
        shape = (_WIDE_SIDE, _WIDE_SIDE)
        yield f"layer_{i}/kernel", shape, "he_normal", math.sqrt(2 / _WIDE_SIDE)


def _iter_gpt2() -> Iterator[Tensor]:
    residual_std = _STD / math.sqrt(2 * _N_LAYERS)
    yield "wte/embeddings", (_VOCAB, _D), "normal", _STD
    yield "wpe/embeddings", (_N_POSITIONS, _D), "normal", _STD / 2
    for i in range(_N_LAYERS):
        yield f"h{i}/ln_1/gamma", (_D,), "constant", 1
        yield f"h{i}/ln_1/beta", (_D,), "constant", 0
        yield f"h{i}/attn/c_attn/kernel", (_D, 3 * _D), "normal", _STD
        yield f"h{i}/attn/c_attn/bias", (3 * _D,), "constant", 0
        yield f"h{i}/attn/c_proj/kernel", (_D, _D), "normal", residual_std
        yield f"h{i}/attn/c_proj/bias", (_D,), "constant", 0
        yield f"h{i}/ln_2/gamma", (_D,), "constant", 1
        yield f"h{i}/ln_2/beta", (_D,), "constant", 0
        yield f"h{i}/mlp/c_fc/kernel", (_D, 4 * _D), "normal", _STD
        yield f"h{i}/mlp/c_fc/bias", (4 * _D,), "constant", 0
        yield f"h{i}/mlp/c_proj/kernel", (4 * _D, _D), "normal", residual_std
        yield f"h{i}/mlp/c_proj/bias", (_D,), "constant", 0
    yield "ln_f/gamma", (_D,), "constant", 1
    yield "ln_f/beta", (_D,), "constant", 0
