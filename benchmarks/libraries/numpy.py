"""NumPy's Generator, which fills on one thread, and one Generator for each thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def versions() -> dict[str, str]:
    return {"numpy": np.__version__}


def make(what: str, variant: str, shape: tuple[int, int], n_threads: int) -> Callable[[], Array]:
    """Prepare a fill: `float64, then astype`, `in place`, `in place, threads`, or `qr`."""
    rng = np.random.default_rng(1)
    if what == "orthogonal":
        matrix = rng.standard_normal(shape)
        return lambda: np.linalg.qr(matrix).Q
    if variant.startswith("float64"):
        draw = {
            "uniform": lambda: rng.uniform(-0.05, 0.05, shape).astype(np.float32),
            "normal": lambda: rng.normal(0, 0.05, shape).astype(np.float32),
        }
        return draw[what]
    out = np.ones(shape, np.float32)
    n_pieces = n_threads if "threads" in variant else 1
    pieces, generators = np.array_split(out.reshape(-1), n_pieces), rng.spawn(n_pieces)
    fill = {"uniform": _uniform, "normal": _normal, "truncated normal": _truncated_normal}[what]
    pool = ThreadPoolExecutor(n_pieces)

    def fill_all() -> Array:
        if n_pieces == 1:
            fill(generators[0], pieces[0])
        else:
            list(pool.map(fill, generators, pieces))
        return out

    return fill_all


def _uniform(rng: np.random.Generator, out: Array) -> None:
    rng.random(out=out, dtype=np.float32)
    out -= np.float32(0.5)
    out *= np.float32(0.1)


def _normal(rng: np.random.Generator, out: Array) -> None:
    rng.standard_normal(out=out, dtype=np.float32)
    out *= np.float32(0.05)


def _truncated_normal(rng: np.random.Generator, out: Array) -> None:
    """Draw again what lies outside, as NumPy has no truncated normal."""
    rng.standard_normal(out=out, dtype=np.float32)
    (outside,) = np.nonzero(np.abs(out) > 2)
    while outside.size:
        out[outside] = rng.standard_normal(outside.size, dtype=np.float32)
        outside = outside[np.abs(out[outside]) > 2]
    out *= np.float32(0.05)
