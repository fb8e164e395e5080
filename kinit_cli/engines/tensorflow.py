"""The TensorFlow engine: values drawn on GPUs, the same bits as the NumPy engine.

Importing this module imports TensorFlow; `tensorflow_devices.load_tensorflow` does it quietly.
Only long runs of random elements are computed by TensorFlow. A CPU engine does the rest.
"""

from __future__ import annotations

import itertools
import math
import operator
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from kinit_cli.draw import Draw, Normal, Orthogonal, TruncatedNormal, Uniform
from kinit_cli.dtypes import numpy_dtype
from kinit_cli.engines.base import Engine
from kinit_cli.engines.probes import PROBE_DRAWS, fills_alike
from kinit_cli.engines.tensorflow_devices import Device
from kinit_cli.engines.tensorflow_programs import MODES, Job, Mode, Programs, make_job
from kinit_cli.engines.trial import OnFault, Trials
from kinit_cli.errors import KinitError
from kinit_cli.stream.identity import StreamKey
from kinit_cli.stream.philox import WORDS_PER_BLOCK, validate_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kinit_cli.statistics.meter import Meter

#: Below this a launch costs more than it computes.
MIN_ELEMENTS = 1 << 14
#: Elements of a launch: on a CPU about the quickest, on a GPU enough to fill it.
CPU_BLOCK_ELEMENTS = 1 << 21
GPU_BLOCK_ELEMENTS = 1 << 22
#: Of a call: two blocks, so that one is copied while the other is computed.
GPU_SPAN_ELEMENTS = 1 << 23
#: A device without room for so few elements is of no use.
LEAST_BLOCK_ELEMENTS = 1 << 16
#: Calls of `fill` that use a device at a time, so that its memory is bounded.
_FILLS_PER_DEVICE = 2
#: The next block is computed while the last one is copied.
_BLOCKS_IN_FLIGHT = 2
_FLOAT_DTYPES = tuple(map(numpy_dtype, ("float64", "float32", "float16", "bfloat16")))
#: What there are programs for.
_DRAWS = (Uniform, Normal, TruncatedNormal)
_LEAST_NORMAL_FLOAT32 = 2.0**-126
_CPU_NAMES = {"numpy": "NumPy", "numba": "Numba"}


class TensorFlowEngine:
    """Fills tiles on TensorFlow's devices; see `kinit_cli.engines.base.Engine`.

    Parameters
    ----------
    cpu_engine : Engine
        Does what is short, whole or not random, and what TensorFlow fails at.
    devices : sequence of Device
        Used in turn.
    modes : sequence of Mode
        Ways to run a program, the preferred one first.
    block_elements : int, optional
        Elements of a launch, a power of two; by default what suits each device.
    """

    name: str = "tensorflow"

    def __init__(
        self,
        cpu_engine: Engine,
        on_fault: OnFault,
        devices: Sequence[Device],
        *,
        modes: Sequence[Mode] = MODES,
        min_elements: int = MIN_ELEMENTS,
        block_elements: int | None = None,
    ) -> None:
        self._cpu = cpu_engine
        self._modes = tuple(modes)
        self._min_elements = min_elements
        substitute = _CPU_NAMES.get(cpu_engine.name, cpu_engine.name)
        self._trials = Trials("TensorFlow", on_fault, substitute=substitute)
        self._lanes = [_Lane.open(device, block_elements) for device in devices]
        self._turns = itertools.count()
        has_gpu = any(device.is_gpu for device in devices)
        self.span_elements: int = GPU_SPAN_ELEMENTS if has_gpu else CPU_BLOCK_ELEMENTS

    @property
    def devices(self) -> tuple[Device, ...]:
        """Give the devices that are used."""
        return tuple(lane.device for lane in self._lanes)

    def fill(
        self,
        out: NDArray[Any],
        draw: Draw,
        stream_key: StreamKey,
        *,
        start: int,
        shape: tuple[int, ...],
    ) -> None:
        """Write elements [start, start + out.size) of a tensor into `out`, in place.

        Raises
        ------
        KinitError
            If a device that worked before fails, or runs out of memory even for short blocks.
        """
        if self._suits(out, draw):
            lane = self._lanes[next(self._turns) % len(self._lanes)]
            job = make_job(draw, out.dtype, stream_key)
            mode = None if _may_be_subnormal(job) else self._mode_for(lane, job.kind, out.dtype)
            if mode is not None:
                _fill(out, lane, job, mode, start)
                return
        self._cpu.fill(out, draw, stream_key, start=start, shape=shape)

    def orthogonal(
        self,
        draw: Orthogonal,
        stream_key: StreamKey,
        shape: tuple[int, ...],
        *,
        jobs: int = 1,
        on_block: Callable[[], None] | None = None,
    ) -> NDArray[Any]:
        """Give the whole matrix of an orthogonal tensor, times its gain, from the CPU engine."""
        return self._cpu.orthogonal(draw, stream_key, shape, jobs=jobs, on_block=on_block)

    def prepare(self, kinds: Iterable[tuple[type[Draw] | None, np.dtype[Any]]]) -> None:
        """Compile and try out what will be used; see `kinit_cli.engines.base.Engine`."""
        kinds = list(kinds)
        self._cpu.prepare(kinds)
        for draw, dtype in kinds:
            if draw is not None and draw in _DRAWS and dtype in _FLOAT_DTYPES:
                for lane in self._lanes:
                    self._mode_for(lane, draw, dtype)

    def make_meter(self) -> Meter:
        """Give the CPU engine's meter, for one thread."""
        return self._cpu.make_meter()

    def _suits(self, out: NDArray[Any], draw: Draw) -> bool:
        is_long = out.size >= max(self._min_elements, 1)
        is_plain = out.flags.behaved and out.dtype in _FLOAT_DTYPES
        return is_long and is_plain and isinstance(draw, _DRAWS)

    def _mode_for(self, lane: _Lane, kind: type[Draw], dtype: np.dtype[Any]) -> Mode | None:
        """Give the first mode that gives the NumPy engine's bits, if there is one."""
        part = f"{kind.__name__} of {dtype} on {lane.device.label}"
        ways = [(mode, partial(_try, lane, kind, dtype, mode)) for mode in self._modes]
        return self._trials.choose(part, ways)


