"""From a validated spec to a flat list of weights: params, repeats and shapes become numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from kinit_cli.layers.args import ONLY, LayerSource
from kinit_cli.layers.base import LayerWeight, Shape
from kinit_cli.spec.expressions import ExpressionError, Number, is_param_name
from kinit_cli.spec.keras_paths import KERAS_PLACE, KerasPaths
from kinit_cli.spec.model import AnyLayer, Layer, Model, ModelSpec, Repeat, TypedLayer
from kinit_cli.spec.names import MAX_PATH_LENGTH, fill_name, name_fault
from kinit_cli.spec.numbers import MAX_DIMENSION, evaluated, whole_number
from kinit_cli.spec.problems import ProblemList, TreePath, fmt_value

MAX_TENSORS = 1_000_000
#: Layers and rounds of repeats: each takes time, with a weight or without.
MAX_STEPS = 4 * MAX_TENSORS
MAX_RANK = 32
MAX_ELEMENTS = 2**48


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightDecl:
    """One weight of the spec with its numbers, before its initializer is read.

    Attributes
    ----------
    path : str
        ``layer/weight``, the tensor's canonical name; ``weight`` alone for one in no layer.
    top_layer : str
        The layer, or the outermost of the models around it: what Keras lists as one layer.
    initializer : object
        The initializer as written, or None for the default.
    is_shape_sound : bool
        Whether the shape is as the spec says. A part of the spec that is at fault is noted as a
        problem and something harmless put in its place, so that the rest can be checked.
    names : mapping of str to number
        Params and repeat indices that the initializer's expressions may use.
    tree_path : tuple
        Where the weight stands in the document, or its layer, if that has a type.
    typed : LayerWeight or None
        What the layer's type says of the weight; None if the spec lists the weight itself.
    keras_path : str or None
        The weight's place in Keras's ``.weights.h5`` files; None if the layer has no type and
        the path is not such a place itself.
    """

    layer: str
    top_layer: str
    weight: str
    path: str
    shape: tuple[int, ...]
    is_shape_sound: bool
    dtype: str
    initializer: Any
    names: Mapping[str, Number]
    tree_path: TreePath
    typed: LayerWeight | None = None
    keras_path: str | None = None


def expand(
    spec: ModelSpec,
    params: Mapping[str, Number],
    problems: ProblemList,
    max_tensors: int | None = None,
) -> list[WeightDecl]:
    """List every weight of a spec in order, noting problems on the way.

    Parameters
    ----------
    max_tensors : int, optional
        `MAX_TENSORS` if absent.

    Raises
    ------
    SpecError
        At once, when the weights or the repeats are too many to go on.
    """
    expander = _Expander(spec.dtype, problems, max_tensors)
    return list(expander.iter_weights(spec.layers, params, ("layers",)))


def evaluate_params(params: Mapping[str, Any], problems: ProblemList) -> dict[str, Number]:
    """Evaluate the params of a spec in order, each with those before it."""
    names: dict[str, Number] = {}
    for name, value in params.items():
        path = ("params", name)
        if not is_param_name(name):
            problems.add(path, "a name of letters, digits and _", fmt_value(name), is_key=True)
        number = evaluated(value, names, path, problems)
        # A param that failed still has a name: its users shall not be reported as well.
        names[name] = 1 if number is None else number
    return names


def validate_shape(shape: Sequence[Any], path: TreePath, problems: ProblemList) -> tuple[int, ...]:
    """Check a shape that is given as numbers, and give it with 1 for each dimension at fault."""
    numbers = []
    for axis, size in enumerate(shape):
        is_number = isinstance(size, int | float) and not isinstance(size, bool)
        if not is_number:
            problems.add((*path, axis), "a whole number", fmt_value(size))
        numbers.append(size if is_number else 1)
    return _Expander("float32", problems, 0).shape(numbers, {}, path)[0]


class _Expander:
    def __init__(self, dtype: str, problems: ProblemList, max_tensors: int | None) -> None:
        self._max_tensors = MAX_TENSORS if max_tensors is None else max_tensors
        self._dtype = dtype
        self._problems = problems
        self._n_tensors = 0
        self._n_steps = 0
        self._keras = KerasPaths()
        #: Names of the models around the layer, each with a `/` behind it.
        self._prefix = ""
        self._top_layer = ""

    def iter_weights(
        self, layers: list[AnyLayer], names: Mapping[str, Number], path: TreePath
    ) -> Iterator[WeightDecl]:
        for position, layer in enumerate(layers):
            self._count_step()
            layer_path = (*path, position)
            match layer:
                case Repeat():
                    yield from self._iter_repeat(layer, names, layer_path)
                case Model():
                    yield from self._iter_model(layer, names, layer_path)
                case TypedLayer():
                    yield from self._iter_typed(layer, names, layer_path)
                case Layer():
                    yield from self._iter_layer(layer, names, layer_path)

    def _iter_repeat(
        self, repeat: Repeat, names: Mapping[str, Number], path: TreePath
    ) -> Iterator[WeightDecl]:
        count = self._whole(repeat.repeat, names, (*path, "repeat"), MAX_TENSORS)
        index = repeat.index
        if not is_param_name(index) or index in names:
            expected = "an index name of letters, digits and _ that is not in use yet"
            self._problems.add((*path, "index"), expected, fmt_value(index), "choose another")
            count = None
        # One round where the repeat is at fault, so that its layers are checked as well.
        for i in range(1 if count is None else count):
            self._count_step()
            inner = names if index in names else {**names, index: i}
            yield from self.iter_weights(repeat.layers, inner, (*path, "layers"))

    def _count_step(self) -> None:
        self._n_steps += 1
        if self._n_steps > MAX_STEPS:
            self._stop(f"at most {MAX_STEPS:,} layers and rounds of repeats")

    def _stop(self, expected: str) -> NoReturn:
        self._problems.add(("layers",), expected, "more")
        self._problems.fail()

    def _iter_layer(
        self, layer: Layer, names: Mapping[str, Number], path: TreePath
    ) -> Iterator[WeightDecl]:
        # Without a name of its own a layer's weights belong to what is around it.
        name = self._name(layer.name, names, (*path, "name")) if layer.name else ""
        layer_name = (self._prefix + name).removesuffix("/")
        prefix = f"{layer_name}/" if layer_name else ""
        for template, weight in layer.weights.items():
            weight_path = (*path, "weights", template)
            weight_name = self._name(template, names, weight_path, is_key=True)
            shape, is_shape_sound = self.shape(weight.shape, names, (*weight_path, "shape"))
            tensor_path = prefix + weight_name
            self._count_tensor(tensor_path, weight_path)
            is_place = KERAS_PLACE.fullmatch(tensor_path) is not None
            yield WeightDecl(
                layer=layer_name,
                top_layer=self._top_layer or layer_name,
                weight=weight_name,
                path=tensor_path,
                shape=shape,
                is_shape_sound=is_shape_sound,
                dtype=weight.dtype or self._dtype,
                initializer=weight.initializer,
                names=names,
                tree_path=weight_path,
                keras_path=tensor_path if is_place else None,
            )

    def _iter_model(
        self, model: Model, names: Mapping[str, Number], path: TreePath
    ) -> Iterator[WeightDecl]:
        outer = self._prefix, self._top_layer
        name = self._name(model.name, names, (*path, "name"))
        self._prefix, self._top_layer = f"{self._prefix}{name}/", self._top_layer or name
        with self._keras.within(model.type):
            yield from self.iter_weights(model.layers, names, (*path, "layers"))
        self._prefix, self._top_layer = outer

    def _iter_typed(
        self, layer: TypedLayer, names: Mapping[str, Number], path: TreePath
    ) -> Iterator[WeightDecl]:
        from kinit_cli.layers.registry import find_type, layer_weights

        kind = find_type(layer.type, (*path, "type"), self._problems)
        layer_name = self._prefix + self._name(layer.name, names, (*path, "name"))
        if kind is None:
            return
        keras_path = self._keras.add(kind.class_name)
        source = self._source(layer, names, path)
        n_by_group: Counter[str] = Counter()
        for weight in layer_weights(kind, source):
            self._check_size(weight.shape, path)
            self._count_tensor(f"{layer_name}/{weight.name}", path)
            group = f"{keras_path}/{weight.group}" if weight.group else keras_path
            yield WeightDecl(
                layer=layer_name,
                top_layer=self._top_layer or layer_name,
                weight=weight.name,
                path=f"{layer_name}/{weight.name}",
                shape=weight.shape,
                is_shape_sound=True,
                dtype=weight.dtype,
                initializer=None,
                names=names,
                tree_path=path,
                typed=weight,
                keras_path=f"{group}/vars/{n_by_group[group]}",
            )
            n_by_group[group] += 1

    def _source(
        self, layer: TypedLayer, names: Mapping[str, Number], path: TreePath
    ) -> LayerSource:
        shape_path = (*path, "input_shape")
        raw = layer.input_shape
        if isinstance(raw, dict):
            shapes = {
                name: self._input_shape(sizes, names, (*shape_path, name))
                for name, sizes in raw.items()
            }
        else:
            shapes = {} if raw is None else {ONLY: self._input_shape(raw, names, shape_path)}
        return LayerSource(
            type_name=layer.type,
            config=layer.config,
            shapes=shapes,
            names=names,
            dtype=self._dtype,
            default_dtype=self._dtype,
            path=(*path, "config"),
            shape_path=shape_path,
            problems=self._problems,
        )

    def _input_shape(self, sizes: list[Any], names: Mapping[str, Number], path: TreePath) -> Shape:
        """Give a shape with the batch axis, 1 for each size at fault."""
        if len(sizes) > MAX_RANK:
            self._problems.add(path, f"at most {MAX_RANK} sizes", f"{len(sizes)}")
            sizes = sizes[:MAX_RANK]
        found: list[int | None] = [None]
        for axis, size in enumerate(sizes):
            number = None if size is None else self._whole(size, names, (*path, axis))
            found.append(number if number is not None or size is None else 1)
        return tuple(found)

    def _count_tensor(self, tensor_path: str, path: TreePath) -> None:
        self._n_tensors += 1
        if self._n_tensors > self._max_tensors:
            self._stop(f"at most {self._max_tensors:,} tensors")
        if len(tensor_path) > MAX_PATH_LENGTH:
            expected = f"a path of at most {MAX_PATH_LENGTH} characters"
            self._problems.add(path, expected, f"{len(tensor_path)} characters", is_key=True)

    def _check_size(self, shape: tuple[int, ...], path: TreePath) -> None:
        n_elements = math.prod(shape)
        if n_elements > MAX_ELEMENTS:
            got = f"{n_elements:,} elements"
            self._problems.add(path, f"at most 2**48 ({MAX_ELEMENTS:,}) elements", got)

    def _name(
        self, template: str, names: Mapping[str, Number], path: TreePath, *, is_key: bool = False
    ) -> str:
        """Give a name with its expressions filled in, or one that nothing else has."""
        expected = "a name: parts joined by '/', each {expression} with a whole value"
        try:
            name = fill_name(template, names)
            fault = name_fault(name)
            if fault is None:
                return name
            got, hint = fmt_value(name), f"it has {fault}"
        except ExpressionError as error:
            got, hint = fmt_value(template), str(error)
        self._problems.add(path, expected, got, hint, is_key=is_key)
        return f"?{self._n_steps}.{self._n_tensors}"

    def shape(
        self, written: Sequence[Any], names: Mapping[str, Number], path: TreePath
    ) -> tuple[tuple[int, ...], bool]:
        """Give a shape, with 1 for each dimension at fault, and whether none was."""
        if len(written) > MAX_RANK:
            got = f"{len(written)} dimensions"
            self._problems.add(path, f"at most {MAX_RANK} dimensions", got)
            return (1,) * MAX_RANK, False
        dimensions = [
            self._whole(dimension, names, (*path, axis)) for axis, dimension in enumerate(written)
        ]
        shape = tuple(1 if dimension is None else dimension for dimension in dimensions)
        self._check_size(shape, path)
        return shape, None not in dimensions

    def _whole(
        self,
        value: Any,
        names: Mapping[str, Number],
        path: TreePath,
        highest: int = MAX_DIMENSION,
    ) -> int | None:
        return whole_number(value, names, path, self._problems, highest=highest)
