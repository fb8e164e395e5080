"""What is told of a tensor and of a file: plain results, of one pass, the same everywhere."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kinit_cli.histogram import GridSum, Histogram, reduce_grid
from kinit_cli.meter import Moments, merge

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kinit_cli.close_up import CloseUp
    from kinit_cli.distribution_test import DistributionTest
    from kinit_cli.draw import Draw
    from kinit_cli.histogram import GridCounts
    from kinit_cli.meter import TileStats
    from kinit_cli.origin import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorStats:
    """Statistics of a tensor, over its finite values but for the counts.

    Attributes
    ----------
    count : int
        All elements, NaN and infinities among them.
    mean, std, min, max, l2_norm : float or None
        None if there is no finite value. `std` is that of the population. `l2_norm` may be
        infinite, for float64 only.
    n_zero, n_nan, n_inf : int
    histogram : Histogram or None
        None if there is no finite value.
    """

    count: int
    mean: float | None
    std: float | None
    min: float | None
    max: float | None
    n_zero: int
    n_nan: int
    n_inf: int
    l2_norm: float | None
    histogram: Histogram | None

    def to_json(self) -> dict[str, object]:
        """Give plain data with stable keys; no NaN or infinity, but null."""
        return {
            "count": self.count,
            "mean": _json_number(self.mean),
            "std": _json_number(self.std),
            "min": _json_number(self.min),
            "max": _json_number(self.max),
            "n_zero": self.n_zero,
            "n_nan": self.n_nan,
            "n_inf": self.n_inf,
            "l2_norm": _json_number(self.l2_norm),
            "histogram": self.histogram.to_json() if self.histogram else None,
        }


class StatsAccumulator:
    """Joins the statistics of a tensor's tiles, which may come in any order.

    The result has the same bits whatever the order. Of tiles that wait for an earlier one only
    the moments are kept. Not to be shared between threads.
    """

    __slots__ = (
        "_grid", "_highest", "_lowest", "_moments",
        "_n_elements", "_n_inf", "_n_joined", "_n_nan", "_n_zero", "_waiting",
    )  # fmt: skip

    def __init__(self) -> None:
        self._grid = GridSum()
        self._n_elements = self._n_nan = self._n_inf = self._n_zero = 0
        self._lowest, self._highest = math.inf, -math.inf
        self._moments = Moments()
        self._n_joined = 0
        self._waiting: dict[int, Moments] = {}

    def add(self, tile_index: int, tile: TileStats) -> None:
        """Take what `Meter.measure` gave for tile `tile_index`, each index once."""
        if tile_index < self._n_joined or tile_index in self._waiting:
            raise ValueError(f"tile {tile_index} was added before")
        self._n_elements += tile.n_elements
        self._n_nan += tile.n_nan
        self._n_inf += tile.n_inf
        self._n_zero += tile.n_zero
        if tile.grid_counts is not None:
            assert tile.lowest is not None
            assert tile.highest is not None
            self._grid.add(tile.grid_counts)
            self._lowest = min(self._lowest, tile.lowest)
            self._highest = max(self._highest, tile.highest)
        self._waiting[tile_index] = tile.moments
        while (ready := self._waiting.pop(self._n_joined, None)) is not None:
            self._moments = merge(self._moments, ready)
            self._n_joined += 1

    @property
    def grid_counts(self) -> GridCounts | None:
        """The finite values of all tiles on the fine grid; None if there are none."""
        return self._grid.result()

    def result(self) -> TensorStats:
        """Give the statistics of all tiles.

        Raises
        ------
        ValueError
            If a tile before the last one added is missing.
        """
        if self._waiting:
            raise ValueError(f"tile {self._n_joined} is missing")
        moments = self._moments
        has_values = moments.count > 0
        variance = moments.m2 / moments.count if has_values else 0.0
        square_sum = moments.m2 + moments.count * (moments.mean * moments.mean)
        grid_counts = self._grid.result()
        return TensorStats(
            count=self._n_elements,
            mean=_scaled(moments.mean, moments.exponent) if has_values else None,
            std=_scaled(math.sqrt(variance), moments.exponent) if has_values else None,
            min=self._lowest if has_values else None,
            max=self._highest if has_values else None,
            n_zero=self._n_zero,
            n_nan=self._n_nan,
            n_inf=self._n_inf,
            l2_norm=_scaled(math.sqrt(square_sum), moments.exponent) if has_values else None,
            histogram=(
                None
                if grid_counts is None
                else reduce_grid(grid_counts, self._lowest, self._highest)
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSummary:
    """One tensor: what it is, what was measured, and what is known about its making.

    Attributes
    ----------
    dtype : str
        As shown to the user.
    stats : TensorStats or None
        None for what is not numbers, such as strings.
    expected_mean, expected_std : float or None
        Of the initializer, where it is known.
    initializer : str or None
    digest : str or None
        Of the elements, computed while they were generated or checked.
    recorded_digest : str or None
        What the file's manifest says it is; checked only if there is a test.
    test : DistributionTest or None
        How the values compare with the initializer; None if nobody has looked.
    draw : Draw or None
        What the file's manifest says the elements are drawn from; only from inspecting.
    close_up : CloseUp or None
        Only if it was asked for.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    n_elements: int
    n_bytes: int
    stats: TensorStats | None
    expected_mean: float | None = None
    expected_std: float | None = None
    initializer: str | None = None
    digest: str | None = None
    recorded_digest: str | None = None
    test: DistributionTest | None = None
    draw: Draw | None = field(default=None, compare=False, repr=False)
    close_up: CloseUp | None = None

    def to_json(self) -> dict[str, object]:
        """Give plain data with stable keys; no NaN or infinity, but null."""
        return {
            "path": self.path,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "n_elements": self.n_elements,
            "n_bytes": self.n_bytes,
            "initializer": self.initializer,
            "expected_mean": _json_number(self.expected_mean),
            "expected_std": _json_number(self.expected_std),
            "digest": self.digest,
            "recorded_digest": self.recorded_digest,
            "test": self.test.to_json() if self.test else None,
            "stats": self.stats.to_json() if self.stats else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictCounts:
    """How many tensors passed, failed and had nothing to be tested against.

    Attributes
    ----------
    missing : tuple of str
        Tensors that the file should have and has not.
    """

    n_passed: int
    n_failed: int
    n_untested: int
    missing: tuple[str, ...] = ()

    @property
    def is_failure(self) -> bool:
        """Whether anything contradicts what the file should be."""
        return bool(self.n_failed or self.missing)

    def to_json(self) -> dict[str, object]:
        """Give plain data with stable keys."""
        return {
            "n_passed": self.n_passed,
            "n_failed": self.n_failed,
            "n_untested": self.n_untested,
            "missing": list(self.missing),
        }


def count_verdicts(
    tensors: Iterable[TensorSummary], missing: tuple[str, ...] = ()
) -> VerdictCounts:
    """Count the tensors by the verdicts of their tests."""
    counts = Counter(tensor.test.verdict for tensor in tensors if tensor.test)
    return VerdictCounts(
        n_passed=counts["pass"],
        n_failed=counts["fail"],
        n_untested=counts["untested"],
        missing=missing,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSummary:
    """A weights file, written or read, and its tensors.

    Attributes
    ----------
    source : str
        The file, as the user named it.
    format : str
        "hdf5", "hdf5-set", "npy", "npy-directory", "npz", "safetensors", "safetensors-set".
    layout : str
        "keras-legacy", "keras3-weights" or "flat".
    n_parameters : int
        Elements of the numeric tensors.
    n_bytes : int
        Bytes of all tensors' elements.
    seed, stream, engine : int, int, str, or None
        What the file's manifest says.
    origin : Origin or None
        Whose values these are, if not those of the value stream.
    notes : tuple of str
        Remarks for the user, a sentence each.
    tests : VerdictCounts or None
        None if nobody has tested the tensors.
    """

    source: str
    format: str
    layout: str
    tensors: tuple[TensorSummary, ...]
    n_parameters: int
    n_bytes: int
    seconds: float
    seed: int | None = None
    stream: int | None = None
    engine: str | None = None
    origin: Origin | None = None
    notes: tuple[str, ...] = ()
    tests: VerdictCounts | None = None

    def to_json(self) -> dict[str, object]:
        """Give plain data with stable keys; no NaN or infinity, but null."""
        return {
            "source": self.source,
            "format": self.format,
            "layout": self.layout,
            "seed": self.seed,
            "stream": self.stream,
            "engine": self.engine,
            "origin": self.origin.to_json() if self.origin else None,
            "n_tensors": len(self.tensors),
            "n_parameters": self.n_parameters,
            "n_bytes": self.n_bytes,
            "seconds": _json_number(self.seconds),
            "notes": list(self.notes),
            "tests": self.tests.to_json() if self.tests else None,
            "tensors": [tensor.to_json() for tensor in self.tensors],
        }


def _scaled(value: float, exponent: int) -> float:
    """Give value * 2^exponent, infinite if it is too large."""
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return math.inf


def _json_number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
