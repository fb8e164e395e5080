from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from kinit_cli.digest import TILE_ELEMENTS, TensorDigest, digest_of, piece_digest


def test_digest_is_that_of_the_concatenated_piece_digests() -> None:
    values = np.arange(2 * TILE_ELEMENTS + 5, dtype="<f4")
    data = values.tobytes()
    cut = 4 * TILE_ELEMENTS
    pieces = [data[:cut], data[cut : 2 * cut], data[2 * cut :]]
    expected = blake3(b"".join(blake3(piece).digest() for piece in pieces)).hexdigest()
    assert digest_of(values) == expected
    assert digest_of(values.astype(">f4")) == expected
    assert digest_of(np.repeat(values, 2)[::2]) == expected


def test_an_empty_tensor_has_no_piece() -> None:
    assert digest_of(np.zeros((0, 3))) == blake3(b"").hexdigest()
    assert TensorDigest().hexdigest() == blake3(b"").hexdigest()


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u8", "?", ml_dtypes.bfloat16])
def test_any_dtype_is_hashed_by_its_bytes(dtype: object) -> None:
    values = np.array([[0, 1], [1, 1]], dtype)
    assert digest_of(values) == blake3(blake3(values.tobytes()).digest()).hexdigest()


def test_c_order_counts_and_not_memory_order() -> None:
    values = np.arange(6, dtype="f4").reshape(2, 3)
    assert digest_of(np.asfortranarray(values)) == digest_of(values)
    assert digest_of(values.T) != digest_of(values)


def test_scalar() -> None:
    assert digest_of(np.array(1.5)) == digest_of(np.array([1.5]))


@given(st.permutations(range(7)))
def test_pieces_in_any_order(order: list[int]) -> None:
    digests = [piece_digest(np.full(3, index)) for index in range(7)]
    tensor = TensorDigest()
    for index in order:
        tensor.add(index, digests[index])
    assert tensor.hexdigest() == blake3(b"".join(digests)).hexdigest()


def test_a_piece_twice_or_missing_is_an_error() -> None:
    tensor = TensorDigest()
    tensor.add(1, bytes(32))
    with pytest.raises(ValueError, match="piece 0 is missing"):
        tensor.hexdigest()
    with pytest.raises(ValueError, match="piece 1 was added before"):
        tensor.add(1, bytes(32))
    tensor.add(0, bytes(32))
    with pytest.raises(ValueError, match="piece 0 was added before"):
        tensor.add(0, bytes(32))
