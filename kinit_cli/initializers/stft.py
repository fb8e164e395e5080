"""Keras's STFT: the kernels of a short-time Fourier transform."""

from __future__ import annotations

import math

from kinit_cli.draw import Draw, Stft, flatten
from kinit_cli.initializers.base import Args, Argument, ArgumentError, InitializerType, Target
from kinit_cli.initializers.window_names import WINDOWS

#: Cosines are computed one by one, a microsecond each.
_MAX_LENGTH = 1 << 22


def _stft(args: Args, target: Target) -> Draw:
    _check_shape(target.shape)
    window, length = args["window"], target.shape[0]
    if isinstance(window, str):
        window = WINDOWS[window]
    elif window is not None:
        if any(isinstance(value, tuple) for value in window) or len(window) != length:
            raise ArgumentError(
                "window",
                f"a list of {length} numbers, as shape[0]",
                f"{len(flatten(window))} numbers",
                is_of_shape=True,
            )
        window = tuple(map(float, window))
    draw = Stft(
        side=args["side"], window=window, scaling=args["scaling"], periodic=args["periodic"]
    )
    if length and draw.scaling and window is not None:
        _check_divisor(draw, length)
    return draw


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) != 3 or shape[1] != 1 or shape[2] < 2:
        raise ArgumentError(
            None, "a shape (T, 1, F // 2 + 1) of T samples and F > 1 frequencies", f"{list(shape)}"
        )
    if max(shape) > _MAX_LENGTH:
        raise ArgumentError(None, f"up to {_MAX_LENGTH} samples and bins", f"{max(shape)}")


def _check_divisor(draw: Stft, length: int) -> None:
    from kinit_cli.stream.stft import samples_and_divisor

    divisor = samples_and_divisor(draw, length)[1]
    if not 0 < divisor < math.inf:
        raise ArgumentError(
            "window",
            "samples that can be scaled",
            f"{length} whose sum is {divisor:g}",
            "set scaling to null, or periodic to true",
            is_of_shape=True,
        )


STFT_TYPE = InitializerType(
    class_name="STFT",
    names=("stft", "STFTInitializer"),
    arguments=(
        Argument(name="side", kind="choice", default="real", choices=("real", "imag")),
        Argument(name="window", kind="window", default="hann", choices=tuple(WINDOWS)),
        Argument(
            name="scaling",
            kind="choice",
            default="density",
            choices=("density", "spectrum"),
            is_nullable=True,
        ),
        Argument(name="periodic", kind="flag", default=False),
    ),
    resolve=_stft,
    summary="cos or -sin of 2 pi n k / F, n the sample and k the frequency, times a window.",
)
