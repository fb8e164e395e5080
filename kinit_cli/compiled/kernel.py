"""Functions that Numba compiles, each for one signature, when they are first called.

Floating-point arithmetic is compiled as written: no operation is fused, reordered or replaced.
A module that needs otherwise says why. Machine code is kept beside the source, or in the user's
cache folder, for the next process; where neither can be written it is made anew each time. Numba
looks only at the file in which a kernel stands to see whether kept code is out of date. Kernels use
functions and constants of other files too, so the names of what is kept depend on all of these.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import FunctionType
from typing import Any

from numba import njit, types

_OPTIONS = {"nogil": True, "error_model": "numpy", "boundscheck": False, "fastmath": False}

_PACKAGE = Path(__file__).parents[1]
# What is compiled in, beside the modules of this folder.
_SOURCES = ("meter.py", "histogram.py", "digest.py", "stream/*.py", "stream/*.npy")

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
        function = _named_by_version(self.function)
        try:
            compiled: Callable[..., Any] = njit(self.signature, cache=True, **_OPTIONS)(function)
        except Exception:  # noqa: BLE001 - whatever ails the cache, the next line does without it
            compiled = njit(self.signature, **_OPTIONS)(function)
        return compiled


@lru_cache(maxsize=1)
def code_version() -> str:
    """Give a digest of all files that kernels are made from."""
    patterns = ("compiled/*.py", *_SOURCES)
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(path for pattern in patterns for path in _PACKAGE.glob(pattern)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _named_by_version(function: Callable[..., Any]) -> Callable[..., Any]:
    """Copy a function under a name by which its code can be kept."""
    assert isinstance(function, FunctionType)
    copy = FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__module__, copy.__doc__ = function.__module__, function.__doc__
    copy.__qualname__ = f"{function.__qualname__}_{code_version()}"
    return copy


def read_only(element: Any) -> Any:
    """Give the type of a 1-D C-contiguous array that is not written to, be it writable or not."""
    return types.Array(element, 1, "C", readonly=True)


def kernel(signature: Any) -> Callable[[Callable[..., Any]], Kernel]:
    """Make a `Kernel` of a function: a decorator."""
    return lambda function: Kernel(function, signature)
