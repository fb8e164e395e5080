"""Normalizations and the other layers that scale elements."""

from __future__ import annotations

from kinit_cli.layers.args import LayerArgs
from kinit_cli.layers.base import LayerType, LayerWeight, Written
from kinit_cli.spec.problems import fmt_value

_GAMMA_BETA = (
    "axis", "epsilon", "center", "scale", "beta_initializer", "gamma_initializer",
    "beta_regularizer", "gamma_regularizer", "beta_constraint", "gamma_constraint",
)  # fmt: skip


def _batch_normalization(args: LayerArgs) -> list[LayerWeight]:
    if args.has("renorm") and args.flag("renorm", False):
        args.fail("renorm", "false", "true", "list the layer's weights with their shapes")
    shape = _axis_shape(args)
    mean = args.initializer("moving_mean_initializer", "zeros")
    variance = args.initializer("moving_variance_initializer", "ones")
    return [
        *_gamma_beta(args, shape),
        args.weight("moving_mean", shape, mean, is_trainable=False),
        args.weight("moving_variance", shape, variance, is_trainable=False),
    ]


def _layer_normalization(args: LayerArgs) -> list[LayerWeight]:
    shape = _axes_shape(args)
    if args.has("rms_scaling") and args.flag("rms_scaling", False):
        return [args.weight("gamma", shape, args.initializer("gamma_initializer", "ones"))]
    return _gamma_beta(args, shape)


def _group_normalization(args: LayerArgs) -> list[LayerWeight]:
    shape = _axis_shape(args)
    groups = args.whole("groups", 32, lowest=-1)
    if groups != -1 and (groups < 1 or shape[0] % groups) and args.is_sound:
        args.fail("groups", f"a divisor of the {shape[0]} channels, or -1", f"{groups}")
    return _gamma_beta(args, shape)


def _rms_normalization(args: LayerArgs) -> list[LayerWeight]:
    return [args.weight("scale", _axes_shape(args), Written(raw="ones"))]


def _normalization(args: LayerArgs) -> list[LayerWeight]:
    if args.has("mean") or args.has("variance"):
        return []  # then they are constants, and not weights
    shape = args.shape(min_rank=1)
    kept = [] if "axis" in args.source.config and not args.has("axis") else [-1]
    axes = args.axes("axis", kept, len(shape))
    axes = sorted(axis % len(shape) for axis in axes)
    if len(set(axes)) < len(axes):
        args.fail("axis", "each axis once", fmt_value(args.source.config["axis"]))
    sizes = tuple(args.size(shape, axis) for axis in axes)
    zeros, ones = Written(raw="zeros"), Written(raw="ones")
    return [
        args.weight("mean", sizes, zeros, is_trainable=False),
        args.weight("variance", sizes, ones, is_trainable=False),
        args.weight("count", (), zeros, is_trainable=False, dtype="int64"),
    ]


def _prelu(args: LayerArgs) -> list[LayerWeight]:
    shape = args.shape()
    n_axes = len(shape) - 1
    shared = args.axes("shared_axes", [], n_axes + 1, lowest=1 - n_axes)
    # Keras counts from 1, and from there backwards: to it 0 is the last axis, -1 the one before.
    ones = {(axis - 1) % n_axes + 1 for axis in shared}
    sizes = tuple(1 if axis in ones else args.size(shape, axis) for axis in range(1, len(shape)))
    return [args.weight("alpha", sizes, args.initializer("alpha_initializer", "zeros"))]


def _layer_scale(args: LayerArgs) -> list[LayerWeight]:
    value = args.source.config.get("init_values")
    if value is None:
        args.fail(None, "the argument 'init_values'", "none", "LayerScale needs it")
    path = (*args.source.path, "init_values")
    initializer = Written(raw={"constant": {"value": value}}, path=path)
    return [args.weight("gamma", (args.whole("projection_dim"),), initializer)]


def _axis_shape(args: LayerArgs) -> tuple[int, ...]:
    shape = args.shape()
    if isinstance(args.source.config.get("axis"), list):
        args.fail("axis", "one axis, a whole number", fmt_value(args.source.config["axis"]))
        return (1,)
    return (args.size(shape, args.axes("axis", [-1], len(shape))[0]),)


def _axes_shape(args: LayerArgs) -> tuple[int, ...]:
    shape = args.shape()
    return tuple(args.size(shape, axis) for axis in args.axes("axis", [-1], len(shape)))


def _gamma_beta(args: LayerArgs, shape: tuple[int, ...]) -> list[LayerWeight]:
    weights = []
    if args.flag("scale", True):
        weights.append(args.weight("gamma", shape, args.initializer("gamma_initializer", "ones")))
    if args.flag("center", True):
        weights.append(args.weight("beta", shape, args.initializer("beta_initializer", "zeros")))
    return weights


NORMALIZATION_TYPES = (
    LayerType(
        class_name="BatchNormalization",
        arguments=(
            *_GAMMA_BETA, "momentum", "moving_mean_initializer", "moving_variance_initializer",
            "synchronized", "renorm", "renorm_clipping", "renorm_momentum",
        ),
        weights=_batch_normalization,
    ),
    LayerType(
        class_name="LayerNormalization",
        arguments=(*_GAMMA_BETA, "rms_scaling"),
        weights=_layer_normalization,
    ),
    LayerType(
        class_name="GroupNormalization",
        arguments=(*_GAMMA_BETA, "groups"),
        weights=_group_normalization,
    ),
    LayerType(
        class_name="RMSNormalization",
        arguments=("axis", "epsilon"),
        weights=_rms_normalization,
    ),
    LayerType(
        class_name="Normalization",
        arguments=("axis", "mean", "variance", "invert"),
        weights=_normalization,
    ),
    LayerType(
        class_name="PReLU",
        arguments=(
            "alpha_initializer", "alpha_regularizer", "alpha_constraint", "shared_axes",
        ),
        weights=_prelu,
    ),
    # Of keras.applications, in ConvNeXt.
    LayerType(
        class_name="LayerScale",
        arguments=("init_values", "projection_dim"),
        weights=_layer_scale,
    ),
)  # fmt: skip
