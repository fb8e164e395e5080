"""What the tests of the readers share: reading all of a tensor, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kinit_cli.errors import WeightsFileError
from kinit_cli.formats.readers import open_weights
from kinit_cli.formats.weights_file import TensorEntry, WeightsFile

RNG = np.random.default_rng(7)


def entry_of(file: WeightsFile, path: str) -> TensorEntry:
    (entry,) = [entry for entry in file.entries if entry.path == path]
    return entry


def read_all(file: WeightsFile, path: str, step: int | None = None) -> NDArray[Any]:
    entry = entry_of(file, path)
    step = step or max(entry.n_elements, 1)
    starts = range(0, entry.n_elements, step)
    parts = [file.read(entry, start, min(start + step, entry.n_elements)) for start in starts]
    return np.concatenate(parts, dtype=parts[0].dtype) if parts else file.read(entry, 0, 0)


def assert_reads(path: Path, name: str, expected: NDArray[Any], step: int | None = None) -> None:
    with open_weights(path) as file:
        entry = entry_of(file, name)
        assert entry.shape == expected.shape
        assert entry.dtype == expected.dtype.name
        assert entry.n_elements == expected.size
        assert entry.n_bytes == expected.nbytes
        got = read_all(file, name, step)
    assert got.dtype == expected.dtype
    assert got.tobytes() == expected.tobytes()


def refusal(path: Path) -> str:
    with pytest.raises(WeightsFileError) as caught:
        open_weights(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "expected" in message
    assert "got" in message
    assert "; " in message
    return message
