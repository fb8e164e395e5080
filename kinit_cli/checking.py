"""Comparing the tensors of a file with what the file says that they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kinit_cli.distribution_test import DistributionTest, Expected, failed, judge, untested
from kinit_cli.draw import Orthogonal, orthogonal_shape
from kinit_cli.errors import WeightsFileError
from kinit_cli.orthogonality import orthogonality_error

if TYPE_CHECKING:
    from kinit_cli.formats.weights_file import TensorEntry, WeightsFile
    from kinit_cli.histogram import GridCounts
    from kinit_cli.manifest import Expectation
    from kinit_cli.records import Records
    from kinit_cli.summary import TensorStats


@dataclass(frozen=True, slots=True, kw_only=True)
class Checker:
    """Judges the tensors of one file; may be called from many threads at once."""

    file: WeightsFile
    records: Records

    def has_digest(self, path: str) -> bool:
        """Tell whether a digest is recorded to compare the elements' own with."""
        expectation = self.records.expected.get(path)
        return expectation is not None and expectation.digest is not None

    def judge(
        self,
        entry: TensorEntry,
        stats: TensorStats | None,
        grid_counts: GridCounts | None,
        digest: str | None,
    ) -> DistributionTest:
        """Compare what was measured of a tensor with what the file says of it.

        Raises
        ------
        WeightsFileError
            An orthogonal matrix, of which columns are read again, cannot be read.
        """
        changed = self.records.changed.get(entry.path)
        if changed is not None:
            shape = list(changed.shape)
            return failed(f"the file records {changed.dtype} of the shape {shape} for it")
        expectation = self.records.expected.get(entry.path)
        if expectation is None or stats is None:
            return untested("the file's manifest does not speak of it")
        is_finite = not (stats.n_nan or stats.n_inf)
        error = self._orthogonality_error(entry, expectation) if is_finite else None
        assert self.records.manifest is not None
        expected = Expected(
            draw=expectation.draw,
            shape=expectation.shape,
            dtype=expectation.dtype,
            is_ours=self.records.manifest.origin is None,
        )
        matches = None if digest is None else digest == expectation.digest
        return judge(
            expected, stats, grid_counts, orthogonality_error=error, digest_matches=matches
        )

    def _orthogonality_error(self, entry: TensorEntry, expectation: Expectation) -> float | None:
        draw = expectation.draw
        if not isinstance(draw, Orthogonal) or not draw.gain or not entry.n_elements:
            return None
        rows, cols = orthogonal_shape(draw, entry.shape)
        return orthogonality_error(
            lambda start, stop: self.file.read(entry, start, stop), rows, cols, draw.gain
        )


def make_checker(file: WeightsFile, records: Records) -> Checker:
    """Give what judges a file's tensors.

    Raises
    ------
    WeightsFileError
        The file does not say what its tensors should be.
    """
    if records.manifest is None or records.fault:
        raise WeightsFileError(
            f"{file.path}: expected kinit's manifest, to check the tensors against, got "
            f"{records.fault or 'none'}; without --check any file can be inspected"
        )
    return Checker(file=file, records=records)
