"""Initializers of every class, in shapes and dtypes, and processes with any backend of Keras."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import pytest
from conftest import kinit_environment

SEED = 11
_NAMED = [
    f"{author}{kind}" for author in ("Glorot", "He", "Lecun") for kind in ("Normal", "Uniform")
]
RANDOM: tuple[dict[str, Any], ...] = (
    *({"class_name": name, "config": {}} for name in _NAMED),
    {"class_name": "RandomNormal", "config": {"mean": 0.5, "stddev": 2.0}},
    {"class_name": "RandomUniform", "config": {"minval": -1.5, "maxval": 0.25}},
    {"class_name": "TruncatedNormal", "config": {"mean": -0.5, "stddev": 3.0}},
    {"class_name": "VarianceScaling", "config": {"scale": 0.3}},
    {"class_name": "VarianceScaling", "config": {"mode": "fan_out", "distribution": "uniform"}},
    {"class_name": "VarianceScaling", "config": {"mode": "fan_avg", "distribution": "normal"}},
    {"class_name": "VarianceScaling", "config": {"distribution": "untruncated_normal"}},
)
_ORTHOGONAL: dict[str, Any] = {"class_name": "Orthogonal", "config": {"gain": 1.5}}
_FLOATS = ("float32", "float16", "bfloat16", "float64")
_SHAPES = ([6, 4], [3, 2, 4, 8], [7], [], [0, 3])


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A tensor `index/kernel` of `spec_text`."""

    initializer: dict[str, Any]
    shape: list[int]
    dtype: str
    index: int

    @property
    def path(self) -> str:
        return f"t{self.index}/kernel"

    def seeded(self) -> dict[str, Any]:
        """Give the config with the seed that the engine is to derive, computed another way."""
        config = dict(self.initializer["config"])
        if self.initializer["class_name"] not in ("Zeros", "Ones", "Constant", "Identity", "STFT"):
            text = f"kinit/1/name\0{SEED}\0{self.path}"
            number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
            config.setdefault("seed", number % (2**31 - 2))
        return {**self.initializer, "config": config}


def cases(
    dtypes: tuple[str, ...] = _FLOATS, qr_dtypes: tuple[str, ...] = ("float32", "float64")
) -> list[Case]:
    """List tensors of every class; floats have these dtypes only, orthogonal ones `qr_dtypes`."""
    found: list[tuple[dict[str, Any], list[int], str]] = []
    for dtype in dtypes:
        found += [(initializer, shape, dtype) for initializer in RANDOM for shape in _SHAPES]
        if dtype in qr_dtypes:
            found += [(_ORTHOGONAL, shape, dtype) for shape in ([5, 3], [3, 5], [2, 3, 4], [0, 3])]
    for seed in (0, 5, 2**31 - 1, 2**32 - 1):
        for initializer in (*RANDOM, _ORTHOGONAL):
            config = {**initializer["config"], "seed": seed}
            found.append(({**initializer, "config": config}, [4, 6], "float32"))
    return [
        Case(initializer=initializer, shape=shape, dtype=dtype, index=index)
        for index, (initializer, shape, dtype) in enumerate([*found, *_constants(dtypes)])
    ]


def _constants(dtypes: tuple[str, ...]) -> list[tuple[dict[str, Any], list[int], str]]:
    zeros, ones = ({"class_name": name, "config": {}} for name in ("Zeros", "Ones"))
    nested = {"class_name": "Constant", "config": {"value": [[1, 2, 3], [4, 5, 6]]}}
    eye = {"class_name": "Identity", "config": {"gain": 3.0}}
    found: list[tuple[dict[str, Any], list[int], str]] = []
    for dtype in (*dtypes, "int8", "uint8", "int32"):
        found += [(kind, shape, dtype) for kind in (zeros, ones) for shape in ([2, 3], [])]
        found += [(nested, [2, 3], dtype), (nested, [2, 2, 3], dtype)]
        found.append(({"class_name": "Constant", "config": {"value": 7}}, [3], dtype))
    for dtype in dtypes:
        found += [(eye, [3, 5], dtype), (eye, [4, 2], dtype)]
        found.append(({"class_name": "Constant", "config": {"value": 0.1}}, [3], dtype))
    found += [(zeros, [3], "bool"), (ones, [3], "bool")]
    wave = {"class_name": "STFT", "config": {"side": "imag", "window": "hann", "periodic": True}}
    found += [({"class_name": "STFT", "config": {}}, [16, 1, 9], "float32")]
    found += [(wave, [8, 1, 5], "float64")] if "float64" in dtypes else []
    found.append(({"class_name": "Identity", "config": {"gain": 2}}, [3, 3], "int32"))
    return found


def spec_text(tensors: list[Case], seed: int = SEED) -> str:
    """Write a spec with one layer for each case."""
    layers = [
        {
            "name": case.path.partition("/")[0],
            "weights": {
                "kernel": {
                    "shape": case.shape,
                    "dtype": case.dtype,
                    "initializer": case.initializer,
                }
            },
        }
        for case in tensors
    ]
    return json.dumps({"seed": seed, "layers": layers})


def stored_bytes(path: Path, tensors: list[Case]) -> dict[str, bytes]:
    """Read each case's elements from a file."""
    with h5py.File(path, "r") as file:
        return {case.path: file[case.path][()].tobytes() for case in tensors}


# --- other backends -------------------------------------------------------------------------

#: Besides TensorFlow, which is asked in the tests' own process.
OTHER_BACKENDS = ("jax", "torch")


def need_backend(backend: str) -> dict[str, str]:
    """Give the environment of a process with this backend, or skip."""
    for name in ("keras", backend):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    tests = os.path.dirname(__file__)
    python_path = os.pathsep.join([tests, *filter(None, sys.path)])
    changes = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": python_path}
    return {**kinit_environment(), **changes, "PYTHONWARNINGS": "ignore"}


def run_program(program: str, backend: str, folder: Path, stdin: str = "") -> str:
    """Run a Python program with a backend of Keras and give what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=need_backend(backend),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
