"""Engines by name, each imported when it is asked for, and which one `auto` is."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, get_args

from kinit_cli.engines.code_cache import can_keep_code
from kinit_cli.errors import UnavailableError, suggest

if TYPE_CHECKING:
    from kinit_cli.engines.base import Engine

EngineName = Literal["auto", "numpy", "numba"]
ENGINE_NAMES: tuple[EngineName, ...] = get_args(EngineName)
#: What `--engine` takes besides: libraries that draw values of their own (`engines.keras`).
OWN_VALUES_NAMES = ("keras",)

#: Seconds that it takes to import Numba and load compiled kernels, and to compile them where they
#: cannot be kept (benchmarks/results.md).
SECONDS_TO_LOAD = 0.2
SECONDS_TO_COMPILE = 2.0


def get_engine(
    name: str,
    *,
    seconds_saved: float = 0.0,
    on_fault: Callable[[str], None] = lambda reason: None,
    is_alone: bool = False,
) -> Engine:
    """Give the engine of a name.

    Parameters
    ----------
    name : str
        `auto` is the one that suits the work and this machine.
    seconds_saved : float
        What compiled code is expected to save, for `auto`; see `kinit_cli.engines.saving`.
    on_fault : callable, optional
        Called with the reason if the Numba engine, or a part of it, does not work here; the NumPy
        engine then does that work.
    is_alone : bool
        Nothing else in this process uses Numba, so it may be loaded without SciPy, in half the
        time.

    Raises
    ------
    UnavailableError
        If no engine has this name.
    """
    match name:
        case "auto":
            return _numba(on_fault, is_alone) if _pays(seconds_saved) else _numpy()
        case "numpy":
            return _numpy()
        case "numba":
            return _numba(on_fault, is_alone)
        case _:
            hint = suggest(name, ENGINE_NAMES) or f"known are {', '.join(ENGINE_NAMES)}"
            raise UnavailableError(f"no engine is called {name!r}; {hint}")


def _pays(seconds_saved: float) -> bool:
    """Tell whether compiled code saves more than it costs; compiling once for all is free."""
    is_compiled = os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")
    if not is_compiled or seconds_saved <= SECONDS_TO_LOAD:
        return False
    return seconds_saved > SECONDS_TO_LOAD + SECONDS_TO_COMPILE or can_keep_code()


def _numpy() -> Engine:
    from kinit_cli.engines.numpy import NumpyEngine

    return NumpyEngine()


def _numba(on_fault: Callable[[str], None], is_alone: bool) -> Engine:
    try:
        if is_alone:
            with _hidden("scipy"):
                _load_numba()
        from kinit_cli.engines.numba import NumbaEngine

        return NumbaEngine(on_fault)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - broken modules fail in any way
        on_fault(f"Numba cannot be used ({type(error).__name__}: {error})")
        return _numpy()


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
