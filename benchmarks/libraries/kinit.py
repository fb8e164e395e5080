"""kinit, with the compiled engine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from kinit_cli import __version__
from kinit_cli.draw import TRUNCATED_STDDEV, Draw, Normal, Orthogonal, TruncatedNormal, Uniform
from kinit_cli.engines.registry import get_engine
from kinit_cli.engines.whole import fill_tensor, make_tensor
from kinit_cli.stream.identity import explicit_stream_key


def versions() -> dict[str, str]:
    return {"kinit": __version__}


def make(
    what: str, variant: str, shape: tuple[int, int], n_threads: int
) -> Callable[[], np.ndarray[Any, Any]]:
    """Prepare a fill; the variants are `in place`, `new array`, and either on `one thread`."""
    engine = get_engine("numba", on_fault=lambda reason: print(reason, file=sys.stderr))
    draw, key = draw_of(what, shape), explicit_stream_key(1)
    jobs = 1 if "one thread" in variant else n_threads
    if variant.startswith("new array"):
        return lambda: make_tensor(engine, draw, key, shape, "float32", jobs=jobs)
    out = np.ones(shape, np.float32)

    def fill() -> np.ndarray[Any, Any]:
        fill_tensor(out, engine, draw, key, jobs=jobs)
        return out

    return fill


def draw_of(what: str, shape: tuple[int, int]) -> Draw:
    """Give what the elements of a fill are drawn from."""
    he_stddev = float(np.sqrt(2 / shape[0]))
    draws: dict[str, Draw] = {
        "uniform": Uniform(minval=-0.05, maxval=0.05),
        "normal": Normal(mean=0.0, stddev=0.05),
        "truncated normal": TruncatedNormal(mean=0.0, stddev=0.05),
        "HeNormal": TruncatedNormal(mean=0.0, stddev=he_stddev / TRUNCATED_STDDEV),
        "orthogonal": Orthogonal(gain=1.0),
    }
    return draws[what]
