"""The meter with compiled passes: the same bits as `kinit_cli.statistics.meter.Meter`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kinit_cli.compiled import statistics
from kinit_cli.statistics.histogram import N_BUCKETS, GridCounts
from kinit_cli.statistics.meter import CHUNK_ELEMENTS, Meter, Moments, TileStats, scale_exponent

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class CompiledMeter(Meter):
    """Measures tiles; holds scratch memory, so each thread has its own.

    Tiles of one value, which are quicker to measure without, and those with values that are not
    finite, or so large or small that they must be scaled, are left to the class it derives from.

    Parameters
    ----------
    can_measure : callable, optional
        Tells whether the compiled passes may be used for float32, for float64.
    """

    def __init__(self, can_measure: Callable[[np.dtype[Any]], bool] = lambda dtype: True) -> None:
        super().__init__()
        self._can_measure = can_measure
        self._tally = np.zeros(N_BUCKETS, np.uint32)
        self._buckets = np.empty(N_BUCKETS, np.uint16)
        self._counts = np.empty(N_BUCKETS, np.int64)
        self._sums = np.empty(CHUNK_ELEMENTS)
        self._extremes = np.empty(2)
        self._zeros = np.empty(2, np.int64)
        self._result = np.empty(2)

    def _measure_values(self, values: NDArray[Any]) -> TileStats:
        if not values.size or _is_constant(values) or not self._can_measure(values.dtype):
            return super()._measure_values(values)
        is_single = values.dtype == np.float32
        scan = statistics.scan_float32 if is_single else statistics.scan_float64
        is_finite = scan(values, self._tally, self._extremes, self._zeros)
        n_zero, n_negative_zero = self._zeros.tolist() if is_finite else (0, 0)
        n_buckets = statistics.collect(self._tally, n_negative_zero, self._buckets, self._counts)
        # +0 for either zero.
        lowest, highest = (self._extremes + 0.0).tolist()
        if not is_finite or scale_exponent(lowest, highest):
            return super()._measure_values(values)
        mean, m2 = lowest, 0.0
        if lowest != highest:
            moments = statistics.moments_float32 if is_single else statistics.moments_float64
            moments(values, lowest, highest, self._sums, self._result)
            mean, m2 = self._result.tolist()
        return TileStats(
            n_elements=values.size,
            n_zero=n_zero,
            lowest=lowest,
            highest=highest,
            moments=Moments(count=values.size, mean=mean, m2=m2),
            grid_counts=GridCounts(
                buckets=self._buckets[:n_buckets].copy(), counts=self._counts[:n_buckets].copy()
            ),
        )


def _is_constant(values: NDArray[Any]) -> bool:
    first = values[0]
    if first != values[-1] or first != values[values.size // 2]:
        return False
    return bool((values == first).all())
