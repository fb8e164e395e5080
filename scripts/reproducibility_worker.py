"""Digest everything that the gate compares, once, in this process; see check_reproducibility.py.

Runs with what kinit itself needs, under any Python that kinit supports. The command line does the
work, as users call it. The request is one JSON object on stdin, the answer one on stdout.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from blake3 import blake3

import kinit_cli
from kinit_cli.cli.main import run
from kinit_cli.dtypes import DTYPES

#: Given to the specs that have no seed.
SEED = 5
#: Tensors of a spec with more are digested together, so that people can read the golden file.
MAX_LISTED = 250
_N_SHARDS = 3
_MAX_REASON = 200

#: The arguments of `kinit generate` behind `-o`, by what the result is called. {name} is the
#: output's, {shard} about a third of the tensors' bytes.
VARIANTS: Mapping[str, tuple[str, ...]] = {
    "hdf5": ("{name}.h5",),
    "hdf5, stdout": ("-", "--format", "hdf5"),
    "weights.h5": ("{name}.weights.h5",),
    "weights.h5, shards": ("{name}/", "--format", "weights.h5", "--max-shard-size", "{shard}"),
    "weights.h5, stdout": ("-", "--format", "weights.h5"),
    "safetensors": ("{name}.safetensors",),
    "safetensors, shards": ("{name}/", "--format", "safetensors", "--max-shard-size", "{shard}"),
    "safetensors, stdout": ("-", "--format", "safetensors"),
    "npz": ("{name}.npz",),
    "npz, stdout": ("-", "--format", "npz"),
    "npy": ("{name}.npy",),
    "npy, directory": ("{name}/", "--format", "npy"),
    "npy, stdout": ("-", "--format", "npy"),
}
#: The TensorFlow engine leaves short runs to others, and takes the first mode that works. These
#: names stand for it without either.
_TENSORFLOW: Mapping[str, Mapping[str, Any]] = {
    "tensorflow": {},
    "tensorflow-xla": {"modes": ("xla",), "min_elements": 1},
    "tensorflow-eager": {"modes": ("eager",), "min_elements": 1},
}


class CommandError(Exception):
    """A command of kinit failed, or said something."""


def main() -> int:
    """Answer the request on stdin."""
    request = json.load(sys.stdin)
    with ExitStack() as stack:
        options = _TENSORFLOW.get(request["engine"])
        if options is not None:
            stack.enter_context(_tensorflow_engine(options))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="kinit-reproduce-"))
        answer = {"versions": versions(request["engine"]), "specs": digest_specs(request, folder)}
    json.dump(answer, sys.stdout)
    return 0


def digest_specs(request: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Digest every spec: its plain data, its tensors, and the files of each format.

    The request has the specs' paths, by the names they have in the golden file; the engine; the
    threads; the name that outputs get; `max_bytes`, above which no files are written; and which of
    `VARIANTS` are, none for all.
    """
    engine = request["engine"].partition("-")[0]
    means = ["--engine", engine, "--jobs", str(request["threads"]), "--quiet"]
    if engine == "tensorflow":
        means += ["--device", request["device"]]
    results = {}
    for name, spec in request["specs"].items():
        digests = digest_tensors(spec, means, folder)
        n_bytes = digests.pop("n_bytes")
        asked = request["variants"] or list(VARIANTS)
        variants = asked if n_bytes <= request["max_bytes"] else []
        has_files = bool(variants)
        result = {"has_files": has_files, "asked": variants, "files": {}, "refused": {}, **digests}
        for variant in variants:
            try:
                digest = digest_file(spec, variant, n_bytes, request["name"], means, folder)
                result["files"][variant] = digest
            except CommandError as error:
                result["refused"][variant] = str(error).replace(folder, "")[:_MAX_REASON]
        results[name] = result
    return results


