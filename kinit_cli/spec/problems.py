"""Collecting everything that is wrong with a spec, each with its place in the text."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

from kinit_cli.errors import Place, Problem, SpecError

#: Keys and indices that lead from the document's root to a node.
TreePath: TypeAlias = "tuple[str | int, ...]"

#: More problems than this are counted, not listed.
MAX_PROBLEMS = 100

_repr = reprlib.Repr()
_repr.maxstring = 60
_repr.maxother = 60
_repr.maxlong = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMap:
    """Places of a document's nodes and keys, found by tree path.

    A path that the text does not hold (a missing key, say) gets the place of its nearest parent.
    """

    source: str
    nodes: Mapping[TreePath, Place] = field(default_factory=dict)
    keys: Mapping[TreePath, Place] = field(default_factory=dict)

    @property
    def has_expressions(self) -> bool:
        """Whether a text in place of a number is an expression."""
        return True

    def find(self, path: TreePath, *, is_key: bool = False) -> Place:
        """Give the place of the node at `path`, or of its key."""
        if is_key and path in self.keys:
            return self.keys[path]
        for length in range(len(path), -1, -1):
            if path[:length] in self.nodes:
                return self.nodes[path[:length]]
        return Place(source=self.source)


class ProblemList:
    """Problems of one spec; the same expectation of the same node is disappointed once."""

    def __init__(self, source_map: SourceMap) -> None:
        self.source_map = source_map
        self._problems: dict[tuple[Place, str, str], Problem] = {}
        self._silenced: set[TreePath] = set()

    def __len__(self) -> int:
        return len(self._problems)

    def add(
        self, path: TreePath, expected: str, got: str, hint: str = "", *, is_key: bool = False
    ) -> None:
        """Note one problem at a node, or at its key."""
        if path in self._silenced:
            return
        problem = Problem(
            place=self.source_map.find(path, is_key=is_key),
            tree_path=fmt_path(path),
            expected=expected,
            got=got,
            hint=hint,
        )
        self._problems.setdefault((problem.place, problem.tree_path, expected), problem)

    def silence(self, path: TreePath) -> None:
        """Let nothing more be said of a node, since a harmless value stands in its place."""
        self._silenced.add(path)

    def raise_if_any(self) -> None:
        """Raise `SpecError` with all problems, in the order of the text, if there is one."""
        if self._problems:
            self.fail()

    def fail(self) -> NoReturn:
        """Raise `SpecError` with all problems, in the order of the text."""
        problems = sorted(self._problems.values(), key=_text_order)
        n_unlisted = len(problems) - MAX_PROBLEMS
        if n_unlisted > 0:
            problems[MAX_PROBLEMS:] = [
                Problem(
                    place=Place(source=self.source_map.source),
                    tree_path="",
                    expected=f"at most {MAX_PROBLEMS} problems to list",
                    got=f"{n_unlisted} more",
                    hint="mend the ones above first",
                )
            ]
        raise SpecError(problems)


def fmt_path(path: TreePath) -> str:
    """Write a tree path as people do.

    >>> fmt_path(("layers", 0, "weights", "kernel", "shape", 1))
    'layers[0].weights.kernel.shape[1]'
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            is_plain = part.isidentifier() and len(part) <= _repr.maxstring
            shown = part if is_plain else _repr.repr(part)
            text += f".{shown}" if text else shown
    return text


def fmt_value(value: Any) -> str:
    """Describe what was found, shortly and with its type when that is the point.

    >>> fmt_value("abc"), fmt_value(True), fmt_value(None), fmt_value([1, 2])
    ("'abc'", 'the boolean true', 'nothing', 'a list of 2')
    """
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, Mapping):
        return f"a mapping of {len(value)}" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}" if value else "an empty list"
    return _repr.repr(value)


def _text_order(problem: Problem) -> tuple[int, int]:
    return problem.place.line or 0, problem.place.column or 0
