"""The 8-bit floats: rounded to the nearest, ties to even, as the stream says of narrow types."""

from __future__ import annotations

import itertools
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from every_engine import every_engine

from kinit_cli.draw import Constant, Draw, Normal, Orthogonal, TruncatedNormal, Uniform
from kinit_cli.dtypes import DTYPES, numpy_dtype
from kinit_cli.engines.base import Engine
from kinit_cli.engines.whole import make_tensor
from kinit_cli.errors import SpecError
from kinit_cli.planner import make_plan
from kinit_cli.spec.load import parse_spec
from kinit_cli.stream.identity import StreamKey
from kinit_cli.stream.reference import uniform_rounded
from kinit_cli.stream.transforms import cast_float64, largest_below

FLOAT8 = {"float8_e4m3fn": (4, 3, 7, 448.0), "float8_e5m2": (5, 2, 15, 57344.0)}
KEY = StreamKey(key=5, nonce=6)
every_float8 = pytest.mark.parametrize("name", sorted(FLOAT8))


def finite_values(name: str) -> np.ndarray[Any, Any]:
    """Give every value at its bits, computed from the definition; NaN where there is none."""
    n_exponent, n_fraction, bias, highest = FLOAT8[name]
    values = np.full(256, np.nan)
    for bits in range(256):
        sign = -1.0 if bits >> 7 else 1.0
        exponent = bits >> n_fraction & (1 << n_exponent) - 1
        fraction = (bits & (1 << n_fraction) - 1) / (1 << n_fraction)
        value = (fraction + bool(exponent)) * 2.0 ** (max(exponent, 1) - bias)
        if value <= highest and not (name == "float8_e5m2" and exponent == 31):
            values[bits] = sign * value
    if name == "float8_e4m3fn":
        values[[0x7F, 0xFF]] = np.nan
    return values


@every_float8
def test_the_table_knows_the_range(name: str) -> None:
    values = finite_values(name)
    assert DTYPES[name].highest == np.nanmax(values) == FLOAT8[name][3]
    assert DTYPES[name].lowest == np.nanmin(values)
    assert DTYPES[name].n_bytes == numpy_dtype(name).itemsize == 1
    widened = np.arange(256, dtype=np.uint8).view(numpy_dtype(name)).astype(np.float64)
    assert np.array_equal(np.where(np.isfinite(widened), widened, np.nan), values, equal_nan=True)


@every_float8
def test_every_value_and_all_around_every_midpoint_is_rounded_to_nearest_even(name: str) -> None:
    values = finite_values(name)
    magnitudes = np.unique(values[:128][~np.isnan(values[:128])])
    midpoints = (magnitudes[1:] + magnitudes[:-1]) / 2
    exact = np.float32(midpoints)
    assert (exact == midpoints).all()
    bits_of = {value: bits for bits, value in enumerate(values[:128]) if not np.isnan(value)}
    below, above = (np.array([bits_of[v] for v in part]) for part in (magnitudes, magnitudes[1:]))
    below = below[:-1]
    cases = [
        (magnitudes, np.array([bits_of[v] for v in magnitudes])),
        (midpoints, np.where(below % 2 == 0, below, above)),
        (np.nextafter(exact, np.float32(0)), below),
        (np.nextafter(exact, np.float32(np.inf)), above),
    ]
    for points, expected in cases:
        for sign, sign_bit in ((1.0, 0), (-1.0, 0x80)):
            out = np.full(points.size, 77, numpy_dtype(name))
            cast_float64(sign * points.astype(np.float64), out)
            assert out.view(np.uint8).tolist() == (expected | sign_bit).tolist()


def test_float64_is_rounded_by_way_of_float32() -> None:
    # Above the midpoint of 1 and 1.125 by less than float32 shows, it becomes the tie.
    out = np.zeros(2, ml_dtypes.float8_e4m3fn)
    cast_float64(np.array([1.0625 + 2.0**-40, 1.0625 + 2.0**-20]), out)
    assert out.astype(np.float64).tolist() == [1.0, 1.125]


@every_float8
def test_the_largest_below_is_the_next_value_down(name: str) -> None:
    values = np.unique(finite_values(name)[~np.isnan(finite_values(name))])
    for below, value in itertools.pairwise(values):
        assert largest_below(float(value), numpy_dtype(name)) == below


@every_engine
@every_float8
@pytest.mark.parametrize(
    "draw",
    [
        Normal(mean=0.5, stddev=2.0), TruncatedNormal(mean=0.0, stddev=0.02),
        Orthogonal(gain=3.0), Constant(value=0.3),
    ],
    ids=["normal", "truncated", "orthogonal", "constant"],
)  # fmt: skip
def test_a_tensor_is_the_float32_tensor_rounded(engine: Engine, name: str, draw: Draw) -> None:
    wide = make_tensor(engine, draw, KEY, (40, 30), "float32")
    narrow = make_tensor(engine, draw, KEY, (40, 30), name)
    assert narrow.tobytes() == wide.astype(numpy_dtype(name)).tobytes()


@every_engine
@every_float8
def test_a_uniform_tensor_stays_below_its_bound(engine: Engine, name: str) -> None:
    tensor = make_tensor(engine, Uniform(minval=-1.0, maxval=1.0), KEY, (5000,), name)
    found = tensor.astype(np.float64)
    assert found.max() == largest_below(1.0, numpy_dtype(name)) < 1
    assert found.min() == -1
    words = np.array([0, 2**31, 2**32 - 1], np.uint32)
    expected = uniform_rounded(words, -1.0, 1.0, numpy_dtype(name)).astype(np.float64)
    assert expected.tolist() == [-1.0, 0.0, largest_below(1.0, numpy_dtype(name))]


@pytest.mark.parametrize(
    ("name", "initializer", "is_held"),
    [
        ("float8_e4m3fn", "{constant: {value: 448}}", True),
        ("float8_e4m3fn", "{constant: {value: 449}}", False),
        ("float8_e5m2", "{constant: {value: 57344}}", True),
        ("float8_e5m2", "{constant: {value: -57345}}", False),
        ("float8_e4m3fn", "{random_normal: {stddev: 80}}", False),
        ("float8_e5m2", "{random_normal: {stddev: 80}}", True),
        ("float8_e4m3fn", "{random_uniform: {minval: 1, maxval: 1.01}}", False),
    ],
)
def test_what_the_type_cannot_hold_is_refused(name: str, initializer: str, is_held: bool) -> None:
    text = f"layers: [{{name: a, weights: {{k: {{shape: [2], dtype: {name}, initializer: "
    spec = parse_spec(f"{text}{initializer}}}}}}}]".encode(), "spec.yaml")
    if is_held:
        assert make_plan(spec).tensors[0].n_bytes == 2
    else:
        with pytest.raises(SpecError, match=name):
            make_plan(spec)
