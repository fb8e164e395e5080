"""Every answer in vectors.json, from the reference and from every engine."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from every_engine import every_engine
from stream_vectors import (
    VECTORS_PATH,
    as_bits,
    case_draw,
    case_id,
    case_key,
    hex_bits,
    load_vectors,
    poisoned,
)

from kinit_cli.draw import Orthogonal
from kinit_cli.dtypes import numpy_dtype
from kinit_cli.engines.base import Engine
from kinit_cli.stream import STREAM_VERSION, reference
from kinit_cli.stream.fill import fill_words
from kinit_cli.stream.identity import StreamKey
from kinit_cli.stream.table import TABLE_SHA256
from kinit_cli.stream.transforms import Affine, Transforms, cast_float64

VECTORS = load_vectors()
EDGE_WORDS = np.array([int(word, 16) for word in VECTORS["edge_words"]["words"]], np.uint32)


def reference_values(case: dict, start: int, count: int) -> np.ndarray:
    u = reference.words(case_key(case), start, count)
    dtype = numpy_dtype(case["dtype"])
    if case["distribution"] == "uniform":
        return reference.uniform_rounded(u, **case["params"], dtype=dtype)
    transform = getattr(reference, case["distribution"])
    return reference.rounded(transform(u, **case["params"]), dtype)


def test_vectors_are_of_this_stream() -> None:
    assert VECTORS["stream"] == STREAM_VERSION
    assert VECTORS["table_sha256"] == TABLE_SHA256


@pytest.mark.parametrize("section", ["identity", "words", "values", "orthogonal"])
def test_an_empty_section_fails(section: str, tmp_path) -> None:
    vectors = json.loads(VECTORS_PATH.read_text(encoding="utf-8"))
    vectors[section] = []
    path = tmp_path / "vectors.json"
    path.write_text(json.dumps(vectors), encoding="utf-8")
    with pytest.raises(ValueError, match=section):
        load_vectors(path)


def test_a_missing_file_fails(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        load_vectors(tmp_path / "vectors.json")


@pytest.mark.parametrize("case", VECTORS["identity"], ids=lambda c: f"{c['seed']}-{c['path']}")
def test_identity(case: dict) -> None:
    stream_key = case_key(case)
    assert f"{stream_key.key:016x}" == case["key"]
    assert f"{stream_key.nonce:016x}" == case["nonce"]


@pytest.mark.parametrize("case", VECTORS["words"], ids=lambda c: f"{c['key']}-{c['start']}")
def test_words(case: dict) -> None:
    stream_key = StreamKey(key=int(case["key"], 16), nonce=int(case["nonce"], 16))
    out = poisoned(len(case["words"]), np.uint32)
    fill_words(out, stream_key, case["start"])
    assert hex_bits(out) == case["words"]
    assert hex_bits(reference.words(stream_key, case["start"], out.size)) == case["words"]


@every_engine
@pytest.mark.parametrize("case", VECTORS["values"], ids=case_id)
def test_values(case: dict, engine: Engine) -> None:
    out = poisoned(1 << 20, numpy_dtype(case["dtype"]))
    engine.fill(out, case_draw(case), case_key(case), start=0, shape=out.shape)
    assert hex_bits(out[:8]) == case["first8_bits"]
    assert hex_bits(out[1000003:1000008]) == case["at_1000003_bits"]
    assert hashlib.sha256(as_bits(out).tobytes()).hexdigest() == case["sha256_first_2^20"]


@pytest.mark.parametrize("case", VECTORS["values"], ids=case_id)
def test_reference_values(case: dict) -> None:
    assert hex_bits(reference_values(case, 0, 8)) == case["first8_bits"]
    assert hex_bits(reference_values(case, 1000003, 5)) == case["at_1000003_bits"]


def test_edge_words_of_the_reference() -> None:
    expected = VECTORS["edge_words"]
    assert reference.normal_units(EDGE_WORDS).tolist() == expected["normal_q26"]
    truncated = reference.truncated_normal(EDGE_WORDS, 0.0, 1.0)
    assert [value.hex() for value in truncated.tolist()] == expected["truncated_0_1_f64"]
    uniform = reference.uniform_rounded(EDGE_WORDS, 0.0, 1.0, np.float32)
    assert hex_bits(uniform) == expected["uniform_0_1_f32"]


def test_edge_words_of_the_transforms() -> None:
    expected, transforms = VECTORS["edge_words"], Transforms()
    words = EDGE_WORDS.astype(np.uint64)
    assert transforms.normal_units(words.copy()).tolist() == expected["normal_q26"]
    out = poisoned(words.size, np.float64)
    transforms.truncated_normal(words.copy(), out, Affine(scale=2.0**-26, offset=0.0))
    assert [value.hex() for value in out.tolist()] == expected["truncated_0_1_f64"]
    out = poisoned(words.size, np.float32)
    affine = Affine(scale=2.0**-29, offset=0.0)
    transforms.uniform(words.copy(), out, affine, float(np.float32(1 - 2.0**-24)))
    assert hex_bits(out) == expected["uniform_0_1_f32"]


@every_engine
@pytest.mark.parametrize("case", VECTORS["orthogonal"], ids=lambda c: f"{c['rows']}x{c['cols']}")
def test_orthogonal(case: dict, engine: Engine) -> None:
    shape = (case["rows"], case["cols"])
    matrix = engine.orthogonal(Orthogonal(gain=case["gain"]), case_key(case), shape)
    assert matrix.shape == shape
    first = matrix.reshape(-1)[: len(case["first_hex"])]
    assert [value.hex() for value in first.tolist()] == case["first_hex"]
    assert hashlib.sha256(matrix.tobytes()).hexdigest() == case["sha256_float64"]
    narrow = poisoned(matrix.size, np.float32).reshape(shape)
    cast_float64(matrix, narrow)
    assert hashlib.sha256(narrow.tobytes()).hexdigest() == case["sha256_float32"]
