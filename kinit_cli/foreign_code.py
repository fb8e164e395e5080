"""Running other people's code: whatever it does, it neither garbles the output nor ends the run."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator

_MAX_MESSAGE = 500


class ForeignCodeError(Exception):
    """Code that is not kinit's raised something; the text says what."""


@contextlib.contextmanager
def foreign_code() -> Iterator[None]:
    """Run other people's code: what it prints goes to stderr, what it raises becomes one error.

    With KINIT_DEBUG set, its traceback is printed, too. An interrupt passes through.

    Raises
    ------
    ForeignCodeError
        It raised an exception, or wanted to end the process.
    """
    try:
        # A result may be on its way to stdout.
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except ForeignCodeError:
        raise
    except (Exception, SystemExit) as error:
        if os.environ.get("KINIT_DEBUG"):
            traceback.print_exc()
        raise ForeignCodeError(_fmt_error(error)) from error


def _fmt_error(error: BaseException) -> str:
    text = " ".join(f"{type(error).__name__}: {_text_of(error)}".split()).removesuffix(":")
    return text if len(text) <= _MAX_MESSAGE else text[:_MAX_MESSAGE] + " ..."


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as fault:  # noqa: BLE001 - an error is being told; it must not end in another
        return f"(its text cannot be had: {type(fault).__name__})"
