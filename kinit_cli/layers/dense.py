"""Dense, EinsumDense and the embeddings."""

from __future__ import annotations

import re

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
    sizes = _sizes(args, equation, output_shape, input_shape)
    if sizes is None:
        return []
    kernel_axes, output_axes, n_elided_after = sizes[0], sizes[1], sizes[3]
    by_letter = sizes[2]
    shape = []
    for letter in kernel_axes:
        size = by_letter.get(letter)
        if size is None:
            args.fail_shape(f"a size that is known for the axis {letter!r} of {equation}", "null")
        shape.append(size or 1)
    places = list(enumerate(kernel_axes))
    weights = [
        args.weight(
            "kernel",
            tuple(shape),
            args.initializer("kernel_initializer", "glorot_uniform"),
            fan_axes=(
                tuple(i for i, letter in places if letter not in output_axes),
                tuple(i for i, letter in places if letter in output_axes),
            ),
        )
    ]
    if bias_axes:
        bias_shape = _bias_shape(args, bias_axes, output_axes, by_letter)
        bias = args.initializer("bias_initializer", "zeros")
        weights.append(args.weight("bias", (*bias_shape, *(1,) * n_elided_after), bias))
    return weights


def _sizes(
    args: LayerArgs, equation: str, output_shape: tuple[int | None, ...], input_shape: Shape
) -> tuple[str, str, dict[str, int | None], int] | None:
    """Match an equation with shapes.

    Returns
    -------
    (letters of the kernel, letters of the output, size by letter, number of axes of the output
    that an ellipsis at its end stands for), or None after noting what is wrong
    """
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
    for letter in kernel:
        if letter not in sizes:
            args.fail("equation", f"{letter!r} among the axes of input or output", "none")
            return None
    return kernel, outputs, sizes, n_elided if match[3] else 0


def _bias_shape(
    args: LayerArgs, bias_axes: str, outputs: str, sizes: dict[str, int | None]
) -> tuple[int, ...]:
    for letter in bias_axes:
        if letter not in outputs:
            args.fail("bias_axes", f"axes of the output, {outputs!r}", repr(letter))
            return ()
    first = min(outputs.find(letter) for letter in bias_axes)
    for letter in bias_axes:
        if sizes[letter] is None:
            args.fail("output_shape", f"a size for the axis {letter!r}", "null")
    return tuple((sizes[letter] or 1) if letter in bias_axes else 1 for letter in outputs[first:])


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
