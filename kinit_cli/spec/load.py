"""Read a spec or a Keras model from a file or stdin and apply what the command line changes."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from kinit_cli.errors import KinitError, suggest
from kinit_cli.spec.document import MAX_BYTES, clean_data, parse_document
from kinit_cli.spec.expressions import ExpressionError, evaluate, fmt_known
from kinit_cli.spec.model import ModelSpec, validate_structure
from kinit_cli.spec.problems import ProblemList

STDIN = "-"
#: How a ``.keras`` archive begins.
ARCHIVE_MAGIC = b"PK\x03\x04"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSpec:
    """A spec that has been read, and what is wrong with it so far.

    Attributes
    ----------
    model : ModelSpec
        The sound parts of the spec.
    document : dict
        The spec as plain data, overrides applied: what an output file records.
    problems : ProblemList
        Problems found so far; planning adds its own and raises them all.
    is_keras : bool
        It was read from a Keras model.
    """

    model: ModelSpec
    document: dict[str, Any]
    problems: ProblemList
    is_keras: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What is set over the spec: its seed, its default dtype, its params.

    A param is a number, or a text with an expression, as `--set` has it.
    """

    seed: int | None = None
    dtype: str | None = None
    params: Mapping[str, str | float] | None = None


def load_spec(source: str | os.PathLike[str], overrides: Overrides | None = None) -> LoadedSpec:
    """Read a spec from a file, or from stdin if `source` is ``-``.

    Raises
    ------
    SpecError
        The text is no spec at all; problems of single parts are in the result.
    KinitError
        The file cannot be read, or an override does not fit the spec.
    """
    raw, name = read_source(source)
    return parse_spec(raw, name, overrides)


def read_source(source: str | os.PathLike[str]) -> tuple[bytes, str]:
    """Give the text of a spec or a Keras model, and its name in messages; see `load_spec`."""
    name = os.fspath(source)
    if name != STDIN:
        return _read(name), name
    raw, name = sys.stdin.buffer.read(MAX_BYTES + 1), "<stdin>"
    return (_read_archive(io.BytesIO(raw), name) if raw.startswith(ARCHIVE_MAGIC) else raw), name


def parse_spec(raw: bytes, source: str, overrides: Overrides | None = None) -> LoadedSpec:
    """Parse a spec's bytes, or those of a Keras model; `source` is its name in messages."""
    if raw.startswith(ARCHIVE_MAGIC):
        raw = _read_archive(io.BytesIO(raw), source)
    document = parse_document(raw, source)
    data, problems = document.data, document.problems
    is_keras = isinstance(data, dict) and "class_name" in data and "layers" not in data
    if is_keras:
        from kinit_cli.spec.keras_model import keras_document

        problems.raise_if_any()
        data, problems = keras_document(data, source)
    return replace(check_spec(data, problems, overrides), is_keras=is_keras)


def check_spec(data: Any, problems: ProblemList, overrides: Overrides | None = None) -> LoadedSpec:
    """Check a spec that is plain data already (from a weights file, say)."""
    data = clean_data(data, problems)
    if isinstance(data, dict):
        data = _override(data, overrides or Overrides())
    model = validate_structure(data, problems)
    if model is None:
        problems.fail()
    return LoadedSpec(model=model, document=data, problems=problems)


def _read(name: str) -> bytes:
    try:
        with Path(name).open("rb") as file:
            # An archive holds the weights as well and may be large; only a part of it is read.
            if file.peek(len(ARCHIVE_MAGIC)).startswith(ARCHIVE_MAGIC):
                return _read_archive(file, name)
            return file.read(MAX_BYTES + 1)
    except IsADirectoryError as error:
        raise KinitError(f"{name}: expected a spec file, got a directory") from error
    except FileNotFoundError as error:
        raise KinitError(f"{name}: expected a spec file, got no such file") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise KinitError(f"{name!r}: expected a readable spec file, got: {reason}") from error


def _read_archive(file: IO[bytes], source: str) -> bytes:
    from kinit_cli.spec.keras_archive import read_config

    return read_config(file, source)


def _override(data: dict[str, Any], overrides: Overrides) -> dict[str, Any]:
    changed = dict(data)
    if overrides.seed is not None:
        changed["seed"] = overrides.seed
    if overrides.dtype is not None:
        changed["dtype"] = overrides.dtype
    if overrides.params:
        params = data.get("params")
        changed["params"] = _set_params(params if isinstance(params, dict) else {}, overrides)
    return changed


def _set_params(params: dict[str, Any], overrides: Overrides) -> dict[str, Any]:
    params = dict(params)
    for name, text in (overrides.params or {}).items():
        if name not in params:
            hint = suggest(name, params) or fmt_known(params)
            raise KinitError(f"--set {name}={text}: expected a param of the spec; {hint}")
        if not isinstance(text, str):
            params[name] = text
            continue
        try:
            params[name] = evaluate(text, {})
        except ExpressionError as error:
            raise KinitError(f"--set {name}={text}: expected a number; {error}") from error
    return params
