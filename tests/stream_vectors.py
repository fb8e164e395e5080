"""The value stream's answers, for every test that needs them; a missing or empty file fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from kinit_cli.draw import Draw, Normal, TruncatedNormal, Uniform
from kinit_cli.stream.identity import StreamKey, explicit_stream_key, named_stream_key

VECTORS_PATH = Path(__file__).parent / "vectors" / "vectors.json"
#: Every section and how many cases it has, so that none can vanish unseen.
N_CASES = {"identity": 7, "words": 6, "values": 56, "orthogonal": 9}
N_EDGE_WORDS = 9


def load_vectors(path: Path = VECTORS_PATH) -> dict[str, Any]:
    vectors = json.loads(path.read_text(encoding="utf-8"))
    for section, n_cases in N_CASES.items():
        if len(vectors[section]) != n_cases:
            raise ValueError(f"{path}: {section} has {len(vectors[section])} cases, not {n_cases}")
    for name, column in vectors["edge_words"].items():
        if len(column) != N_EDGE_WORDS:
            raise ValueError(f"{path}: edge_words.{name} has {len(column)} items")
    return vectors


def case_key(case: dict[str, Any]) -> StreamKey:
    if case["path"] is None:
        return explicit_stream_key(case["seed"])
    return named_stream_key(case["seed"], case["path"])


def case_draw(case: dict[str, Any]) -> Draw:
    kinds = {"normal": Normal, "truncated_normal": TruncatedNormal, "uniform": Uniform}
    return kinds[case["distribution"]](**case["params"])


def case_id(case: dict[str, Any]) -> str:
    numbers = ",".join(str(value) for value in case["params"].values())
    return f"{case['path']}-{case['distribution']}({numbers})-{case['dtype']}"


def as_bits(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")


def hex_bits(values: np.ndarray) -> list[str]:
    return [f"{int(bits):0{2 * values.dtype.itemsize}x}" for bits in as_bits(values)]


def poisoned(size: int, dtype: Any) -> np.ndarray:
    """Give an array of bytes that no test expects."""
    return np.full(size * np.dtype(dtype).itemsize, 0xA5, np.uint8).view(dtype)


def assert_same_bits(actual: np.ndarray, expected: np.ndarray) -> None:
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    different = np.flatnonzero(as_bits(actual.reshape(-1)) != as_bits(expected.reshape(-1)))
    assert different.size == 0, f"{different.size} elements differ, first at {different[:5]}"
