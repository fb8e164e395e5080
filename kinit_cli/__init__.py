"""kinit: initialised model weights from a spec, the same bytes on every machine."""

from __future__ import annotations

from kinit_cli.errors import KinitError, SpecError

__version__ = "0.1.0"

__all__ = ["KinitError", "SpecError", "__version__"]
