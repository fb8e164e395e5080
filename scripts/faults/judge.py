"""What has to hold after a fault, whatever it was.

The target is what it was, or the complete new one, byte for byte. Besides it there are at most
temporaries, which the next run takes away. A run that ended by itself says in one line what was
wrong, and what it says of the target is so.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.client import Ended, Worker
from faults.outputs import OUTPUTS, Output, Snapshot, is_temporary, snapshot, visible, write_specs

OLD_SEED, NEW_SEED = 1, 2
_SIDECAR = ".kinit.json"
_BARE = "it is whole, but without its manifest; run again"
_NOT_SYNCED = "it is complete and in place, but the system could not sync its folder"


@dataclass(slots=True, kw_only=True)
class Row:
    """A row of the table: one fault, with what came of it.

    Attributes
    ----------
    n_bare : int
        How often a `.npy` was found without its manifest.
    n_away : int
        How often the old directory was found under another name, and was put back.
    n_left : int
        How often something was left, which the next run took away.
    """

    fault: str
    how: str
    outputs: list[str] = field(default_factory=list)
    n: int = 0
    n_old: int = 0
    n_new: int = 0
    n_bare: int = 0
    n_away: int = 0
    n_left: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def note_output(self, output: Output) -> None:
        """Note that an output had this fault."""
        if output.name not in self.outputs:
            self.outputs.append(output.name)


class Bench:
    """A folder with the specs, the two states of every output, and the worker."""

    def __init__(self, root: Path, worker: Worker, *, units: int = 30, only: str = "") -> None:
        self.worker = worker
        self._only = only
        self.folder = root / "out"
        self._references: dict[tuple[str, int], Snapshot] = {}
        root.chmod(0o755)
        write_specs(root, units)
        for seed in (OLD_SEED, NEW_SEED):
            argv = [*OUTPUTS[0].argv(root / "x", seed=seed, force=True)]
            argv[argv.index("-o") + 1] = str(root / f"source{seed}.safetensors")
            self.run_soundly(argv)

    def wants(self, row: Row) -> bool:
        """Tell whether a row is one of those that are asked for."""
        return self._only in row.fault

    def move(self, root: Path) -> None:
        """Go to another folder, where the specs are copied to."""
        for file in self.folder.parent.iterdir():
            if file.is_file():
                shutil.copy(file, root)
        self.folder = root / "out"

    def run_soundly(self, argv: list[str], **options: Any) -> None:
        """Make a run that nothing is put in the way of."""
        ended = self.worker.run(argv, self.folder, **options)
        if ended.code:
            raise AssertionError(f"{argv}: {ended}")

    def clear(self) -> None:
        """Empty the folder of outputs; it may be a place where a file system is mounted."""
        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o777)
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def prepare(self, output: Output, *, has_old: bool, **options: Any) -> None:
        """Empty the folder and write the old target, if there is to be one."""
        for seed in (OLD_SEED, NEW_SEED):
            self.reference(output, seed)
        self.clear()
        if has_old:
            self.run_soundly(output.argv(self.folder, seed=OLD_SEED, force=False), **options)

    def reference(self, output: Output, seed: int) -> Snapshot:
        """Say what a folder holds after a run to it and nothing else."""
        key = (output.name, seed)
        if key not in self._references:
            self.clear()
            self.run_soundly(output.argv(self.folder, seed=seed, force=False))
            self._references[key] = snapshot(self.folder)
            if key[1] == NEW_SEED and self._references[key] == self.reference(output, OLD_SEED):
                raise AssertionError(f"{output.name}: old and new are the same")
        return self._references[key]

    def judge(
        self, row: Row, output: Output, ended: Ended, *, has_old: bool, is_gone: bool = False
    ) -> None:
        """Note in a row what a run left; then let another run take the leftovers away.

        Parameters
        ----------
        is_gone : bool
            The folder went, with whatever was in it, at a moment that the run may not have noticed.
        """
        row.n += 1
        row.note_output(output)
        row.endings[ending(ended)] += 1
        found = snapshot(self.folder)
        state = self._state(output, found, has_old=has_old)
        left = [place for place in found if is_temporary(place)]
        row.n_left += bool(left)
        row.n_old += state == "old"
        row.n_new += state == "new"
        row.n_bare += state == "bare"
        where = f"{row.fault}: {output.name}, {'old' if has_old else 'no'} target, {ended}"
        fault = None if is_gone and not found and ended.code in (0, 2) else _fault(state, ended)
        if state is None and has_old and ended.code == -9 and self._comes_back(row, output):
            fault = None
        if fault is not None:
            row.violations.append(f"{where}: {fault}; {sorted(found)}")
        self.run_soundly(output.argv(self.folder, seed=NEW_SEED, force=True))
        if snapshot(self.folder) != self._references[output.name, NEW_SEED]:
            row.violations.append(f"{where}: left after the next run: {snapshot(self.folder)}")

    def _state(self, output: Output, found: Snapshot, *, has_old: bool) -> str | None:
        old = self._references[output.name, OLD_SEED] if has_old else {}
        new = self._references[output.name, NEW_SEED]
        seen = visible(found)
        if seen in (old, new):
            return "old" if seen == old else "new"
        bare = [
            {place: digest for place, digest in whole.items() if not place.endswith(_SIDECAR)}
            for whole in (old, new)
            if any(place.endswith(_SIDECAR) for place in whole)
        ]
        return "bare" if seen in bare else None

    def _comes_back(self, row: Row, output: Output) -> bool:
        """Tell whether a run that may not replace anything puts the old target back."""
        self.worker.run(output.argv(self.folder, seed=NEW_SEED, force=False), self.folder)
        is_back = snapshot(self.folder) == self._references[output.name, OLD_SEED]
        row.n_away += is_back
        return is_back


def _fault(state: str | None, ended: Ended) -> str | None:
    """Say what is wrong with how a run ended and what it left, or None."""
    if state is None:
        return "the target is neither the old nor the new one"
    if ended.code < 0:
        return None if ended.code == -9 else "a signal ended it"
    if state == "bare":
        is_told = ended.code == 2 and _BARE in ended.stderr
        return None if is_told else "there is no manifest beside the array"
    if ended.code == 0:
        return None if state == "new" else "it said that all is well"
    if ended.code in (130, 143):
        return None
    if ended.code != 2 or not re.fullmatch(r"kinit: [^\n]*\n", ended.stderr):
        return "expected code 2 and one line"
    says_new = _NOT_SYNCED in ended.stderr
    return None if says_new == (state == "new") else "what it says of the target is not so"


def ending(ended: Ended) -> str:
    """Say how a run ended, without what differs from output to output."""
    if ended.code < 0:
        return "killed"
    message = ended.stderr.strip().removeprefix("kinit: ")
    message = re.sub(r"^/\S*?: ", "", message)
    message = re.sub(r"/\S*/(?=[^/\s]+)", "", message)
    message = re.sub(r"\S+(?= (exists|came into being))", "OUT", message)
    message = re.sub(r"\b\d[\d,]*\b", "N", message)
    return f"{ended.code}: {message}" if message else str(ended.code)
