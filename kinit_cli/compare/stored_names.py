"""What a file calls its tensors: some formats have no folders, and Keras has names of its own.

A file's manifest says what each path is called in it. Without one, names are compared.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kinit_cli.formats.weights_file import TensorEntry, WeightsFile
    from kinit_cli.manifest import Manifest


def recorded_names(file: WeightsFile, manifest: Manifest | None) -> dict[str, str]:
    """Give what a file calls each tensor that its manifest records, by path.

    Nothing says that the file has a tensor of that name, or that no two paths have the same.
    """
    if manifest is None:
        return {}
    if file.format == "npy" and len(manifest.tensors) == len(file.entries) == 1:
        # One .npy file is called what the user likes; the manifest knows the tensor's path.
        return dict.fromkeys(manifest.tensors, file.entries[0].path)
    return {
        path: path if record.name is None else record.name
        for path, record in manifest.tensors.items()
    }


def recorded_paths(file: WeightsFile, manifest: Manifest | None) -> dict[str, str]:
    """Give the path of each tensor of a file by its name; the name itself if none is recorded.

    A manifest by which two tensors would have the same path is left aside.
    """
    path_by_name: dict[str, str] = {}
    for path, name in recorded_names(file, manifest).items():
        path_by_name.setdefault(name, path)
    names = [entry.path for entry in file.entries]
    paths = {name: path_by_name.get(name, name) for name in names}
    return paths if len(set(paths.values())) == len(paths) else {name: name for name in names}


def find_entries(
    file: WeightsFile,
    manifest: Manifest | None,
    paths: Iterable[str],
    keras_paths: Mapping[str, str],
) -> dict[str, TensorEntry]:
    """Find tensors in a file, by what its manifest calls them, or else by name.

    Parameters
    ----------
    paths : iterable of str
        Of the tensors that are looked for.
    keras_paths : mapping of str to str
        By path, where a file arranged by Keras 3 has them, as far as that is known.

    Returns
    -------
    dict
        By path; without those that are not there. No entry stands for two paths.
    """
    paths = list(paths)
    entries = {entry.path: entry for entry in file.entries}
    if file.format == "npy" and len(paths) == len(entries) == 1:
        return dict(zip(paths, entries.values(), strict=True))
    recorded = recorded_names(file, manifest)
    found = {path: recorded[path] for path in paths if path in recorded}
    taken = set(recorded.values())
    rest = [path for path in paths if path not in recorded]
    free = [name for name in entries if name not in taken]
    found |= match_names(rest, free)
    if file.layout == "keras3-weights":
        taken |= set(found.values())
        lost = (path for path in rest if path not in found and path in keras_paths)
        found |= {path: keras_paths[path] for path in lost if keras_paths[path] not in taken}
    return {path: entries.pop(name) for path, name in found.items() if name in entries}


def match_names(wanted: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """Find the same names, then those that are the same with '.' read as '/'.

    Formats join the parts of a name by one or the other. Where several names of a side become
    equal by that, none of them is matched.

    >>> match_names(["a/b.c", "d/e", "f"], ["d.e", "a.b.c", "g"])
    {'a/b.c': 'a.b.c', 'd/e': 'd.e'}
    >>> match_names(["a/b", "a.b"], ["a.b", "a/b"])
    {'a/b': 'a/b', 'a.b': 'a.b'}
    """
    wanted, rest = list(wanted), set(names)
    found = {name: name for name in wanted if name in rest}
    by_slashes = _by_slashes(rest.difference(found))
    slashed = _by_slashes(name for name in wanted if name not in found)
    return found | {name: by_slashes[text] for text, name in slashed.items() if text in by_slashes}


def _by_slashes(names: Iterable[str]) -> dict[str, str]:
    """Give names by what they are with '/' for '.', but those that this makes equal."""
    slashed = {name: name.replace(".", "/") for name in names}
    counts = Counter(slashed.values())
    return {text: name for name, text in slashed.items() if counts[text] == 1}
