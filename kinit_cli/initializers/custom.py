"""Initializers that are not kinit's own: which there are, and how each may come to be used.

A spec only names them. What runs is what the user allowed, handed over, or installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kinit_cli.draw import Called, Draw
from kinit_cli.errors import KinitError
from kinit_cli.foreign_code import ForeignCodeError, foreign_code
from kinit_cli.initializers.base import Args, CustomError, Fault, InitializerType, Target
from kinit_cli.initializers.custom_build import custom_type, usability_fault
from kinit_cli.initializers.custom_load import (
    ENTRY_POINT_GROUP,
    entry_points,
    load_reference,
    parse_reference,
)
from kinit_cli.initializers.registry import BY_NAME

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


class CustomInitializers:
    """Custom initializers by name.

    kinit's own initializers are not looked for here: a spec that uses their names means them.
    Objects and allowed code come before installed packages, which are loaded only when a spec
    names what they provide.

    Parameters
    ----------
    objects : mapping, optional
        Name -> a function, a class with `__call__`, or an object of such a class.
    allowed : sequence of str
        ``package.module:name`` of what may be imported, and is, at once. A spec calls it `name`
        (the last part of it, if it has dots), or as it is written here.

    Raises
    ------
    KinitError
        One of them cannot be imported, is no initializer, or has a name that is taken.
    """

    def __init__(
        self, *, objects: Mapping[str, Any] | None = None, allowed: Sequence[str] = ()
    ) -> None:
        self._types: dict[str, InitializerType] = {}
        self._installed: dict[str, list[EntryPoint]] | None = None
        for name, thing in (objects or {}).items():
            self._add(name, thing, f"initializer {name!r}")
        self._allow(allowed)

    def find(self, name: str) -> InitializerType | None:
        """Give the custom initializer of this name, or None if there is none.

        Raises
        ------
        CustomError
            It is one of an installed package, and cannot be loaded.
        """
        if name not in self._types and name in self._entry_points():
            self._types[name] = custom_type(name, _loaded(self._entry_points()[name]))
        return self._types.get(name)

    def names(self) -> list[str]:
        """List every name that can be found."""
        return sorted({*self._types, *self._entry_points()})

    def _allow(self, allowed: Sequence[str]) -> None:
        text_by_name: dict[str, str] = {}
        for text in dict.fromkeys(allowed):
            thing = load_reference(text)
            name = parse_reference(text)[1].rpartition(".")[2]
            if name in text_by_name:
                raise KinitError(
                    f"--allow-code {text}: expected a name that is used once, got {name!r} again, "
                    f"as in {text_by_name[name]}; rename one of them"
                )
            text_by_name[name] = text
            self._add(name, thing, f"--allow-code {text}")
            self._types[text] = custom_type(text, thing)

    def _add(self, name: str, thing: Any, where: str) -> None:
        if name in BY_NAME:
            raise KinitError(
                f"{where}: expected a name of its own, got {name!r}, which is one of kinit's "
                "initializers; rename it"
            )
        if name in self._types:
            raise KinitError(f"{where}: expected a name that is used once, got {name!r} again")
        if fault := usability_fault(thing):
            raise KinitError(f"{where}: expected {fault.expected}, got {fault.got}")
        self._types[name] = custom_type(name, thing)

    def _entry_points(self) -> dict[str, list[EntryPoint]]:
        if self._installed is None:
            self._installed = entry_points()
        return self._installed


class RecordedInitializers:
    """Takes every name for an initializer of which nothing is known, so that none is ever run.

    For reading what a file says about itself.
    """

    def find(self, name: str) -> InitializerType | None:
        """Give an initializer that takes any arguments and cannot draw."""
        return InitializerType(
            class_name=name,
            names=(name,),
            arguments=(),
            resolve=_resolve_recorded,
            summary="Code that is not at hand.",
            is_custom=True,
        )

    def names(self) -> list[str]:
        """List no names: any will do."""
        return []


def _resolve_recorded(args: Args, target: Target) -> Draw:
    return Called(function=_refuse, config=dict(args))


def _refuse(shape: tuple[int, ...], dtype: str, seed: int) -> Any:
    raise LookupError("the code of a recorded initializer is not at hand")


def _loaded(points: Sequence[EntryPoint]) -> Any:
    """Load what an installed package provides."""
    if len(points) > 1:
        values = " and ".join(sorted(point.value for point in points))
        raise CustomError(
            Fault(
                expected="an initializer that one installed package provides",
                got=values,
                hint=f"name one with --allow-code {points[0].value}",
            )
        )
    expected = f"an initializer that can be loaded ({ENTRY_POINT_GROUP}: {points[0].value})"
    try:
        with foreign_code():
            thing = points[0].load()
    except ForeignCodeError as error:
        raise CustomError(
            Fault(expected=expected, got=str(error), hint="KINIT_DEBUG=1 shows where")
        ) from error
    if fault := usability_fault(thing):
        raise CustomError(fault)
    return thing
