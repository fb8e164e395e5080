"""Draws made entire: sparse and delta-orthogonal tensors, and PyTorch's way to flatten kernels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from every_engine import every_engine
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from spec_texts import plan_of
from stream_vectors import assert_same_bits

from kinit_cli.draw import DeltaOrthogonal, EntireDraw, Normal, Orthogonal, Sparse, expected_moments
from kinit_cli.engines import get_engine
from kinit_cli.engines.base import Engine
from kinit_cli.engines.entire import make_entire
from kinit_cli.engines.whole import make_tensor
from kinit_cli.formats.npy import NpyDirectoryWriter
from kinit_cli.pipeline import Output, generate
from kinit_cli.stream import reference
from kinit_cli.stream.identity import StreamKey, explicit_stream_key
from kinit_cli.stream.sparse import zero_columns

KEY = explicit_stream_key(7)


def sparse(key: StreamKey, rows: int, cols: int, n_zeros: int) -> np.ndarray:
    draw = Sparse(stddev=0.5, n_zeros=n_zeros)
    return make_tensor(get_engine("numpy"), draw, key, (rows, cols), "float64")


# --- sparse -------------------------------------------------------------------------------------


@every_engine
@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.integers(0, 2**64 - 1))
def test_sparse_is_the_definition(
    engine: Engine, rows: int, cols: int, sparsity: float, seed: int
) -> None:
    key, n_zeros = explicit_stream_key(seed), math.ceil(sparsity * rows)
    found = make_tensor(engine, Sparse(stddev=0.5, n_zeros=n_zeros), key, (rows, cols), "float32")
    normals = reference.normal(reference.words(key, 0, rows * cols), 0.0, 0.5)
    expected = normals.astype(np.float32).reshape(rows, cols)
    keys = reference.words(key, 2**65, rows * cols).reshape(cols, rows).tolist()
    for col in range(cols):
        ranked = sorted(range(rows), key=lambda row, col=col: (keys[col][row], row))
        expected[ranked[:n_zeros], col] = 0.0
    assert_same_bits(found, expected)


def test_every_column_has_its_zeros_over_several_blocks() -> None:
    matrix = np.ones((70_001, 40))
    n_blocks = 0

    def count() -> None:
        nonlocal n_blocks
        n_blocks += 1

    zero_columns(matrix, KEY, 12_345, on_block=count)
    assert n_blocks == 3
    assert (matrix == 0).sum(axis=0).tolist() == [12_345] * 40
    alone = np.ones((70_001, 40))
    keys = reference.words(KEY, 2**65 + 39 * 70_001, 70_001)
    alone[np.argsort(keys, kind="stable")[:12_345], 39] = 0
    assert np.array_equal(matrix[:, 39], alone[:, 39])


def test_of_equal_keys_the_first_rows_are_chosen(monkeypatch) -> None:
    def fill_equal(out: np.ndarray, *_: object) -> None:
        out[:] = 5

    monkeypatch.setattr("kinit_cli.stream.sparse.fill_words", fill_equal)
    matrix = np.ones((4, 2))
    zero_columns(matrix, KEY, 3)
    assert matrix.tolist() == [[0, 0], [0, 0], [0, 0], [1, 1]]


def test_every_choice_of_zeros_is_equally_likely() -> None:
    # 2 of 5 rows: 10 choices, 20,000 columns.
    zeros = sparse(KEY, 5, 20_000, 2) == 0
    choices = np.bincount((zeros * (1 << np.arange(5))[:, np.newaxis]).sum(axis=0), minlength=32)
    possible = [i for i in range(32) if bin(i).count("1") == 2]
    assert choices[possible].sum() == 20_000
    assert stats.chisquare(choices[possible]).pvalue > 1e-4


def test_zeros_of_neighbouring_columns_and_of_seeds_are_independent() -> None:
    zeros = sparse(KEY, 1000, 400, 500) == 0
    other = sparse(explicit_stream_key(8), 1000, 400, 500) == 0
    for a, b in ((zeros[:, :-1], zeros[:, 1:]), (zeros, other)):
        # Both zero: of 1000 rows 250, with a variance of 1000 / 16 * 1000 / 999 a column.
        both = (a & b).sum(axis=0)
        sigma = math.sqrt(62.6 / both.size)
        assert abs(both.mean() - 250) < 5 * sigma


def test_values_do_not_depend_on_where_the_zeros_are() -> None:
    few, many = sparse(KEY, 50, 30, 5), sparse(KEY, 50, 30, 40)
    assert np.all(few[many != 0] == many[many != 0])
    assert not np.any(many[few == 0])


def test_moments_of_a_sparse_matrix() -> None:
    values = sparse(KEY, 1000, 1000, 900)
    found = expected_moments(Sparse(stddev=0.5, n_zeros=900), (1000, 1000))
    assert found.stddev == pytest.approx(0.5 * math.sqrt(0.1))
    # 5 sigma of a mean of squares, of which 100,000 are a normal's.
    assert abs((values**2).mean() / found.stddev**2 - 1) < 5 * math.sqrt(2 / 1e5)


# --- delta-orthogonal, orthogonal_ --------------------------------------------------------------


@every_engine
@pytest.mark.parametrize(
    ("field", "middle"), [((3,), (1,)), ((4,), (1,)), ((1, 5), (0, 2)), ((2, 3, 4), (0, 1, 1))]
)
def test_delta_orthogonal(engine: Engine, field: tuple[int, ...], middle: tuple[int, ...]) -> None:
    matrix = engine.orthogonal(Orthogonal(gain=1.5), KEY, (4, 6))
    expected = np.zeros((*field, 4, 6))
    expected[middle] = matrix
    np.testing.assert_allclose(matrix @ matrix.T, 2.25 * np.eye(4), atol=1e-10)
    draw = DeltaOrthogonal(gain=1.5, layout="keras")
    found = make_tensor(engine, draw, KEY, expected.shape, "float32")
    assert_same_bits(found, expected.astype(np.float32))
    moments = expected_moments(draw, expected.shape)
    assert moments.mean == 0
    assert moments.stddev == pytest.approx(math.sqrt((expected**2).mean()))
    moved = np.ascontiguousarray(np.moveaxis(expected, (-1, -2), (0, 1)))
    draw = DeltaOrthogonal(gain=1.5, layout="torch")
    assert_same_bits(make_tensor(engine, draw, KEY, moved.shape, "float64"), moved)
    assert expected_moments(draw, moved.shape) == moments


@every_engine
def test_orthogonal_by_its_first_axis(engine: Engine) -> None:
    draw = Orthogonal(gain=1.0, has_first_axis_as_rows=True)
    matrix = engine.orthogonal(Orthogonal(gain=1.0), KEY, (6, 20))
    found = make_tensor(engine, draw, KEY, (6, 4, 5), "float64")
    assert_same_bits(found, matrix.reshape(6, 4, 5))
    assert expected_moments(draw, (6, 4, 5)).stddev == 1 / math.sqrt(20)


# --- in a run -----------------------------------------------------------------------------------

SPEC = """\
seed: 3
layers:
  - name: a
    weights:
      sparse: {shape: [2000, 1100], initializer: {sparse: {sparsity: 0.3, std: 2}}}
      delta: {shape: [5, 4, 3, 3], initializer: delta_orthogonal, dtype: float16}
      flat: {shape: [4, 2, 3], initializer: orthogonal_, dtype: float64}
