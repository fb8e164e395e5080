"""`--initializer PATTERN=CONFIG`: initializers for all weights whose names match."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import Any

from kinit_cli.errors import KinitError
from kinit_cli.initializers.base import Customs
from kinit_cli.initializers.parse import parse_initializer
from kinit_cli.spec.document import clean_data, parse_document

_FORM = "PATTERN=CONFIG, as '*norm*=ones' or '*.weight={random_normal: {stddev: 0.02}}'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """An initializer for the weights that a glob matches.

    Attributes
    ----------
    raw : object
        The initializer as a spec writes it.
    """

    text: str
    pattern: re.Pattern[str]
    raw: Any


def parse_setting(text: str, customs: Customs) -> Setting:
    """Read ``PATTERN=CONFIG``; the first '=' parts them.

    Raises
    ------
    KinitError
        It has not this form.
    SpecError
        CONFIG is no initializer.
    """
    pattern, equals, config = text.partition("=")
    if not pattern or not equals or not config.strip():
        raise KinitError(f"--initializer {text!r}: expected {_FORM}")
    document = parse_document(config.encode("utf-8", "surrogateescape"), f"--initializer {text!r}")
    raw = clean_data(document.data, document.problems)
    parse_initializer(raw, {}, (), document.problems, customs)
    document.problems.raise_if_any()
    return Setting(text=text, pattern=re.compile(translate(pattern)), raw=raw)


class Settings:
    """Settings in order, of which the last that matches counts."""

    def __init__(self, settings: Sequence[Setting]) -> None:
        self._settings = settings
        self._unused = set(range(len(settings)))

    def find(self, names: Iterable[str]) -> Any:
        """Give the initializer for a weight by any of its names, or None if nothing matches."""
        found = None
        names = tuple(names)
        for index, setting in enumerate(self._settings):
            if any(setting.pattern.match(name) for name in names):
                self._unused.discard(index)
                found = setting.raw
        return found

    def refuse_unused(self, source: str, example: str) -> None:
        """Raise an error if one has matched nothing."""
        if self._unused:
            texts = ", ".join(repr(self._settings[index].text) for index in sorted(self._unused))
            raise KinitError(
                f"--initializer {texts}: expected a pattern that matches a tensor of {source}, "
                f"got none that does; their names are like {example!r}"
            )
