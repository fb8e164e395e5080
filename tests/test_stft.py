"""STFT kernels: the circle against 60 digits, windows against SciPy's, arguments and faults."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest
from every_engine import every_engine
from scipy import signal
from spec_texts import one_weight, problems_of, tensor_of, values_of
from stream_vectors import assert_same_bits, poisoned

from kinit_cli.draw import Stft, expected_moments, value_bounds
from kinit_cli.dtypes import numpy_dtype
from kinit_cli.engines.base import Engine
from kinit_cli.initializers.window_names import WINDOWS
from kinit_cli.stream.circle import circle
from kinit_cli.stream.identity import explicit_stream_key
from kinit_cli.stream.windows import window

KEY = explicit_stream_key(1)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 31, 100, 510, 1021, 1024])
def test_the_circle_is_rounded_once(n: int) -> None:
    cosines, sines = circle(n)
    with mpmath.workdps(60):
        angles = [mpmath.mpf(2 * j) / n for j in range(n)]
        assert cosines.tolist() == [float(mpmath.cospi(angle)) for angle in angles]
        assert sines.tolist() == [float(mpmath.sinpi(angle)) for angle in angles]
    for values in (cosines, sines):
        assert not np.signbit(values[values == 0]).any()


@pytest.mark.parametrize("name", sorted(set(WINDOWS.values())))
def test_windows_are_scipys(name: str) -> None:
    for size in (1, 2, 3, 4, 5, 16, 33, 400):
        for is_periodic in (False, True):
            found = window(name, size, is_periodic=is_periodic)
            expected = signal.get_window(name, size, is_periodic)
            assert found.shape == expected.shape
            # Some roundings of numbers up to 1.
            np.testing.assert_allclose(found, expected, rtol=0, atol=2e-15)


def test_other_names_of_windows_are_scipys() -> None:
    for alias, name in WINDOWS.items():
        assert np.array_equal(signal.get_window(alias, 9), signal.get_window(name, 9))


@every_engine
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_any_slice(engine: Engine, dtype: str) -> None:
    draw, shape = Stft(side="imag", window="hann", scaling=None, periodic=True), (300, 1, 401)
    whole = poisoned(300 * 401, numpy_dtype(dtype))
    engine.fill(whole, draw, KEY, start=0, shape=shape)
    time, frequency = np.mgrid[:300, :401]
    exact = -np.sin(2 * np.pi * time * frequency / 800) * (0.5 - 0.5 * np.cos(np.pi * time / 150))
    atol = {"float64": 1e-12, "float32": 6e-8, "float16": 5e-4, "bfloat16": 4e-3}[dtype]
    np.testing.assert_allclose(whole.astype(float), exact.reshape(-1), rtol=0, atol=atol)
    for start, count in ((0, 1), (5, 70_000), (401, 401), (119_999, 301)):
        part = poisoned(count, numpy_dtype(dtype))
        engine.fill(part, draw, KEY, start=start, shape=shape)
        assert_same_bits(part, whole[start : start + count])
    assert not np.signbit(whole[whole == 0]).any()


@pytest.mark.parametrize(("scaling", "divisor"), [(None, 1.0), ("density", 5.0), ("spectrum", 7.0)])
def test_a_window_of_ones_own(scaling: str | None, divisor: float) -> None:
    arguments = {"window": [3, "-4"], "scaling": scaling}
    found = values_of(tensor_of({"stft": arguments}, "[2, 1, 2]", dtype="float64"))
    assert found.tolist() == [[[3 / divisor, 3 / divisor]], [[-4 / divisor, 4 / divisor]]]


def test_without_a_window_there_is_no_scaling() -> None:
    found = values_of(tensor_of({"stft": {"window": None}}, "[3, 1, 3]", dtype="float64"))
    assert found.tolist() == [[[1, 1, 1]], [[1, 0, -1]], [[1, -1, 1]]]
    imag = values_of(tensor_of({"stft": {"window": None, "side": "imag"}}, "[2, 1, 3]"))
    assert imag.tolist() == [[[0, 0, 0]], [[0, -1, 0]]]


def test_bounds_and_moments() -> None:
    draw = Stft(side="real", window=(3.0, -4.0), scaling=None, periodic=False)
    assert value_bounds(draw) == (-4, 4)
    assert expected_moments(draw, (2, 1, 2)) is None
    assert value_bounds(Stft(side="real", window="hann", scaling=None, periodic=True)) == (-1, 1)
    weight = "shape: [1, 1, 2], initializer: {stft: {window: [1e5], scaling: null}}, dtype: float16"
    assert "up to 65504" in problems_of(one_weight(weight))[0]


SHAPE = "expected a shape (T, 1, F // 2 + 1) of T samples and F > 1 frequencies, got "


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ("shape: [4, 5], initializer: stft", f"{SHAPE}[4, 5]"),
        ("shape: [4, 2, 5], initializer: stft", f"{SHAPE}[4, 2, 5]"),
        ("shape: [4, 1, 1], initializer: stft", f"{SHAPE}[4, 1, 1]"),
        (
            "shape: [5000000, 1, 3], initializer: stft",
            "expected up to 4194304 samples and bins, got 5000000",
        ),
        (
            "shape: [4, 1, 3], initializer: {stft: {window: [1, 2, 3]}}",
            "stft.window: expected a list of 4 numbers, as shape[0], got 3 numbers",
        ),
        (
            "shape: [2, 1, 3], initializer: {stft: {window: [[1, 2], [3, 4]]}}",
            "stft.window: expected a list of 2 numbers, as shape[0], got 4 numbers",
        ),
        (
            "shape: [2, 1, 3], initializer: stft",
            "window: expected samples that can be scaled, got 2 whose sum is 0; "
            "set scaling to null, or periodic to true",
        ),
        (
            "shape: [2, 1, 3], initializer: {stft: {window: 5}}",
            "stft.window: expected a window's name, a list of its samples, or null, got 5",
        ),
        (
            "shape: [2, 1, 3], initializer: {stft: {window: kaiser}}",
            "stft.window: expected window: hann, han, hamming, hamm,",
        ),
        (
            "shape: [2, 1, 3], initializer: {stft: {periodic: 1}}",
            "stft.periodic: expected periodic: true or false, got 1",
        ),
        (
            "shape: [2, 1, 3], initializer: {stft: {scaling: none}}",
            "stft.scaling: expected scaling: density, spectrum, null, got 'none'",
        ),
        (
            "shape: [2, 1, 3], initializer: {stft: {side: null}}",
            "stft.side: expected side: real, imag, got nothing",
        ),
        (
            "shape: [4, 1, 3], dtype: int32, initializer: stft",
            "for the dtype int32, got real numbers",
        ),
    ],
)
def test_refused(weight: Any, message: str) -> None:
    (problem,) = problems_of(one_weight(weight))
    assert message in problem
