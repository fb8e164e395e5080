"""Whose values a file holds, where they are not those of kinit's value stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A library that drew the values, with all that they depend on besides the spec.

    Attributes
    ----------
    engine : str
        kinit's name for the way they were drawn, "keras".
    backend : str
        The library that did the arithmetic, "tensorflow", "jax" or "torch".
    """

    engine: str
    version: str
    backend: str
    backend_version: str

    def to_json(self) -> dict[str, str]:
        """Give plain data with stable keys."""
        return asdict(self)

    def __str__(self) -> str:
        name = self.engine.capitalize()
        return f"{name} {self.version}'s own, on {self.backend} {self.backend_version}"


def parse_origin(raw: Mapping[str, Any]) -> Origin:
    """Read what `Origin.to_json` gave.

    Raises
    ------
    KeyError, TypeError
        It is something else.
    """
    values = {field.name: raw[field.name] for field in fields(Origin)}
    for name, value in values.items():
        if not isinstance(value, str) or not value.isprintable() or len(value) > 100:
            raise TypeError(f"{name} is no short text")
    return Origin(**values)
