"""TensorFlow and its devices: imported without noise, and named as the user names them.

Importing this module imports nothing; `load_tensorflow` imports TensorFlow, which takes seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from kinit_cli.engines.quiet import quiet
from kinit_cli.errors import UnavailableError

INSTALL = "pip install 'kinit-cli[tensorflow]'"
_DEVICE_NAME = re.compile(r"(?:cpu|gpu(?::(?P<index>[0-9]{1,4}))?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Where TensorFlow computes.

    Attributes
    ----------
    label : str
        `cpu`, `gpu:0`, `gpu:1`, ...
    """

    label: str

    @property
    def is_gpu(self) -> bool:
        """Tell whether it is a GPU."""
        return self.label != "cpu"

    @property
    def tensorflow_name(self) -> str:
        """Give the name for `tf.device`."""
        return "/" + self.label.upper() if self.is_gpu else "/CPU:0"


def is_device_name(text: str) -> bool:
    """Tell whether a text can name a device: `cpu`, `gpu` or `gpu:N`."""
    return _DEVICE_NAME.fullmatch(text) is not None


def is_gpu_name(device: str | None) -> bool:
    """Tell whether a device that was asked for is a GPU."""
    return device is not None and device.startswith("gpu")


def load_tensorflow(*, is_alone: bool = False) -> Any:
    """Import TensorFlow and begin to use its devices.

    Parameters
    ----------
    is_alone : bool
        See `kinit_cli.engines.quiet.quiet`.

    Returns
    -------
    module
        The module `tensorflow`.

    Raises
    ------
    Exception
        Whatever a missing or broken installation raises.
    """
    with quiet(is_alone=is_alone):
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            try:
                tf.config.experimental.set_memory_growth(gpu, True)
            except RuntimeError:
                break  # the GPUs are in use already, and stay as they were set up
        tf.config.list_logical_devices()
    return tf


def choose_devices(tf: Any, asked: str | None) -> tuple[Device, ...]:
    """Give the devices that a name stands for: all GPUs, or the CPU, for None.

    Raises
    ------
    UnavailableError
        If there is no such device.
    """
    gpus = [Device(label=f"gpu:{i}") for i in range(len(tf.config.list_logical_devices("GPU")))]
    cpu = Device(label="cpu")
    if asked is None:
        return tuple(gpus) or (cpu,)
    if asked == "cpu":
        return (cpu,)
    chosen = tuple(gpu for gpu in gpus if asked in ("gpu", gpu.label))
    if not chosen:
        labels = ", ".join(device.label for device in (cpu, *gpus))
        raise UnavailableError(
            f"device {asked}: expected one that TensorFlow sees here, which are {labels}; "
            "choose one of them, or see docs/gpu.md if it should be there"
        )
    return chosen
