"""kinit: initialised model weights from a spec, the same bytes on every machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kinit_cli.errors import KinitError, SpecError

if TYPE_CHECKING:
    from kinit_cli.api import arrays, diff, generate, tensor, verify

__version__ = "0.1.0"

__all__ = [
    "KinitError",
    "SpecError",
    "__version__",
    "arrays",
    "diff",
    "generate",
    "tensor",
    "verify",
]


def __getattr__(name: str) -> Any:
    # They need NumPy, which `kinit --help` does without.
    if name in __all__:
        from kinit_cli import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
