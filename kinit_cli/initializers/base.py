"""What an initializer is: its names, its arguments, and how it resolves to a draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from kinit_cli.draw import Draw

ArgKind: TypeAlias = Literal[
    "number", "count", "flag", "choice", "axes", "seed", "values", "window"
]
Args: TypeAlias = Mapping[str, Any]


class ArgumentError(ValueError):
    """An argument, or the tensor, does not suit the initializer.

    Attributes
    ----------
    argument : str or None
        The argument at fault; None if it is the tensor's shape.
    is_of_shape : bool
        The fault would not be one with another shape.
    """

    def __init__(
        self,
        argument: str | None,
        expected: str,
        got: str,
        hint: str = "",
        *,
        is_of_shape: bool = False,
    ) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.argument = argument
        self.expected = expected
        self.got = got
        self.hint = hint
        self.is_of_shape = is_of_shape or argument is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong with a custom initializer.

    Attributes
    ----------
    argument : str or None
        The argument at fault; None if it is the initializer itself.
    is_key : bool
        It is the argument's name that is wrong, not its value.
    """

    argument: str | None = None
    expected: str
    got: str
    hint: str = ""
    is_key: bool = False


class CustomError(ValueError):
    """A custom initializer cannot be loaded, or not be made with the given arguments."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(f"expected {x.expected}, got {x.got}" for x in faults))
        self.faults = faults


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument of an initializer, as in its Keras config.

    Attributes
    ----------
    choices : tuple of str
        Of the kind `choice`, or the names of the kind `window`.
    is_nullable : bool
        Null is one more choice.
    lowest, highest : float or None
        The bounds of a number; `highest` may be reached.
    """

    name: str
    kind: ArgKind
    default: Any = None
    is_required: bool = False
    choices: tuple[str, ...] = ()
    is_nullable: bool = False
    lowest: float | None = None
    is_lowest_excluded: bool = False
    highest: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What an initializer may know of the tensor that it initialises.

    Attributes
    ----------
    seed : int
        Derived from the tensor's identity, for custom initializers.
    """

    shape: tuple[int, ...]
    fans_layout: Literal["keras", "torch"]
    seed: int = 0


Resolve: TypeAlias = Callable[[Args, Target], Draw]


@dataclass(frozen=True, slots=True, kw_only=True)
class InitializerType:
    """An initializer class.

    Attributes
    ----------
    library : "keras", "torch" or "jax"
        Whose name, arguments and formula these are.
    names : tuple of str
        What a spec may call it, besides `class_name`; the first is the one shown.
    resolve : callable
        (arguments, target) -> draw; raises `ArgumentError`, or `CustomError` if it is custom.
    summary : str
        One sentence with the formula.
    is_custom : bool
        It is not kinit's own: it takes whatever arguments it likes.
    """

    class_name: str
    names: tuple[str, ...]
    arguments: tuple[Argument, ...]
    resolve: Resolve
    summary: str
    is_custom: bool = False
    library: Literal["keras", "torch", "jax"] = "keras"


class Customs(Protocol):
    """Where initializers that are not kinit's own come from."""

    def find(self, name: str) -> InitializerType | None:
        """Give the initializer of this name, if there is one; raise `CustomError` if broken."""

    def names(self) -> list[str]:
        """List the names that are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Initializer:
    """An initializer with its arguments, all of them, checked."""

    type: InitializerType
    args: Args

    @property
    def seed(self) -> int | None:
        """The seed that selects the initializer's stream, if it has one of its own."""
        # Custom initializers draw from no stream; what their `seed` means is their own affair.
        return None if self.type.is_custom else self.args.get("seed")

    def draw(self, target: Target) -> Draw:
        """Resolve to what the elements of a tensor are drawn from.

        Raises
        ------
        ArgumentError
            The shape does not suit the initializer.
        CustomError
            A custom initializer cannot be made.
        """
        return self.type.resolve(self.args, target)

    def config(self) -> dict[str, Any]:
        """Give the config as Keras writes it: class name and every argument."""
        return {"class_name": self.type.class_name, "config": dict(self.args)}

    def __str__(self) -> str:
        defaults = {argument.name: argument.default for argument in self.type.arguments}
        changed = [
            f"{name}={_fmt_arg(value)}"
            for name, value in self.args.items()
            if name not in defaults or value != defaults[name]
        ]
        name = self.type.names[0]
        return f"{name}({', '.join(changed)})" if changed else name


def torch_type(
    name: str, arguments: tuple[Argument, ...], resolve: Resolve, summary: str
) -> InitializerType:
    """Give an initializer that goes by PyTorch's name, with or without the underscore."""
    return InitializerType(
        class_name=name,
        names=(name, f"{name}_"),
        arguments=arguments,
        resolve=resolve,
        summary=summary,
        library="torch",
    )


SEED = Argument(name="seed", kind="seed")


def _fmt_arg(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, tuple):
        value = list(value)
    return str(value)[:40] if isinstance(value, list | dict | str) else str(value)
