"""How much time compiled code is expected to save, so that `auto` can tell whether it pays.

The figures are nanoseconds of one core, by which the NumPy engine is slower: for each element,
and for each tensor, of which a small one costs little else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinit_cli.draw import Draw, Orthogonal, matrix_shape

if TYPE_CHECKING:
    from kinit_cli.plan import Plan

_NS_MEASURE = 2.1
_NS_MEASURE_TENSOR = 25_000
_NS_DRAW_TENSOR = 50_000
_NS_DRAW = {"Uniform": 4.0, "Normal": 5.5, "TruncatedNormal": 6.0}
# For each element and reflector.
_NS_REFLECT = 0.06


def seconds_saved_measuring(n_tensors: int, n_elements: int, jobs: int) -> float:
    """Give the seconds saved in measuring tensors of so many elements in all on `jobs` threads."""
    # Threads take turns at what a tensor costs by itself.
    return (n_tensors * _NS_MEASURE_TENSOR + n_elements * _NS_MEASURE / jobs) * 1e-9


def seconds_saved_generating(plan: Plan, jobs: int) -> float:
    """Give the seconds saved in drawing and measuring a plan's tensors on `jobs` threads."""
    drawn = sum(
        _ns_drawing(tensor.draw, tensor.shape) * tensor.n_elements for tensor in plan.tensors
    )
    n_tensors = len(plan.tensors)
    seconds = (n_tensors * _NS_DRAW_TENSOR + drawn / jobs) * 1e-9
    return seconds + seconds_saved_measuring(n_tensors, plan.n_elements, jobs)


def _ns_drawing(draw: Draw, shape: tuple[int, ...]) -> float:
    if isinstance(draw, Orthogonal):
        return min(matrix_shape(shape)) * _NS_REFLECT
    return _NS_DRAW.get(type(draw).__name__, 0.0)
