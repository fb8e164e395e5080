"""An environment of their own for the libraries that kinit is compared with.

It is made in benchmarks/.peers-venv, once; PEERS_PIP_ARGS are given to pip. On Linux, PyTorch's
default build may bring CUDA, some GB of it. A build without is tried first, which is found if pip
looks where there is one: PyTorch's installation guide has the address, for `--extra-index-url`.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from benchmarks.measure import tell

FOLDER = Path(__file__).parent / ".peers-venv"
_IS_LINUX_X86 = sys.platform == "linux" and platform.machine() == "x86_64"
#: NumPy itself is measured in kinit's own environment.
REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "torch": ("torch>=2.4", "safetensors>=0.4.3", "numpy"),
    "jax": ("jax>=0.4.30", "numpy"),
    "keras": (
        "keras>=3.8",
        "tensorflow-cpu>=2.18" if _IS_LINUX_X86 else "tensorflow>=2.18",
        "h5py",
        "numpy",
        # Not Keras's: what kinit needs to draw with this TensorFlow.
        "blake3",
    ),
}
#: Versions that rule CUDA out: PyTorch needs Triton in its builds with CUDA only.
_WITHOUT_CUDA = {"torch": ("triton<0",)} if _IS_LINUX_X86 else {}
_RECORD = FOLDER / "installed.json"


def python_of_peers(peers: tuple[str, ...], given: Path | None) -> tuple[dict[str, str], list[str]]:
    """Give the Python in which each peer works, and a line for each peer that has none.

    Parameters
    ----------
    given : path, optional
        A Python with the peers, to be used in place of an environment made here.
    """
    found, left_out = {}, []
    for peer in peers:
        if peer == "numpy":
            found[peer] = sys.executable
            continue
        fault = None if given else _install(peer)
        python = str(given or _python())
        fault = fault or _fault_of_import(peer, python)
        if fault is None:
            found[peer] = python
        else:
            left_out.append(f"{peer} is left out: {fault}.")
            tell(left_out[-1])
    return found, left_out


def _python() -> Path:
    return FOLDER / "bin" / "python"


def _install(peer: str) -> str | None:
    """Install a peer unless it is there; give what is wrong, if anything."""
    record = json.loads(_RECORD.read_text(encoding="utf-8")) if _RECORD.exists() else {}
    requirements = list(REQUIREMENTS[peer])
    if record.get(peer) == requirements:
        return None
    if not _python().exists():
        tell("making an environment for the peers")
        venv.create(FOLDER, with_pip=True)
    tell(f"installing {', '.join(requirements)}")
    constraints = list(_WITHOUT_CUDA.get(peer, ()))
    is_installed = _pip_install(requirements, constraints)
    if constraints and not is_installed:
        tell(f"no CPU build of {peer} is found: the default one is tried; see benchmarks/peers.py")
        is_installed = _pip_install(requirements, [])
    if not is_installed:
        return "pip cannot install it here"
    _RECORD.write_text(json.dumps({**record, peer: requirements}), encoding="utf-8")
    return None


def _pip_install(requirements: list[str], constraints: list[str]) -> bool:
    """Install packages; tell whether that worked."""
    extra = shlex.split(os.environ.get("PEERS_PIP_ARGS", ""))
    pip = [str(_python()), "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(f"{line}\n" for line in constraints)
        file.flush()
        command = [*pip, "--quiet", "--constraint", file.name, *extra, *requirements]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
    return not done.returncode


def _fault_of_import(peer: str, python: str) -> str | None:
    modules = {"torch": "torch, safetensors.torch", "keras": "keras, tensorflow, h5py"}
    done = subprocess.run(
        [python, "-c", f"import {modules.get(peer, peer)}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if not done.returncode:
        return None
    last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    # Only the kind of error: what follows it may name a folder.
    return f"it cannot be imported ({last.partition(':')[0]})"
