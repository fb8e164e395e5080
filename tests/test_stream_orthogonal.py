"""Orthogonal matrices: the definition in Python integers, orthogonality, and the Haar measure."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from stream_vectors import assert_same_bits

from kinit_cli.stream import orthogonal, reference
from kinit_cli.stream.identity import StreamKey, explicit_stream_key
from kinit_cli.stream.orthogonal import ExactnessError, orthogonal_matrix

KEY = explicit_stream_key(11)


def defined_matrix(stream_key: StreamKey, m: int, n: int) -> np.ndarray:
    """Follow docs/stream.md, 6, line by line, every matrix product in Python's integers."""
    q, signs = np.eye(m, n), np.ones(n)
    for k0 in reversed(range(0, n, 64)):
        k1 = min(k0 + 64, n)
        u = np.zeros((k1 - k0, m - k0))
        for k in range(k0, k1):
            u[k - k0, k - k0 :], signs[k] = defined_reflector(stream_key, m, k)
        gram = exact_product(u, u.T)
        c, d = np.triu(gram, 1) * 2.0**-50, np.diagonal(gram) * 2.0**-51
        a = q[k0:, k0:]
        low_bits = 27 - math.ceil(math.log2(m) / 2)
        high = np.rint(a * 2.0**25)
        low = np.rint((a - high * 2.0**-25) * 2.0 ** (25 + low_bits))
        y = exact_product(u, high) * 2.0**-50 + exact_product(u, low) * 2.0 ** (-50 - low_bits)
        for i in reversed(range(k1 - k0)):
            y[i] /= d[i]
            for r in range(i):
                y[r] -= c[r, i] * y[i]
        p = 20 - max(0, int(np.frexp(np.abs(y).max())[1]))
        high = np.rint(y * 2.0**p)
        low = np.rint((y - high * 2.0**-p) * 2.0 ** (p + 20))
        a -= exact_product(u.T, high) * 2.0 ** (-25 - p) + exact_product(u.T, low) * 2.0 ** (
            -45 - p
        )
    return q * signs


def defined_reflector(stream_key: StreamKey, m: int, k: int) -> tuple[np.ndarray, float]:
    words = reference.words(stream_key, k * m + k, m - k)
    magnitudes = np.abs(reference.normal_units(words)) >> 10
    magnitudes[0] = max(magnitudes[0], 1)
    g = np.where(words >> 31, -magnitudes, magnitudes)
    square_sum = sum(int(x) ** 2 for x in g)
    s = -1 if g[0] < 0 else 1
    v0 = float(g[0]) + s * math.sqrt(square_sum)
    vv = float(square_sum - int(g[0]) ** 2) + v0 * v0
    v = g.astype(np.float64)
    v[0] = v0
    return np.rint(v * (math.sqrt(2 / vv) * 2.0**25)), -s


def exact_product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    as_integers = np.frompyfunc(int, 1, 1)
    product = np.dot(as_integers(left), as_integers(right))
    assert max(abs(x) for x in product.reshape(-1)) <= 2**53
    return product.astype(np.float64)


@pytest.mark.parametrize(("m", "n"), [(1, 1), (5, 2), (40, 40), (66, 66), (150, 65)])
def test_it_is_the_definition_in_exact_integers(m: int, n: int) -> None:
    expected = defined_matrix(KEY, m, n)
    assert_same_bits(orthogonal_matrix(KEY, m, n, 1.0), expected)
    if n < m:
        expected = np.ascontiguousarray(expected.T)
    assert_same_bits(orthogonal_matrix(KEY, n, m, -0.3), expected * -0.3)


@pytest.mark.parametrize(("units", "sign"), [(0.0, 1.0), (-0.0, -1.0), (-1023.0, -1.0)])
def test_a_pivot_of_zero_becomes_one_with_its_sign(units: float, sign: float, monkeypatch) -> None:
    monkeypatch.setattr(orthogonal, "fill_normal_units", lambda out, key, start: out.fill(units))
    # With one coordinate the reflector is -1 and D is -sign, so the matrix is [sign].
    assert abs(orthogonal_matrix(KEY, 1, 1, 1.0)[0, 0] - sign) < 1e-11


def test_cutting_the_products_changes_nothing(monkeypatch) -> None:
    expected = orthogonal_matrix(KEY, 300, 140, 1.0)
    monkeypatch.setattr(orthogonal, "_ELEMENTS_PER_SLAB", 1)
    assert_same_bits(orthogonal_matrix(KEY, 300, 140, 1.0), expected)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_empty_matrices(shape: tuple[int, int]) -> None:
    matrix = orthogonal_matrix(KEY, *shape, 1.0)
    assert matrix.shape == shape
    assert matrix.dtype == np.float64


@pytest.mark.parametrize("shape", [(1, 1), (64, 64), (129, 128), (20, 500), (700, 300)])
def test_orthogonality(shape: tuple[int, int]) -> None:
    q = orthogonal_matrix(KEY, *shape, 1.0)
    gram = q.T @ q if shape[0] >= shape[1] else q @ q.T
    assert np.max(np.abs(gram - np.eye(min(shape)))) < 1e-11
    assert q.flags.c_contiguous


def test_products_that_are_not_exact_are_refused(monkeypatch) -> None:
    monkeypatch.setattr(orthogonal, "EXACT_STOP", 2.0**45)
    with pytest.raises(ExactnessError, match="same on every machine"):
        orthogonal_matrix(KEY, 64, 64, 1.0)


def test_small_matrices_are_haar_distributed() -> None:
    n_matrices, n = 2000, 3
    q = np.array(
        [orthogonal_matrix(explicit_stream_key(seed), n, n, 1.0) for seed in range(n_matrices)]
    )
    # On a sphere in three dimensions every coordinate is uniform on [-1, 1] (Archimedes).
    for row in range(n):
        for col in range(n):
            assert stats.kstest(q[:, row, col], stats.uniform(-1, 2).cdf).pvalue > 1e-4
    # The two components of O(3) are equally likely: 5 sigma of a binomial.
    n_rotations = np.count_nonzero(np.linalg.det(q) > 0)
    assert abs(n_rotations - n_matrices / 2) < 5 * math.sqrt(n_matrices) / 2
    # Under the Haar measure of O(3), E tr = 0, E tr^2 = 1 and E tr^4 = 3.
    traces = np.trace(q, axis1=1, axis2=2)
    assert abs(traces.mean()) < 5 / math.sqrt(n_matrices)
    assert abs(np.mean(traces**2) - 1) < 5 * math.sqrt(2 / n_matrices)


def test_a_tall_matrix_is_haar_distributed() -> None:
    # A coordinate of a random point on the sphere in m dimensions: x^2 ~ Beta(1/2, (m - 1)/2).
    m, n = 200, 100
    q = orthogonal_matrix(KEY, m, n, 1.0)
    assert stats.kstest(q.reshape(-1) ** 2, stats.beta(0.5, (m - 1) / 2).cdf).pvalue > 1e-4
    assert abs(q.mean()) < 5 / math.sqrt(m * m * n)
