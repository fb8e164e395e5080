"""Comparing the tensors of a file with what the file says that they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kinit_cli.errors import WeightsFileError
from kinit_cli.statistics.distribution_test import DistributionTest, failed, judge, untested
from kinit_cli.statistics.findings import Expected
from kinit_cli.statistics.structure import has_structure, structure_of

if TYPE_CHECKING:
    from kinit_cli.formats.weights_file import TensorEntry, WeightsFile
    from kinit_cli.manifest import Expectation
    from kinit_cli.records import Records
    from kinit_cli.statistics.histogram import GridCounts
    from kinit_cli.statistics.orthogonality import Read
    from kinit_cli.statistics.structure import Structure
    from kinit_cli.statistics.tensor_stats import TensorStats


@dataclass(frozen=True, slots=True, kw_only=True)
class Checker:
    """Judges the tensors of one file; may be called from many threads at once."""

    records: Records

    def has_digest(self, path: str) -> bool:
        """Tell whether a digest is recorded to compare the elements' own with."""
        expectation = self.records.expected.get(path)
        return expectation is not None and expectation.digest is not None

    def structure_of(self, entry: TensorEntry, read: Read) -> Structure | None:
        """Look at the places of a tensor's elements, at least one; None if nothing is known of it.

        Raises
        ------
        WeightsFileError
            The elements cannot be read.
        """
        expectation = self.records.expected.get(entry.path)
        if expectation is None or not has_structure(expectation.draw):
            return None
        return structure_of(read, self._expected(expectation))

    def judge(
        self,
        entry: TensorEntry,
        stats: TensorStats | None,
        grid_counts: GridCounts | None,
        structure: Structure | None,
        digest: str | None,
    ) -> DistributionTest:
        """Compare what was measured of a tensor with what the file says of it."""
        changed = self.records.changed.get(entry.path)
        if changed is not None:
            shape = list(changed.shape)
            return failed(f"the file records {changed.dtype} of the shape {shape} for it")
        expectation = self.records.expected.get(entry.path)
        if expectation is None or stats is None:
            return untested("the file's manifest does not speak of it")
        matches = None if digest is None else digest == expectation.digest
        expected = self._expected(expectation)
        return judge(expected, stats, grid_counts, structure=structure, digest_matches=matches)

    def _expected(self, expectation: Expectation) -> Expected:
        assert self.records.manifest is not None
        return Expected(
            draw=expectation.draw,
            shape=expectation.shape,
            dtype=expectation.dtype,
            is_ours=self.records.manifest.origin is None,
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
            f"{f'one of no use ({records.fault})' if records.fault else 'none'}; "
            "without --check any file can be inspected"
        )
    return Checker(records=records)
