"""How much time compiled code is expected to save, so that `auto` can tell whether it pays.

The figures are of one core (benchmarks/results.md); only their size matters. They are nanoseconds
for each element, and for each tensor, of which a small one costs little else.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from kinit_cli.draw import Constant, DeltaOrthogonal, Draw, Orthogonal, channels, orthogonal_shape

if TYPE_CHECKING:
    from kinit_cli.plan import Plan


class _Cost(NamedTuple):
    """Nanoseconds of one thread."""

    numpy: float
    numba: float


_MEASURE = _Cost(numpy=2.8, numba=0.5)
_DRAW = {
    "Uniform": _Cost(numpy=4.3, numba=0.5),
    "Normal": _Cost(numpy=7.0, numba=1.1),
    "TruncatedNormal": _Cost(numpy=7.5, numba=1.2),
    "BoundedNormal": _Cost(numpy=9.0, numba=1.3),
    "Sparse": _Cost(numpy=27.0, numba=21.0),
}
# For each element and reflector.
_REFLECT = _Cost(numpy=0.08, numba=0.03)
_MEASURE_TENSOR = _Cost(numpy=35_000, numba=8_000)
_DRAW_TENSOR = _Cost(numpy=60_000, numba=10_000)
#: Nanoseconds for each byte that comes from a GPU, all threads together. Assumed: 10 GB/s over the
#: bus, next to which a GPU draws in no time.
_FROM_GPU = 0.1
#: Threads take turns at the interpreter, between any two of NumPy's array operations.
_MAX_NUMPY_SPEEDUP = 1.4


def seconds_saved_measuring(n_tensors: int, n_elements: int, jobs: int) -> float:
    """Give the seconds saved in measuring tensors of so many elements in all on `jobs` threads."""
    return _saved(_MEASURE_TENSOR, n_tensors, 1) + _saved(_MEASURE, n_elements, jobs)


def seconds_saved_on_gpu(plan: Plan, jobs: int) -> float:
    """Give the seconds that a GPU saves in drawing, against compiled code on `jobs` threads."""
    nanoseconds = 0.0
    for tensor in plan.tensors:
        cost = _DRAW.get(type(tensor.draw).__name__)
        if cost:
            nanoseconds += tensor.n_elements * cost.numba / jobs - tensor.n_bytes * _FROM_GPU
    return nanoseconds * 1e-9


def seconds_saved_drawing(draw: Draw, shape: tuple[int, ...], jobs: int) -> float:
    """Give the seconds saved in drawing one tensor on `jobs` threads."""
    if isinstance(draw, Constant):
        return 0.0  # as quick without
    saved = _saved(_DRAW_TENSOR, 1, 1)
    if isinstance(draw, Orthogonal):
        rows, cols = orthogonal_shape(draw, shape)
        return saved + _saved(_REFLECT, rows * cols * min(rows, cols), jobs)
    if isinstance(draw, DeltaOrthogonal):
        n_inputs, n_outputs = channels(shape, draw.layout)
        return saved + _saved(_REFLECT, n_inputs * n_outputs * n_inputs, jobs)
    cost = _DRAW.get(type(draw).__name__)
    return saved + (_saved(cost, math.prod(shape), jobs) if cost else 0.0)


def seconds_saved_generating(plan: Plan, jobs: int) -> float:
    """Give the seconds saved in drawing and measuring a plan's tensors on `jobs` threads."""
    tensors = [tensor for tensor in plan.tensors if not isinstance(tensor.draw, Constant)]
    n_elements = sum(tensor.n_elements for tensor in tensors)
    return sum(
        seconds_saved_drawing(tensor.draw, tensor.shape, jobs) for tensor in tensors
    ) + seconds_saved_measuring(len(tensors), n_elements, jobs)


def _saved(cost: _Cost, count: int, jobs: int) -> float:
    return count * (cost.numpy / min(jobs, _MAX_NUMPY_SPEEDUP) - cost.numba / jobs) * 1e-9
