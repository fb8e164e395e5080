"""Arrays in Fortran order: any range of them in C order, and files that shrink under the reader."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from weights_files import RNG

from kinit_cli.errors import WeightsFileError
from kinit_cli.formats import weights_file
from kinit_cli.formats.readers import open_weights

SHAPES = [(7, 9), (3000, 50), (50, 3000), (3, 3, 40, 51), (2, 9000, 3), (5000, 7, 3), (700, 2, 80)]


@pytest.mark.parametrize("shape", SHAPES)
def test_any_range_is_what_numpy_gives(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.asfortranarray(RNG.standard_normal(shape).astype("f4"))
    np.save(tmp_path / "w.npy", array)
    flat = array.ravel(order="C")
    with open_weights(tmp_path / "w.npy") as file:
        for start, stop in np.sort(RNG.integers(0, flat.size + 1, (20, 2)), axis=1).tolist():
            found = file.read(file.entries[0], start, stop)
            assert np.array_equal(found, flat[start:stop])


def test_a_file_that_is_cut_within_a_read_is_an_error_and_not_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.npy"
    np.save(path, np.asfortranarray(np.ones((5000, 200))))
    preadv = os.preadv

    def cut_after(*arguments: Any) -> int:
        n_read = preadv(*arguments)
        os.truncate(path, 10_000)
        return n_read

    with open_weights(path) as file:
        monkeypatch.setattr(weights_file.os, "preadv", cut_after)
        with pytest.raises(WeightsFileError, match="the file became shorter while it was read"):
            file.read(file.entries[0], 0, 1_000_000)
