"""Numbers, names and sizes as text, and the console that they are printed on.

Names from files are shown verbatim: never as markup, and with their control characters escaped.
"""

from __future__ import annotations

from rich.console import Console

_DEFAULT_WIDTH = 80
_MAX_NAME_LENGTH = 240
_MAX_SHAPE_LENGTH = 24


def make_console(*, to_stderr: bool = False) -> Console:
    """Make a console for standard output or error that prints text as it is."""
    console = Console(stderr=to_stderr, highlight=False, markup=False, emoji=False)
    if not console.width:
        # COLUMNS=0: where there is no width, Rich prints nothing.
        console.width = _DEFAULT_WIDTH
    return console


def fmt_bytes(n_bytes: int) -> str:
    """Write a size in decimal and binary units.

    >>> fmt_bytes(497_759_232)
    '497.8 MB (474.7 MiB)'
    >>> fmt_bytes(999)
    '999 bytes'
    """
    if n_bytes < 1000:
        return f"{n_bytes} bytes"
    return f"{fmt_scaled(n_bytes, 1000, 'B')} ({fmt_scaled(n_bytes, 1024, 'iB')})"


def fmt_number(value: float | None) -> str:
    """Write a statistic with about four digits, in at most nine characters.

    >>> [fmt_number(x) for x in (0.0, 1.0, -0.05, 0.0199876, 1234567.0, -1.25e-7)]
    ['0', '1', '-0.05', '0.01999', '1.235e+06', '-1.25e-07']
    """
    if value is None:
        return "-"
    text = f"{value:.4g}"
    return text if len(text) <= 9 else f"{value:.2e}"


def fmt_shape(shape: tuple[int, ...], is_ascii: bool) -> str:
    """Write a shape; of a long one the first and last sizes, at least one of each."""
    times, gap = ("x", "...") if is_ascii else ("×", "…")
    sizes = [str(size) for size in shape]
    text = times.join(sizes) or "scalar"
    # Each size takes two characters, so that no more than these can be shown.
    n_shown = min(len(sizes), _MAX_SHAPE_LENGTH)
    while len(text) > _MAX_SHAPE_LENGTH and n_shown > 2:
        n_shown -= 1
        n_last = n_shown // 2
        text = times.join([*sizes[: n_shown - n_last], gap, *sizes[len(sizes) - n_last :]])
    return text


def printable(name: str, limit: int = _MAX_NAME_LENGTH) -> str:
    r"""Escape what a terminal would not show as it is, and shorten what is too long.

    >>> printable("a\x1b[31m\n")
    'a\\x1b[31m\\n'
    """
    if len(name) > limit:
        name = f"{name[: limit // 2]}...{name[-limit // 2 :]}"
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in name
    )


def plural(count: int, noun: str) -> str:
    """Write a count.

    >>> plural(1, "tensor"), plural(1200, "tensor")
    ('1 tensor', '1,200 tensors')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def fmt_scaled(n_bytes: int, base: int, unit: str) -> str:
    """Write a size with a prefix: of powers of 1000, or of 1024.

    >>> fmt_scaled(2_500_000, 1000, "B"), fmt_scaled(2048, 1024, "iB")
    ('2.5 MB', '2.0 KiB')
    """
    value = float(n_bytes)
    for prefix in ("", "k" if base == 1000 else "K", "M", "G", "T", "P", "E"):
        if value < base or prefix == "E":
            break
        value /= base
    if not prefix:
        return f"{n_bytes} B"
    return f"{value:.1f} {prefix}{unit}"
