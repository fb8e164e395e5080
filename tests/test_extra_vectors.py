"""Every answer in extra.json, which a script makes in plain Python, from every engine."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from every_engine import every_engine
from stream_vectors import hex_bits, poisoned

from kinit_cli.draw import BoundedNormal, Sparse, Stft
from kinit_cli.engines.base import Engine
from kinit_cli.engines.whole import make_tensor
from kinit_cli.stream import STREAM_VERSION
from kinit_cli.stream.bounded import positions_between
from kinit_cli.stream.identity import named_stream_key

REPOSITORY = Path(__file__).parents[1]
VECTORS: dict[str, Any] = json.loads(
    (REPOSITORY / "tests" / "vectors" / "extra.json").read_text(encoding="utf-8")
)
BOUNDED, SPARSE, STFT = (VECTORS[name] for name in ("bounded_normal", "sparse", "stft"))


def test_no_case_is_missing() -> None:
    assert VECTORS["stream"] == STREAM_VERSION
    assert (len(BOUNDED), len(SPARSE), len(STFT)) == (8, 4, 5)


def test_the_script_makes_the_file(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))
    pytest.importorskip("mpmath", reason="mpmath is not installed")
    import make_extra_vectors

    made = make_extra_vectors.extra_vectors()
    sys.modules.pop("make_extra_vectors")
    assert json.loads(json.dumps(made)) == VECTORS


@every_engine
@pytest.mark.parametrize("case", BOUNDED, ids=lambda case: f"{case['a']}..{case['b']}")
def test_bounded_normal(case: dict[str, Any], engine: Engine) -> None:
    draw = BoundedNormal(mean=case["mean"], stddev=case["std"], low=case["a"], high=case["b"])
    positions = positions_between(draw.mean, draw.stddev, draw.low, draw.high)
    assert positions.count == case["n_positions"]
    assert positions.origin - (positions.count >> 33) == case["first_position"]
    key = named_stream_key(case["seed"], case["path"])
    wide, narrow = poisoned(1000008, np.float64), poisoned(1000008, np.float32)
    for out in (wide, narrow):
        engine.fill(out, draw, key, start=0, shape=out.shape)
    assert [x.hex() for x in wide[case["indices"]].tolist()] == case["float64_hex"]
    assert hex_bits(narrow[case["indices"]]) == case["float32_bits"]


@every_engine
@pytest.mark.parametrize("case", SPARSE, ids=lambda case: f"{case['rows']}x{case['cols']}")
def test_sparse(case: dict[str, Any], engine: Engine) -> None:
    draw = Sparse(stddev=case["std"], n_zeros=case["n_zeros"])
    key = named_stream_key(case["seed"], case["path"])
    values = make_tensor(engine, draw, key, (case["rows"], case["cols"]), "float32")
    assert np.flatnonzero(values[:, 0] == 0).tolist() == case["zero_rows_of_column_0"]
    assert hashlib.sha256(values.astype("<f4").tobytes()).hexdigest() == case["sha256_float32"]


@every_engine
@pytest.mark.parametrize("case", STFT, ids=lambda case: f"{case['side']}-{case['window']}")
def test_stft(case: dict[str, Any], engine: Engine) -> None:
    draw = Stft(**{name: case[name] for name in ("side", "window", "scaling", "periodic")})
    key = named_stream_key(1, "any")
    values = make_tensor(engine, draw, key, tuple(case["shape"]), "float64")
    assert [x.hex() for x in values.reshape(-1)[-6:].tolist()] == case["last_hex"]
    assert hashlib.sha256(values.astype("<f8").tobytes()).hexdigest() == case["sha256_float64"]
    narrow = make_tensor(engine, draw, key, tuple(case["shape"]), "float32")
    assert hashlib.sha256(narrow.astype("<f4").tobytes()).hexdigest() == case["sha256_float32"]
