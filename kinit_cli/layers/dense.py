"""Dense, EinsumDense and the embeddings."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kinit_cli.layers.args import LayerArgs
from kinit_cli.layers.base import LayerType, LayerWeight, Shape

#: What changes a layer's variables when it is set.
TUNING = ("lora_rank", "quantization_config")
KERNEL_ARGUMENTS = (
    "use_bias", "kernel_initializer", "bias_initializer", "kernel_regularizer",
    "bias_regularizer", "kernel_constraint", "bias_constraint",
)  # fmt: skip
_ADAPTERS = (*TUNING, "lora_alpha")

_EQUATION = re.compile(r"(\.\.\.)?([a-zA-Z]+)(\.\.\.)?,([a-zA-Z]+)->(\.\.\.)?([a-zA-Z]+)(\.\.\.)?")


def _dense(args: LayerArgs) -> list[LayerWeight]:
    args.refuse(TUNING)
    units = args.whole("units")
    n_inputs = args.size(args.shape(), -1)
    kernel = args.initializer("kernel_initializer", "glorot_uniform")
    weights = [args.weight("kernel", (n_inputs, units), kernel)]
    if args.flag("use_bias", True):
        bias = args.initializer("bias_initializer", "zeros")
        weights.append(args.weight("bias", (units,), bias))
    return weights


def _embedding(args: LayerArgs) -> list[LayerWeight]:
    args.refuse(TUNING)
    shape = (args.whole("input_dim"), args.whole("output_dim"))
    initializer = args.initializer("embeddings_initializer", "random_uniform")
    return [args.weight("embeddings", shape, initializer)]


def _reversible_embedding(args: LayerArgs) -> list[LayerWeight]:
    weights = _embedding(args)
    if not args.flag("tie_weights", True):
        n_tokens, width = weights[0].shape
        initializer = weights[0].initializer
        weights.append(args.weight("reverse_embeddings", (width, n_tokens), initializer))
    return weights


def _einsum_dense(args: LayerArgs) -> list[LayerWeight]:
    args.refuse(TUNING)
    equation = args.text("equation")
    output_shape = _output_shape(args)
    bias_axes = args.text("bias_axes") if args.has("bias_axes") else None
    return einsum_weights(args, equation, output_shape, bias_axes, args.shape())


def _output_shape(args: LayerArgs) -> tuple[int | None, ...]:
    """Give the argument `output_shape`: sizes, null for those that follow from the input."""
    raw = args.source.config.get("output_shape")
    if not isinstance(raw, list):
        return args.sizes("output_shape", 1)
    # A null is read as 1, so that the others are checked where they stand.
    stated = args.with_config({"output_shape": [1 if size is None else size for size in raw]})
    sizes = stated.sizes("output_shape", len(raw))
    args.is_sound &= stated.is_sound
    return tuple(None if size is None else sizes[axis] for axis, size in enumerate(raw))


def einsum_weights(
    args: LayerArgs,
    equation: str,
    output_shape: tuple[int | None, ...],
    bias_axes: str | None,
    input_shape: Shape,
) -> list[LayerWeight]:
    """Give kernel and bias of an EinsumDense, its fans those of the equation.

    Parameters
    ----------
    output_shape : tuple
        Without the batch axis and the axes that an ellipsis stands for; None for a size that
        follows from the input.
    input_shape : tuple
        With the batch axis.
    """
    einsum = _matched(args, equation, output_shape, input_shape)
    if einsum is None:
        return []
    places = list(enumerate(einsum.kernel))
    weights = [
        args.weight(
            "kernel",
            tuple(_size(args, einsum, letter) for letter in einsum.kernel),
            args.initializer("kernel_initializer", "glorot_uniform"),
            fan_axes=(
                tuple(i for i, letter in places if letter not in einsum.outputs),
                tuple(i for i, letter in places if letter in einsum.outputs),
            ),
        )
    ]
    if bias_axes:
        bias = args.initializer("bias_initializer", "zeros")
        weights.append(args.weight("bias", _bias_shape(args, einsum, bias_axes), bias))
    return weights


@dataclass(frozen=True, slots=True, kw_only=True)
class _Einsum:
    """An equation that fits its shapes.

    Attributes
    ----------
    kernel, outputs : str
        The letters of the kernel's axes and of the output's.
    sizes : dict
        Size by letter; None if it may vary.
    n_trailing : int
        Axes of the output that an ellipsis behind its letters stands for.
    """

    kernel: str
    outputs: str
    sizes: dict[str, int | None]
    n_trailing: int


def _matched(
    args: LayerArgs, equation: str, output_shape: tuple[int | None, ...], input_shape: Shape
) -> _Einsum | None:
    """Match an equation with shapes, or give None after noting what is wrong."""
    match = _EQUATION.fullmatch(equation)
    if match is None or (match[1], match[3]) != (match[5], match[7]) or (match[1] and match[3]):
        if equation:
            expected = "an equation 'ab,bc->ac', '...ab,bc->...ac' or 'ab...,bc->ac...'"
            args.fail("equation", expected, repr(equation))
        return None
    inputs, kernel, outputs = match[2], match[4], match[6]
    n_elided = len(input_shape) - len(inputs)
    if n_elided < 0 or (n_elided and not (match[1] or match[3])):
        args.fail_shape(f"{len(inputs) - 1} sizes, for {equation}", f"{len(input_shape) - 1}")
        return None
    n_before = n_elided if match[1] else 0
    # An ellipsis before the letters stands for the batch axis; one behind them does not.
    n_known = len(outputs) - (0 if n_before else 1)
    if len(output_shape) != n_known:
        args.fail("output_shape", f"{n_known} sizes, for {equation}", f"{len(output_shape)}")
        return None
    sizes: dict[str, int | None] = dict(zip(inputs, input_shape[n_before:], strict=False))
    known = output_shape if n_before else (input_shape[0], *output_shape)
    for letter, size in zip(outputs, known, strict=True):
        if sizes.get(letter) is not None and size is not None and sizes[letter] != size:
            args.fail("output_shape", f"{sizes[letter]} for the axis {letter!r}", f"{size}")
        # Of an axis that the input has too, only what output_shape says becomes a weight's size.
        sizes[letter] = size
    if not set(kernel) <= set(sizes):
        args.fail("equation", "a kernel of axes of the input or the output", repr(kernel))
        return None
    n_trailing = n_elided if match[3] else 0
    return _Einsum(kernel=kernel, outputs=outputs, sizes=sizes, n_trailing=n_trailing)


def _size(args: LayerArgs, einsum: _Einsum, letter: str) -> int:
    """Give the size of an axis of a weight, which has to be known."""
    size = einsum.sizes[letter]
    if size is None:
        expected = f"a size that is known for the axis {letter!r}"
        if letter in einsum.outputs:
            args.fail("output_shape", expected, "null")
        else:
            args.fail_shape(expected, "null")
    return size or 1


def _bias_shape(args: LayerArgs, einsum: _Einsum, bias_axes: str) -> tuple[int, ...]:
    for letter in bias_axes:
        if letter not in einsum.outputs:
            args.fail("bias_axes", f"axes of the output, {einsum.outputs!r}", repr(letter))
            return ()
    first = min(einsum.outputs.find(letter) for letter in bias_axes)
    sizes = (
        _size(args, einsum, letter) if letter in bias_axes else 1
        for letter in einsum.outputs[first:]
    )
    return (*sizes, *(1,) * einsum.n_trailing)


_EMBEDDING = (
    "input_dim", "output_dim", "embeddings_initializer", "embeddings_regularizer",
    "embeddings_constraint", "mask_zero", "weights", "input_length", *_ADAPTERS,
)  # fmt: skip

DENSE_TYPES = (
    LayerType(
        class_name="Dense",
        arguments=("units", "activation", *KERNEL_ARGUMENTS, *_ADAPTERS),
        weights=_dense,
    ),
    LayerType(
        class_name="EinsumDense",
        arguments=(
            "equation",
            "output_shape",
            "activation",
            "bias_axes",
            *KERNEL_ARGUMENTS[1:],
            *_ADAPTERS,
            "gptq_unpacked_column_size",
        ),
        weights=_einsum_dense,
    ),
    LayerType(class_name="Embedding", arguments=_EMBEDDING, weights=_embedding),
    LayerType(
        class_name="ReversibleEmbedding",
        arguments=(*_EMBEDDING, "tie_weights", "reverse_dtype", "logit_soft_cap"),
        weights=_reversible_embedding,
    ),
)
