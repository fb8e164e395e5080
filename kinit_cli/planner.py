"""From a spec to a plan; everything that can be wrong is found here, before a byte is written."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from kinit_cli.draw import Draw
from kinit_cli.dtypes import DTYPES
from kinit_cli.fit import FitError, fitted
from kinit_cli.initializers.base import ArgumentError, CustomError, Customs, Initializer, Target
from kinit_cli.initializers.custom import CustomInitializers
from kinit_cli.initializers.of_layers import adapted
from kinit_cli.initializers.parse import parse_initializer
from kinit_cli.initializers.registry import default_initializer
from kinit_cli.notes import shared_seed_notes
from kinit_cli.plan import Plan, TensorPlan
from kinit_cli.spec.document import clean_data
from kinit_cli.spec.expand import WeightDecl, evaluate_params, expand, validate_shape
from kinit_cli.spec.expressions import Number
from kinit_cli.spec.load import LoadedSpec
from kinit_cli.spec.model import ModelSpec, validate_structure
from kinit_cli.spec.names import name_fault
from kinit_cli.spec.problems import ProblemList, SourceMap, TreePath, fmt_value
from kinit_cli.stream.identity import (
    StreamKey,
    explicit_stream_key,
    framework_seed,
    named_stream_key,
)

#: A seed that is drawn is below this, so that it is short and every JSON reader keeps it exact.
DRAWN_SEED_STOP = 2**32
#: Initializers, resolved for a shape and a dtype, that are kept for the next weight.
_MAX_SHARED = 1024


def make_plan(
    spec: LoadedSpec, *, max_tensors: int | None = None, customs: Customs | None = None
) -> Plan:
    """Plan every tensor of a spec.

    Parameters
    ----------
    customs : Customs, optional
        Where to look for initializers that are not kinit's own; those of installed packages if
        absent. The ones that the spec names are made here, which runs their code.
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
    customs = customs or CustomInitializers()
    _check_defaults(spec.model, params, decls, problems, customs)
    seed = secrets.randbelow(DRAWN_SEED_STOP) if spec.model.seed is None else spec.model.seed
    planner = _Planner(spec.model, seed, problems, customs)
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
        notes=tuple(shared_seed_notes(tensors)),
    )


def plan_tensor(
    initializer: Any,
    shape: Sequence[int],
    *,
    path: str | None,
    seed: int | None,
    dtype: str = "float32",
    layout: str = "keras",
    customs: Customs | None = None,
) -> TensorPlan:
    """Plan one tensor as a spec would that has it.

    Parameters
    ----------
    initializer : str or mapping
        In any form that a spec may have.
    path : str or None
        ``layer/weight``; with None, `seed` is the initializer's own.
    customs : Customs, optional
        As for `make_plan`.

    Raises
    ------
    SpecError
        With every problem; random values without a seed among them.
    """
    problems = ProblemList(SourceMap(source="tensor"))
    settings: dict[str, Any] = {"seed": seed, "dtype": dtype, "layout": layout, "layers": []}
    model = validate_structure({k: v for k, v in settings.items() if v is not None}, problems)
    if model is None:
        problems.fail()
    if path is not None and (fault := _path_fault(path)) is not None:
        problems.add(("path",), "a path: parts joined by '/'", fmt_value(path), fault)
        path = "path/fault"
    if initializer is None:
        problems.add(("initializer",), "an initializer", fmt_value(None), "give its name")
    is_named = path is not None
    n_problems = len(problems)
    sizes = validate_shape(shape, ("shape",), problems)
    path = path or "tensor/weight"
    layer = path.rpartition("/")[0]
    decl = WeightDecl(
        layer=layer,
        top_layer=layer,
        weight=_last_part(path),
        path=path,
        shape=sizes,
        is_shape_sound=len(problems) == n_problems,
        dtype=model.dtype,
        initializer=clean_data(initializer, problems),
        names={},
        tree_path=(),
    )
    planner = _Planner(
        model,
        model.seed or 0,
        problems,
        customs or CustomInitializers(),
        own_seed=None if is_named else model.seed,
    )
    planned = planner.plan(decl)
    is_drawn = planned is not None and planned.is_random and planned.initializer.seed is None
    if is_drawn and seed is None:
        expected, hint = "a seed, for random values", "give seed, and path for one of its own"
        problems.add(("seed",), expected, "none", hint)
    problems.raise_if_any()
    assert planned is not None
    return planned


