"""Pictures of a weights file: which formats there are, what they need, and writing one.

Matplotlib, which draws all but `.html`, is imported only here and in `kinit_cli.plotting.drawing`,
and only when a picture is asked for.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from kinit_cli.summary import FileSummary

PlotFormat: TypeAlias = Literal["png", "svg", "pdf", "html"]
PLOT_FORMATS: tuple[PlotFormat, ...] = ("png", "svg", "pdf", "html")


def plot_format(target: Path) -> PlotFormat | None:
    """Give the format that a file's name asks for, or None if there is no such format."""
    suffix = target.suffix.lower()
    return next((name for name in PLOT_FORMATS if suffix == f".{name}"), None)


def check_can_plot(target: Path, source: str | os.PathLike[str], *, force: bool) -> None:
    """Check that a picture can be drawn and put in place, before anything is measured.

    Parameters
    ----------
    target : Path
        With a suffix of `PLOT_FORMATS`.
    source : path
        The weights file.

    Raises
    ------
    OutputError
        The target exists and `force` is off, or it is the weights file.
    UnavailableError
        Matplotlib is missing.
    """
    from kinit_cli.errors import OutputError, UnavailableError
    from kinit_cli.formats.atomic import check_target

    if target.exists() and os.path.exists(source) and target.samefile(source):
        raise OutputError(f"{target}: expected a picture to write, got the weights file itself")
    check_target(target, is_directory=False, force=force)
    if plot_format(target) == "html":
        return
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UnavailableError(
            f"--plot {target}: expected matplotlib, which draws it, got none; "
            "pip install 'kinit-cli[plot]', or write .html, which needs nothing more"
        ) from error


def write_plot(summary: FileSummary, target: Path, *, force: bool) -> tuple[str, ...]:
    """Draw a file's tensors; give remarks for the user, a sentence each.

    Raises
    ------
    OutputError
        The picture cannot be written; what was there before is as it was.
    """
    from kinit_cli.formats.atomic import staged
    from kinit_cli.plotting.gallery import make_gallery

    format_name = plot_format(target)
    assert format_name is not None
    gallery = make_gallery(summary, format_name)
    with staged(target, is_directory=False, force=force) as path:
        if format_name == "html":
            from kinit_cli.plotting.page import write_page

            write_page(gallery, path)
        else:
            from kinit_cli.plotting.drawing import draw_gallery

            draw_gallery(gallery, path, format_name)
    return (*gallery.notes, f"the picture is in {target}")
