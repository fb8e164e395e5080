"""Layers that are arguments of other layers: ``{class_name, config}`` or ``{type, config}``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kinit_cli.layers.args import ONLY, LayerArgs
from kinit_cli.layers.base import LayerType, LayerWeight, Shape
from kinit_cli.spec.keras_paths import snake_case
from kinit_cli.spec.problems import fmt_value

_KEYS = (
    "class_name", "type", "name", "config", "module", "registered_name", "build_config",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A layer within a layer.

    Attributes
    ----------
    name : str
        Its own, or its class's in snake case, as Keras names the first of a class.
    is_named : bool
        Whether the name is its own.
    snake : str
        Its class's name in snake case.
    """

    name: str
    is_named: bool
    snake: str
    kind: LayerType
    args: LayerArgs
    weights: list[LayerWeight]


def part_of(args: LayerArgs, at: tuple[str | int, ...], shape: Shape) -> Part | None:
    """Read the layer that an argument of a layer is, or give None after noting what is wrong.

    Parameters
    ----------
    at : tuple
        Leads from the layer's config to the argument.
    shape : tuple
        Of the part's input, with the batch axis.
    """
    from kinit_cli.layers.registry import find_type, layer_weights

    raw: Any = args.source.config
    for key in at:
        raw = raw.get(key) if isinstance(raw, dict) else raw[key]
    path = (*args.source.path, *at)
    problems = args.source.problems
    config = (raw.get("config") or {}) if isinstance(raw, dict) else None
    if not isinstance(raw, dict) or not isinstance(config, dict):
        args.is_sound = False
        problems.add(path, "a layer: {type: …, config: {…}}", fmt_value(raw))
        return None
    for key in raw:
        if key not in _KEYS:
            args.is_sound = False
            problems.add((*path, key), "a known key", fmt_value(key), is_key=True)
    key = "class_name" if "class_name" in raw else "type"
    kind = find_type(raw.get(key), (*path, key), problems)
    if kind is None:
        args.is_sound = False
        return None
    inner = args.part(
        type_name=kind.class_name,
        config=config,
        shapes={ONLY: shape},
        # Keras does not pass a layer's policy on to a layer that it is given.
        dtype=args.source.default_dtype,
        path=(*path, "config"),
    )
    weights = layer_weights(kind, inner)
    snake = snake_case(kind.class_name)
    own = raw.get("name") or config.get("name")
    name = own if isinstance(own, str) else ""
    return Part(
        name=name or snake,
        is_named=bool(name),
        snake=snake,
        kind=kind,
        args=LayerArgs(inner),
        weights=weights,
    )
