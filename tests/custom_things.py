"""Initializers of both forms for the tests of custom ones."""

from __future__ import annotations

from typing import Any

import numpy as np


def ramp(shape: tuple[int, ...], dtype: str | None = None, step: float = 1.0) -> Any:
    return (np.arange(np.prod(shape)) * step).reshape(shape).astype(dtype)


def seeded(shape: tuple[int, ...], dtype: str | None = None, seed: int | None = None) -> Any:
    return np.full(shape, seed, dtype)


class Scaled:
    """Duck-typed, as Keras's subclasses are written."""

    def __init__(self, scale: float, offsets: Any = (), seed: int | None = None) -> None:
        self.scale, self.offsets, self.seed = scale, list(offsets), seed

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        values = np.random.default_rng(self.seed).standard_normal(shape) * self.scale
        return (values + sum(self.offsets)).astype(dtype)

    def get_config(self) -> dict[str, Any]:
        return {"scale": self.scale, "offsets": self.offsets, "seed": self.seed}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Scaled:
        return cls(**config)


class Plain:
    """A class without a config of its own; `__call__` takes the seed."""

    def __init__(self, factor: int = 1) -> None:
        self.factor = factor

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None, *, seed: int) -> Any:
        return np.full(shape, seed * self.factor, dtype)
