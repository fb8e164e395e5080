"""Showing what `verify` found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinit_cli.render.rows import (
    MAX_ROWS,
    fmt_index,
    fmt_kind,
    print_notes,
    print_outcome,
    print_rows,
)
from kinit_cli.render.text import fmt_bytes, make_console, plural

if TYPE_CHECKING:
    from rich.console import Console

    from kinit_cli.compare.checks import TensorCheck, Verification
    from kinit_cli.compare.elements import Element

_HEADERS = ("tensor", "differs", "at", "expected", "found")
_RIGHT = {
    "regenerated": "every bit is what the spec gives",
    "digests": "every digest is the recorded one",
}


def render_verification(verification: Verification, *, console: Console | None = None) -> None:
    """Print the tensors that are not what they should be, and the outcome."""
    console = console or make_console()
    differing = verification.differing
    if differing:
        rows = [_row(tensor, console) for tensor in differing[:MAX_ROWS]]
        print_rows(console, _HEADERS, rows, n_rows=len(differing))
    print_outcome(console, _outcome(verification), is_good=verification.is_same)
    totals = [
        plural(len(verification.tensors), "tensor"),
        plural(verification.n_parameters, "parameter"),
        fmt_bytes(verification.n_bytes),
        f"{verification.seconds:.2f} s",
    ]
    print_outcome(console, ", ".join(totals), is_good=True)
    print_notes(console, verification.notes)


def _outcome(verification: Verification) -> str:
    n_differing = len(verification.differing)
    if n_differing:
        verb = "is" if n_differing == 1 else "are"
        return f"{verification.source}: {plural(n_differing, 'tensor')} {verb} not as expected"
    values = {"seed": verification.seed, "stream": verification.stream}
    about = [f"{name} {value}" for name, value in values.items() if value is not None]
    if verification.origin is not None:
        about.append(f"values {verification.origin}")
    return f"{verification.source}: {_RIGHT[verification.method]} ({', '.join(about)})"


def _row(tensor: TensorCheck, console: Console) -> tuple[str, ...]:
    expected = fmt_kind(tensor.expected_shape, tensor.expected_dtype, console)
    found = fmt_kind(tensor.shape, tensor.dtype, console)
    match tensor.status:
        case "missing":
            return tensor.path, "missing", "", expected, ""
        case "extra":
            return tensor.path, "extra", "", "", found
        case "dtype":
            dtypes = str(tensor.expected_dtype), str(tensor.dtype)
            return tensor.path, "dtype", "", *dtypes
        case "shape":
            return tensor.path, "shape", "", expected, found
        case "record":
            digest, recorded = tensor.digest or "", tensor.recorded_digest
            shown = "no record" if recorded is None else recorded[:12]
            return tensor.path, "record", "", digest[:12], shown
    if tensor.first is None:
        recorded, digest = tensor.recorded_digest or "", tensor.digest or ""
        return tensor.path, "digest", "", recorded[:12], digest[:12]
    first = tensor.first
    what = f"{tensor.n_different:,} of {tensor.n_elements:,}"
    is_shown_by_bits = first.expected.value == first.found.value
    return (
        tensor.path,
        what,
        fmt_index(first.index),
        _fmt_element(first.expected, with_bits=is_shown_by_bits),
        _fmt_element(first.found, with_bits=is_shown_by_bits),
    )


def _fmt_element(element: Element, *, with_bits: bool) -> str:
    return f"{element.value} (0x{element.bits})" if with_bits else element.value
