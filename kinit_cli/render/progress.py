"""Showing how far a run is; where nothing is to be seen, Rich is not imported either."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def make_progress(
    total_bytes: int | None, *, is_shown: bool = True
) -> Iterator[Callable[[int], None]]:
    """Draw a progress bar on standard error, if it is to be shown and that is a terminal.

    Yields
    ------
    callable
        To be called with the number of bytes done since its last call.
    """
    if not (is_shown and sys.stderr.isatty()):
        yield lambda n_bytes: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total_bytes)
        yield lambda n_bytes: progress.advance(task, n_bytes)
