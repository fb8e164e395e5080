"""What a weights file records about its own tensors, as far as it can be used."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from kinit_cli.compare.stored_names import recorded_names
from kinit_cli.errors import KinitError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kinit_cli.formats.weights_file import TensorEntry, WeightsFile
    from kinit_cli.manifest import Expectation, Manifest

_MAX_REASONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What is expected of a file's tensors.

    Attributes
    ----------
    manifest : Manifest or None
        None if there is none that can be read.
    expected : mapping of str to Expectation
        By what the file calls the tensor, in the order of the spec; of tensors that are as
        recorded.
    changed : mapping of str to Expectation
        Of tensors that have another shape or dtype than is recorded.
    missing : tuple of str
        What the file should call tensors that are recorded and not there.
    paths : mapping of str to str
        The recorded path by what the file calls the tensor.
    fault : str
        Why nothing can be expected; may be empty.
    """

    manifest: Manifest | None = None
    expected: Mapping[str, Expectation] = field(default_factory=dict)
    changed: Mapping[str, Expectation] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    paths: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""

    def is_chosen(self, name: str, pattern: str | None) -> bool:
        """Tell whether a tensor, by its name in the file or its recorded path, matches."""
        return pattern is None or any(
            one == pattern or fnmatchcase(one, pattern)
            for one in {name, self.paths.get(name, name)}
        )

    def notes(self) -> list[str]:
        """Say what cannot be used, a sentence each."""
        wrong = [*self.changed, *self.missing]
        shown = ", ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if wrong[3:] else "")
        return [
            *([self.fault] if self.fault else []),
            *([f"not as the file's manifest records it, or not there: {shown}"] if wrong else []),
        ]

    def in_order_of_spec(self, entries: Sequence[TensorEntry]) -> tuple[TensorEntry, ...]:
        """Sort entries as the spec has them; those that it has not come last."""
        position = {path: index for index, path in enumerate(self.expected)}
        return tuple(sorted(entries, key=lambda entry: position.get(entry.path, len(position))))


def read_records(file: WeightsFile) -> Records:
    """Read what a file says about itself, and compare the tensors' shapes and dtypes with it."""
    if file.manifest_text is None:
        return Records()
    # Reading a spec takes much importing, which other files' readers need not wait for.
    from kinit_cli.manifest import expectations, parse_manifest

    source = str(file.path)
    try:
        manifest = parse_manifest(file.manifest_text, source)
    except KinitError as error:
        return Records(fault=f"what the file says about itself cannot be used: {error}")
    names = recorded_names(file, manifest)
    paths = {name: path for path, name in names.items()}
    try:
        expected = expectations(manifest, source)
    except KinitError as error:
        problems = str(error).splitlines()
        more = f"; and {len(problems) - _MAX_REASONS} more" if problems[_MAX_REASONS:] else ""
        reasons = "; ".join(problems[:_MAX_REASONS]) + more
        fault = f"the spec that the file records cannot be used: {reasons}"
        return Records(manifest=manifest, paths=paths, fault=fault)
    expected = {names.get(path, path): what for path, what in expected.items()}
    return replace(_compared(file.entries, manifest, expected), paths=paths)


def _compared(
    entries: Sequence[TensorEntry], manifest: Manifest, expected: Mapping[str, Expectation]
) -> Records:
    found = {entry.path: (entry.shape, entry.dtype) for entry in entries}
    sound: dict[str, Expectation] = {}
    changed: dict[str, Expectation] = {}
    for path, record in expected.items():
        if path in found:
            is_sound = found[path] == (record.shape, record.dtype)
            (sound if is_sound else changed)[path] = record
    missing = tuple(path for path in expected if path not in found)
    return Records(manifest=manifest, expected=sound, changed=changed, missing=missing)
