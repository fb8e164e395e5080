"""Whether a dtype can hold what an initializer draws."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kinit_cli.draw import (
    BoundedNormal,
    Called,
    Constant,
    ConstantArray,
    Dirac,
    Draw,
    Eye,
    Normal,
    Sparse,
    Stft,
    TruncatedNormal,
    Uniform,
    flatten,
    value_bounds,
)
from kinit_cli.dtypes import DTYPES, DType, numpy_dtype

#: In units of stddev. The stream's normal ends at 6.34; of what lies beyond 4 that lacks a
#: two-thousandth of the variance, of what lies beyond 5 a fiftieth.
_REACH = 4
#: Its values are 2^-26 stddev apart; this leaves 65,536 of them.
_NARROWEST = 2.0**-10
_FLOAT32_MAX = DTYPES["float32"].highest


class FitError(ValueError):
    """The dtype cannot hold what the initializer draws."""

    def __init__(self, expected: str, got: str, hint: str = "") -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.expected = expected
        self.got = got
        self.hint = hint


def fitted(draw: Draw, dtype: DType) -> Draw:
    """Give the draw as the dtype takes it; raise `FitError` if it cannot hold the values."""
    if isinstance(draw, Called):
        return draw  # what it returns is checked when it is there
    if dtype.kind != "float":
        return _whole(draw, dtype)
    lowest, highest = value_bounds(draw)
    if lowest < dtype.lowest or highest > dtype.highest:
        raise FitError(
            f"values that {dtype.name} can hold (up to {float(dtype.highest):.6g})",
            f"{lowest:.6g}" if lowest == highest else f"values from {lowest:.6g} to {highest:.6g}",
            "choose a wider dtype or a smaller scale",
        )
    _check_parameters(draw, dtype)
    return draw


def _check_parameters(draw: Draw, dtype: DType) -> None:
    """Check what the stream rounds to float32: a distribution's parameters must fit in one."""
    if isinstance(draw, BoundedNormal):
        _check_bounds(draw, dtype)
        return
    match draw:
        case Uniform(minval=low, maxval=high):
            parameters = {"minval": low, "maxval": high, "maxval - minval": high - low}
        case Normal(mean=mean, stddev=stddev) | TruncatedNormal(mean=mean, stddev=stddev):
            parameters = {"mean": mean, "stddev": stddev}
        case Sparse(stddev=stddev):
            parameters = {"std": stddev}
        case _:
            return
    for name, value in parameters.items():
        if not abs(value) <= _FLOAT32_MAX:
            raise FitError(f"{name} within float32's range", f"{value:.6g}")
    if isinstance(draw, Uniform):
        low, high = _rounded(draw.minval, dtype), _rounded(draw.maxval, dtype)
        name = dtype.name if dtype.n_bytes < 4 else "float32"
        if low >= high:
            raise FitError(
                f"minval and maxval that differ in {name}",
                f"{draw.minval!r} and {draw.maxval!r}",
                "choose a wider dtype",
            )


def _check_bounds(draw: BoundedNormal, dtype: DType) -> None:
    """Check that the stream's normal has enough values between the bounds, and the dtype any."""
    from kinit_cli.stream.bounded import largest_not_above, smallest_not_below
    from kinit_cli.stream.transforms import round_to_float32

    mean, stddev = round_to_float32(draw.mean), round_to_float32(draw.stddev)
    if not abs(mean) <= _FLOAT32_MAX:
        raise FitError("mean within float32's range", f"{draw.mean:.6g}")
    if not 0 < stddev <= _FLOAT32_MAX:
        raise FitError("std within float32's range", f"{draw.stddev:.6g}")
    interval = f"a = {draw.low:.6g} and b = {draw.high:.6g}"
    if draw.low > mean + _REACH * stddev or draw.high < mean - _REACH * stddev:
        raise FitError(
            f"an interval [a, b] within {_REACH} std of the mean",
            interval,
            "move a and b, or the mean",
        )
    if draw.high - draw.low < stddev * _NARROWEST:
        raise FitError(
            "b - a of std / 1024 or more",
            interval,
            "the normal is flat there: use random_uniform",
        )
    numpy_name = numpy_dtype(dtype.name)
    low, high = smallest_not_below(draw.low, numpy_name), largest_not_above(draw.high, numpy_name)
    if not low <= high:
        raise FitError(f"a value of {dtype.name} from a to b", interval, "choose a wider dtype")


def _rounded(value: float, dtype: DType) -> float:
    """Round as the stream does: to float32, and from there to a narrower dtype."""
    import numpy as np

    rounded = np.float32(value)
    return float(rounded if dtype.n_bytes > 2 else rounded.astype(numpy_dtype(dtype.name)))


def _whole(draw: Draw, dtype: DType) -> Draw:
    match draw:
        case Constant(value=value):
            return Constant(value=_whole_value(value, dtype))
        case Eye(gain=gain):
            return Eye(gain=_whole_value(gain, dtype))
        case Dirac():
            return draw
        case ConstantArray(values=values):
            for value in flatten(values):
                _whole_value(value, dtype)
            return replace(draw, values=_whole_nested(values))
    raise FitError(
        f"zeros, ones, constant, identity or dirac for the dtype {dtype.name}",
        "real numbers" if isinstance(draw, Stft) else "random real numbers",
        "choose a float dtype",
    )


def _whole_value(value: float, dtype: DType) -> int:
    if value != value // 1 or not dtype.lowest <= value <= dtype.highest:
        raise FitError(
            f"values that {dtype.name} can hold: whole, {dtype.lowest} to {dtype.highest}",
            str(value),
        )
    return int(value)


def _whole_nested(values: Any) -> Any:
    return tuple(map(_whole_nested, values)) if isinstance(values, tuple) else int(values)