def _path_fault(path: Any) -> str | None:
    if not isinstance(path, str):
        return "write it as a text"
    fault = name_fault(path)
    return None if fault is None else f"it has {fault}"


def _check_paths(decls: list[WeightDecl], problems: ProblemList) -> None:
    first_by_path: dict[str, WeightDecl] = {}
    for decl in decls:
        first = first_by_path.setdefault(decl.path, decl)
        if first is not decl:
            problems.add(
                decl.tree_path,
                "a tensor path that is used once",
                f"{decl.path!r} again",
                _repeated_path_hint(first, decl, problems),
                is_key=True,
            )


def _repeated_path_hint(first: WeightDecl, decl: WeightDecl, problems: ProblemList) -> str:
    if first.tree_path == decl.tree_path:
        return "put the repeat's index into the name"
    place = problems.source_map.find(first.tree_path, is_key=True)
    if place.line is not None:
        return f"it stands first in line {place.line}"
    if first.layer != decl.layer:
        return f"the layer {first.layer!r} has it"
    return f"give each layer {decl.layer!r} a name of its own"


def _check_defaults(
    model: ModelSpec,
    params: Mapping[str, Number],
    decls: list[WeightDecl],
    problems: ProblemList,
    customs: Customs,
) -> None:
    """Check defaults that no weight uses too: the mistake would show only later."""
    weights = {decl.weight for decl in decls} | {_last_part(decl.weight) for decl in decls}
    for weight, raw in model.defaults.items():
        if weight not in weights and raw is not None:
            parse_initializer(raw, params, ("defaults", weight), problems, customs)


class _Planner:
    """Plans one weight after the other, reading each way of writing an initializer once."""

    def __init__(
        self,
        model: ModelSpec,
        seed: int,
        problems: ProblemList,
        customs: Customs,
        *,
        own_seed: int | None = None,
    ) -> None:
        self._model = model
        self._seed = seed
        self._problems = problems
        self._customs = customs
        #: What an initializer without a seed has as its own; by default it has none.
        self._own_seed = own_seed
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
            # Of a name alone it is the same for every such weight, unless it is given a seed.
            is_shared = key is not None and not made[0].type.is_custom
            if is_shared and len(self._made) < _MAX_SHARED:
                self._made[key] = made
        initializer, draw = made
        return TensorPlan(
            path=decl.path,
            layer=decl.top_layer,
            weight=decl.path.removeprefix(f"{decl.top_layer}/") if decl.top_layer else decl.path,
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
        parsed = parse_initializer(raw, decl.names, path, self._problems, self._customs)
        if parsed is None:
            return None
        initializer, config_path = parsed
        target = Target(
            shape=decl.shape,
            fans_layout="keras" if decl.typed else self._model.layout,
            seed=self._framework_seed(decl, initializer),
        )
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
        except CustomError as error:
            for fault in error.faults:
                at = path if fault.argument is None else (*config_path, fault.argument)
                self._problems.add(at, fault.expected, fault.got, fault.hint, is_key=fault.is_key)
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

    def _framework_seed(self, decl: WeightDecl, initializer: Initializer) -> int:
        # It takes a hash, and only custom initializers look at it.
        is_used = initializer.type.is_custom
        return framework_seed(self._stream_key(decl, initializer)) if is_used else 0

    def _stream_key(self, decl: WeightDecl, initializer: Initializer) -> StreamKey:
        own_seed = self._own_seed if initializer.seed is None else initializer.seed
        if own_seed is not None:
            return explicit_stream_key(own_seed)
        return named_stream_key(self._seed, decl.path)


def _role(decl: WeightDecl) -> tuple[Any, ...] | None:
    """Tell what, besides shape and dtype, an initializer of the weight depends on."""
    return None if decl.typed is None else (decl.typed.fan_axes, decl.typed.is_forget_bias)


def _last_part(weight: str) -> str:
    return weight.rsplit("/", 1)[-1]