@dataclass(slots=True, kw_only=True)
class _Lane:
    """A device with what belongs to it.

    Attributes
    ----------
    block_elements : int
        Elements of a launch; fewer from the moment that the memory was too small.
    slots : semaphore
        Held by each call of `fill` that uses the device.
    """

    device: Device
    programs: Programs
    block_elements: int
    slots: threading.Semaphore = field(
        default_factory=lambda: threading.Semaphore(_FILLS_PER_DEVICE)
    )

    @classmethod
    def open(cls, device: Device, block_elements: int | None) -> _Lane:
        """Begin to use a device."""
        default = GPU_BLOCK_ELEMENTS if device.is_gpu else CPU_BLOCK_ELEMENTS
        return cls(
            device=device,
            programs=Programs(device),
            block_elements=block_elements or default,
        )

    def shrink(self, n_elements: int) -> None:
        """Go on with blocks half as long as those there was no room for.

        Raises
        ------
        KinitError
            If they would be too short to be of use.
        """
        if n_elements <= LEAST_BLOCK_ELEMENTS:
            raise KinitError(
                f"the device {self.device.label} has no room for blocks of {n_elements:,} "
                "elements; free its memory, or use --engine numba"
            )
        # Two calls may find out at once about blocks of one length.
        self.block_elements = min(self.block_elements, n_elements // 2)


def _fill(out: NDArray[Any], lane: _Lane, job: Job, mode: Mode, start: int) -> None:
    """Write elements [start, start + out.size), a block at a time, the next one under way."""
    start = operator.index(start)
    validate_words(start, out.size)
    with lane.slots:
        n_done = 0
        while n_done < out.size:
            block_elements = lane.block_elements
            try:
                for size in _iter_blocks(out[n_done:], lane, job, mode, start + n_done):
                    n_done += size
            except tf.errors.ResourceExhaustedError:
                lane.shrink(block_elements)
            except tf.errors.OpError as error:
                raise KinitError(
                    f"the device {lane.device.label} failed ({type(error).__name__}: "
                    f"{error.message}); use --engine numba"
                ) from error


def _iter_blocks(out: NDArray[Any], lane: _Lane, job: Job, mode: Mode, start: int) -> Iterator[int]:
    """Fill `out` and give the elements of each block, once they are there."""
    in_flight: deque[tuple[slice, NDArray[Any], Any]] = deque()
    n_launched, block_elements = 0, lane.block_elements
    while n_launched < out.size or in_flight:
        if n_launched < out.size and len(in_flight) < _BLOCKS_IN_FLIGHT:
            # Words come in fours; those before the first one wanted are left out afterwards.
            n_skipped = (start + n_launched) % WORDS_PER_BLOCK
            stop = min(n_skipped + out.size - n_launched, block_elements)
            size = _block_size(stop, block_elements)
            values = lane.programs.launch(job, mode, start + n_launched - n_skipped, size)
            piece = out[n_launched:][: stop - n_skipped]
            in_flight.append((slice(n_skipped, stop), piece, values))
            n_launched += piece.size
            continue
        wanted, piece, values = in_flight.popleft()
        np.copyto(piece, _fetch(values, wanted).view(out.dtype))
        yield piece.size


def _block_size(n_wanted: int, block_elements: int) -> int:
    """Round up to a power of two: few sizes, so that few programs are compiled."""
    return min(max(1 << (n_wanted - 1).bit_length(), MIN_ELEMENTS), block_elements)


def _fetch(values: Any, wanted: slice) -> NDArray[Any]:
    """Wait for a tensor and give a part of it, in place if it is on the host."""
    if (wanted.start, wanted.stop) != (0, values.shape[0]):
        values = values[wanted]
    with tf.device("/CPU:0"):
        return np.asarray(memoryview(tf.identity(values)))


def _try(lane: _Lane, kind: type[Draw], dtype: np.dtype[Any], mode: Mode) -> bool:
    """Compare a whole block and a short one, over a carry between two words of the counter."""
    count, start = lane.block_elements + 5, 2**34 - lane.block_elements // 2 - 3

    def fill(out: NDArray[Any], draw: Draw, stream_key: StreamKey, start: int) -> None:
        _fill(out, lane, make_job(draw, dtype, stream_key), mode, start)

    return all(
        fills_alike(fill, draw, dtype, start=start, count=count)
        for draw in PROBE_DRAWS
        if isinstance(draw, kind)
    )


def _may_be_subnormal(job: Job) -> bool:
    """Tell whether a value could be a float32 below the normal ones, which TensorFlow makes zero.

    Every value is a multiple of the lowest bits of scale and offset, which float32 has 24 of.
    """
    if job.dtype == "float64":
        return False
    lowest_bits = [
        math.ldexp(1.0, math.frexp(number)[1] - 24)
        for number in (job.scale, job.offset)
        if number != 0 and math.isfinite(number)
    ]
    return min(lowest_bits, default=1.0) < _LEAST_NORMAL_FLOAT32
