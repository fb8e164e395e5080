"""What can go wrong, as plain exceptions that know nothing of the command line.

Every exception that kinit raises on purpose is a `KinitError`. A spec's problems are collected
and raised together in one `SpecError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: What is known may have been named by a file, at any length.
_MAX_HINT = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a node stands in a text: 1-based line and column."""

    source: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        if self.line is None:
            return self.source
        return f"{self.source}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a spec: where, what was expected, what was found, what to do."""

    place: Place
    tree_path: str
    expected: str
    got: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.place}: {self.tree_path}" if self.tree_path else str(self.place)
        hint = f"; {self.hint[:_MAX_HINT]}" if self.hint else ""
        return f"{where}: expected {self.expected}, got {self.got}{hint}"


class KinitError(Exception):
    """Base of every error that kinit raises on purpose; its text is for the user."""


class SpecError(KinitError):
    """A spec that cannot be used, with all its problems.

    Attributes
    ----------
    problems : tuple of Problem
        Every problem that was found, in the order of the text.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class WeightsFileError(KinitError):
    """A weights file that cannot be read, or that is not what it claims to be."""


class OutputError(KinitError):
    """An output that cannot be written: it exists, does not fit, or the system refused."""


class LockError(KinitError):
    """What a spec gives is not what its lock says."""


class InitializerError(KinitError):
    """A function that initialises a tensor failed, or returned something else than asked for."""


class UnavailableError(KinitError):
    """Something asked for that this installation does not have."""


def suggest(word: str, known: Iterable[str]) -> str:
    """Give a "did you mean" for an unknown word, or an empty string.

    >>> suggest("he_norml", ["he_normal", "zeros"])
    "did you mean 'he_normal'?"
    >>> suggest("xyz", ["he_normal"])
    ''
    """
    # It takes as long to import as the rest of this module, and most runs have no unknown word.
    import difflib

    by_folded = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return f"did you mean {by_folded[close[0]]!r}?" if close else ""
