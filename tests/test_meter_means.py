"""The rule that a chunk's mean lies among the values, where rounding would put it outside."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kinit_cli.statistics.meter import Meter


@pytest.mark.parametrize(
    ("value", "n_values", "towards"), [(0.1, 13, -math.inf), (0.1, 19, math.inf)]
)
@pytest.mark.parametrize("sign", [1, -1])
def test_mean_of_a_chunk_is_moved_into_the_range(
    value: float, n_values: int, towards: float, sign: int
) -> None:
    values = sign * np.full(n_values, value)
    values[-1] = np.nextafter(values[-1], sign * towards)
    rounded = folded_sum(values) / n_values
    assert not values.min() <= rounded <= values.max()
    moments = Meter().measure(values).moments
    assert moments.mean == sign * value
    assert moments.m2 == (values[-1] - values[0]) ** 2
    with_nan = np.append(values, np.nan)
    assert Meter().measure(with_nan).moments.mean == sign * value


def folded_sum(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """Add in the order that the rules of `kinit_cli.statistics.meter` give."""
    padded = np.zeros(1 << (values.size - 1).bit_length())
    padded[: values.size] = values
    while padded.size > 1:
        padded = padded[: padded.size // 2] + padded[padded.size // 2 :]
    return float(padded[0])
