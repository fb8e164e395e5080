"""How far apart two arrays are, judged by plain Python numbers and by NumPy."""

from __future__ import annotations

import math
import struct
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from kinit_cli.compare.distance import _BLOCK, Distance, Tolerance, distance

EXACT = Tolerance()
DTYPES = [
    np.dtype(name)
    for name in ("<f4", ">f4", "<f8", "<f2", "<i8", "<u8", ">i4", "u1", "?", ml_dtypes.bfloat16)
]

dtypes = st.sampled_from(DTYPES)


def exact(value: Any) -> Fraction | float:
    """Give an element as the number that it is, if it is one."""
    if isinstance(value, np.integer | np.bool_):
        return Fraction(int(value))
    number = float(value)
    return Fraction(number) if math.isfinite(number) else number


def are_equal(a: Any, b: Any) -> bool:
    x, y = exact(a), exact(b)
    if x != x and y != y:
        if a.dtype == b.dtype:
            return bool(a.tobytes() == b.tobytes())
        return struct.pack("<d", float(a)) == struct.pack("<d", float(b))
    return x == y


def expected_distance(a: Any, b: Any) -> tuple[int, int, float | None, float | None]:
    """Count what differs, element by element, with exact numbers."""
    n_values = n_not_finite = 0
    apart: list[Fraction] = []
    relative: list[Fraction] = []
    for one, other in zip(a, b, strict=True):
        if are_equal(one, other):
            continue
        n_values += 1
        x, y = exact(one), exact(other)
        if isinstance(x, Fraction) and isinstance(y, Fraction):
            apart.append(abs(x - y))
            relative.append(abs(x - y) / max(abs(x), abs(y)))
        else:
            n_not_finite += 1
    return n_values, n_not_finite, rounded(apart), rounded(relative)


def rounded(values: list[Fraction]) -> float | None:
    try:
        return float(max(values)) if values else None
    except OverflowError:
        return math.inf


def is_nearly(found: float | None, exactly: float | None) -> bool:
    if found is None or exactly is None:
        return found is exactly
    return math.isclose(found, exactly, rel_tol=1e-15)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Any, Any]:
    """Draw two arrays that have much in common, and some of which is special."""
    first, second = draw(dtypes), draw(dtypes)
    size = draw(st.integers(0, 12))
    raw = draw(st_numpy.arrays(np.uint64, size, elements=st.integers(0, 2**64 - 1)))
    special = [0.0, -0.0, 1.0, 2.0**53, 2.0**63, math.nan, math.inf, -math.inf, 0.1, -3.0, 65504.0]
    mixed = np.array(draw(st.lists(st.sampled_from(special), min_size=size, max_size=size)))
    is_raw = draw(st.booleans())

    def made(dtype: np.dtype[Any]) -> Any:
        if is_raw and dtype.kind != "b":
            octets = raw.view(np.uint8).reshape(size, 8)[:, : dtype.itemsize]
            return np.ascontiguousarray(octets).reshape(-1).view(dtype)
        with np.errstate(all="ignore"):
            return mixed.astype(dtype)

    a, b = made(first), made(second)
    if draw(st.booleans()) and size:
        b = np.roll(b, 1)
    return a, b


@given(pairs())
def test_every_count_is_the_exact_one(pair: tuple[Any, Any]) -> None:
    a, b = pair
    found = distance(a, b, EXACT)
    n_values, n_not_finite, max_abs, max_rel = expected_distance(a, b)
    assert (found.n_values, found.n_not_finite) == (n_values, n_not_finite)
    assert is_nearly(found.max_abs, max_abs)
    assert is_nearly(found.max_rel, max_rel)
    assert found.n_beyond == found.n_values


@given(pairs(), st.sampled_from([EXACT, Tolerance(rtol=1e-3), Tolerance(atol=2.0)]))
def test_it_is_symmetric(pair: tuple[Any, Any], tolerance: Tolerance) -> None:
    a, b = pair
    there, back = distance(a, b, tolerance), distance(b, a, tolerance)
    for name in ("n_bits", "n_values", "n_beyond", "n_not_finite", "max_abs", "max_rel"):
        assert getattr(there, name) == getattr(back, name), name
    for name in ("first_bits", "first_value", "first_beyond"):
        one, other = getattr(there, name), getattr(back, name)
        assert (one is None) == (other is None)
        if one is not None:
            assert (one.index, one.a, one.b) == (other.index, other.b, other.a)


