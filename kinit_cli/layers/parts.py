"""Layers that are arguments of other layers: ``{class_name, config}`` or ``{type, config}``.

Or models, ``{type: Sequential, layers: […]}``, whose layers have input shapes of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kinit_cli.layers.args import ONLY, LayerArgs
from kinit_cli.layers.base import LayerWeight, Shape, within
from kinit_cli.spec.keras_paths import snake_case
from kinit_cli.spec.model import MODEL_TYPES
from kinit_cli.spec.numbers import whole_number
from kinit_cli.spec.problems import TreePath, fmt_value

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
    class_name: str
    snake: str
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
    return _part(args, at, {ONLY: shape}, args.source.shape_path)


def numbered(name: str, counts: Counter[str]) -> str:
    """Give the next name of a class, as Keras numbers them: a, a_1, a_2."""
    count = counts[name]
    counts[name] += 1
    return f"{name}_{count}" if count else name


def _part(
    args: LayerArgs,
    at: tuple[str | int, ...],
    shapes: Mapping[str, Shape],
    shape_path: TreePath,
    more_keys: tuple[str, ...] = (),
) -> Part | None:
    raw: Any = args.source.config
    for key in at:
        raw = raw.get(key) if isinstance(raw, dict) else raw[key]
    path = (*args.source.path, *at)
    config = (raw.get("config") or {}) if isinstance(raw, dict) else None
    if not isinstance(raw, dict) or not isinstance(config, dict):
        _fail(args, path, "a layer: {type: …, config: {…}}", fmt_value(raw))
        return None
    key = "class_name" if "class_name" in raw else "type"
    is_model = raw.get(key) in MODEL_TYPES
    for other in raw:
        if other not in (*_KEYS, *more_keys, *(("layers",) if is_model else ())):
            _fail(args, (*path, other), "a known key", fmt_value(other), is_key=True)
    if is_model:
        class_name, weights = raw[key], _model_weights(args, at, raw.get("layers"))
    else:
        from kinit_cli.layers.registry import find_type, layer_weights

        kind = find_type(raw.get(key), (*path, key), args.source.problems)
        if kind is None:
            args.is_sound = False
            return None
        class_name = kind.class_name
        inner = args.part(
            type_name=class_name,
            config=config,
            shapes=shapes,
            # Keras does not pass a layer's policy on to a layer that it is given.
            dtype=args.source.default_dtype,
            path=(*path, "config"),
            shape_path=shape_path,
        )
        weights = layer_weights(kind, inner)
    own = raw.get("name") or config.get("name")
    name = own if isinstance(own, str) else ""
    snake = snake_case(class_name)
    return Part(
        name=name or snake,
        is_named=bool(name),
        class_name=class_name,
        snake=snake,
        weights=weights,
    )


def _model_weights(args: LayerArgs, at: tuple[str | int, ...], layers: Any) -> list[LayerWeight]:
    path = (*args.source.path, *at)
    if not isinstance(layers, list):
        _fail(args, path, "a model with 'layers', a list", fmt_value(layers))
        return []
    weights: list[LayerWeight] = []
    places: Counter[str] = Counter()
    for position, layer in enumerate(layers):
        inner = (*at, "layers", position)
        shape_path = (*path, "layers", position, "input_shape")
        raw = layer.get("input_shape") if isinstance(layer, dict) else None
        shapes = _input_shapes(args, raw, shape_path)
        part = _part(args, inner, shapes, shape_path, ("input_shape",))
        if part is not None:
            place = f"layers/{numbered(part.snake, places)}"
            weights += within(part.name, place, part.weights)
    return weights


def _input_shapes(args: LayerArgs, raw: Any, path: TreePath) -> dict[str, Shape]:
    """Give the shapes of a layer's inputs with the batch axis, 1 for each size at fault."""
    if raw is None:
        return {}
    named = raw if isinstance(raw, dict) else {ONLY: raw}
    shapes: dict[str, Shape] = {}
    for name, sizes in named.items():
        where = (*path, name) if isinstance(raw, dict) else path
        if not isinstance(sizes, list):
            _fail(args, where, "a list of sizes without the batch axis", fmt_value(sizes))
            continue
        found = (_size(args, size, (*where, axis)) for axis, size in enumerate(sizes))
        shapes[name] = (None, *found)
    return shapes


def _size(args: LayerArgs, raw: Any, path: TreePath) -> int | None:
    if raw is None:
        return None
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        _fail(args, path, "a size: a number, an expression or null", fmt_value(raw))
        return 1
    size = whole_number(raw, args.source.names, path, args.source.problems)
    args.is_sound &= size is not None
    return 1 if size is None else size


def _fail(
    args: LayerArgs, path: TreePath, expected: str, got: str, *, is_key: bool = False
) -> None:
    args.is_sound = False
    args.source.problems.add(path, expected, got, is_key=is_key)
