"""Statistics of one tile, with every floating-point operation fixed.

Any implementation of these rules gives the same bits on every machine. All arithmetic is
float64, each operation rounded on its own.

1. Elements become float64 exactly, except integers beyond 2^53 and long doubles, which are
   rounded. NaN and infinities are counted and then left out.
2. If the largest magnitude of a tile lies outside [2^-400, 2^400] and is not 0, its values are
   multiplied by 2^-exponent, `exponent` that of `frexp` of this magnitude; else it is 0.
3. A tile is cut in chunks of 2^14 elements. What is missing at the end, and what was left out,
   is 0 in the sums. The sum of a chunk folds it in halves: `a[:h] += a[h:2h]` for
   h = 2^13, 2^12, ..., 1.
4. The mean of a chunk with n values is sum / n, moved into [min, max] of the tile. `m2` is the
   sum, folded likewise, of (x - mean)^2; what is missing or left out gives 0.
5. Chunks with at least one value are merged in order, then tiles in order, by `merge` (Chan,
   Golub, LeVeque, 1979).
6. Where a zero's sign could depend on the order of things, it is positive: min, max, means.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kinit_cli.digest import TILE_ELEMENTS
from kinit_cli.dtypes import narrow_floats, numpy_dtype
from kinit_cli.statistics.histogram import GridCounter, GridCounts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

CHUNK_ELEMENTS = 2**14
_SAFE_EXPONENT = 400
_ROWS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Number, mean and sum of squared deviations of values in units of 2^exponent."""

    count: int = 0
    mean: float = 0.0
    m2: float = 0.0
    exponent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TileStats:
    """What one pass over a tile found.

    Attributes
    ----------
    lowest, highest : float or None
        None if there is no finite value.
    grid_counts : GridCounts or None
        The finite values on the fine grid; None if there are none.
    """

    n_elements: int
    n_nan: int = 0
    n_inf: int = 0
    n_zero: int = 0
    lowest: float | None = None
    highest: float | None = None
    moments: Moments = Moments()
    grid_counts: GridCounts | None = None

    def is_same(self, other: TileStats) -> bool:
        """Tell whether every number has the same bits."""
        return self._numbers() == other._numbers()

    def _numbers(self) -> tuple[object, ...]:
        grid = self.grid_counts
        moments = self.moments
        floats = (self.lowest, self.highest, moments.mean, moments.m2)
        return (
            (self.n_elements, self.n_nan, self.n_inf, self.n_zero),
            (moments.count, moments.exponent),
            [None if number is None else number.hex() for number in floats],
            None if grid is None else (grid.buckets.tolist(), grid.counts.tolist()),
        )


