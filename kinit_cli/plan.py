"""A plan: every tensor's path, shape, dtype, stream and draw, and no arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kinit_cli.draw import Called, Draw, StreamedDraw, expected_moments
from kinit_cli.dtypes import DType
from kinit_cli.initializers.base import Initializer
from kinit_cli.origin import Origin
from kinit_cli.stream.identity import StreamKey


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorPlan:
    """One tensor: what it is called, what it is, and what it is drawn from.

    Attributes
    ----------
    path : str
        ``layer/weight``, or ``weight`` alone.
    layer : str
        What Keras lists as one layer: a model within the model is one with all its layers. Empty
        for a weight in no layer.
    initializer : Initializer
        As read from the spec, or the default for the weight.
    stream_key : StreamKey
        Selects the tensor's words in the value stream.
    keras_path : str or None
        Where Keras looks for the tensor in a ``.weights.h5`` file, if the layer's type is known:
        ``layers/dense/vars/0``.
    is_trainable : bool
        False for what a layer type keeps without training it, such as a moving mean.
    """

    path: str
    layer: str
    weight: str
    shape: tuple[int, ...]
    dtype: DType
    initializer: Initializer
    draw: Draw
    stream_key: StreamKey
    keras_path: str | None = None
    is_trainable: bool = True

    @property
    def n_elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def is_random(self) -> bool:
        """Whether the elements are drawn from the stream."""
        return isinstance(self.draw, StreamedDraw)

    @property
    def n_bytes(self) -> int:
        """Size of the elements in bytes."""
        return self.n_elements * self.dtype.n_bytes

    def initializer_config(self) -> dict[str, Any]:
        """Give the initializer's class and all its arguments, as Keras writes them."""
        config = self.initializer.config()
        if isinstance(self.draw, Called) and self.draw.config is not None:
            config["config"] = _as_spec(self.draw.config)
        return config

    def to_json(self) -> dict[str, Any]:
        """Give plain data with stable keys."""
        expected = expected_moments(self.draw, self.shape)
        return {
            "path": self.path,
            "shape": list(self.shape),
            "dtype": self.dtype.name,
            "n_elements": self.n_elements,
            "n_bytes": self.n_bytes,
            "initializer": str(self.initializer),
            "initializer_config": self.initializer_config(),
            "expected_mean": expected.mean if expected else None,
            "expected_std": expected.stddev if expected else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that generation needs, as plain data.

    Attributes
    ----------
    seed : int
        The model's seed.
    is_seed_drawn : bool
        The spec had no seed and this one was drawn.
    tensors : tuple of TensorPlan
        In the order of the spec.
    document : dict
        The spec as plain data with the seed in it: what the output records.
    notes : tuple of str
        What the user should know, though nothing is wrong.
    origin : Origin or None
        Whose values these are, if not those of the value stream.
    """

    name: str | None
    seed: int
    is_seed_drawn: bool
    tensors: tuple[TensorPlan, ...]
    document: Mapping[str, Any]
    notes: tuple[str, ...]
    origin: Origin | None = None

    @property
    def n_elements(self) -> int:
        """Number of elements of all tensors."""
        return sum(tensor.n_elements for tensor in self.tensors)

    @property
    def n_bytes(self) -> int:
        """Size of the elements of all tensors in bytes."""
        return sum(tensor.n_bytes for tensor in self.tensors)

    def to_json(self) -> dict[str, Any]:
        """Give plain data with stable keys."""
        return {
            "name": self.name,
            "seed": self.seed,
            "is_seed_drawn": self.is_seed_drawn,
            "origin": self.origin.to_json() if self.origin else None,
            "n_tensors": len(self.tensors),
            "n_parameters": self.n_elements,
            "n_bytes": self.n_bytes,
            "notes": list(self.notes),
            "tensors": [tensor.to_json() for tensor in self.tensors],
        }


def _as_spec(value: Any) -> Any:
    """Write a custom initializer's arguments as a spec has them, where braces are doubled."""
    if isinstance(value, Mapping):
        return {key: _as_spec(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_spec(item) for item in value]
    return value.replace("{", "{{").replace("}", "}}") if isinstance(value, str) else value
