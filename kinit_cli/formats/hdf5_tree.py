"""Walking the tree of an HDF5 file and telling what its datasets hold.

Only hard links are followed, and each group is entered once, so that cycles end and a group
with many names is not listed again and again.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from kinit_cli.dtypes import narrow_floats

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_NARROW_DTYPES: dict[str, np.dtype[Any]] = {
    narrow.__name__: np.dtype(narrow) for narrow in narrow_floats()
}


class OutsideDataError(Exception):
    """A part of the file whose data lie in another file."""


@dataclass(slots=True)
class SkippedLinks:
    """The links that a walk did not follow."""

    soft_links: list[bytes] = field(default_factory=list)
    repeated_groups: list[bytes] = field(default_factory=list)

    def notes(self) -> tuple[str, ...]:
        """Say what was left out, a sentence for each kind of link."""
        kinds = (
            (self.soft_links, "soft links"),
            (self.repeated_groups, "further names of groups"),
        )
        return tuple(f"{what} are not followed: {_listed(names)}" for names, what in kinds if names)


def iter_datasets(
    root: h5py.h5g.GroupID, skipped: SkippedLinks
) -> Iterator[tuple[bytes, h5py.h5d.DatasetID]]:
    """Find the datasets below a group, with their paths; `skipped` is filled on the way.

    Raises
    ------
    OutsideDataError
        At an external or user-defined link, external storage or a virtual dataset.
    """
    seen = {h5py.h5o.get_info(root).addr}
    waiting = [(b"", root)]
    while waiting:
        prefix, group = waiting.pop()
        for name, link_type in links_of(group):
            path = prefix + name
            if link_type == h5py.h5l.TYPE_SOFT:
                skipped.soft_links.append(path)
                continue
            if link_type != h5py.h5l.TYPE_HARD:
                raise OutsideDataError(f"an external link at {text_of(path)!r}")
            target = h5py.h5o.open(group, name)
            if isinstance(target, h5py.h5d.DatasetID):
                refuse_outside(path, target)
                yield path, target
            elif isinstance(target, h5py.h5g.GroupID):
                address = h5py.h5o.get_info(target).addr
                if address in seen:
                    skipped.repeated_groups.append(path)
                else:
                    seen.add(address)
                    waiting.append((path + b"/", target))


def check_soft_links(root: h5py.h5g.GroupID, skipped: SkippedLinks) -> None:
    """Check that soft links lead to something in the file, after a walk that refused all others.

    Raises
    ------
    OutsideDataError
        At one that does not.
    """
    for path in skipped.soft_links:
        try:
            is_inside = h5py.h5o.exists_by_name(root, path)
        except (RuntimeError, ValueError, KeyError):  # on its way is no group, or only itself
            is_inside = False
        if not is_inside:
            target = text_of(root.links.get_val(path))
            raise OutsideDataError(
                f"a soft link at {text_of(path)!r} to {target[:80]!r}, which is not in it"
            )


def links_of(group: h5py.h5g.GroupID) -> list[tuple[bytes, int]]:
    """List a group's links and their types, by name."""
    links: list[tuple[bytes, int]] = []
    group.links.iterate(lambda name, info: links.append((name, info.type)), info=True)
    return sorted(links)


def refuse_outside(path: bytes, dataset: h5py.h5d.DatasetID) -> None:
    """Refuse a dataset whose elements are in other files.

    Raises
    ------
    OutsideDataError
    """
    properties = dataset.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL:
        raise OutsideDataError(f"a virtual dataset at {text_of(path)!r}")
    if properties.get_external_count():
        raise OutsideDataError(f"a dataset with external storage at {text_of(path)!r}")


def element_of(dataset: h5py.h5d.DatasetID) -> tuple[np.dtype[Any] | None, str]:
    """Give the dtype of what is read, None if it is not real numbers, and the name to show."""
    try:
        dtype = dataset.dtype
    except TypeError:
        return None, "unsupported"
    if dtype.kind == "V" or dtype == np.uint8:
        narrow = _narrow_float(dataset, dtype)
        if narrow is not None:
            return narrow, narrow.name
    if dtype.kind in "fiub":
        return dtype, dtype.name
    if h5py.check_string_dtype(dtype) is not None:
        return None, "string"
    if dtype.names is not None:
        return None, "compound"
    if dtype.subdtype is not None:
        return None, "array"
    names = {"c": dtype.name, "O": "object", "V": f"opaque{dtype.itemsize}"}
    return None, names.get(dtype.kind, str(dtype))


def text_of(name: bytes) -> str:
    """Decode a name, with escapes for what is not UTF-8."""
    return name.decode("utf-8", "backslashreplace")


def texts_of(attributes: h5py.AttributeManager, name: str) -> list[str]:
    """Read a list of texts that Keras has put into one attribute or into several, numbered ones."""
    if name in attributes:
        parts = [attributes[name]]
    else:
        numbered = (f"{name}{number}" for number in count())
        parts = [attributes[part] for part in takewhile(attributes.__contains__, numbered)]
    items = [item for part in parts for item in np.asarray(part).reshape(-1).tolist()]
    return [text_of(item) if isinstance(item, bytes) else str(item) for item in items]


def unique_texts(names: Sequence[bytes]) -> list[str]:
    r"""Decode names, each to a text of its own; those in UTF-8 come first and keep theirs.

    >>> unique_texts([b"\xff", rb"\xff", b"a"])
    ['\\xff (2)', '\\xff', 'a']
    """
    is_kept = [text_of(name).encode() == name for name in names]
    texts = [""] * len(names)
    taken: set[str] = set()
    numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: count(2))
    for index in sorted(range(len(names)), key=lambda i: (not is_kept[i], names[i])):
        plain = text = text_of(names[index])
        while text in taken:
            text = f"{plain} ({next(numbers[plain])})"
        taken.add(text)
        texts[index] = text
    return texts


def _narrow_float(dataset: h5py.h5d.DatasetID, dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """Give the type that the attribute `dtype` names, as Keras writes bfloat16, if it fits."""
    if not h5py.h5a.exists(dataset, b"dtype"):
        return None
    name = h5py.Dataset(dataset).attrs["dtype"]
    name = name.decode("latin-1") if isinstance(name, bytes) else name
    narrow = _NARROW_DTYPES.get(name) if isinstance(name, str) else None
    return narrow if narrow is not None and narrow.itemsize == dtype.itemsize else None


def _listed(names: list[bytes]) -> str:
    shown = ", ".join(text_of(name) for name in sorted(names)[:5])
    return f"{shown}, ... ({len(names)} in all)" if len(names) > 5 else shown
