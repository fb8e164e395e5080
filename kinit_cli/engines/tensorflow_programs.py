"""The value stream's arithmetic in TensorFlow operations (docs/stream.md, 2 to 4).

Importing this module imports TensorFlow. Integers are int64 throughout: on GPUs TensorFlow has no
gather of unsigned integers, and does int32 arithmetic on the host. The only product of floats is
exact, so that a compiler may fuse it with the sum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from kinit_cli.draw import Draw, Normal, TruncatedNormal, Uniform
from kinit_cli.engines.tensorflow_devices import Device
from kinit_cli.stream.identity import StreamKey
from kinit_cli.stream.philox import WORDS_PER_BLOCK
from kinit_cli.stream.reference import TAIL_AT_2, TWO_STDDEV
from kinit_cli.stream.table import half_normal_table
from kinit_cli.stream.transforms import largest_below, normal_affine, uniform_affine

#: `xla` compiles a program into a few kernels; `eager` runs one operation after the other.
Mode = Literal["xla", "eager"]
MODES: tuple[Mode, ...] = ("xla", "eager")

_PHILOX = 1
_NARROW = {"float16": tf.float16, "bfloat16": tf.bfloat16}
#: A program: (words, [scale, offset, highest]) -> elements, float64 or float32.
_Program = Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the elements are drawn from, ready for a program.

    Attributes
    ----------
    scale, offset, highest : float
        Of the map from integer units to values, and the bound of a uniform draw.
    """

    kind: type[Draw]
    dtype: str
    stream_key: StreamKey
    scale: float
    offset: float
    highest: float


def make_job(draw: Draw, dtype: np.dtype[Any], stream_key: StreamKey) -> Job:
    """Resolve a draw's parameters as the stream says."""
    highest = 0.0
    match draw:
        case Uniform(minval=minval, maxval=maxval):
            affine, highest = uniform_affine(minval, maxval), largest_below(maxval, dtype)
        case Normal(mean=mean, stddev=stddev) | TruncatedNormal(mean=mean, stddev=stddev):
            affine = normal_affine(mean, stddev)
        case _:
            raise TypeError(f"{draw!r} is not drawn from the stream")
    return Job(
        kind=type(draw),
        dtype=dtype.name,
        stream_key=stream_key,
        scale=affine.scale,
        offset=affine.offset,
        highest=highest,
    )


class Programs:
    """One device's programs, each made when it is first asked for."""

    def __init__(self, device: Device) -> None:
        self._device = device
        # One column to a gather: contiguous, and small enough for any cache.
        table = half_normal_table().astype(np.int64)
        with tf.device(device.tensorflow_name):
            self._table = tuple(tf.constant(table[:, column]) for column in range(3))
        self._program = lru_cache(maxsize=None)(self._make_program)

    def launch(self, job: Job, mode: Mode, first_word: int, size: int) -> Any:
        """Begin to compute elements [first_word, first_word + size) on the device.

        Parameters
        ----------
        first_word : int
            A multiple of 4; the counter's 64-bit carries are the operation's own.
        size : int
            A multiple of 4. With `xla`, every size is compiled once.

        Returns
        -------
        tensor of shape (size,)
            On the device, perhaps not computed yet: float64, float32, or a narrower type's bits
            as uint16.
        """
        block = first_word // WORDS_PER_BLOCK
        with tf.device(self._device.tensorflow_name):
            # Not within a program: XLA has a Philox of its own, on CPUs several times as slow.
            words = tf.raw_ops.StatelessRandomUniformFullIntV2(
                shape=[size],
                key=tf.constant([job.stream_key.key], tf.uint64),
                counter=tf.constant([block, job.stream_key.nonce], tf.uint64),
                alg=_PHILOX,
                dtype=tf.uint32,
            )
            program = self._program(job.kind.__name__, job.dtype == "float64", mode, size)
            numbers = tf.constant([job.scale, job.offset, job.highest], tf.float64)
            values = program(words, numbers)
            if job.dtype in _NARROW:
                # An operation of its own: XLA would round once instead of twice.
                values = tf.bitcast(tf.cast(values, _NARROW[job.dtype]), tf.uint16)
        return values

    def _make_program(self, kind: str, is_double: bool, mode: Mode, size: int) -> _Program:
        to_values: Callable[..., Any] = {
            "Uniform": _uniform,
            "Normal": self._normal,
            "TruncatedNormal": self._truncated_normal,
        }[kind]

        def program(words: Any, numbers: Any) -> Any:
            x = to_values(tf.cast(words, tf.int64), *tf.unstack(numbers))
            return x if is_double else tf.cast(x, tf.float32)

        if mode == "eager":
            return program
        signature = [
            tf.TensorSpec([size], tf.uint32),
            tf.TensorSpec([3], tf.float64),
        ]
        function = tf.function(
            program, input_signature=signature, jit_compile=True, autograph=False
        )
        # Called through `function`, TensorFlow would warn of so many functions.
        compiled: _Program = function.get_concrete_function()
        return compiled

    def _normal(self, u: Any, scale: Any, offset: Any, highest: Any) -> Any:
        v = tf.bitwise.bitwise_and(u, _int64(0x7FFFFFFF))
        return _signed(self._half_normal(2 * v + 1), u) * scale + offset

    def _truncated_normal(self, u: Any, scale: Any, offset: Any, highest: Any) -> Any:
        v = tf.bitwise.bitwise_and(u, _int64(0x7FFFFFFF))
        w = TAIL_AT_2 + _shifted_right(_int64(2**32 - TAIL_AT_2) * v, 31)
        z = tf.minimum(self._half_normal(w), _int64(TWO_STDDEV))
        return _signed(z, u) * scale + offset

    def _half_normal(self, w: Any) -> Any:
        """Give the points whose upper tails are w / 2^33, in units of 2^-26, as int64."""
        c0, c1, c2 = self._table
        bits = tf.bitcast(tf.cast(w, tf.float64), tf.int64)
        segment = _shifted_right(bits, 46) - (1023 << 6)
        t = tf.bitwise.bitwise_and(_shifted_right(bits, 15), _int64(0x7FFFFFFF))
        z = tf.gather(c1, segment) + _shifted_right(tf.gather(c2, segment) * t, 31)
        z = tf.gather(c0, segment) + _shifted_right(z * t, 31)
        return _shifted_right(z + 2, 2)


def _uniform(u: Any, scale: Any, offset: Any, highest: Any) -> Any:
    x = tf.cast(_shifted_right(u, 3), tf.float64) * scale + offset
    # Rounding keeps order and `highest` is not rounded, so the bound may come first.
    return tf.minimum(x, highest)


def _signed(z: Any, u: Any) -> Any:
    """Negate where bit 31 of the word is set, as an integer: there is no -0.0 yet."""
    return tf.cast(tf.where(u > 0x7FFFFFFF, -z, z), tf.float64)


def _shifted_right(x: Any, n_bits: int) -> Any:
    return tf.bitwise.right_shift(x, _int64(n_bits))


def _int64(value: int) -> Any:
    return tf.constant(value, tf.int64)
