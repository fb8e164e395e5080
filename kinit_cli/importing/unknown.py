"""Which classes of a Keras model kinit does not know."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from kinit_cli.layers.registry import BY_NAME
from kinit_cli.spec.model import MODEL_TYPES

_KNOWN = frozenset((*BY_NAME, *MODEL_TYPES, "Model"))


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownModel:
    """A model's JSON, and the classes of layers in it that have no layer type."""

    data: dict[str, Any]
    classes: tuple[str, ...]


def model_with_unknown_classes(raw: bytes) -> UnknownModel | None:
    """Give a model's JSON if it is one and has classes that kinit does not know."""
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or "class_name" not in data or "layers" in data:
        return None
    found: dict[str, None] = {}
    waiting: list[Any] = [data]
    while waiting:
        node = waiting.pop()
        class_name = node.get("class_name") if isinstance(node, dict) else None
        if not isinstance(class_name, str):
            continue
        if class_name not in _KNOWN and not str(node.get("module")).startswith("keras.src.ops"):
            found[class_name] = None
        config = node.get("config")
        if isinstance(config, dict) and isinstance(config.get("layers"), list):
            waiting.extend(reversed(config["layers"]))
    return UnknownModel(data=data, classes=tuple(found)) if found else None
