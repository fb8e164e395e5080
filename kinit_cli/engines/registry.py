"""Engines by name, each imported when it is asked for, and which one `auto` is."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, get_args

from kinit_cli.engines.code_cache import can_keep_code
from kinit_cli.engines.gpu_driver import has_gpu_driver
from kinit_cli.engines.tensorflow_devices import (
    INSTALL,
    choose_devices,
    is_gpu_name,
    load_tensorflow,
)
from kinit_cli.engines.trial import OnFault, fault_text
from kinit_cli.errors import UnavailableError, suggest
from kinit_cli.foreign_code import fmt_error

if TYPE_CHECKING:
    from kinit_cli.engines.base import Engine

EngineName = Literal["auto", "numpy", "numba", "tensorflow"]
ENGINE_NAMES: tuple[EngineName, ...] = get_args(EngineName)
#: What `--engine` takes besides: libraries that draw values of their own (`engines.keras`).
OWN_VALUES_NAMES = ("keras",)

#: Seconds that it takes to import Numba and load compiled kernels, and to compile them where they
#: cannot be kept (benchmarks/results.md).
SECONDS_TO_LOAD = 0.2
SECONDS_TO_COMPILE = 2.0
#: Seconds to import TensorFlow, set up a GPU and compile for it: on a CPU 4, on a GPU assumed.
SECONDS_TO_LOAD_TENSORFLOW = 5.0


def get_engine(
    name: str,
    *,
    seconds_saved: float = 0.0,
    seconds_saved_on_gpu: float = 0.0,
    device: str | None = None,
    on_fault: OnFault = lambda text: None,
    is_alone: bool = False,
) -> Engine:
    """Give the engine of a name.

    Parameters
    ----------
    name : str
        `auto` is the one that suits the work and this machine.
    seconds_saved, seconds_saved_on_gpu : float
        What compiled code is expected to save against NumPy, and a GPU against compiled code, for
        `auto`; see `kinit_cli.engines.saving`.
    device : str, optional
        For the TensorFlow engine: `cpu`, `gpu` (all of them) or `gpu:N`; by default all GPUs, or
        the CPU where there is none. With `auto`, a GPU means that engine, and `cpu` another one.
    on_fault : callable, optional
        Called with a line for the user if a compiled engine, or a part of it, does not work here
        and another one does that work.
    is_alone : bool
        The process is kinit's own: Numba may be loaded without SciPy, in half the time, and what
        libraries write to stderr while they are loaded is hidden.

    Raises
    ------
    UnavailableError
        If no engine has this name, TensorFlow is asked for by name and cannot be imported, or it
        has no such device.
    """
    match name:
        case "auto" if is_gpu_name(device):
            return _tensorflow(device, on_fault, is_alone)
        case "auto":
            if device is None and _pays_on_gpu(seconds_saved_on_gpu):
                engine = _tensorflow_on_gpu(on_fault, is_alone)
                if engine is not None:
                    return engine
            return _numba(on_fault, is_alone) if _pays(seconds_saved) else _numpy()
        case "numpy":
            return _numpy()
        case "numba":
            return _numba(on_fault, is_alone)
        case "tensorflow":
            return _tensorflow(device, on_fault, is_alone)
        case _:
            hint = suggest(name, ENGINE_NAMES) or f"known are {', '.join(ENGINE_NAMES)}"
            raise UnavailableError(f"no engine is called {name!r}; {hint}")


def _pays_on_gpu(seconds_saved: float) -> bool:
    """Tell whether a GPU may be worth while, without importing anything; cheap checks first."""
    return (
        seconds_saved > SECONDS_TO_LOAD_TENSORFLOW
        and has_gpu_driver()
        and importlib.util.find_spec("tensorflow") is not None
    )


def _pays(seconds_saved: float) -> bool:
    """Tell whether compiled code saves more than it costs; compiling once for all is free."""
    is_compiled = os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")
    if not is_compiled or seconds_saved <= SECONDS_TO_LOAD:
        return False
    return seconds_saved > SECONDS_TO_LOAD + SECONDS_TO_COMPILE or can_keep_code()


def _numpy() -> Engine:
    from kinit_cli.engines.numpy import NumpyEngine

    return NumpyEngine()


def _numba(on_fault: OnFault, is_alone: bool) -> Engine:
    try:
        if is_alone:
            with _hidden("scipy"):
                _load_numba()
        from kinit_cli.engines.numba import NumbaEngine

        return NumbaEngine(on_fault)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - broken modules fail in any way
        reason = f"{type(error).__name__}: {error}"
        on_fault(fault_text("Numba cannot be used", reason, "NumPy"))
        return _numpy()


def _tensorflow(device: str | None, on_fault: OnFault, is_alone: bool) -> Engine:
    """Give the TensorFlow engine, or raise UnavailableError."""
    try:
        tf = load_tensorflow(is_alone=is_alone)
    except (Exception, SystemExit) as error:
        raise UnavailableError(
            f"engine tensorflow: expected TensorFlow to be installed and to work, got "
            f"{fmt_error(error)}; {INSTALL}"
        ) from error
    devices = choose_devices(tf, device)
    from kinit_cli.engines.tensorflow import TensorFlowEngine

    return TensorFlowEngine(_numba(on_fault, is_alone), on_fault, devices)


def _tensorflow_on_gpu(on_fault: OnFault, is_alone: bool) -> Engine | None:
    """Give the TensorFlow engine if it works and sees a GPU; tell the user if not."""
    try:
        return _tensorflow("gpu", on_fault, is_alone)
    except UnavailableError as error:
        on_fault(fault_text("no GPU is used", str(error), "the CPU"))
        return None


def _load_numba() -> None:
    """Make one kernel ready, which loads all that compiling needs; most work needs it anyway."""
    from kinit_cli.compiled.stream import fill_float32

    fill_float32.compile()


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Let `import module` fail within the context, unless it was imported before.

    Numba imports SciPy, where it is installed, to call its linear algebra; no kernel here does.
    """
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]
