"""What a layer type is, and what it says of each of its weights: plain data, no arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from kinit_cli.spec.problems import TreePath

if TYPE_CHECKING:
    from kinit_cli.layers.args import LayerArgs

#: With the batch axis first; None is a size that may vary.
Shape: TypeAlias = "tuple[int | None, ...]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An initializer as a spec or a layer type writes it.

    Attributes
    ----------
    path : tuple or None
        Where it stands in the document; None if it is the layer type's own default, which the
        spec's `defaults` go before.
    """

    raw: Any
    path: TreePath | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWeight:
    """One weight of a layer, in the order in which Keras makes them.

    Attributes
    ----------
    name : str
        As in Keras's variable path, below the layer's name: ``kernel``, ``lstm_cell/bias``.
    group : str
        Which object within the layer holds it, as Keras's ``.weights.h5`` names it: ``cell``;
        empty for the layer itself.
    fan_axes : tuple or None
        Axes of the kernel that a variance-scaling initializer takes for its fans, unless it has
        axes of its own.
    is_forget_bias : bool
        Of an LSTM: ones for the forget gate, what the initializer says for the others.
    """

    name: str
    shape: tuple[int, ...]
    initializer: Written
    dtype: str
    is_trainable: bool = True
    group: str = ""
    fan_axes: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    is_forget_bias: bool = False


def within(name: str, group: str, weights: Iterable[LayerWeight]) -> list[LayerWeight]:
    """Give the weights of a part of a layer as the layer's own."""
    return [
        replace(
            weight,
            name=f"{name}/{weight.name}",
            group=f"{group}/{weight.group}" if weight.group else group,
        )
        for weight in weights
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerType:
    """A Keras layer class.

    Attributes
    ----------
    arguments : tuple of str
        Every argument that its config may have, besides those of all layers.
    weights : callable or None
        (arguments) -> weights; None for a class that never has any.
    """

    class_name: str
    arguments: tuple[str, ...]
    weights: Callable[[LayerArgs], list[LayerWeight]] | None = None
