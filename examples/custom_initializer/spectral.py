"""Initializers that say what a matrix does, rather than what its elements are.

The singular values of a matrix of independent normals are spread from about sqrt(rows) -
sqrt(columns) to sqrt(rows) + sqrt(columns). Here they are chosen.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]


def power_law(
    shape: Shape, dtype: str | None = None, exponent: float = 1.0, seed: int | None = None
) -> NDArray[Any]:
    """Draw a matrix whose k-th singular value is k ** -exponent, and its directions uniformly.

    kinit offers `seed`, which is the tensor's own.
    """
    if len(shape) < 2:
        raise ValueError(f"a matrix has two or more dimensions, got the shape {list(shape)}")
    rows, cols = math.prod(shape[:-1]), shape[-1]
    rank = min(rows, cols)
    generator = np.random.default_rng(seed)
    left, right = (_orthonormal(generator, size, rank) for size in (rows, cols))
    singular_values = np.arange(1, rank + 1) ** -exponent
    return ((left * singular_values) @ right.T).reshape(shape).astype(dtype)


class SpectralNormal:
    """Draw normals, scaled so that the matrix's largest singular value is `norm`.

    It has what Keras asks of an initializer, and may be used there, too.
    """

    def __init__(self, norm: float = 1.0, seed: int | None = None) -> None:
        if norm <= 0:
            raise ValueError(f"norm must be positive, got {norm}")
        self.norm = norm
        self.seed = seed

    def __call__(self, shape: Shape, dtype: str | None = None) -> NDArray[Any]:
        """Draw an array of the shape, seen as a matrix of shape[-1] columns."""
        generator = np.random.default_rng(self.seed)
        matrix = generator.standard_normal((math.prod(shape[:-1]), shape[-1]))
        matrix *= self.norm / np.linalg.norm(matrix, 2)
        return matrix.reshape(shape).astype(dtype)

    def get_config(self) -> dict[str, Any]:
        """Give the arguments that make the same initializer again."""
        return {"norm": self.norm, "seed": self.seed}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SpectralNormal:
        """Make an initializer from what `get_config` gave."""
        return cls(**config)


def _orthonormal(generator: np.random.Generator, rows: int, cols: int) -> NDArray[np.float64]:
    """Draw orthonormal columns; the signs make them uniform (Mezzadri, 2007)."""
    q, r = np.linalg.qr(generator.standard_normal((rows, cols)))
    return q * np.sign(np.diag(r))
