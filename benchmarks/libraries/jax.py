"""jax.nn.initializers, which give a new array; waited for, as JAX returns before it is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.nn import initializers


def versions() -> dict[str, str]:
    return {"jax": jax.__version__}


def make(what: str, variant: str, shape: tuple[int, int], n_threads: int) -> Callable[[], Any]:
    """Prepare a fill; the variants are `as called` and `jit`, compiled as a whole."""
    initializer = {
        "uniform": initializers.uniform(0.1),
        "normal": initializers.normal(0.05),
        "truncated normal": initializers.truncated_normal(0.05),
        "HeNormal": initializers.he_normal(),
        "orthogonal": initializers.orthogonal(),
    }[what]
    key = jax.random.key(1)
    if variant == "jit":
        compiled = jax.jit(lambda key: initializer(key, shape, jnp.float32))
        return lambda: compiled(key).block_until_ready()
    return lambda: initializer(key, shape, jnp.float32).block_until_ready()
