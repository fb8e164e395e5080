"""Trying a part of an engine out before it is used, and saying so where it fails."""

from __future__ import annotations

import textwrap
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

#: Called with one line for the user: what does not work here, why, and what does it instead.
OnFault = Callable[[str], None]
Way = TypeVar("Way")

#: Compilers and loaders say why in many lines.
_MAX_REASON = 300


def fault_text(what: str, reason: str, substitute: str) -> str:
    """Write the line for the user.

    >>> fault_text("Numba cannot be used", "ImportError: no numba", "NumPy")[:44]
    'Numba cannot be used (ImportError: no numba)'
    """
    short = textwrap.shorten(reason, _MAX_REASON, placeholder=" ...")
    return f"{what} ({short}); {substitute} does it, with the same values but slower"


class Trials:
    """Remembers what was tried; to be used from many threads at once.

    Parameters
    ----------
    substitute : str
        What does the work of a part that fails.
    """

    def __init__(self, engine: str, on_fault: OnFault, *, substitute: str) -> None:
        self._engine = engine
        self._on_fault = on_fault
        self._substitute = substitute
        self._chosen: dict[object, object] = {}
        self._lock = threading.Lock()

    def choose(self, part: object, ways: Sequence[tuple[Way, Callable[[], bool]]]) -> Way | None:
        """Give the first way to do a part that passes its trial; each is tried once.

        Parameters
        ----------
        ways : sequence of (way, trial)
            A trial tells whether the values are those of the NumPy engine; it may raise.

        Returns
        -------
        way or None
            None if none passes; the user is told once, with the reason of the last one.
        """
        if part not in self._chosen:
            with self._lock:
                if part not in self._chosen:
                    self._chosen[part] = self._try_out(part, ways)
        return self._chosen[part]  # type: ignore[return-value]

    def _try_out(self, part: object, ways: Sequence[tuple[Way, Callable[[], bool]]]) -> Way | None:
        reason = "there is no way to do it"
        for way, trial in ways:
            try:
                if trial():
                    return way
                reason = "it gives other values than the NumPy engine"
            except Exception as error:  # noqa: BLE001 - a compiler can fail in any way
                reason = f"{type(error).__name__}: {error}"
        what = f"the {self._engine} engine fails for {part}"
        self._on_fault(fault_text(what, reason, self._substitute))
        return None
