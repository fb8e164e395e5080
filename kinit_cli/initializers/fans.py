"""Fan-in and fan-out of a weight, by the conventions of Keras and of PyTorch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal


def compute_fans(
    shape: tuple[int, ...],
    *,
    layout: Literal["keras", "torch"] = "keras",
    input_axes: Sequence[int] | None = None,
    output_axes: Sequence[int] | None = None,
) -> tuple[int, int]:
    """Give (fan_in, fan_out).

    Parameters
    ----------
    shape : tuple of int
        The weight's shape, of any rank. A scalar has fans (1, 1), a vector of n elements (n, n).
    layout : "keras" or "torch"
        Kernels are (..., in, out) in Keras, (out, in, ...) in PyTorch; the other axes are the
        receptive field and multiply both fans.
    input_axes, output_axes : sequences of int, optional
        The axes whose product each fan is, negative ones counted from the end. As in Keras, they
        are heeded only when both are given.

    Raises
    ------
    IndexError
        An axis that the shape does not have.

    Examples
    --------
    >>> compute_fans((3, 3, 64, 128))
    (576, 1152)
    >>> compute_fans((128, 64, 3, 3), layout="torch")
    (576, 1152)
    >>> compute_fans((512, 8, 64), input_axes=[0], output_axes=[1, 2])
    (512, 512)
    """
    if input_axes is not None and output_axes is not None:
        return _product(shape, input_axes), _product(shape, output_axes)
    if len(shape) < 2:
        size = math.prod(shape)
        return size, size
    if layout == "torch":
        field = math.prod(shape[2:])
        return shape[1] * field, shape[0] * field
    field = math.prod(shape[:-2])
    return shape[-2] * field, shape[-1] * field


def _product(shape: tuple[int, ...], axes: Sequence[int]) -> int:
    return math.prod(shape[axis] for axis in axes)
