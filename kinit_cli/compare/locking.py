"""Making a spec's lock, and holding what a spec gives now against it.

The digests need no weights file: generation runs into a layout that drops the bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from blake3 import blake3

from kinit_cli.compare.lockfile import Lock
from kinit_cli.errors import KinitError, LockError
from kinit_cli.formats.base import Buffer
from kinit_cli.manifest import TensorRecord
from kinit_cli.means import Means
from kinit_cli.pipeline import Progress, fill, prepare
from kinit_cli.plan import Plan
from kinit_cli.stream import STREAM_VERSION

if TYPE_CHECKING:
    from kinit_cli.summary import TensorSummary

_MAX_LISTED = 20

#: A tensor that the lock does not have, or that only the lock has, or what of it is another.
Change = Literal["added", "removed", "shape", "dtype", "digest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockChange:
    """A tensor that is not as the lock has it; None where there is none."""

    path: str
    change: Change
    locked: TensorRecord | None
    made: TensorRecord | None

    def to_json(self) -> dict[str, object]:
        """Give plain data with stable keys."""
        locked, made = self.locked, self.made
        return {
            "path": self.path,
            "change": self.change,
            "locked_shape": list(locked.shape) if locked else None,
            "locked_dtype": locked.dtype if locked else None,
            "locked_digest": locked.digest if locked else None,
            "shape": list(made.shape) if made else None,
            "dtype": made.dtype if made else None,
            "digest": made.digest if made else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LockCheck:
    """A lock held against what its spec gives now.

    Attributes
    ----------
    is_spec_changed : bool
        The spec is another one than was locked, even if it gives the same tensors.
    changes : tuple of LockChange
        In the order of the spec, then what only the lock has.
    """

    locked: Lock
    made: Lock
    changes: tuple[LockChange, ...]

    @property
    def is_spec_changed(self) -> bool:
        """Whether the spec, as plain data, is another one than was locked."""
        return self.locked.spec_digest != self.made.spec_digest

    @property
    def is_up_to_date(self) -> bool:
        """Whether the lock would be written as it is."""
        return self.locked == self.made

    def to_json(self) -> dict[str, object]:
        """Give plain data with stable keys."""
        return {
            "is_up_to_date": self.is_up_to_date,
            "is_spec_changed": self.is_spec_changed,
            "stream": self.made.stream,
            "locked_stream": self.locked.stream,
            "seed": self.made.seed,
            "n_tensors": len(self.made.tensors),
            "n_changes": len(self.changes),
            "changes": [change.to_json() for change in self.changes],
        }


def make_lock(
    plan: Plan,
    *,
    source: str,
    means: Means | None = None,
    progress: Progress | None = None,
    on_fault: Callable[[str], None] = lambda reason: None,
) -> Lock:
    """Generate the tensors of a plan, and keep their digests alone.

    Parameters
    ----------
    source : str
        The spec's name, for messages.
    means, progress, on_fault
        See `kinit_cli.compare.verification.verify_file`.

    Raises
    ------
    LockError
        The plan has no seed of its own, or its values are another library's.
    """
    validate_lockable(plan, source)
    means = means or Means()
    engine = means.engine_for(plan, on_fault)
    prepare(plan, engine)
    made = fill(
        plan, _Nowhere(), engine=engine, jobs=means.jobs, progress=progress, is_measured=False
    )
    return lock_of(plan, made)


def lock_of(plan: Plan, tensors: Sequence[TensorSummary]) -> Lock:
    """Give the lock of a plan that has been generated."""
    return Lock(
        stream=STREAM_VERSION,
        seed=plan.seed,
        spec_digest=spec_digest(plan.document),
        tensors={
            tensor.path: TensorRecord(
                dtype=tensor.dtype, shape=tensor.shape, digest=tensor.digest or ""
            )
            for tensor in tensors
        },
    )


def spec_digest(document: Mapping[str, Any]) -> str:
    """Give the BLAKE3 digest of a spec's canonical JSON: 64 hexadecimal digits.

    Comments, layout and the order of keys do not count.
    """
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return blake3(text.encode("ascii")).hexdigest()


def validate_lockable(plan: Plan, source: str) -> None:
    """Check that a plan gives the same tensors in every run.

    Raises
    ------
    KinitError
        It does not.
    """
    if plan.is_seed_drawn:
        raise KinitError(
            f"{source}: expected a seed, got none, so every run gives other values; "
            "write one into the spec, or give --seed"
        )
    if plan.origin is not None:
        raise KinitError(
            f"{source}: a lock is of kinit's own values, got values that are {plan.origin}"
        )


def check_lock(locked: Lock, made: Lock) -> LockCheck:
    """Compare a lock with what its spec gives now."""
    changes = [
        LockChange(path=path, change=change, locked=locked.tensors.get(path), made=record)
        for path, record in made.tensors.items()
        if (change := _change(locked.tensors.get(path), record)) is not None
    ]
    changes += [
        LockChange(path=path, change="removed", locked=record, made=None)
        for path, record in locked.tensors.items()
        if path not in made.tensors
    ]
    return LockCheck(locked=locked, made=made, changes=tuple(changes))


class Enforcer:
    """Holds a plan, and then what was generated, against a lock.

    Raises
    ------
    LockError
        On construction, if the spec is not the one that was locked.
    """

    def __init__(self, lock: Lock, plan: Plan, lock_name: str) -> None:
        self._lock = lock
        self._plan = plan
        self._name = lock_name
        if lock.stream != STREAM_VERSION:
            raise LockError(
                f"{lock_name}: expected digests of stream version {STREAM_VERSION}, got "
                f"{lock.stream}; lock the spec anew, or use the kinit that locked it"
            )
        if lock.spec_digest != spec_digest(plan.document):
            raise LockError(
                f"{lock_name}: the spec is not the one that was locked, by its own text or by "
                "--seed, --dtype or --set; lock it anew with `kinit lock`"
            )

    def accept(self, tensors: Sequence[TensorSummary]) -> None:
        """Let what was generated pass if it is what the lock says.

        Raises
        ------
        LockError
            With the tensors that are not.
        """
        changes = check_lock(self._lock, lock_of(self._plan, tensors)).changes
        if not changes:
            return
        lines = [f"{one.path}: {fmt_change(one)}" for one in changes[:_MAX_LISTED]]
        if len(changes) > _MAX_LISTED:
            lines.append(f"and {len(changes) - _MAX_LISTED} more")
        verb = "is" if len(changes) == 1 else "are"
        what = f"{len(changes)} of {len(tensors)} tensors {verb} not as locked"
        raise LockError("\n".join([f"{self._name}: {what}, nothing was written", *lines]))


def fmt_change(change: LockChange) -> str:
    """Say what has changed, for people."""
    locked, made = change.locked, change.made
    if locked is None or made is None:
        return "not in the lock" if locked is None else "only in the lock"
    if change.change == "shape":
        return f"expected shape {list(locked.shape)}, got {list(made.shape)}"
    if change.change == "dtype":
        return f"expected dtype {locked.dtype}, got {made.dtype}"
    return f"expected digest {locked.digest[:12]}, got {made.digest[:12]}"


def _change(locked: TensorRecord | None, made: TensorRecord) -> Change | None:
    if locked is None:
        return "added"
    if locked.shape != made.shape:
        return "shape"
    if locked.dtype != made.dtype:
        return "dtype"
    return None if locked.digest == made.digest else "digest"


class _Nowhere:
    """A layout that drops the bytes."""

    def write(self, tensor_index: int, byte_offset: int, data: Buffer) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
