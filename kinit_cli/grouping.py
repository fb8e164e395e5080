"""Tensors joined by the first parts of their paths, for files with too many to read one by one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kinit_cli.summary import TensorSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorGroup:
    """The tensors whose paths begin alike.

    Attributes
    ----------
    path : str
        What their paths have in common, or the path of the only tensor if it has no more parts.
    dtypes : tuple of str
        As shown to the user, in the order of the tensors.
    l2_norm : float or None
        Of all elements that are finite numbers; None if there are none.
    n_nan, n_inf : int
    n_failed : int
        Tensors that fail their test.
    """

    path: str
    n_tensors: int
    n_parameters: int
    n_bytes: int
    dtypes: tuple[str, ...]
    l2_norm: float | None
    n_nan: int
    n_inf: int
    n_failed: int

    def to_json(self) -> dict[str, object]:
        """Give plain data with stable keys; no NaN or infinity, but null."""
        norm = self.l2_norm
        return {
            "path": self.path,
            "n_tensors": self.n_tensors,
            "n_parameters": self.n_parameters,
            "n_bytes": self.n_bytes,
            "dtypes": list(self.dtypes),
            "l2_norm": norm if norm is not None and math.isfinite(norm) else None,
            "n_nan": self.n_nan,
            "n_inf": self.n_inf,
            "n_failed": self.n_failed,
        }


def group_tensors(tensors: Iterable[TensorSummary], depth: int) -> tuple[TensorGroup, ...]:
    """Join the tensors whose paths agree in the first `depth` parts, in order of appearance.

    A path without a `/` has its parts between dots, as PyTorch's names have.
    """
    members: dict[str, list[TensorSummary]] = {}
    for tensor in tensors:
        separator = "/" if "/" in tensor.path else "."
        members.setdefault(separator.join(tensor.path.split(separator)[:depth]), []).append(tensor)
    return tuple(_group(path, found) for path, found in members.items())


def _group(path: str, tensors: list[TensorSummary]) -> TensorGroup:
    stats = [tensor.stats for tensor in tensors if tensor.stats]
    norms = [one.l2_norm for one in stats if one.l2_norm is not None]
    return TensorGroup(
        path=path,
        n_tensors=len(tensors),
        n_parameters=sum(tensor.n_elements for tensor in tensors if tensor.stats),
        n_bytes=sum(tensor.n_bytes for tensor in tensors),
        dtypes=tuple(dict.fromkeys(tensor.dtype for tensor in tensors)),
        # hypot does not overflow where only the squares would.
        l2_norm=math.hypot(*norms) if norms else None,
        n_nan=sum(one.n_nan for one in stats),
        n_inf=sum(one.n_inf for one in stats),
        n_failed=sum(1 for tensor in tensors if tensor.test and tensor.test.verdict == "fail"),
    )