@given(pairs())
def test_nothing_is_apart_from_itself(pair: tuple[Any, Any]) -> None:
    for values in pair:
        assert distance(values, values.copy(), EXACT) == Distance()
        if values.dtype.kind != "V":
            swapped = values.byteswap().view(values.dtype.newbyteorder())
            assert distance(values, swapped, EXACT) == Distance()


@pytest.mark.parametrize("tolerance", [Tolerance(rtol=0.03), Tolerance(atol=0.02, rtol=0.01)])
def test_against_numpy_over_several_blocks(tolerance: Tolerance) -> None:
    rng = np.random.default_rng(5)
    a = rng.standard_normal(2 * _BLOCK + 77).astype("f4")
    b = a.copy()
    places = np.sort(rng.choice(a.size, 5000, replace=False))
    b[places] += rng.standard_normal(5000).astype("f4") * np.float32(0.02)
    found = distance(a, b, tolerance, start=1000)
    x, y = a.astype("f8"), b.astype("f8")
    apart, size = np.abs(x - y), np.maximum(np.abs(x), np.abs(y))
    beyond = apart > tolerance.atol + tolerance.rtol * size
    assert found.n_values == found.n_bits == np.count_nonzero(a != b) > 4000
    assert found.n_beyond == np.count_nonzero(beyond) > 100
    assert found.max_abs == apart.max()
    assert found.max_rel == (apart / size).max()
    assert found.first_value is not None
    assert found.first_value.index == 1000 + np.flatnonzero(a != b)[0]
    assert found.first_beyond is not None
    at = np.flatnonzero(beyond)[0]
    assert found.first_beyond.index == 1000 + at
    assert (found.first_beyond.a.value, found.first_beyond.b.value) == (str(a[at]), str(b[at]))


def test_zeros_and_nans() -> None:
    quiet, other = np.array([0x7FC00000, 0x7FC00001], np.uint32).view(np.float32)
    a = np.array([0.0, quiet, quiet, 1.0, np.inf, np.inf], np.float32)
    b = np.array([-0.0, quiet, other, np.nan, np.inf, -np.inf], np.float32)
    found = distance(a, b, Tolerance(rtol=1.0, atol=1e30))
    assert (found.n_bits, found.n_values, found.n_beyond, found.n_not_finite) == (4, 3, 3, 3)
    assert (found.max_abs, found.max_rel) == (None, None)
    assert found.first_bits is not None
    assert found.first_bits.index == 0
    assert found.first_value is not None
    assert (found.first_value.index, found.first_value.b.bits) == (2, "7fc00001")
    # In another dtype the NaN are the same ones.
    assert distance(a, a.astype(np.float64), EXACT).n_values == 0
    assert distance(b, a.astype(np.float64), EXACT).n_values == 3


def test_large_integers_are_compared_exactly() -> None:
    a = np.array([2**63 - 1, 2**53 + 1, -(2**63), 5], np.int64)
    b = np.array([2**63, 2**53, 2**63, 5], np.float64)
    found = distance(a, b, EXACT)
    assert (found.n_values, found.n_beyond) == (3, 3)
    assert distance(a[:2], b[:2], EXACT).max_abs == 1.0
    unsigned = np.array([2**64 - 1, 2**63], np.uint64)
    signed = np.array([-1, -(2**63)], np.int64)
    found = distance(unsigned, signed, EXACT)
    assert (found.n_values, found.max_abs) == (2, 2.0**64)
    near = distance(np.array([2**62], np.int64), np.array([2**62 + 1], np.int64), EXACT)
    assert (near.n_values, near.max_abs) == (1, 1.0)


def test_what_exceeds_float64_is_infinite() -> None:
    largest = np.finfo(np.float64).max
    a, b = np.array([largest]), np.array([-largest])
    found = distance(a, b, Tolerance(rtol=1.9))
    assert (found.max_abs, found.max_rel, found.n_beyond) == (math.inf, 2.0, 1)
    assert found.n_not_finite == 0
    assert distance(a, b, Tolerance(rtol=2.0)).n_beyond == 0
