"""Engines by name, each imported when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from kinit_cli.errors import UnavailableError, suggest

if TYPE_CHECKING:
    from kinit_cli.engines.base import Engine

EngineName = Literal["auto", "numpy"]
ENGINE_NAMES: tuple[EngineName, ...] = get_args(EngineName)


def get_engine(name: str) -> Engine:
    """Give the engine of a name; `auto` is the one that suits this machine.

    Raises
    ------
    UnavailableError
        If no engine has this name.
    """
    match name:
        case "auto" | "numpy":
            from kinit_cli.engines.numpy import NumpyEngine

            return NumpyEngine()
        case _:
            hint = suggest(name, ENGINE_NAMES) or f"known are {', '.join(ENGINE_NAMES)}"
            raise UnavailableError(f"no engine is called {name!r}; {hint}")