layout: torch
"""


@every_engine
def test_a_run_writes_what_is_made(engine: Engine, tmp_path) -> None:
    plan = plan_of(SPEC)
    output = Output(target=tmp_path / "out", writer=NpyDirectoryWriter())
    summary = generate(plan, output, engine=engine, jobs=3)
    for tensor, found in zip(plan.tensors, summary.tensors, strict=True):
        values = np.load(tmp_path / "out" / f"{tensor.path}.npy")
        expected = make_tensor(
            get_engine("numpy"), tensor.draw, tensor.stream_key, tensor.shape, tensor.dtype.name
        )
        assert_same_bits(values, expected)
        assert found.expected_std is not None
    assert ((np.load(tmp_path / "out/a/sparse.npy") == 0).sum(axis=0) == 600).all()


@pytest.mark.parametrize(
    ("draw", "shape"),
    [
        (Sparse(stddev=1.0, n_zeros=3), (9, 4)),
        (DeltaOrthogonal(gain=1.0, layout="keras"), (3, 2, 2)),
    ],
)
def test_it_is_given_up_when_nobody_waits(draw: EntireDraw, shape: tuple[int, ...]) -> None:
    class GivenUpError(Exception):
        pass

    def give_up() -> None:
        raise GivenUpError

    with pytest.raises(GivenUpError):
        make_entire(get_engine("numpy"), draw, KEY, shape, on_block=give_up)


def test_they_have_no_tiles() -> None:
    for draw in (Sparse(stddev=1.0, n_zeros=1), DeltaOrthogonal(gain=1.0, layout="keras")):
        with pytest.raises(TypeError, match=f"{type(draw).__name__} has no tiles"):
            get_engine("numpy").fill(np.empty(4), draw, KEY, start=0, shape=(1, 2, 2))
    assert not isinstance(Normal(mean=0.0, stddev=1.0), EntireDraw)
