"""The arguments of one layer, read one by one; every problem is noted, none raised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kinit_cli.errors import suggest
from kinit_cli.layers.base import LayerWeight, Shape, Written
from kinit_cli.spec.expressions import Number
from kinit_cli.spec.numbers import whole_number
from kinit_cli.spec.problems import ProblemList, TreePath, fmt_value

_REQUIRED = object()
#: Stands for the one shape of a layer that has one input.
ONLY = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSource:
    """Where a layer's arguments come from.

    Attributes
    ----------
    shapes : mapping of str to shape
        Shapes of the inputs by name, each with the batch axis; the one of `ONLY` for a layer with
        one input. Empty if none is known.
    dtype : str
        Of the layer's weights.
    default_dtype : str
        The spec's, which a layer within the layer has unless it says otherwise.
    path, shape_path : tuple
        Where the config and the input shape stand in the document.
    """

    type_name: str
    config: Mapping[str, Any]
    shapes: Mapping[str, Shape]
    names: Mapping[str, Number]
    dtype: str
    default_dtype: str
    path: TreePath
    shape_path: TreePath
    problems: ProblemList


class LayerArgs:
    """Reads the arguments of one layer.

    What is missing or wrong is noted as a problem and something harmless given in its place, so
    that one run finds everything; `is_sound` tells whether that has happened.
    """

    def __init__(self, source: LayerSource) -> None:
        self.source = source
        self.is_sound = True

    def fail(self, name: str | None, expected: str, got: str, hint: str = "") -> None:
        """Note a problem of an argument, or of the config as a whole."""
        self.is_sound = False
        path = self.source.path if name is None else (*self.source.path, name)
        self.source.problems.add(path, expected, got, hint)

    def fail_shape(self, expected: str, got: str, hint: str = "") -> None:
        """Note a problem of the input shape."""
        self.is_sound = False
        self.source.problems.add(self.source.shape_path, expected, got, hint)

    # --- arguments ------------------------------------------------------------------------

    def has(self, name: str) -> bool:
        """Tell whether an argument is there and not null."""
        return self.source.config.get(name) is not None

    def whole(self, name: str, default: Any = _REQUIRED, *, lowest: int = 1) -> int:
        """Give an argument that is a whole number."""
        raw = self._raw(name, default)
        value = self._whole(name, raw, (*self.source.path, name), lowest)
        return lowest if value is None else value

    def flag(self, name: str, default: bool) -> bool:
        """Give an argument that is true or false."""
        raw = self._raw(name, default)
        if not isinstance(raw, bool):
            self.fail(name, "true or false", fmt_value(raw))
            return default
        return raw

    def text(self, name: str) -> str:
        """Give an argument that is a text."""
        raw = self._raw(name, _REQUIRED)
        if not isinstance(raw, str):
            if self.has(name):
                self.fail(name, "a text", fmt_value(raw))
            return ""
        return raw

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """Give an argument that is one of a few words; the first is the default."""
        raw = self._raw(name, choices[0])
        if raw not in choices:
            hint = suggest(raw, choices) if isinstance(raw, str) else ""
            self.fail(name, f"one of {', '.join(choices)}", fmt_value(raw), hint)
            return choices[0]
        return str(raw)

    def sizes(self, name: str, rank: int, default: Any = _REQUIRED) -> tuple[int, ...]:
        """Give an argument of one whole number for each of `rank` axes, or one for them all."""
        raw = self._raw(name, default)
        path = (*self.source.path, name)
        if not isinstance(raw, list):
            size = self._whole(name, raw, path, 1)
            return (1 if size is None else size,) * rank
        if len(raw) != rank:
            plural = "s" if rank > 1 else ""
            self.fail(name, f"a whole number, or a list of {rank} number{plural}", fmt_value(raw))
            return (1,) * rank
        found = [self._whole(name, size, (*path, axis), 1) for axis, size in enumerate(raw)]
        return tuple(1 if size is None else size for size in found)

    def axes(
        self, name: str, default: list[int], rank: int, *, lowest: int | None = None
    ) -> list[int]:
        """Give axes of a shape of `rank` axes, the batch axis included, in ascending order."""
        raw = self._raw(name, default)
        listed = raw if isinstance(raw, list) else [raw]
        lowest = -rank if lowest is None else lowest
        if not all(type(axis) is int and lowest <= axis < rank for axis in listed):
            self.fail(name, f"axes from {lowest} to {rank - 1}", fmt_value(raw))
            return [rank - 1]
        return sorted(listed)

    def initializer(self, name: str, default: str) -> Written:
        """Give the initializer that an argument names, or the layer type's default."""
        if name not in self.source.config:
            return Written(raw=default)
        raw = self.source.config[name]
        # Of null Keras makes what it gives any weight of which nothing is said.
        path = (*self.source.path, name)
        return Written(raw="glorot_uniform" if raw is None else raw, path=path)

    def refuse(self, names: tuple[str, ...]) -> None:
        """Note arguments that change a layer's weights in a way that is not known here."""
        for name in names:
            if self.has(name):
                hint = "remove it, or list the layer's weights with their shapes"
                self.fail(name, f"no {name}", fmt_value(self.source.config[name]), hint)

    # --- input shapes ---------------------------------------------------------------------

    def shape(self, name: str = ONLY, *, min_rank: int = 2) -> Shape:
        """Give the shape of an input, batch axis included, of `min_rank` axes or more."""
        shapes = self.source.shapes
        shape = shapes.get(name)
        if shape is None and name == ONLY and shapes:
            shape = next(iter(shapes.values()))
        if shape is None:
            what = f"the shape of {name!r}" if name else "a list of sizes without the batch axis"
            hint = f"{self.source.type_name} needs it for the shapes of its weights"
            self.fail_shape(what, "nothing", hint)
            return (1,) * min_rank
        if len(shape) < min_rank:
            n_axes = min_rank - 1
            self.fail_shape(
                f"{n_axes} size{'s' if n_axes > 1 else ''} or more, without the batch axis",
                f"{len(shape) - 1}",
            )
            return (1,) * min_rank
        return shape

    def size(self, shape: Shape, axis: int) -> int:
        """Give the size of an axis that has to be known."""
        size = shape[axis]
        if size is None:
            if axis % len(shape) == 0:
                self.fail_shape("an axis other than the batch axis", f"axis {axis}")
            else:
                where = f"number {axis % len(shape)}" if axis >= 0 else "the last one"
                self.fail_shape(f"a size that is known ({where})", "null")
            return 1
        return size

    def channels(self, shape: Shape) -> int:
        """Give the number of input channels, by `data_format`."""
        data_format = self.choice("data_format", ("channels_last", "channels_first"))
        return self.size(shape, -1 if data_format == "channels_last" else 1)

    # --- results --------------------------------------------------------------------------

    def weight(
        self, name: str, shape: tuple[int, ...], initializer: Written, **more: Any
    ) -> LayerWeight:
        """Describe a weight of the layer, of the layer's dtype unless said otherwise."""
        more.setdefault("dtype", self.source.dtype)
        return LayerWeight(name=name, shape=shape, initializer=initializer, **more)

    def part(self, **changes: Any) -> LayerSource:
        """Give the source of a part of the layer: the same but for the changes."""
        return replace(self.source, **changes)

    def with_config(self, config: Mapping[str, Any]) -> LayerArgs:
        """Give a reader of other arguments that stand in the same place."""
        return LayerArgs(replace(self.source, config=config))

    def of_input(self, shape: Shape) -> LayerArgs:
        """Give a reader of the same arguments for another input shape, batch axis included."""
        return LayerArgs(replace(self.source, shapes={ONLY: shape}))

    def _raw(self, name: str, default: Any) -> Any:
        raw = self.source.config.get(name)
        if raw is not None:
            return raw
        if default is not _REQUIRED:
            return default
        hint = f"{self.source.type_name} needs it"
        self.fail(None, f"the argument {name!r}", "none", hint)
        return 1

    def _whole(self, name: str, raw: Any, path: TreePath, lowest: int) -> int | None:
        if isinstance(raw, bool) or not isinstance(raw, int | float | str):
            self.is_sound = False
            self.source.problems.add(path, "a number or an expression", fmt_value(raw))
            return None
        source = self.source
        value = whole_number(raw, source.names, path, source.problems, lowest=lowest)
        if value is None:
            self.is_sound = False
        return value