class Meter:
    """Measures tiles; holds scratch memory, so each thread has its own."""

    def __init__(self) -> None:
        self._grid = GridCounter()
        self._block = np.empty(_ROWS * CHUNK_ELEMENTS)
        self._widened: dict[type[np.generic], NDArray[Any]] = {}

    def measure(self, tile: NDArray[Any]) -> TileStats:
        """Give the statistics of a 1-D array of any numeric dtype and byte order."""
        with np.errstate(all="ignore"):
            return self._measure_values(self._widen(tile))

    def _measure_values(self, values: NDArray[Any]) -> TileStats:
        """Measure a contiguous array of native float32 or float64."""
        lowest = float(values.min(initial=math.inf))
        highest = float(values.max(initial=-math.inf))
        if math.isfinite(lowest) and math.isfinite(highest):
            return self._measure_finite(values, lowest + 0.0, highest + 0.0)
        return self._measure_mixed(values)

    def _measure_finite(self, values: NDArray[Any], lowest: float, highest: float) -> TileStats:
        # Zeros and ones are common, and need no pass: by rule 4 m2 is 0 and the mean the value.
        is_constant = lowest == highest
        n_repeats = values.size if is_constant else 1
        grid_counts, n_zero = self._grid.count(values[:1] if is_constant else values)
        if is_constant:
            exponent = scale_exponent(lowest, highest)
            mean = math.ldexp(lowest, -exponent)
            moments = Moments(count=values.size, mean=mean, exponent=exponent)
            grid_counts = replace(grid_counts, counts=grid_counts.counts * n_repeats)
        else:
            moments = self._moments(values, None, lowest, highest)
        return TileStats(
            n_elements=values.size,
            n_zero=n_zero * n_repeats,
            lowest=lowest,
            highest=highest,
            moments=moments,
            grid_counts=grid_counts,
        )

    def _measure_mixed(self, values: NDArray[Any]) -> TileStats:
        """Measure values that may be empty, or have NaN or infinities among them."""
        is_finite = np.isfinite(values)
        n_nan = int(np.count_nonzero(np.isnan(values)))
        finite = values[is_finite]
        n_inf = values.size - n_nan - finite.size
        if not finite.size:
            return TileStats(n_elements=values.size, n_nan=n_nan, n_inf=n_inf)
        found = self._measure_finite(finite, float(finite.min()) + 0.0, float(finite.max()) + 0.0)
        assert found.lowest is not None
        assert found.highest is not None
        filled = np.where(is_finite, values, values.dtype.type(0))
        moments = self._moments(filled, is_finite, found.lowest, found.highest)
        return replace(found, n_elements=values.size, n_nan=n_nan, n_inf=n_inf, moments=moments)

    def _moments(
        self, values: NDArray[Any], is_kept: NDArray[np.bool_] | None, lowest: float, highest: float
    ) -> Moments:
        exponent = scale_exponent(lowest, highest)
        if exponent:
            values = np.ldexp(values, -exponent)
            lowest, highest = math.ldexp(lowest, -exponent), math.ldexp(highest, -exponent)
        total = Moments(exponent=exponent)
        for start, stop in _iter_blocks(values.size):
            kept = None if is_kept is None else is_kept[start:stop]
            counts, means, m2s = self._chunk_moments(values[start:stop], kept, lowest, highest)
            for count, mean, m2 in zip(counts, means, m2s, strict=True):
                if count:
                    chunk = Moments(count=count, mean=mean, m2=m2, exponent=exponent)
                    total = merge(total, chunk)
        return total

    def _chunk_moments(
        self, values: NDArray[Any], is_kept: NDArray[np.bool_] | None, lowest: float, highest: float
    ) -> tuple[list[int], list[float], list[float]]:
        """Give count, mean and m2 of up to `_ROWS` whole chunks, or of one that is shorter."""
        rows, n_columns = _as_rows(values), min(values.size, CHUNK_ELEMENTS)
        block = self._block[: rows.size].reshape(rows.shape)
        if is_kept is None:
            counts = np.full(len(rows), n_columns)
        else:
            is_kept = _as_rows(is_kept)
            counts = np.count_nonzero(is_kept, axis=1)
        means = _fold(rows, block) / counts
        means = np.minimum(np.maximum(means, lowest), highest) + 0.0
        np.subtract(rows, means[:, np.newaxis], out=block, dtype=np.float64)
        np.multiply(block, block, out=block)
        block[:, n_columns:] = 0.0
        if is_kept is not None:
            block[~is_kept] = 0.0
        return counts.tolist(), means.tolist(), _fold(block, block).tolist()

    def _widen(self, tile: NDArray[Any]) -> NDArray[Any]:
        """Give the elements as contiguous native float32 or float64, without loss if possible."""
        dtype = tile.dtype
        if dtype in (np.float32, np.float64) and dtype.isnative and _is_plain(tile):
            return tile
        if dtype in (np.float32, np.float64):
            scratch = self._scratch(dtype.type)[: tile.size]
            np.copyto(scratch, tile)
            return scratch
        if dtype == numpy_dtype("bfloat16"):
            bits = self._scratch(np.uint32)[: tile.size]
            np.left_shift(tile.view(np.uint16), 16, out=bits, dtype=np.uint32)
            return bits.view(np.float32)
        scratch = self._scratch(np.float32 if is_single(dtype) else np.float64)[: tile.size]
        np.copyto(scratch, tile, casting="unsafe")
        return scratch

    def _scratch(self, element: type[np.generic]) -> NDArray[Any]:
        if element not in self._widened:
            self._widened[element] = np.empty(TILE_ELEMENTS, element)
        return self._widened[element]


