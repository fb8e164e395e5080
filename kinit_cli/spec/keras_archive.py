"""Read the model's JSON in a ``.keras`` archive, and nothing else of it."""

from __future__ import annotations

import zipfile
import zlib
from typing import IO, NoReturn

from kinit_cli.errors import Place, Problem, SpecError
from kinit_cli.spec.document import MAX_BYTES

_MEMBER = "config.json"
_FAULTS = (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError,
           EOFError, ValueError, OSError, zlib.error)  # fmt: skip


def read_config(file: IO[bytes], source: str) -> bytes:
    """Give the bytes of an archive's ``config.json``, at most `MAX_BYTES`.

    Raises
    ------
    SpecError
        No archive, none of Keras, encrypted, or a config that is too large.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            try:
                info = archive.getinfo(_MEMBER)
            except KeyError:
                _refuse(source, f"a .keras archive with {_MEMBER}", "one without")
            if info.flag_bits & 1:
                _refuse(source, f"a {_MEMBER} that is not encrypted", "an encrypted one")
            with archive.open(info) as member:
                # What the archive says of the size is not believed: the reader stops here.
                raw = member.read(MAX_BYTES + 1)
    except _FAULTS as error:
        _refuse(source, "a .keras archive (zip)", str(error) or type(error).__name__)
    if len(raw) > MAX_BYTES:
        _refuse(source, f"a {_MEMBER} of at most {MAX_BYTES} bytes", "more")
    return raw


def _refuse(source: str, expected: str, got: str) -> NoReturn:
    place = Place(source=source)
    raise SpecError([Problem(place=place, tree_path="", expected=expected, got=got)])
