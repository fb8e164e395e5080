"""Read a Keras model's JSON as a spec: the layers, their types, arguments and input shapes.

Nothing of the model is run: no class is looked up and no function is read. What has no weights is
left out, and what does not bear on weights (activations, regularizers, strides) too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kinit_cli.errors import Place
from kinit_cli.layers.dtype_policy import MIXED, POLICY_CLASSES
from kinit_cli.layers.registry import BY_NAME
from kinit_cli.spec.model import MODEL_TYPES
from kinit_cli.spec.problems import MAX_PROBLEMS, ProblemList, SourceMap, TreePath, fmt_value

#: Names of Keras's own class for a model of layers, old and new.
_MODEL_CLASSES = {**{name: name for name in MODEL_TYPES}, "Model": "Functional"}
_OPERATIONS = ("keras.src.ops.", "keras.ops.", "keras.src.operations.")
#: Arguments on which no weight depends; with `_IRRELEVANT_ENDS` those that end so.
_IRRELEVANT = frozenset(
    ("name", "trainable", "activation", "recurrent_activation", "dropout", "recurrent_dropout",
     "seed", "strides", "padding", "output_padding", "dilation_rate", "momentum", "epsilon",
     "return_sequences", "return_state", "go_backwards", "stateful", "unroll",
     "zero_output_for_mask",
     "time_major", "implementation", "use_cudnn", "mask_zero", "input_length", "merge_mode",
     "attention_axes", "sliding_window", "flash_attention", "synchronized", "renorm_clipping",
     "renorm_momentum", "autocast", "batch_shape", "batch_input_shape", "invert",
     "reverse_dtype", "logit_soft_cap", "lora_alpha", "gptq_unpacked_column_size")
)  # fmt: skip
_IRRELEVANT_ENDS = ("_regularizer", "_constraint")
#: What the layer types take for these arguments when they are absent.
_DEFAULTS: dict[str, Any] = {
    "alpha_initializer": "Zeros",
    "axis": -1,
    "beta_initializer": "Zeros",
    "bias_initializer": "Zeros",
    "center": True,
    "data_format": "channels_last",
    "depth_multiplier": 1,
    "depthwise_initializer": "GlorotUniform",
    "dtype": "float32",
    "embeddings_initializer": "RandomUniform",
    "gamma_initializer": "Ones",
    "kernel_initializer": "GlorotUniform",
    "moving_mean_initializer": "Zeros",
    "moving_variance_initializer": "Ones",
    "pointwise_initializer": "GlorotUniform",
    "recurrent_initializer": "Orthogonal",
    "renorm": False,
    "reset_after": True,
    "scale": True,
    "score_mode": "dot",
    "tie_weights": True,
    "unit_forget_bias": True,
    "use_bias": True,
    "use_gate": False,
}
#: Arguments that mean something else when they are null than when they are absent.
_MEANS_NULL = ("axis",)
MAX_LAYERS = 1_000_000
_MAX_PATH_SHOWN = 200
_PARTS = ("layer", "backward_layer", "cell")


class KerasSourceMap(SourceMap):
    """Names the layer of a Keras model in place of a line: its JSON has only one."""

    def __init__(self, source: str) -> None:
        super().__init__(source=source, nodes={}, keys={})
        object.__setattr__(self, "document", {})

    @property
    def has_expressions(self) -> bool:
        """No: Keras would take a text as it is."""
        return False

    def find(self, path: TreePath, *, is_key: bool = False) -> Place:
        """Give the place of the node at `path`: the layer that holds it."""
        node: Any = self.document  # type: ignore[attr-defined]
        names = []
        for part in path:
            is_inside = isinstance(node, dict) and part in node
            if not is_inside and not (isinstance(node, list) and isinstance(part, int)):
                break
            node = node[part]
            if isinstance(node, dict) and isinstance(node.get("name"), str):
                names.append(node["name"])
        return Place(source=f"{self.source} (layer {_shown(names)})" if names else self.source)


def keras_document(data: dict[str, Any], source: str) -> tuple[dict[str, Any], ProblemList]:
    """Write a Keras model as a spec's document.

    Returns
    -------
    (document, problems so far); a layer with a problem is left out

    Raises
    ------
    SpecError
        It is no Sequential or Functional model, was saved by Keras 2 without its layers' shapes,
        or has more layers or problems than are worth reading.
    """
    source_map = KerasSourceMap(source)
    problems = ProblemList(source_map)
    class_name, config = data.get("class_name"), data.get("config")
    if _model_class(class_name) is None:
        problems.add(
            (),
            "a Sequential or Functional model",
            f"one of the class {fmt_value(class_name)}",
            "the JSON of another class does not tell its layers: list them in a spec",
        )
        problems.fail()
    try:
        layers = _Reader(problems, is_keras_2=_is_keras_2(data)).layers(config, ())
    except RecursionError:
        problems.add((), "models within models", "deeper nesting than can be read")
        problems.fail()
    name = config.get("name") if isinstance(config, dict) else None
    document: dict[str, Any] = {"name": name} if isinstance(name, str) else {}
    document["layers"] = layers
    object.__setattr__(source_map, "document", document)
    return document, problems


class _Reader:
    def __init__(self, problems: ProblemList, *, is_keras_2: bool) -> None:
        self._problems = problems
        self._is_keras_2 = is_keras_2
        self._n_layers = 0
        self._n_failures = 0

    def layers(self, config: Any, path: tuple[str, ...]) -> list[dict[str, Any]]:
        """List the layers of a model's config that have weights."""
        raw = config.get("layers") if isinstance(config, dict) else None
        if not isinstance(raw, list):
            self._fail(path, "a model's config with 'layers'", fmt_value(config))
            return []
        found = [self._layer(layer, path) for layer in raw]
        return [layer for layer in found if layer is not None]

    def _fail(self, path: tuple[str, ...], expected: str, got: str, hint: str = "") -> None:
        where = f"layer {_shown(path)}: " if path else ""
        self._problems.add((), f"{where}{expected}", got, hint)
        self._n_failures += 1
        if self._n_failures > MAX_PROBLEMS:
            self._problems.fail()

    def _layer(self, raw: Any, path: tuple[str, ...]) -> dict[str, Any] | None:
        self._n_layers += 1
        if self._n_layers > MAX_LAYERS:
            self._problems.add((), f"at most {MAX_LAYERS:,} layers", "more")
            self._problems.fail()
        if not isinstance(raw, dict) or not isinstance(raw.get("config"), dict):
            self._fail(path, "a layer {class_name, config}", fmt_value(raw))
            return None
        if str(raw.get("module")).startswith(_OPERATIONS):
            return None
        config, class_name = raw["config"], raw.get("class_name")
        name = config.get("name") or raw.get("name")
        if not isinstance(name, str):
            self._fail(path, "a layer with a name", fmt_value(name))
            return None
        path = (*path, name)
        written = {"name": name.replace("{", "{{").replace("}", "}}")}
        model_class = _model_class(class_name)
        if model_class is not None:
            return {**written, "type": model_class, "layers": self.layers(config, path)}
        kind = BY_NAME.get(class_name) if isinstance(class_name, str) else None
        if kind is None:
            hint = (
                "`kinit import` has Keras build the model and writes it as a spec; "
                "or write one that lists this layer's weights with their shapes"
            )
            self._fail(path, "one of Keras's own classes", fmt_value(class_name), hint)
            return None
        if kind.weights is None:
            return None
        shape = _input_shape(raw.get("build_config"))
        if shape is None and self._is_keras_2:
            hint = "load it with Keras 3 and save it again"
            self._problems.add((), "a model saved by Keras 3", "one saved by Keras 2", hint)
            self._problems.fail()
        if shape is None:
            got = "no shapes in its build_config"
            hint = "call model.build(input_shape) or the model itself before model.to_json()"
            self._fail(path, "a layer that is built", got, hint)
            return None
        return {
            **written,
            "type": class_name,
            "input_shape": shape,
            "config": self._config(config, path),
        }

    def _config(self, config: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        """Give the arguments on which weights depend, without those that say nothing new."""
        written = {}
        for name, raw in config.items():
            if name in _IRRELEVANT or name.endswith(_IRRELEVANT_ENDS):
                continue
            value = self._argument(name, raw, path)
            is_said = value is not None or name in _MEANS_NULL or name.endswith("_initializer")
            if is_said and not _is_default(name, value, config):
                written[name] = value
        return written

    def _argument(self, name: str, raw: Any, path: tuple[str, ...]) -> Any:
        if name.endswith("_initializer"):
            return _initializer(raw)
        if name == "dtype":
            return _dtype(raw)
        if name in _PARTS and isinstance(raw, dict):
            return self._part(raw, path)
        if name == "cells" and isinstance(raw, list):
            return [self._part(cell, path) for cell in raw]
        return raw

    def _part(self, raw: Any, path: tuple[str, ...]) -> Any:
        """Give a layer within a layer with its name, which its weights' paths have."""
        config = raw.get("config") if isinstance(raw, dict) else None
        if not isinstance(config, dict):
            return raw
        name = {"name": config["name"]} if "name" in config else {}
        model_class = _model_class(raw.get("class_name"))
        if model_class is not None:
            layers = [_with_plain_name(layer) for layer in self.layers(config, path)]
            return {"type": model_class, **name, "layers": layers}
        return {"type": raw.get("class_name"), **name, "config": self._config(config, path)}


def _shown(names: Sequence[str]) -> str:
    """Quote a layer's path, shortened in its middle as `fmt_value` does it with texts."""
    path = "/".join(names)
    half = _MAX_PATH_SHOWN // 2
    return repr(path if len(path) <= _MAX_PATH_SHOWN else f"{path[:half]}...{path[-half:]}")


def _is_keras_2(data: dict[str, Any]) -> bool:
    """Tell whether Keras 2 wrote a model: its version stands there, or its name for a shape."""
    if str(data.get("keras_version", "")).startswith("2."):
        return True
    config = data.get("config")
    layers = config.get("layers") if isinstance(config, dict) else None
    first = layers[0] if isinstance(layers, list) and layers else None
    layer_config = first.get("config") if isinstance(first, dict) else None
    return isinstance(layer_config, dict) and "batch_input_shape" in layer_config


def _model_class(class_name: Any) -> str | None:
    return _MODEL_CLASSES.get(class_name) if isinstance(class_name, str) else None


def _input_shape(build_config: Any) -> Any:
    """Give a layer's input shape without the batch axis, or None if it is not there."""
    if not isinstance(build_config, dict):
        return None
    shapes = build_config.get("shapes_dict")
    if isinstance(shapes, dict):
        named = {name.removesuffix("_shape"): _without_batch(s) for name, s in shapes.items()}
        return {name: shape for name, shape in named.items() if shape is not None} or None
    shape = build_config.get("input_shape")
    if isinstance(shape, list) and shape and all(isinstance(item, list) for item in shape):
        names = ("query", "value", "key")  # of the attention layers, which take lists
        found = {n: _without_batch(s) for n, s in zip(names, shape, strict=False)}
        return {name: shape for name, shape in found.items() if shape is not None} or None
    return _without_batch(shape)


def _without_batch(shape: Any) -> list[Any] | None:
    if not isinstance(shape, list) or any(isinstance(size, list | dict) for size in shape):
        return None
    return shape[1:]


def _with_plain_name(layer: dict[str, Any]) -> dict[str, Any]:
    """Undo what keeps a layer's name from being filled: in a layer's config none is."""
    plain = {**layer, "name": layer["name"].replace("{{", "{").replace("}}", "}")}
    if "layers" in layer:
        plain["layers"] = [_with_plain_name(inner) for inner in layer["layers"]]
    return plain


def _is_default(name: str, value: Any, config: dict[str, Any]) -> bool:
    if name == "groups":
        return value == 1 and "filters" in config  # of a convolution and no GroupNormalization
    if name not in _DEFAULTS:
        return False
    default = _DEFAULTS[name]
    return type(value) is type(default) and value == default


def _initializer(raw: Any) -> Any:
    """Give an initializer without the arguments that are null, by name alone if none is left."""
    class_name = raw.get("class_name") if isinstance(raw, dict) else None
    if not isinstance(class_name, str) or not isinstance(raw.get("config"), dict):
        return raw
    args = {name: value for name, value in raw["config"].items() if value is not None}
    return {class_name: args} if args else class_name


def _dtype(raw: Any) -> Any:
    """Give the dtype of a policy's variables, or the policy if it is none that is known."""
    if isinstance(raw, dict) and raw.get("class_name") in POLICY_CLASSES:
        config = raw.get("config")
        name = config.get("name") if isinstance(config, dict) else None
        return MIXED.get(name, name) if isinstance(name, str) else raw
    return MIXED.get(raw, raw) if isinstance(raw, str) else raw