def merge(a: Moments, b: Moments) -> Moments:
    """Give the moments of two parts together, the earlier one first.

    If the exponents differ, both are brought to the larger one; a part whose mean and m2 are 0
    takes the other's. Then, with n = n_a + n_b, delta = mean_b - mean_a, f = n_b / n::

        mean = mean_a + delta * f
        m2 = (m2_a + m2_b) + (delta * delta) * (n_a * f)
    """
    if not (a.count and b.count):
        return a if a.count else b
    if a.exponent != b.exponent:
        exponent = _common_exponent(a, b)
        a, b = _rescale(a, exponent), _rescale(b, exponent)
    count = a.count + b.count
    delta = b.mean - a.mean
    fraction = b.count / count
    return Moments(
        count=count,
        mean=a.mean + delta * fraction,
        m2=(a.m2 + b.m2) + (delta * delta) * (a.count * fraction),
        exponent=a.exponent,
    )


def is_single(dtype: np.dtype[Any]) -> bool:
    """Tell whether elements are measured as float32, which holds them; others as float64."""
    return dtype in (np.float32, np.float16) or dtype.type in narrow_floats()


def _is_plain(values: NDArray[Any]) -> bool:
    return bool(values.flags.c_contiguous and values.flags.aligned)


def scale_exponent(lowest: float, highest: float) -> int:
    """Give the exponent of rule 2 for values between two finite extremes."""
    largest = max(abs(lowest), abs(highest))
    is_safe = 2.0**-_SAFE_EXPONENT <= largest <= 2.0**_SAFE_EXPONENT
    return 0 if is_safe or largest == 0 else math.frexp(largest)[1]


def _common_exponent(a: Moments, b: Moments) -> int:
    if a.mean == 0 and a.m2 == 0:
        return b.exponent
    if b.mean == 0 and b.m2 == 0:
        return a.exponent
    return max(a.exponent, b.exponent)


def _rescale(moments: Moments, exponent: int) -> Moments:
    shift = moments.exponent - exponent
    return replace(
        moments,
        mean=math.ldexp(moments.mean, shift),
        m2=math.ldexp(moments.m2, 2 * shift),
        exponent=exponent,
    )


def _iter_blocks(n_elements: int) -> Iterator[tuple[int, int]]:
    """Cut [0, n_elements) into groups of whole chunks, and the shorter chunk at the end."""
    n_whole = n_elements - n_elements % CHUNK_ELEMENTS
    step = _ROWS * CHUNK_ELEMENTS
    for start in range(0, n_whole, step):
        yield start, min(start + step, n_whole)
    if n_whole < n_elements:
        yield n_whole, n_elements


def _as_rows(values: NDArray[Any]) -> NDArray[Any]:
    """View whole chunks as rows; pad a shorter chunk with zeros to a power of two.

    Padding further, to a whole chunk, would only add zeros to its sum.
    """
    if values.size % CHUNK_ELEMENTS == 0:
        return values.reshape(-1, CHUNK_ELEMENTS)
    padded = np.zeros((1, 1 << (values.size - 1).bit_length()), values.dtype)
    padded[0, : values.size] = values
    return padded


def _fold(rows: NDArray[Any], out: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum each row by folding it in halves; `out`, of the same shape, may be `rows` itself."""
    half = rows.shape[1] // 2
    if not half:
        np.copyto(out, rows)
    while half:
        np.add(rows[:, :half], rows[:, half : 2 * half], out=out[:, :half], dtype=np.float64)
        rows, half = out, half // 2
    sums: NDArray[np.float64] = out[:, 0].copy()
    return sums