def digest_tensors(spec: str, means: list[str], folder: str) -> dict[str, Any]:
    """Let `kinit lock` digest a spec and its tensors; give the tensors' bytes as well."""
    lock = Path(folder, "lock")
    call(["lock", spec, "-o", str(lock), *_seed(spec), *means])
    locked = json.loads(lock.read_text(encoding="utf-8"))
    records = locked["tensors"]
    n_bytes = sum(math.prod(r["shape"]) * DTYPES[r["dtype"]].n_bytes for r in records.values())
    tensors = {path: record["digest"] for path, record in records.items()}
    if len(tensors) > MAX_LISTED:
        lines = "".join(f"{digest} {path}\n" for path, digest in tensors.items())
        tensors = {f"all {len(tensors)} tensors": blake3(lines.encode()).hexdigest()}
    return {
        "stream": locked["stream"],
        "spec": locked["spec_digest"],
        "tensors": tensors,
        "n_bytes": n_bytes,
    }


def digest_file(
    spec: str, variant: str, n_bytes: int, name: str, means: list[str], folder: str
) -> str:
    """Generate a spec in a format and give the SHA-256 of all that was written."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        target, *options = VARIANTS[variant]
        shard = str(max(1, -(-n_bytes // _N_SHARDS)))
        options = [option.format(shard=shard) for option in options]
        captured = Path(place, "stdout")
        if target == "-":
            call(["generate", spec, "-o", "-", *options, *_seed(spec), *means], stdout=captured)
            return sha256(captured)
        target = target.format(name=name)
        # A Path would lose the slash that asks for a directory.
        full = os.path.join(place, target)
        call(["generate", spec, "-o", full, *options, *_seed(spec), *means])
        return sha256_of_all(Path(place), name)


def call(arguments: list[str], stdout: Path | None = None) -> None:
    """Run a command of kinit.

    Raises
    ------
    CommandError
        It failed, or wrote to stderr: an engine that another one stands in for says so there.
    """
    said = io.StringIO()
    with ExitStack() as stack:
        stack.enter_context(redirect_stderr(said))
        if stdout is not None:
            file = stack.enter_context(stdout.open("wb"))
            # Not closed as a text, so that the file is closed once.
            stream = io.TextIOWrapper(file, encoding="utf-8", write_through=True)
            stack.callback(stream.detach)
            stack.enter_context(redirect_stdout(stream))
        code = run(arguments)
    if code or said.getvalue():
        raise CommandError(said.getvalue().strip() or f"exit code {code}")


def sha256(path: Path) -> str:
    """Give the SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()


def sha256_of_all(folder: Path, name: str) -> str:
    """Give the SHA-256 of an output: of its only file, or of the names and digests of several.

    In the names, the one that the output was given is left out.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if len(files) == 1 and files[0].parent == folder:
        return sha256(files[0])
    # As bytes, which do not depend on the locale.
    names = [os.fsencode(path.relative_to(folder)).removeprefix(name.encode()) for path in files]
    lines = [
        b"%b %b\n" % (sha256(path).encode(), shown)
        for path, shown in zip(files, names, strict=True)
    ]
    return hashlib.sha256(b"".join(sorted(lines))).hexdigest()


def versions(engine: str) -> dict[str, str]:
    """Give the versions of what the bytes might depend on."""
    import h5py
    import numpy as np

    found = {
        "kinit": kinit_cli.__version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        "numpy": np.__version__,
        "h5py": h5py.__version__,
        "hdf5": h5py.version.hdf5_version,
    }
    optional = ["numba", *(["tensorflow"] if engine.startswith("tensorflow") else [])]
    for module in optional:
        if importlib.util.find_spec(module) is not None:
            found[module] = importlib.import_module(module).__version__
    return found


def _seed(spec: str) -> list[str]:
    has_seed = any(line.startswith("seed:") for line in _lines(spec))
    return [] if has_seed else ["--seed", str(SEED)]


def _lines(spec: str) -> Iterator[str]:
    with Path(spec).open(encoding="utf-8") as file:
        yield from file


@contextmanager
def _tensorflow_engine(options: Mapping[str, Any]) -> Iterator[None]:
    """Let kinit make its TensorFlow engine with options that the command line does not have."""
    from kinit_cli.engines.tensorflow_devices import load_tensorflow

    load_tensorflow(is_alone=True)
    from kinit_cli.engines import tensorflow

    made: Callable[..., Any] = partial(tensorflow.TensorFlowEngine, **options)
    with mock.patch.object(tensorflow, "TensorFlowEngine", made):
        yield


if __name__ == "__main__":
    sys.exit(main())
