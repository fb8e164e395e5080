"""The spec's structure, validated by pydantic; expressions are still text here."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from kinit_cli.dtypes import DTYPES
from kinit_cli.errors import suggest
from kinit_cli.spec.problems import ProblemList, TreePath, fmt_value

ModelType: TypeAlias = Literal["Sequential", "Functional"]
MODEL_TYPES: tuple[str, ...] = get_args(ModelType)
FansLayout: TypeAlias = Literal["keras", "torch"]
LAYOUTS: tuple[str, ...] = get_args(FansLayout)

#: Other libraries' short names for dtypes, for the hint only.
_DTYPE_HINTS = {
    "f16": "float16", "fp16": "float16", "half": "float16", "bf16": "bfloat16",
    "f32": "float32", "fp32": "float32", "float": "float32", "single": "float32",
    "f64": "float64", "fp64": "float64", "double": "float64", "int": "int64",
    "boolean": "bool",
}  # fmt: skip


def _problem(expected: str, hint: str = "") -> PydanticCustomError:
    return PydanticCustomError("kinit", "{expected}", {"expected": expected, "hint": hint})


def _expression(value: Any) -> Any:
    """Accept a number, or a text with an arithmetic expression."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _problem("a number or an expression")
    if isinstance(value, float) and not math.isfinite(value):
        raise _problem("a finite number")
    return value


def _dtype(value: Any) -> Any:
    if isinstance(value, str) and value in DTYPES:
        return value
    word = value.lower() if isinstance(value, str) else ""
    known = _DTYPE_HINTS.get(word)
    hint = f"did you mean {known!r}?" if known else suggest(word, DTYPES)
    raise _problem(f"a dtype: {', '.join(DTYPES)}", hint)


def _version(value: Any) -> Any:
    if type(value) is not int or value != 1:
        raise _problem("1, the version of this format")
    return value


def _seed(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**64:
        raise _problem("a seed: a whole number from 0 to 2**64 - 1")
    return value


def _input_shape(value: Any) -> Any:
    shapes = list(value.values()) if isinstance(value, dict) else [value]
    if not shapes or not all(isinstance(shape, list) for shape in shapes):
        raise _problem("a list of sizes without the batch axis, or a mapping of such lists")
    for size in itertools.chain.from_iterable(shapes):
        if isinstance(size, bool) or not isinstance(size, int | float | str | None):
            raise _problem("sizes: numbers, expressions, or null for one that may vary")
    return value


Expression: TypeAlias = Annotated[
    Any, PlainValidator(_expression), WithJsonSchema({"type": ["number", "string"]})
]
DTypeName: TypeAlias = Annotated[
    str, PlainValidator(_dtype), WithJsonSchema({"type": "string", "enum": list(DTYPES)})
]
InputShape: TypeAlias = Annotated[
    Any, PlainValidator(_input_shape), WithJsonSchema({"type": ["array", "object"]})
]
Seed: TypeAlias = Annotated[
    int,
    PlainValidator(_seed),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 2**64 - 1}),
]


Version: TypeAlias = Annotated[int, PlainValidator(_version), WithJsonSchema({"const": 1})]


class _Strict(BaseModel):
    # Built once, as parts of the whole spec, and not each on its own too.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


class Weight(_Strict):
    """One tensor of a layer."""

    shape: list[Expression]
    initializer: Any = None
    dtype: DTypeName | None = None


class Layer(_Strict):
    """A layer whose weights are listed with their shapes."""

    name: str
    weights: dict[str, Weight]


class TypedLayer(_Strict):
    """A layer of one of Keras's types, whose weights follow from its config and input shape."""

    name: str
    type: str
    config: dict[str, Any] = Field(default_factory=dict)
    input_shape: InputShape | None = None


class Model(_Strict):
    """A model within the model: layers whose names begin with its own."""

    name: str
    type: ModelType
    layers: Layers


class Repeat(_Strict):
    """Layers written once and repeated, with an index that names and expressions may use."""

    repeat: Expression
    index: str = "i"
    layers: Layers


# Tags appear in pydantic's locations; these cannot be taken for a key of the spec.
_LAYER_TAG, _REPEAT_TAG, _TYPED_TAG, _MODEL_TAG = "<layer>", "<repeat>", "<typed>", "<model>"


def _layer_kind(value: Any) -> str:
    if not isinstance(value, dict):
        return _LAYER_TAG
    if "repeat" in value:
        return _REPEAT_TAG
    if "type" in value:
        return _MODEL_TAG if value["type"] in MODEL_TYPES else _TYPED_TAG
    return _LAYER_TAG


AnyLayer: TypeAlias = Layer | Repeat | TypedLayer | Model
Layers: TypeAlias = list[
    Annotated[
        Annotated[Layer, Tag(_LAYER_TAG)]
        | Annotated[Repeat, Tag(_REPEAT_TAG)]
        | Annotated[TypedLayer, Tag(_TYPED_TAG)]
        | Annotated[Model, Tag(_MODEL_TAG)],
        Discriminator(_layer_kind),
    ]
]


