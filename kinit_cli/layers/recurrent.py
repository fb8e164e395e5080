"""LSTM, GRU and SimpleRNN, their cells, and RNN over any of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

from kinit_cli.layers.args import LayerArgs
from kinit_cli.layers.base import LayerType, LayerWeight, within
from kinit_cli.layers.dense import KERNEL_ARGUMENTS
from kinit_cli.layers.parts import Part, numbered, part_of

Weights: TypeAlias = Callable[[LayerArgs], list[LayerWeight]]

_CELL = (
    "units", "activation", "recurrent_activation", *KERNEL_ARGUMENTS, "recurrent_initializer",
    "recurrent_regularizer", "recurrent_constraint", "dropout", "recurrent_dropout", "seed",
    "implementation",
)  # fmt: skip
_LOOP = (
    "return_sequences", "return_state", "go_backwards", "stateful", "unroll",
    "zero_output_for_mask", "time_major",
)  # fmt: skip


def _lstm_cell(args: LayerArgs) -> list[LayerWeight]:
    weights = _kernels(args, n_gates=4)
    if args.flag("use_bias", True):
        is_forget_bias = args.flag("unit_forget_bias", True)
        shape = (4 * args.whole("units"),)
        bias = args.initializer("bias_initializer", "zeros")
        weights.append(args.weight("bias", shape, bias, is_forget_bias=is_forget_bias))
    return weights


def _gru_cell(args: LayerArgs) -> list[LayerWeight]:
    weights = _kernels(args, n_gates=3)
    if args.flag("use_bias", True):
        size = 3 * args.whole("units")
        shape = (2, size) if args.flag("reset_after", True) else (size,)
        weights.append(args.weight("bias", shape, args.initializer("bias_initializer", "zeros")))
    return weights


def _simple_rnn_cell(args: LayerArgs) -> list[LayerWeight]:
    weights = _kernels(args, n_gates=1)
    if args.flag("use_bias", True):
        bias = args.initializer("bias_initializer", "zeros")
        weights.append(args.weight("bias", (args.whole("units"),), bias))
    return weights


def _kernels(args: LayerArgs, n_gates: int) -> list[LayerWeight]:
    units = args.whole("units")
    n_inputs = args.size(args.shape(), -1)
    kernel = args.initializer("kernel_initializer", "glorot_uniform")
    recurrent = args.initializer("recurrent_initializer", "orthogonal")
    return [
        args.weight("kernel", (n_inputs, n_gates * units), kernel),
        args.weight("recurrent_kernel", (units, n_gates * units), recurrent),
    ]


def _stacked_cells(args: LayerArgs) -> list[LayerWeight]:
    raw = args.source.config.get("cells")
    if not isinstance(raw, list) or not raw:
        args.fail(None, "the argument 'cells', a list of cells", "none")
        return []
    weights: list[LayerWeight] = []
    shape = args.shape()
    places: Counter[str] = Counter()
    unnamed: Counter[str] = Counter()
    names: set[str] = set()
    for position in range(len(raw)):
        at = ("cells", position)
        cell = part_of(args, at, shape)
        if cell is None or not _is_cell(args, at, cell):
            continue
        name = cell.name if cell.is_named else numbered(cell.snake, unnamed)
        if name in names:
            args.is_sound = False
            path = (*args.source.path, *at)
            expected = "a name that no cell before it has"
            args.source.problems.add(path, expected, repr(name), "give the cells names")
        names.add(name)
        weights += within(name, f"cells/{numbered(cell.snake, places)}", cell.weights)
        shape = (None, _width(cell))
    return weights


def _is_cell(args: LayerArgs, at: tuple[str | int, ...], cell: Part) -> bool:
    """Tell whether a part is a cell, or note that it is none."""
    is_cell = cell.class_name.endswith("Cell") or cell.class_name == "StackedRNNCells"
    if not is_cell:
        args.is_sound = False
        args.source.problems.add((*args.source.path, *at), "a cell", cell.class_name)
    return is_cell


def _width(cell: Part) -> int:
    """Give the number of units of a cell, or of the last one of a stack."""
    kernels = (w for w in reversed(cell.weights) if w.name.endswith("recurrent_kernel"))
    return next((kernel.shape[0] for kernel in kernels), 1)


def _rnn(args: LayerArgs) -> list[LayerWeight]:
    shape = args.shape(min_rank=3)
    cell = part_of(args, ("cell",), (shape[0], *shape[2:]))
    return [] if cell is None else within(cell.name, "cell", cell.weights)


def _loop(cell_name: str, cell: Weights, args: LayerArgs) -> list[LayerWeight]:
    shape = args.shape(min_rank=3)
    step = args.of_input((shape[0], *shape[2:]))
    weights = cell(step)
    args.is_sound &= step.is_sound
    return within(cell_name, "cell", weights)


def _types(
    class_name: str, cell_name: str, cell: Weights, arguments: tuple[str, ...]
) -> tuple[LayerType, LayerType]:
    arguments = (*_CELL, *arguments)
    return (
        LayerType(class_name=f"{class_name}Cell", arguments=arguments, weights=cell),
        LayerType(
            class_name=class_name,
            arguments=(*arguments, *_LOOP, "use_cudnn"),
            weights=lambda args: _loop(cell_name, cell, args),
        ),
    )


RECURRENT_TYPES = (
    *_types("LSTM", "lstm_cell", _lstm_cell, ("unit_forget_bias",)),
    *_types("GRU", "gru_cell", _gru_cell, ("reset_after",)),
    *_types("SimpleRNN", "simple_rnn_cell", _simple_rnn_cell, ()),
    LayerType(class_name="StackedRNNCells", arguments=("cells",), weights=_stacked_cells),
    LayerType(class_name="RNN", arguments=("cell", *_LOOP), weights=_rnn),
)
