"""What is told of a tensor and of a file: plain results, of one pass, the same everywhere."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kinit_cli.statistics.tensor_stats import TensorStats, json_number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kinit_cli.draw import Draw
    from kinit_cli.origin import Origin
    from kinit_cli.statistics.distribution_test import DistributionTest


#: First elements of a tensor that are shown.
N_FIRST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseUp:
    """What is told of a tensor that stands alone.

    Attributes
    ----------
    quantiles : tuple of float or int
        Of the finite elements, for each of `PERCENTS`; none if no element is finite. See
        `kinit_cli.statistics.quantiles` for which definition this is.
    first_values : tuple of str
        The first `N_FIRST` elements in C order, fewer if there are not so many. Each is a decimal
        number that is this one and no other of its dtype, or "nan", "inf", "True".
    """

    quantiles: tuple[float | int, ...]
    first_values: tuple[str, ...]


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
            "expected_mean": json_number(self.expected_mean),
            "expected_std": json_number(self.expected_std),
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
            "seconds": json_number(self.seconds),
            "notes": list(self.notes),
            "tests": self.tests.to_json() if self.tests else None,
            "tensors": [tensor.to_json() for tensor in self.tensors],
        }