class ModelSpec(_Strict):
    """A whole spec, as the user wrote it."""

    kinit: Version = 1
    name: str | None = None
    seed: Seed | None = None
    dtype: DTypeName = "float32"
    layout: FansLayout = "keras"
    params: dict[str, Expression] = Field(default_factory=dict)
    defaults: dict[str, Any] = Field(default_factory=dict)
    layers: Layers


def validate_structure(data: Any, problems: ProblemList) -> ModelSpec | None:
    """Check the structure of a document and note its problems.

    Parts that are wrong are left out of the result, so that what remains can be checked further
    and one run reports everything; None if nothing remains.
    """
    if not isinstance(data, dict):
        problems.add((), "a mapping with 'layers'", fmt_value(data), "see docs/spec.md")
        return None
    is_first_pass = True
    for _ in range(_MAX_PASSES):
        try:
            return ModelSpec.model_validate(data)
        except ValidationError as error:
            details = error.errors(include_url=False)
        for detail in details if is_first_pass else ():
            _add_problem(data, detail, problems)
        data = _mended(data, details)
        is_first_pass = False
    return None


#: A faulty node is replaced or goes, then its parent if it cannot do without, up to a layer.
_MAX_PASSES = 12
_NO_LAYER: dict[str, Any] = {"repeat": 0, "layers": []}
_GONE = object()


def _mended(data: dict[str, Any], details: list[Any]) -> dict[str, Any]:
    """Copy a document with its faulty nodes replaced or removed, every index staying as it was."""
    copied: dict[str, Any] = copy.deepcopy(data)
    paths, foreign = [], set()
    for detail in details:
        path = _locate(data, detail["loc"])[0]
        is_missing = detail["type"] == "missing" and detail["loc"][-1] != "shape"
        paths.append((*path, detail["loc"][-1]) if is_missing else path)
        if detail["type"] == "extra_forbidden":
            foreign.add(path)
    for path in sorted(set(paths), key=len, reverse=True):
        parent: Any = copied
        for part in path[:-1]:
            parent = parent[part]
        stand_in = _GONE if path in foreign else _stand_in(path)
        if stand_in is _GONE:
            parent.pop(path[-1], None)
        else:
            parent[path[-1]] = stand_in
    return copied


def _stand_in(path: TreePath) -> Any:
    """Give a harmless value for the node at `path`, or `_GONE` if it can go."""
    parent, last = path[-2] if len(path) > 1 else None, path[-1]
    if isinstance(last, int):
        return copy.deepcopy(_NO_LAYER) if parent == "layers" else 1
    if path[:-1] == ("params",) or last == "repeat":
        return 1
    if isinstance(parent, int) and last == "name":
        return f"?{parent}"
    if last in ("weights", "layers"):
        return {} if last == "weights" else []
    return _GONE


_FIELDS: dict[str, type[BaseModel]] = {
    _LAYER_TAG: Layer,
    _REPEAT_TAG: Repeat,
    _TYPED_TAG: TypedLayer,
    _MODEL_TAG: Model,
}
_EXPECTED = {
    "missing": "the key {key!r}",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "list_type": "a list",
    "string_type": "a text",
    "literal_error": "{expected}",
    "kinit": "{expected}",
}


def _add_problem(data: Any, detail: Any, problems: ProblemList) -> None:
    loc: tuple[int | str, ...] = detail["loc"]
    path, found = _locate(data, loc)
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        known = _known_keys(loc)
        hint = suggest(str(loc[-1]), known) or f"known: {', '.join(known)}"
        if loc[-1] == "weights" and "type" in known:
            hint = "a layer has a 'type' or 'weights', not both"
        problems.add(path, "a known key", fmt_value(loc[-1]), hint, is_key=True)
    elif kind == "missing":
        problems.add(path, f"the key {loc[-1]!r}", "none", f"add {loc[-1]!r}")
    else:
        expected = _EXPECTED.get(kind, detail["msg"]).format(**context)
        problems.add(path, expected, fmt_value(found), _hint(kind, found, context))
        if path and path[-1] in ("config", "input_shape"):
            problems.silence(path)  # without it more would seem to be missing


def _hint(kind: str, found: Any, context: dict[str, Any]) -> str:
    if kind == "literal_error" and isinstance(found, str):
        return suggest(found, LAYOUTS)
    if kind == "list_type" and isinstance(found, int | str) and not isinstance(found, bool):
        return f"write [{fmt_value(found)}]"
    return str(context.get("hint", ""))


def _locate(data: Any, loc: tuple[int | str, ...]) -> tuple[TreePath, Any]:
    """Follow a pydantic location through the data, dropping the tags of unions."""
    path: list[str | int] = []
    for part in loc:
        is_key = isinstance(data, dict) and part in data
        is_index = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if is_key or is_index:
            path.append(part)
            data = data[part]
    return tuple(path), data


def _known_keys(loc: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = ModelSpec
    for part, following in itertools.pairwise(loc):
        if isinstance(part, int) and following in _FIELDS:
            model = _FIELDS[str(following)]
        elif model is Layer and part == "weights":
            model = Weight
    return list(model.model_fields)
