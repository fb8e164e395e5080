"""From a spec to a plan: every tensor's path, shape, dtype, stream and draw, and no arrays.

Everything that can be wrong with a spec is found here, before a byte is written.
"""

from __future__ import annotations

import math
import secrets
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kinit_cli.draw import Constant, Draw, expected_moments
from kinit_cli.dtypes import DTYPES, DType
from kinit_cli.fit import FitError, fitted
from kinit_cli.initializers.base import ArgumentError, Initializer, Target
from kinit_cli.initializers.of_layers import adapted
from kinit_cli.initializers.parse import parse_initializer
from kinit_cli.initializers.registry import default_initializer
from kinit_cli.origin import Origin
from kinit_cli.spec.expand import WeightDecl, evaluate_params, expand
from kinit_cli.spec.expressions import Number
from kinit_cli.spec.load import LoadedSpec
from kinit_cli.spec.model import ModelSpec
from kinit_cli.spec.problems import ProblemList, TreePath
from kinit_cli.stream.identity import StreamKey, explicit_stream_key, named_stream_key

#: A seed that is drawn is below this, so that it is short and every JSON reader keeps it exact.
DRAWN_SEED_STOP = 2**32
#: Initializers, resolved for a shape and a dtype, that are kept for the next weight.
_MAX_SHARED = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorPlan:
    """One tensor: what it is called, what it is, and what it is drawn from.

    Attributes
    ----------
    path : str
        ``layer/weight``.
    layer : str
        What Keras lists as one layer: a model within the model is one with all its layers.
    initializer : Initializer
        As read from the spec, or the default for the weight.
    stream_key : StreamKey
        Selects the tensor's words in the value stream.
    keras_path : str or None
        Where Keras looks for the tensor in a ``.weights.h5`` file, if the layer's type is known:
        ``layers/dense/vars/0``.
    is_trainable : bool
        False for what a layer type keeps without training it, such as a moving mean.
    """

    path: str
    layer: str
    weight: str
    shape: tuple[int, ...]
    dtype: DType
    initializer: Initializer
    draw: Draw
    stream_key: StreamKey
    keras_path: str | None = None
    is_trainable: bool = True

    @property
    def n_elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """Size of the elements in bytes."""
        return self.n_elements * self.dtype.n_bytes

    def to_json(self) -> dict[str, Any]:
        """Give plain data with stable keys."""
        expected = expected_moments(self.draw, self.shape)
        return {
            "path": self.path,
            "shape": list(self.shape),
            "dtype": self.dtype.name,
            "n_elements": self.n_elements,
            "n_bytes": self.n_bytes,
            "initializer": str(self.initializer),
            "initializer_config": self.initializer.config(),
            "expected_mean": expected.mean if expected else None,
            "expected_std": expected.stddev if expected else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that generation needs, as plain data.

    Attributes
    ----------
    seed : int
        The model's seed.
    is_seed_drawn : bool
        The spec had no seed and this one was drawn.
    tensors : tuple of TensorPlan
        In the order of the spec.
    document : dict
        The spec as plain data with the seed in it: what the output records.
    notes : tuple of str
        What the user should know, though nothing is wrong.
    origin : Origin or None
        Whose values these are, if not those of the value stream.
    """

    name: str | None
    seed: int
    is_seed_drawn: bool
    tensors: tuple[TensorPlan, ...]
    document: Mapping[str, Any]
    notes: tuple[str, ...]
    origin: Origin | None = None

    @property
    def n_elements(self) -> int:
        """Number of elements of all tensors."""
        return sum(tensor.n_elements for tensor in self.tensors)

    @property
    def n_bytes(self) -> int:
        """Size of the elements of all tensors in bytes."""
        return sum(tensor.n_bytes for tensor in self.tensors)

    def to_json(self) -> dict[str, Any]:
        """Give plain data with stable keys."""
        return {
            "name": self.name,
            "seed": self.seed,
            "is_seed_drawn": self.is_seed_drawn,
            "n_tensors": len(self.tensors),
            "n_parameters": self.n_elements,
            "n_bytes": self.n_bytes,
            "notes": list(self.notes),
            "tensors": [tensor.to_json() for tensor in self.tensors],
        }


def make_plan(spec: LoadedSpec, *, max_tensors: int | None = None) -> Plan:
    """Plan every tensor of a spec.

    Parameters
    ----------
    max_tensors : int, optional
        A spec that asks for more is refused before they are all listed; the limit of the spec
        language if absent.

    Raises
    ------
    SpecError
        With every problem of the spec, those found while reading it included.
    """
    problems = spec.problems
    params = evaluate_params(spec.model.params, problems)
    decls = expand(spec.model, params, problems, max_tensors)
    _check_paths(decls, problems)
    _check_defaults(spec.model, params, decls, problems)
    seed = secrets.randbelow(DRAWN_SEED_STOP) if spec.model.seed is None else spec.model.seed
    planner = _Planner(spec.model, seed, problems)
    tensors = [tensor for decl in decls if (tensor := planner.plan(decl)) is not None]
    if not decls and not problems:
        problems.add(("layers",), "at least one weight", "none", "list a layer with weights")
    problems.raise_if_any()
    return Plan(
        name=spec.model.name,
        seed=seed,
        is_seed_drawn=spec.model.seed is None,
        tensors=tuple(tensors),
        document={**spec.document, "seed": seed},
        notes=tuple(_shared_seed_notes(tensors)),
    )


def _check_paths(decls: list[WeightDecl], problems: ProblemList) -> None:
    first_by_path: dict[str, WeightDecl] = {}
    for decl in decls:
        first = first_by_path.setdefault(decl.path, decl)
        if first is not decl:
            place = problems.source_map.find(first.tree_path, is_key=True)
            is_same_node = first.tree_path == decl.tree_path
            hint = (
                "put the repeat's index into the name"
                if is_same_node
                else f"it stands first in line {place.line}"
            )
            problems.add(
                decl.tree_path,
                "a tensor path that is used once",
                f"{decl.path!r} again",
                hint,
                is_key=True,
            )


def _check_defaults(
    model: ModelSpec,
    params: Mapping[str, Number],
    decls: list[WeightDecl],
    problems: ProblemList,
) -> None:
    """Check defaults that no weight uses too: the mistake would show only later."""
    weights = {decl.weight for decl in decls} | {_last_part(decl.weight) for decl in decls}
    for weight, raw in model.defaults.items():
        if weight not in weights and raw is not None:
            parse_initializer(raw, params, ("defaults", weight), problems)


class _Planner:
    """Plans one weight after the other, reading each way of writing an initializer once."""

    def __init__(self, model: ModelSpec, seed: int, problems: ProblemList) -> None:
        self._model = model
        self._seed = seed
        self._problems = problems
        self._made: dict[tuple[Any, ...] | None, tuple[Initializer, Draw]] = {}

    def plan(self, decl: WeightDecl) -> TensorPlan | None:
        """Plan one weight, or give None after noting what is wrong."""
        raw, path = self._written_initializer(decl)
        key = (raw, decl.shape, decl.dtype, _role(decl)) if isinstance(raw, str) else None
        made = self._made.get(key)
        if made is None:
            made = self._make(decl, raw, path)
            if made is None:
                return None
            # Of a name alone it is the same for every such weight.
            if key is not None and len(self._made) < _MAX_SHARED:
                self._made[key] = made
        initializer, draw = made
        return TensorPlan(
            path=decl.path,
            layer=decl.top_layer,
            weight=decl.path[len(decl.top_layer) + 1 :],
            shape=decl.shape,
            dtype=DTYPES[decl.dtype],
            initializer=initializer,
            draw=draw,
            stream_key=self._stream_key(decl, initializer),
            keras_path=decl.keras_path,
            is_trainable=decl.typed is None or decl.typed.is_trainable,
        )

    def _make(self, decl: WeightDecl, raw: Any, path: TreePath) -> tuple[Initializer, Draw] | None:
        """Read a weight's initializer and resolve it, or give None after noting what is wrong."""
        parsed = parse_initializer(raw, decl.names, path, self._problems)
        if parsed is None:
            return None
        initializer, config_path = parsed
        layout = "keras" if decl.typed else self._model.layout
        target = Target(shape=decl.shape, fans_layout=layout)
        try:
            if decl.typed is not None:
                initializer = adapted(initializer, decl.typed)
            return initializer, fitted(initializer.draw(target), DTYPES[decl.dtype])
        except FitError as error:
            self._problems.add(path, error.expected, error.got, error.hint)
        except ArgumentError as error:
            if decl.is_shape_sound or not error.is_of_shape:
                name = error.argument
                of_shape = path if decl.typed else (*decl.tree_path, "shape")
                at = of_shape if name is None else (*config_path, name)
                self._problems.add(at, error.expected, error.got, error.hint)
        return None

    def _written_initializer(self, decl: WeightDecl) -> tuple[Any, TreePath]:
        if decl.initializer is not None:
            return decl.initializer, (*decl.tree_path, "initializer")
        if decl.typed is not None and decl.typed.initializer.path is not None:
            return decl.typed.initializer.raw, decl.typed.initializer.path
        for name in (decl.weight, _last_part(decl.weight)):
            if self._model.defaults.get(name) is not None:
                return self._model.defaults[name], ("defaults", name)
        if decl.typed is not None:
            return decl.typed.initializer.raw, decl.tree_path
        is_float = DTYPES[decl.dtype].kind == "float"
        name = default_initializer(decl.weight, is_float=is_float, rank=len(decl.shape))
        return name, decl.tree_path

    def _stream_key(self, decl: WeightDecl, initializer: Initializer) -> StreamKey:
        if initializer.seed is not None:
            return explicit_stream_key(initializer.seed)
        return named_stream_key(self._seed, decl.path)


def _role(decl: WeightDecl) -> tuple[Any, ...] | None:
    """Tell what, besides shape and dtype, an initializer of the weight depends on."""
    return None if decl.typed is None else (decl.typed.fan_axes, decl.typed.is_forget_bias)


def _last_part(weight: str) -> str:
    return weight.rsplit("/", 1)[-1]


# --- notes ----------------------------------------------------------------------------------


def _shared_seed_notes(tensors: list[TensorPlan]) -> list[str]:
    """Say which tensors hold equal values because their initializers have equal seeds."""
    groups: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for tensor in tensors:
        if tensor.initializer.seed is not None and not isinstance(tensor.draw, Constant):
            key = (tensor.initializer.seed, tensor.shape, tensor.draw)
            groups[key].append(tensor.path)
    notes = []
    for (seed, *_), paths in groups.items():
        if len(paths) > 1:
            shown = ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if paths[3:] else "")
            notes.append(
                f"{shown} hold equal values: their initializers have the same seed, {seed}"
            )
    return notes
