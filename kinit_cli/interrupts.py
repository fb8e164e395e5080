"""Interrupts that do not get lost.

A signal raises an exception wherever the main thread happens to be. In a destructor or in a
compiler's own handlers that exception may end there, and the run would go on, deaf to further
signals. So it is noted as well, and raised again where the run can be left in good order.
"""

from __future__ import annotations

_noted: list[type[BaseException]] = []


def note(kind: type[BaseException]) -> None:
    """Remember an interrupt; called by the signal's handler, which then raises it."""
    _noted.append(kind)


def clear() -> None:
    """Forget interrupts: the run that they were meant for has ended."""
    _noted.clear()


def raise_noted() -> None:
    """Raise the interrupt that was noted, if any; on the main thread."""
    if _noted:
        raise _noted[0]
