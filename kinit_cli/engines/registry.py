"""Engines by name, each imported when it is asked for, and which one `auto` is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args

from kinit_cli.errors import UnavailableError, suggest

if TYPE_CHECKING:
    from kinit_cli.engines.base import Engine

EngineName = Literal["auto", "numpy", "numba"]
ENGINE_NAMES: tuple[EngineName, ...] = get_args(EngineName)

#: Seconds that it takes to import Numba and load compiled kernels (benchmarks/results.md).
SECONDS_TO_LOAD = 0.4


def get_engine(
    name: str,
    *,
    seconds_saved: float = 0.0,
    on_fault: Callable[[str], None] = lambda reason: None,
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

    Raises
    ------
    UnavailableError
        If no engine has this name.
    """
    match name:
        case "auto":
            return _numba(on_fault) if seconds_saved > SECONDS_TO_LOAD else _numpy()
        case "numpy":
            return _numpy()
        case "numba":
            return _numba(on_fault)
        case _:
            hint = suggest(name, ENGINE_NAMES) or f"known are {', '.join(ENGINE_NAMES)}"
            raise UnavailableError(f"no engine is called {name!r}; {hint}")


def _numpy() -> Engine:
    from kinit_cli.engines.numpy import NumpyEngine

    return NumpyEngine()


def _numba(on_fault: Callable[[str], None]) -> Engine:
    try:
        from kinit_cli.engines.numba import NumbaEngine

        return NumbaEngine(on_fault)
    except Exception as error:  # noqa: BLE001 - a broken installation can fail in any way
        on_fault(f"Numba cannot be used ({type(error).__name__}: {error})")
        return _numpy()
