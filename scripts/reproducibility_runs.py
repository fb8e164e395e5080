"""One run of the reproducibility gate: a combination, a process, and its digests compared."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from reproducibility_environments import REPOSITORY, Environment
from reproducibility_worker import VARIANTS

GOLDEN = REPOSITORY / "tests" / "goldens" / "reproducibility.json"
SAMPLES = REPOSITORY / "sample_configs"
CASES = REPOSITORY / "tests" / "goldens" / "reproducibility"
WORKER = Path(__file__).with_name("reproducibility_worker.py")

#: Outputs up to this size are written and hashed in every run, larger ones only where it is said.
SMALL_BYTES = 20_000_000
_RUN_SECONDS = 1800
_SHARED_MEMORY = Path("/dev/shm")
_NUMPY_PROGRAM = """
try:
    from numpy._core import _multiarray_umath as numpy_core
except ImportError:
    from numpy.core import _multiarray_umath as numpy_core
print(*numpy_core.__cpu_dispatch__)
"""
#: Stands for the instructions that NumPy chooses between while it runs.
_EVERY_DISPATCHED = "every one that NumPy can choose"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What must not matter about a process.

    Attributes
    ----------
    label : str
        For people.
    engine : str or None
        The only engine that it may concern; None for all.
    output_name : str
        The name that outputs get, without their ending.
    umask : int
        What permissions the process takes from its files.
    """

    label: str
    variables: Mapping[str, str] = field(default_factory=dict)
    engine: str | None = None
    output_name: str = "weights"
    umask: int = 0o022


def _of_variables(**variables: str) -> Setting:
    label = " ".join(f"{name}={value}" for name, value in variables.items())
    return Setting(label=label, variables=variables)


