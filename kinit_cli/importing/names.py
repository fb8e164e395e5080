"""From the names in a weights file to paths that become the same names again."""

from __future__ import annotations

from collections.abc import Iterable

from kinit_cli.formats.joined_names import DEFAULT_SEPARATOR
from kinit_cli.spec.names import name_fault

#: Formats that join the parts of a path; the others have folders.
JOINED_FORMATS = ("safetensors", "safetensors-set", "npz")


def separator_of(names: Iterable[str], file_format: str) -> str:
    """Choose the separator with which paths become these names again.

    That is the default one where it will do: no name may have a '/' then.

    >>> separator_of(["a.weight", "b"], "npz"), separator_of(["a.0/b"], "npz")
    ('.', '/')
    """
    if file_format not in JOINED_FORMATS or any("/" in name for name in names):
        return "/"
    return DEFAULT_SEPARATOR


def path_of(name: str, separator: str) -> str:
    """Give the path that is stored under a name.

    A name that cannot be cut at the separator is a path of one part, which is stored as it is.

    >>> path_of("h.0.weight", "."), path_of("h..weight", "."), path_of("scale", ".")
    ('h/0/weight', 'h..weight', 'scale')
    """
    path = name.replace(separator, "/")
    return name if name_fault(path) else path


def split_path(path: str) -> tuple[str, str]:
    """Give a path's layer and weight; the layer is empty if there is one part only.

    A variable of a Keras 3 file is called by its number among those of its layer.

    >>> split_path("h/0/weight"), split_path("scale")
    (('h/0', 'weight'), ('', 'scale'))
    >>> split_path("layers/dense/vars/0")
    ('layers/dense', 'vars/0')
    """
    layer, _, weight = path.rpartition("/")
    if layer == "vars" or layer.endswith("/vars"):
        return layer[: -len("/vars")], f"vars/{weight}"
    return layer, weight
