"""One tensor seen closely: its quantiles and its first values, exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kinit_cli.compare.elements import element_at
from kinit_cli.panels import expected_marginal
from kinit_cli.statistics.quantiles import PERCENTS, exact_quantiles, rank_of
from kinit_cli.summary import N_FIRST, CloseUp

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from kinit_cli.formats.weights_file import TensorEntry, WeightsFile
    from kinit_cli.statistics.marginal import Marginal
    from kinit_cli.statistics.tensor_stats import TensorStats
    from kinit_cli.summary import TensorSummary


def look_closely(
    file: WeightsFile,
    entry: TensorEntry,
    stats: TensorStats,
    *,
    jobs: int,
    progress: Callable[[int], object],
) -> CloseUp:
    """Find the quantiles and first values of a tensor of numbers that has been measured.

    Parameters
    ----------
    progress : callable
        Called with the number of bytes each time some have been looked at.

    Raises
    ------
    WeightsFileError
        If the elements cannot be read.
    """
    n_finite = stats.count - stats.n_nan - stats.n_inf
    quantiles: tuple[float | int, ...] = ()
    if n_finite:
        n_item_bytes = entry.n_bytes // entry.n_elements

        def read(start: int, stop: int, memory: NDArray[np.uint8]) -> NDArray[np.generic]:
            return file.read(entry, start, stop, memory)

        quantiles = exact_quantiles(
            read,
            entry.n_elements,
            n_finite,
            jobs=jobs,
            progress=lambda n_elements: progress(n_elements * n_item_bytes),
        )
    first = file.read(entry, 0, min(entry.n_elements, N_FIRST))
    return CloseUp(
        quantiles=quantiles,
        first_values=tuple(element_at(first, index).value for index in range(first.size)),
    )


def expected_quantiles(marginal: Marginal, n: int) -> tuple[float, ...]:
    """Give about the median that each quantile of n elements has, for each of `PERCENTS`."""
    return tuple(marginal.ordered(rank_of(percent, n), n) for percent in PERCENTS)


def close_up_json(tensor: TensorSummary, *, is_ours: bool) -> dict[str, Any]:
    """Give a tensor's close-up as plain data with stable keys; no NaN or infinity, but null.

    Parameters
    ----------
    is_ours : bool
        The values are those of kinit's stream.
    """
    close_up, stats = tensor.close_up, tensor.stats
    assert close_up is not None
    assert stats is not None
    marginal = expected_marginal(tensor, is_ours=is_ours) if close_up.quantiles else None
    n_finite = stats.count - stats.n_nan - stats.n_inf
    expected = expected_quantiles(marginal, n_finite) if marginal else (None,) * len(PERCENTS)
    quantiles = [
        {"percent": percent, "value": value, "expected": wanted}
        for percent, value, wanted in zip(PERCENTS, close_up.quantiles, expected, strict=False)
    ]
    return {"quantiles": quantiles, "first_values": list(close_up.first_values)}
