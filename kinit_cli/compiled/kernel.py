"""Functions that Numba compiles, each for one signature, when they are first called.

Floating-point arithmetic is compiled as written: no operation is fused, reordered or replaced.
A module that needs otherwise says why. Machine code is kept beside the source, or in the user's
cache folder, for the next process; where neither can be written it is made anew each time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from numba import njit, types

_OPTIONS = {"nogil": True, "error_model": "numpy", "boundscheck": False, "fastmath": False}

# Numba's compiler has a lock of its own; this one keeps two threads from compiling the same.
_compile_lock = threading.Lock()


class Kernel:
    """A function and its signature, compiled at the first call; may be called from any thread.

    Parameters
    ----------
    function : callable
        What Numba can compile.
    signature : str or numba type
        Argument and result types; a string is in Numba's notation.
    """

    def __init__(self, function: Callable[..., Any], signature: Any) -> None:
        self.function = function
        self.signature = signature
        self._compiled: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        """Call the compiled function; numbers and arrays must have the types of the signature."""
        return (self._compiled or self.compile())(*arguments)

    def compile(self) -> Callable[..., Any]:
        """Give the compiled function, from the cache if it is there."""
        with _compile_lock:
            if self._compiled is None:
                self._compiled = self._compile()
        return self._compiled

    def _compile(self) -> Callable[..., Any]:
        try:
            compiled: Callable[..., Any] = njit(self.signature, cache=True, **_OPTIONS)(
                self.function
            )
        except Exception:  # noqa: BLE001 - whatever ails the cache, the next line does without it
            compiled = njit(self.signature, **_OPTIONS)(self.function)
        return compiled


def read_only(element: Any) -> Any:
    """Give the type of a 1-D C-contiguous array that is not written to, be it writable or not."""
    return types.Array(element, 1, "C", readonly=True)


def kernel(signature: Any) -> Callable[[Callable[..., Any]], Kernel]:
    """Make a `Kernel` of a function: a decorator."""
    return lambda function: Kernel(function, signature)
