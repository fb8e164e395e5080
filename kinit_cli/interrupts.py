"""Interrupts that do not get lost.

A signal raises an exception wherever the main thread happens to be. In a destructor or in a
compiler's own handlers that exception may end there, and the run would go on, deaf to further
signals. So it is noted as well, and raised again where the run can be left in good order.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
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


@contextmanager
def deferred() -> Iterator[None]:
    """Hear signals only after the block, which must be short: what is in it is done as a whole."""
    if threading.current_thread() is not threading.main_thread():
        yield  # no signal is heard on other threads
        return
    handlers = {int(number): signal.getsignal(number) for number in _HEARD}
    # What a signal does without Python, ending the process or nothing, it does at once.
    ours = {number: handler for number, handler in handlers.items() if callable(handler)}
    waiting: list[tuple[int, FrameType | None]] = []
    try:
        for number in ours:
            signal.signal(number, lambda *heard: waiting.append(heard))
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        if waiting:
            ours[waiting[0][0]](*waiting[0])
