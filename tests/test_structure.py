"""Tensors of a given structure: sound ones pass, and what only places show is caught."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.stats
from every_engine import every_engine
from judged import outcome_of, values_of
from numpy.typing import NDArray

from kinit_cli.draw import (
    ConstantArray,
    DeltaOrthogonal,
    Dirac,
    Draw,
    Eye,
    Normal,
    Orthogonal,
    Sparse,
    Stft,
    Uniform,
)
from kinit_cli.engines.base import Engine
from kinit_cli.initializers.window_names import WINDOWS
from kinit_cli.statistics import structure
from kinit_cli.statistics.bounds import log_p_of_count
from kinit_cli.statistics.distribution_test import DistributionTest
from kinit_cli.statistics.findings import Expected
from kinit_cli.statistics.structure import fewest_zeros, structure_of

look = functools.partial(outcome_of, is_read_again=True)

SPARSE = Sparse(stddev=0.01, n_zeros=12)
STFT = Stft(side="real", window="hann", scaling="density", periodic=True)
FLOATS = ("float32", "float64", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2")
SOUND: list[tuple[Draw, tuple[int, ...]]] = [
    (SPARSE, (40, 90)),
    (Sparse(stddev=1e-4, n_zeros=3), (4, 1000)),
    (Sparse(stddev=0.0, n_zeros=3), (4, 10)),
    (Sparse(stddev=1.0, n_zeros=4), (4, 10)),
    (Sparse(stddev=1.0, n_zeros=0), (1, 1)),
    (Dirac(groups=2, layout="keras"), (3, 3, 4, 8)),
    (Dirac(groups=1, layout="torch"), (8, 4, 5)),
    (Dirac(groups=1, layout="keras"), (1, 1, 1)),
    (DeltaOrthogonal(gain=1.5, layout="keras"), (3, 4, 20, 50)),
    (DeltaOrthogonal(gain=-0.1, layout="torch"), (30, 30, 3)),
    (DeltaOrthogonal(gain=0.0, layout="torch"), (3, 3, 3)),
    (DeltaOrthogonal(gain=1.0, layout="keras"), (1, 1, 1)),
    (STFT, (64, 1, 33)),
    (replace(STFT, side="imag", scaling=None), (7, 1, 2)),
    (replace(STFT, window=(1.0, -3.0, 0.25), scaling="spectrum"), (3, 1, 9)),
    (replace(STFT, window=None), (5, 1, 4)),
    (Eye(gain=1e-9), (3, 4)),
    (ConstantArray(values=(0.0, 1 / 3, -7.0)), (5, 3)),
    (ConstantArray(values=(0.0,)), (3,)),
]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("draw", "shape"), SOUND, ids=str)
def test_sound_tensors_pass(draw: Draw, shape: tuple[int, ...], dtype: str) -> None:
    result = look(values_of(draw, shape, dtype), draw)
    assert result.verdict == "pass", result
    assert result.p is None or result.p > 1e-3


@every_engine
@pytest.mark.parametrize(("draw", "shape"), SOUND, ids=str)
def test_every_engine_gives_the_same_result(
    engine: Engine, draw: Draw, shape: tuple[int, ...]
) -> None:
    values = values_of(draw, shape, engine=engine)
    assert look(values, draw, meter=engine.make_meter()) == look(values_of(draw, shape), draw)


def reasons_of(result: DistributionTest) -> str:
    assert result.verdict == "fail"
    return "; ".join(result.reasons)


# --- sparse ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float8_e5m2"])
def test_many_sound_sparse_matrices_pass(dtype: str) -> None:
    """Float16 rounds a third of the elements to zero, float8 all but the largest."""
    draw = Sparse(stddev=1e-7, n_zeros=5)
    results = [look(values_of(draw, (20, 40), dtype, nonce=n), draw) for n in range(200)]
    assert {result.verdict for result in results} == {"pass"}
    assert min(result.p or 0 for result in results) > 1e-3
    if dtype == "float8_e5m2":
        return  # all of them are zeros
    z = np.array([(result.z_mean, result.z_variance) for result in results])
    assert np.abs(z.mean(axis=0)).max() < 5 / math.sqrt(200)
    assert np.abs(np.square(z).mean(axis=0) - 1).max() < 5 * math.sqrt(2.5 / 200)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("scale", [0.99, 1.01])
def test_a_sparse_matrix_scaled_by_one_percent_is_caught(scale: float, dtype: str) -> None:
    draw = Sparse(stddev=0.01, n_zeros=100)
    values = values_of(draw, (1000, 1000), dtype)
    assert look(values, draw).verdict == "pass"
    scaled = (values_of(draw, (1000, 1000), "float64") * scale).astype("f4").astype(values.dtype)
    assert "its variance is" in reasons_of(look(scaled, draw))


def test_a_zero_in_another_column_is_caught() -> None:
    values = values_of(SPARSE, (40, 90))
    row, other = np.flatnonzero(values[:, 7] == 0)[0], np.flatnonzero(values[:, 8])[0]
    values[row, 7], values[other, 8] = values[other, 8], 0
    assert outcome_of(values, SPARSE).verdict == "pass"
    assert reasons_of(look(values, SPARSE)) == "a column has 11 zeros, expected 12"


def test_a_zero_too_few_or_some_too_many_are_caught() -> None:
    """One zero more may be chance; of 2,520 normals three are so with one of 1e-13."""
    values = values_of(SPARSE, (40, 90))
    values[np.nonzero(values)[0][:3], np.nonzero(values)[1][:3]] = 0
    assert reasons_of(outcome_of(values, SPARSE)) == "1,083 elements are 0, expected 1,080"
    values = values_of(SPARSE, (40, 90))
    values[tuple(np.argwhere(values == 0)[0])] = 0.001
    assert reasons_of(outcome_of(values, SPARSE)) == "1,079 elements are 0, expected 1,080"


def test_zeros_where_the_standard_deviation_rounds_to_none() -> None:
    draw = Sparse(stddev=0.0, n_zeros=1)
    assert reasons_of(look(np.eye(3, dtype="f4"), draw)) == "6 elements are 0, expected 9"


def test_the_other_elements_of_a_sparse_matrix_must_be_normal() -> None:
    values = values_of(SPARSE, (40, 90))
    limit = 0.01 * math.sqrt(3)
    uniform = values_of(Uniform(minval=-limit, maxval=limit), (40, 90))
    found = reasons_of(look(np.where(values == 0, 0, uniform), SPARSE))
    assert "its values are spread otherwise" in found


def test_a_normal_tensor_is_not_sparse() -> None:
    assert look(values_of(Normal(mean=0.0, stddev=0.01), (40, 90)), SPARSE).verdict == "fail"


@pytest.mark.parametrize("p", [1e-8, 0.01, 0.4])
@pytest.mark.parametrize("n", [10, 1000])
def test_bound_of_a_count_is_above_the_exact_chance(n: int, p: float) -> None:
    for count in range(n + 1):
        exact = scipy.stats.binom.logsf(count - 1, n, p)
        assert exact <= log_p_of_count(count, n, p) + 1e-9 <= 1e-9
    assert log_p_of_count(n, n, p) == pytest.approx(n * math.log(p))
    assert log_p_of_count(1, 10, 0.0) == -math.inf


@pytest.mark.parametrize("shape", [(7, 90), (90, 7), (1, 100), (3, 33), (2, 32), (5, 31)])
def test_zeros_are_counted_in_every_column(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(structure, "ELEMENTS_AT_ONCE", 32)
    rng = np.random.default_rng(1)
    for _ in range(20):
        values = rng.integers(0, 2, shape)
        flat, reads = values.reshape(-1), np.zeros(values.size, int)

        def read(start: int, stop: int, flat: Any = flat, reads: Any = reads) -> NDArray[Any]:
            assert stop - start <= 32
            reads[start:stop] += 1
            return np.asarray(flat[start:stop])

        assert fewest_zeros(read, *shape) == (values == 0).sum(axis=0).min()
        assert (reads == 1).all()


# --- delta-orthogonal -----------------------------------------------------------------------


def swap_points(values: NDArray[Any]) -> None:
    values[[0, 1]] = values[[1, 0]]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda v: v.__setitem__((0, 0, 3, 4), 1e-3), "601 elements are not 0"),
        (swap_points, "600 elements that are not 0 lie outside its middle"),
        (lambda v: np.multiply(v, 1.01, out=v), "its L2 norm is"),
        (lambda v: v[1, 1, 0].fill(0), "its L2 norm is"),
        (lambda v: np.abs(v, out=v), "its mean is"),
        (lambda v: v.__setitem__((1, 1, 0), v[1, 1, 19]), "not orthonormal: off by 1"),
    ],
    ids=["outside", "another point", "scaled", "a row lost", "without signs", "a row twice"],
)
def test_a_changed_delta_orthogonal_kernel_is_caught(change: Any, reason: str) -> None:
    draw = DeltaOrthogonal(gain=1.5, layout="keras")
    values = values_of(draw, (3, 4, 20, 30))
    change(values)
    assert reason in reasons_of(look(values, draw))
    swapped = np.ascontiguousarray(np.moveaxis(values, (-1, -2), (0, 1)))
    assert reason in reasons_of(look(swapped, replace(draw, layout="torch")))


@pytest.mark.parametrize("at_once", [2**20, 10])
def test_of_a_delta_orthogonal_kernel_the_middle_is_read(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(structure, "ELEMENTS_AT_ONCE", at_once)
    flat = values_of(DeltaOrthogonal(gain=1.0, layout="keras"), (3, 5, 8, 9)).reshape(-1)

    def read(start: int, stop: int) -> NDArray[Any]:
        assert 7 * 72 <= start < stop <= 8 * 72
        return np.asarray(flat[start:stop])

    draw = DeltaOrthogonal(gain=1.0, layout="keras")
    found = structure_of(read, Expected(draw=draw, shape=(3, 5, 8, 9), dtype="float32"))
    assert found.n_inside == 72
    draw = DeltaOrthogonal(gain=1.0, layout="torch")
    flat = values_of(draw, (9, 8, 3, 5)).reshape(-1)
    expected = Expected(draw=draw, shape=(9, 8, 3, 5), dtype="float32")
    assert structure_of(lambda start, stop: flat[start:stop], expected) == found


# --- values without chance ------------------------------------------------------------------


def move_one(values: NDArray[Any]) -> None:
    flat = values.reshape(-1)
    place = np.flatnonzero(flat)[-1]
    flat[place], flat[place - 1] = 0, flat[place]


@pytest.mark.parametrize(
    ("draw", "shape"),
    [
        (Dirac(groups=2, layout="keras"), (3, 3, 4, 8)),
        (Dirac(groups=1, layout="torch"), (8, 4, 5)),
        (Eye(gain=0.3), (50, 40)),
        (STFT, (64, 1, 33)),
        (ConstantArray(values=(1.0, 2.0)), (50, 2)),
    ],
    ids=str,
)
def test_an_element_that_has_moved_is_caught(draw: Draw, shape: tuple[int, ...]) -> None:
    values = values_of(draw, shape)
    right = values.copy()
    values = np.roll(values.reshape(-1), 1).reshape(shape)
    assert outcome_of(values, draw).verdict == "pass"  # the same values
    first = int((values != right).reshape(-1).argmax())
    assert reasons_of(look(values, draw)) == f"element {first:,} is not what it should be"


def test_a_one_too_many_is_caught_without_its_place() -> None:
    draw = Dirac(groups=1, layout="keras")
    values = values_of(draw, (3, 3, 4, 8))
    values[0, 0, 0, 0] = 1
    assert reasons_of(outcome_of(values, draw)) == "5 elements are not 0, expected 4"
    values[1, 1, 0, 0] = 0.5
    values[0, 0, 0, 0] = 0
    assert outcome_of(values, draw).verdict == "pass"  # the same extremes, as many zeros
    assert look(values, draw).verdict == "fail"


@pytest.mark.parametrize("size", [32_768, 32_769, 10**6])
def test_stretches_are_compared_to_both_ends(size: int) -> None:
    draw = Eye(gain=1.0)
    reads: list[tuple[int, int]] = []

    def read(start: int, stop: int) -> NDArray[Any]:
        reads.append((start, stop))
        values = np.zeros(size, "f4")
        values[0] = 1
        return values[start:stop]

    expected = Expected(draw=draw, shape=(1, size), dtype="float32")
    assert structure_of(read, expected).wrong_index is None
    assert (reads[0][0], reads[-1][1]) == (0, size)
    assert sum(stop - start for start, stop in reads) == 32_768 or len(reads) == 1


# --- STFT -----------------------------------------------------------------------------------

KERNELS = [
    (replace(STFT, side=side, window=window, scaling=scaling, periodic=is_periodic), shape)
    for window in (None, *sorted(set(WINDOWS.values())))
    for side, scaling, is_periodic, shape in (
        ("real", None, True, (40, 1, 17)),
        ("imag", "density", False, (33, 1, 17)),
        ("real", "spectrum", False, (9, 1, 2)),
        ("imag", None, True, (64, 1, 6)),
    )
]


@pytest.mark.parametrize(("draw", "shape"), KERNELS, ids=str)
def test_sums_of_an_stft_are_those_of_its_formula(draw: Stft, shape: tuple[int, ...]) -> None:
    """1e-9 more is too much, of the norm and of the mean."""
    values = values_of(draw, shape, "float64")
    assert outcome_of(values, draw).verdict == "pass"
    if np.linalg.norm(values) > 1e-6:
        assert outcome_of(values * (1 - 1e-9), draw).verdict == "fail"
        shifted = values - 1e-9 * np.abs(values).max()
        assert "its mean is" in reasons_of(outcome_of(shifted, draw))


CHANGES: dict[str, Callable[[Stft], Stft]] = {
    "side": lambda draw: replace(draw, side="imag"),
    "window": lambda draw: replace(draw, window="hamming"),
    "scaling": lambda draw: replace(draw, scaling="spectrum"),
    "periodic": lambda draw: replace(draw, periodic=False),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_another_stft_is_caught(change: str, dtype: str) -> None:
    values = values_of(CHANGES[change](STFT), (64, 1, 33), dtype)
    assert look(values, STFT).verdict == "fail"


def test_one_wrong_element_of_an_stft_is_caught() -> None:
    values = values_of(STFT, (64, 1, 33))
    values[30, 0, 2] = np.nextafter(values[30, 0, 2], np.float32(1))
    assert look(values, STFT).verdict == "fail"


def test_an_stft_of_another_library_has_other_cosines() -> None:
    """Those of large angles in float32."""
    values = values_of(STFT, (64, 1, 33)) * np.float32(1.0001)
    assert look(values, STFT).verdict == "fail"
    assert look(values, STFT, is_ours=False).verdict == "pass"
    assert look(values * 1.1, STFT, is_ours=False).verdict == "fail"


# --- what may be in a file ------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("draw", "shape"), [*SOUND[:1], *SOUND[5:10], *SOUND[12:16], (Orthogonal(gain=1.0), (5, 7))]
)
def test_what_is_not_finite_is_a_failure(draw: Draw, shape: tuple[int, ...], value: float) -> None:
    values = values_of(draw, shape)
    values.reshape(-1)[-1] = value
    result = look(values, draw)
    assert result.reasons == ("NaN or infinite elements: 1",)
    assert (result.in_range, result.orthogonality_error) == (False, None)


@pytest.mark.parametrize("dtype", [">f4", ">f8"])
@pytest.mark.parametrize(("draw", "shape"), SOUND, ids=str)
def test_values_in_another_byte_order(draw: Draw, shape: tuple[int, ...], dtype: str) -> None:
    values = values_of(draw, shape, np.dtype(dtype).name).astype(dtype)
    assert look(values, draw).verdict == "pass"
