"""Reading JSON that others wrote: every way in which it can be wrong is one kind of error."""

from __future__ import annotations

import json
from typing import Any, NoReturn

#: Values, about; each takes some hundred bytes of memory, a few bytes of text notwithstanding.
MAX_JSON_PARTS = 20_000_000


class JsonError(ValueError):
    """The text is not JSON, or not of the kind that is read here."""


def parse_object(data: bytes) -> dict[str, Any]:
    """Read one JSON object; no key may occur twice in any object, and every number is finite.

    Raises
    ------
    JsonError
    """
    try:
        text = data.decode("utf-8")
        check_size(text)
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except JsonError:
        raise
    except UnicodeDecodeError as error:
        raise JsonError(f"bytes that are not UTF-8 at {error.start}") from error
    except RecursionError as error:
        raise JsonError("JSON nested too deeply") from error
    except MemoryError as error:
        raise JsonError("more JSON than fits into memory") from error
    except ValueError as error:
        raise JsonError(f"text that is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise JsonError(f"a JSON {type(value).__name__}, not an object")
    return value


def check_size(text: str) -> None:
    """Check that a JSON text has no more values than are worth reading.

    Raises
    ------
    JsonError
    """
    if sum(map(text.count, "{[,:")) > MAX_JSON_PARTS:
        raise JsonError(f"JSON of more than {MAX_JSON_PARTS:,} parts")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise JsonError(f"the key {key[:80]!r} twice")
            seen.add(key)
    return found


def _refuse_constant(text: str) -> NoReturn:
    raise JsonError(f"the number {text}")
