"""The outputs that are put to the test, and what may be found of them afterwards."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SPEC = """\
name: net
layers:
  - {name: hidden, type: Dense, input_shape: [20], config: {units: UNITS}}
  - {name: out, type: Dense, input_shape: [UNITS], config: {units: UNITS}}
"""
ONE_TENSOR = "name: one\nlayers: [{name: a, weights: {kernel: {shape: [UNITS, UNITS]}}}]\n"
_ENGINE = ("--engine", "numpy", "-j", "1")

#: A file's place in a folder -> what is in it.
Snapshot = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One kind of output.

    Attributes
    ----------
    name : str
        As in the table.
    target : str
        In its folder; with a '/' at the end if it is a directory.
    spec : str
        File beside the folder.
    options : tuple of str
        Of `generate`.
    command : str
        `generate`, `lock` or `import`.
    """

    name: str
    target: str
    spec: str = "net.yaml"
    options: tuple[str, ...] = ()
    command: str = "generate"

    def argv(self, folder: Path, *, seed: int, force: bool) -> list[str]:
        """Give the command line that writes this output into a folder."""
        spec, target = str(folder.parent / self.spec), f"{folder}/{self.target}"
        # A lock is replaced by every run: there is nothing to force.
        forcing = ["--force"] if force and self.command != "lock" else []
        if self.command == "import":
            # The spec that is written differs by the file that it is made from.
            return [
                "import",
                str(folder.parent / f"source{seed}.safetensors"),
                "-o",
                target,
                *forcing,
            ]
        start = [self.command, spec, "-o", target, "-q", "--seed", str(seed), *_ENGINE]
        return [*start, *self.options, *forcing]


_SHARDED = ("--max-shard-size", "2500", "--format")
OUTPUTS = (
    Output(name="`.h5`", target="w.h5"),
    Output(name="`.weights.h5`", target="w.weights.h5"),
    Output(name="`.safetensors`", target="w.safetensors"),
    Output(name="`.npz`", target="w.npz"),
    Output(name="`.npy` and its manifest", target="w.npy", spec="one.yaml"),
    Output(name="directory of `.npy`", target="w/", options=("--format", "npy")),
    Output(name="set of `.safetensors`", target="w/", options=(*_SHARDED, "safetensors")),
    Output(name="set of `.weights.h5`", target="w/", options=(*_SHARDED, "weights.h5")),
    Output(name="`SPEC.lock`", target="net.yaml.lock", command="lock"),
    Output(name="imported spec", target="spec.yaml", command="import"),
)


def write_specs(folder: Path, units: int) -> None:
    """Write what the outputs are made from."""
    for name, text in (("net.yaml", SPEC), ("one.yaml", ONE_TENSOR)):
        (folder / name).write_text(text.replace("UNITS", str(units)), encoding="utf-8")


def snapshot(folder: Path) -> Snapshot:
    """Say what is in a folder: the digest of each file, by its place; folders too."""
    found = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            found[f"{path.relative_to(folder)}/"] = ""
        else:
            found[str(path.relative_to(folder))] = _digest(path)
    return found


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def is_temporary(place: str) -> bool:
    """Tell whether a file or folder is one that a run would have taken away."""
    top = place.split(os.sep)[0]
    return top.startswith(".") and ".kinit-" in top and top.rstrip("/").endswith(".tmp")


def visible(found: Snapshot) -> Snapshot:
    """Give what there is besides temporaries."""
    return {place: digest for place, digest in found.items() if not is_temporary(place)}