PLAIN = Setting(label="as it is")
#: OpenBLAS takes its kernels for these processors, whichever it runs on.
CORE_TYPES = tuple(_of_variables(OPENBLAS_CORETYPE=t) for t in ("Haswell", "SkylakeX", "Zen"))
OTHER_SETTINGS = (
    _of_variables(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1"),
    Setting(
        label="NPY_DISABLE_CPU_FEATURES: every one that NumPy chooses while it runs",
        variables={"NPY_DISABLE_CPU_FEATURES": _EVERY_DISPATCHED},
    ),
    _of_variables(GLIBC_TUNABLES="glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F"),
    Setting(
        label="NUMBA_CPU_NAME=generic NUMBA_CPU_FEATURES=",
        variables={"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
        engine="numba",
    ),
    _of_variables(PYTHONHASHSEED="1"),
    _of_variables(PYTHONOPTIMIZE="2"),
    _of_variables(TZ="Pacific/Kiritimati", LC_ALL="C", LANG="tr_TR.UTF-8", PYTHONUTF8="0"),
    Setting(label="other file names, umask 077", output_name="Größe 2", umask=0o077),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """All that one process is given; see `reproducibility_worker.digest_specs`.

    Attributes
    ----------
    max_bytes : int
        Outputs of more are not written; the tensors are digested all the same.
    has_samples : bool
        Not only the specs beside the golden file.
    variants : tuple of str
        The only outputs that are made; empty for all.
    """

    environment: Environment
    engine: str = "numpy"
    threads: int = 2
    setting: Setting = PLAIN
    device: str = "cpu"
    max_bytes: int = SMALL_BYTES
    has_samples: bool = True
    variants: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Say what it is, for people."""
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        parts = [self.environment.label, self.engine, threads]
        return ", ".join(parts if self.setting == PLAIN else [*parts, self.setting.label])


class RunError(Exception):
    """A run of the gate ended without an answer; its reason is for people."""


def spec_paths(*, has_samples: bool = True) -> dict[str, str]:
    """Give the specs that are digested: their paths, by their names in the golden file."""
    folders = [*([SAMPLES] if has_samples else []), CASES]
    paths = [path for folder in folders for path in sorted(folder.glob("*.yaml"))]
    return {path.relative_to(REPOSITORY).as_posix(): str(path) for path in paths}


def run_combination(combination: Combination) -> dict[str, Any]:
    """Digest every spec in a process of its own.

    Returns
    -------
    dict
        `versions` and `specs`, as `reproducibility_worker` gives them.

    Raises
    ------
    RunError
        The process failed.
    """
    request = {
        "engine": combination.engine,
        "threads": combination.threads,
        "device": combination.device,
        "name": combination.setting.output_name,
        "max_bytes": combination.max_bytes,
        "variants": combination.variants,
        "specs": spec_paths(has_samples=combination.has_samples),
    }
    with tempfile.TemporaryDirectory(prefix="kinit-gate-", dir=_roomy_folder()) as folder:
        try:
            done = subprocess.run(
                [combination.environment.python, "-W", "ignore", str(WORKER)],
                input=json.dumps(request).encode(),
                capture_output=True,
                cwd=folder,
                env=_variables(combination, folder),
                umask=combination.setting.umask,
                timeout=_RUN_SECONDS,
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise RunError(f"{type(error).__name__}: {error}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise RunError(said.splitlines()[-1] if said else f"exit code {done.returncode}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def read_golden() -> dict[str, Any]:
    """Read the digests that every run must give."""
    golden: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return golden


def compare(golden: Mapping[str, Any], answer: Mapping[str, Any]) -> list[str]:
    """List what a run gave that is not in the golden file, a line for each digest."""
    made = answer["specs"]
    lines = [f"{name}: the golden file does not have it" for name in made if name not in golden]
    for name, expected in golden.items():
        if name in made:
            lines += [f"{name}: {line}" for line in _compare_spec(expected, made[name])]
    return lines


def golden_of(answers: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Give the golden file of runs that agree; a later one may have files that others have not.

    Parameters
    ----------
    answers : sequence of (str, mapping)
        Each run's label, and what it gave.

    Raises
    ------
    ValueError
        With what differs, if the runs do.
    """
    golden: dict[str, Any] = {}
    for label, answer in answers:
        for name, made in answer["specs"].items():
            fresh = {key: made[key] for key in ("stream", "spec", "tensors", "files")}
            known = golden.setdefault(name, fresh)
            files = {**made["files"], **known["files"]}
            known["files"] = {variant: files[variant] for variant in VARIANTS if variant in files}
        lines = compare(golden, answer)
        if lines:
            raise ValueError("\n".join([f"{label} differs from those before it:", *lines]))
    return golden


def write_golden(golden: Mapping[str, Any]) -> None:
    """Write the golden file, a line for each digest."""
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n", encoding="ascii")


def _compare_spec(expected: Mapping[str, Any], made: Mapping[str, Any]) -> Iterator[str]:
    for key, what in (("stream", "stream version"), ("spec", "digest of the spec")):
        if expected[key] != made[key]:
            yield f"{what}: expected {_short(expected[key])}, got {_short(made[key])}"
    yield from _compare_digests("tensor", expected["tensors"], made["tensors"], {})
    if list(expected["tensors"]) != list(made["tensors"]):
        yield "the tensors are others, or in another order"
    files = {name: digest for name, digest in expected["files"].items() if name in made["asked"]}
    yield from _compare_digests("file", files, made["files"], made["refused"])


def _compare_digests(
    what: str,
    expected: Mapping[str, str],
    made: Mapping[str, str],
    reasons: Mapping[str, str],
) -> Iterator[str]:
    for name in [*expected, *(name for name in made if name not in expected)]:
        old, new = expected.get(name), made.get(name)
        if old != new:
            reason = f" ({reasons[name]})" if new is None and name in reasons else ""
            yield f"{what} {name}: expected {_short(old)}, got {_short(new)}{reason}"


def _short(digest: object) -> str:
    return "none" if digest is None else str(digest)[:16]


def _variables(combination: Combination, folder: str) -> dict[str, str]:
    dropped = ("KINIT_", "NUMBA_DISABLE_JIT", "OPENBLAS_", "PYTHON")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    changes = {
        "PYTHONPATH": str(REPOSITORY),
        "TMPDIR": folder,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **dict(combination.environment.variables),
        **combination.setting.variables,
    }
    for name, value in changes.items():
        if value == _EVERY_DISPATCHED:
            changes[name] = _dispatched_features(combination.environment.python)
    return {**kept, **changes}


@lru_cache
def _dispatched_features(python: str) -> str:
    """Name the instructions that NumPy uses only where the processor has them."""
    done = subprocess.run(
        [python, "-W", "ignore", "-c", _NUMPY_PROGRAM], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _roomy_folder() -> str | None:
    """Give a folder in memory if there is one with room, since every output is synced to disk."""
    try:
        free = shutil.disk_usage(_SHARED_MEMORY).free
    except OSError:
        return None
    is_roomy = free > 2**31 and os.access(_SHARED_MEMORY, os.W_OK) and sys.platform == "linux"
    return str(_SHARED_MEMORY) if is_roomy else None
