"""From a validated spec to a flat list of weights: params, repeats and shapes become numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kinit_cli.spec.expressions import ExpressionError, Number, evaluate, is_param_name
from kinit_cli.spec.model import Layer, ModelSpec, Repeat, Weight
from kinit_cli.spec.names import MAX_PATH_LENGTH, fill_name, name_fault
from kinit_cli.spec.problems import ProblemList, TreePath, fmt_value

MAX_TENSORS = 1_000_000
MAX_RANK = 32
MAX_DIMENSION = 2**40
MAX_ELEMENTS = 2**48


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightDecl:
    """One weight of the spec with its numbers, before its initializer is read.

    Attributes
    ----------
    path : str
        ``layer/weight``, the tensor's canonical name.
    initializer : object
        The initializer as written, or None for the default.
    names : mapping of str to number
        Params and repeat indices that the initializer's expressions may use.
    tree_path : tuple
        Where the weight stands in the document.
    """

    layer: str
    weight: str
    path: str
    shape: tuple[int, ...]
    dtype: str
    initializer: Any
    names: Mapping[str, Number]
    tree_path: TreePath


def expand(spec: ModelSpec, problems: ProblemList) -> list[WeightDecl]:
    """List every weight of a spec in order, noting problems on the way."""
    names = _evaluate_params(spec.params, problems)
    expander = _Expander(spec.dtype, problems)
    return list(expander.iter_weights(spec.layers, names, ("layers",)))


def _evaluate_params(params: Mapping[str, Any], problems: ProblemList) -> dict[str, Number]:
    names: dict[str, Number] = {}
    for name, value in params.items():
        path = ("params", name)
        if not is_param_name(name):
            problems.add(path, "a name of letters, digits and _", fmt_value(name), is_key=True)
        number = _evaluate(value, names, path, problems)
        # A param that failed still has a name: its users shall not be reported as well.
        names[name] = 1 if number is None else number
    return names


def _evaluate(
    value: Any, names: Mapping[str, Number], path: TreePath, problems: ProblemList
) -> Number | None:
    if not isinstance(value, str):
        return value  # type: ignore[no-any-return]
    try:
        return evaluate(value, names)
    except ExpressionError as error:
        problems.add(path, "an expression with a value", fmt_value(value), str(error))
        return None


class _Expander:
    def __init__(self, dtype: str, problems: ProblemList) -> None:
        self._dtype = dtype
        self._problems = problems
        self._n_tensors = 0

    def iter_weights(
        self, layers: list[Layer | Repeat], names: Mapping[str, Number], path: TreePath
    ) -> Iterator[WeightDecl]:
        for position, layer in enumerate(layers):
            layer_path = (*path, position)
            if isinstance(layer, Repeat):
                yield from self._iter_repeat(layer, names, layer_path)
            else:
                yield from self._iter_layer(layer, names, layer_path)

    def _iter_repeat(
        self, repeat: Repeat, names: Mapping[str, Number], path: TreePath
    ) -> Iterator[WeightDecl]:
        count = self._whole(repeat.repeat, names, (*path, "repeat"), MAX_TENSORS)
        index = repeat.index
        if not is_param_name(index) or index in names:
            expected = "an index name of letters, digits and _ that is not in use yet"
            self._problems.add((*path, "index"), expected, fmt_value(index), "choose another")
            return
        for i in range(count or 0):
            yield from self.iter_weights(repeat.layers, {**names, index: i}, (*path, "layers"))
            if self._n_tensors > MAX_TENSORS:
                return

    def _iter_layer(
        self, layer: Layer, names: Mapping[str, Number], path: TreePath
    ) -> Iterator[WeightDecl]:
        layer_name = self._name(layer.name, names, (*path, "name"), is_key=False)
        for template, weight in layer.weights.items():
            weight_path = (*path, "weights", template)
            weight_name = self._name(template, names, weight_path, is_key=True)
            shape = self._shape(weight, names, (*weight_path, "shape"))
            self._n_tensors += 1
            if self._n_tensors > MAX_TENSORS:
                self._problems.add(("layers",), f"at most {MAX_TENSORS} tensors", "more")
                return
            if layer_name is None or weight_name is None or shape is None:
                continue
            tensor_path = f"{layer_name}/{weight_name}"
            if len(tensor_path) > MAX_PATH_LENGTH:
                got = f"{len(tensor_path)} characters"
                self._problems.add(
                    weight_path, f"a path of at most {MAX_PATH_LENGTH} characters", got, is_key=True
                )
                continue
            yield WeightDecl(
                layer=layer_name,
                weight=weight_name,
                path=tensor_path,
                shape=shape,
                dtype=weight.dtype or self._dtype,
                initializer=weight.initializer,
                names=names,
                tree_path=weight_path,
            )

    def _name(
        self, template: str, names: Mapping[str, Number], path: TreePath, *, is_key: bool
    ) -> str | None:
        expected = "a name: parts joined by '/', each {expression} with a whole value"
        try:
            name = fill_name(template, names)
        except ExpressionError as error:
            self._problems.add(path, expected, fmt_value(template), str(error), is_key=is_key)
            return None
        fault = name_fault(name)
        if fault is not None:
            hint = f"it has {fault}"
            self._problems.add(path, expected, fmt_value(name), hint, is_key=is_key)
            return None
        return name

    def _shape(
        self, weight: Weight, names: Mapping[str, Number], path: TreePath
    ) -> tuple[int, ...] | None:
        if len(weight.shape) > MAX_RANK:
            got = f"{len(weight.shape)} dimensions"
            self._problems.add(path, f"at most {MAX_RANK} dimensions", got)
            return None
        dimensions = [
            self._whole(dimension, names, (*path, axis), MAX_DIMENSION)
            for axis, dimension in enumerate(weight.shape)
        ]
        shape = tuple(dimension for dimension in dimensions if dimension is not None)
        if len(shape) < len(dimensions):
            return None
        n_elements = 1
        for dimension in shape:
            n_elements *= dimension
        if n_elements > MAX_ELEMENTS:
            got = f"{n_elements:,} elements"
            self._problems.add(path, f"at most 2**48 ({MAX_ELEMENTS:,}) elements", got)
            return None
        return shape

    def _whole(
        self, value: Any, names: Mapping[str, Number], path: TreePath, highest: int
    ) -> int | None:
        number = _evaluate(value, names, path, self._problems)
        if number is None:
            return None
        if number != number // 1 or not 0 <= number <= highest:
            got = f"{fmt_value(value)} = {number}" if isinstance(value, str) else str(number)
            hint = "use // for a whole quotient" if number != number // 1 else ""
            self._problems.add(path, f"a whole number from 0 to {highest:,}", got, hint)
            return None
        return int(number)
