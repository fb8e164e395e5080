"""The plan: who gets which stream, which paths clash, what is recorded and what is noted."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spec_texts import plan_of, problems_of

import kinit_cli
from kinit_cli.plan import Plan, TensorPlan
from kinit_cli.planner import DRAWN_SEED_STOP
from kinit_cli.stream.identity import StreamKey

GOLDENS = Path(__file__).parent / "goldens"
NAMES = ["a", "b", "a/b", "block_1", "block_10", "層"]


def layer(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "weights": {"kernel": {"shape": [4, 4], **arguments}}}


def spec(*layers: dict[str, Any], **others: Any) -> str:
    return json.dumps({"seed": 42, "layers": list(layers), **others})


def keys_of(*layers: dict[str, Any], **others: Any) -> dict[str, StreamKey]:
    plan = plan_of(spec(*layers, **others))
    return {tensor.path: tensor.stream_key for tensor in plan.tensors}


def key_by_hand(message: bytes) -> StreamKey:
    digest = hashlib.sha256(message).digest()
    return StreamKey(
        key=int.from_bytes(digest[:8], "little"), nonce=int.from_bytes(digest[8:16], "little")
    )


# --- streams ------------------------------------------------------------------------------------


def test_a_tensor_without_a_seed_is_named_by_its_path() -> None:
    assert keys_of(layer("dense"), layer("層/b")) == {
        "dense/kernel": key_by_hand(b"kinit/1/name\x0042\0dense/kernel"),
        "層/b/kernel": key_by_hand("kinit/1/name\x0042\0層/b/kernel".encode()),
    }


def test_a_tensor_with_a_seed_is_chosen_by_it_alone() -> None:
    seeded = {"he_normal": {"seed": 7}}
    expected = key_by_hand(b"kinit/1/seed\x007")
    for seed in (1, 2):
        keys = keys_of(layer("a", initializer=seeded), layer("b", initializer=seeded), seed=seed)
        assert keys == {"a/kernel": expected, "b/kernel": expected}


def test_seed_zero_is_a_seed_and_null_is_none() -> None:
    zero = keys_of(layer("a", initializer={"he_normal": {"seed": 0}}))
    none = keys_of(layer("a", initializer={"he_normal": {"seed": None}}))
    assert zero == {"a/kernel": key_by_hand(b"kinit/1/seed\x000")}
    assert none == keys_of(layer("a"))


def test_the_seed_of_the_model_changes_every_named_tensor() -> None:
    one, two = keys_of(layer("a"), layer("b"), seed=1), keys_of(layer("a"), layer("b"), seed=2)
    assert not set(one.values()) & set(two.values())


@given(st.permutations(NAMES), st.sets(st.sampled_from(NAMES), min_size=1))
def test_other_layers_change_no_tensors_stream(order: list[str], kept: set[str]) -> None:
    every = keys_of(*map(layer, NAMES))
    assert len(set(every.values())) == len(NAMES)
    some = keys_of(*(layer(name) for name in order if name in kept))
    assert list(some) == [f"{name}/kernel" for name in order if name in kept]
    assert some == {path: every[path] for path in some}


def test_shape_dtype_and_initializer_change_no_tensors_stream() -> None:
    assert (
        keys_of(layer("a"))
        == keys_of(layer("a", shape=[7], dtype="float16", initializer="normal"))
        == keys_of(layer("a"), dtype="bfloat16", layout="torch", name="other")
    )


def test_repeated_layers_have_the_streams_of_written_ones() -> None:
    repeat = {"repeat": 3, "layers": [layer("b{i}")]}
    assert keys_of(repeat) == keys_of(layer("b0"), layer("b1"), layer("b2"))


# --- the seed -----------------------------------------------------------------------------------


def test_a_seed_is_drawn_if_there_is_none_and_recorded() -> None:
    text = json.dumps({"layers": [layer("a")]})
    plans = [plan_of(text), plan_of(json.dumps({"seed": None, "layers": [layer("a")]}))]
    for plan in plans:
        assert plan.is_seed_drawn
        assert 0 <= plan.seed < DRAWN_SEED_STOP
        assert plan.document == {"layers": [layer("a")], "seed": plan.seed}
        again = plan_of(json.dumps(plan.document))
        assert again == dataclasses.replace(plan, is_seed_drawn=False)
    assert plans[0].seed != plans[1].seed  # fails once in 2**32 runs


def test_a_seed_that_is_given_is_not_drawn() -> None:
    plan = plan_of(spec(layer("a")))
    assert (plan.seed, plan.is_seed_drawn) == (42, False)
    assert plan.document == {"seed": 42, "layers": [layer("a")]}


# --- paths --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "place", "path", "hint"),
    [
        (
            "- {name: a, weights: {k: {shape: [1]}}}\n- {name: a, weights: {k: {shape: [2]}}}",
            "3:23: layers[1].weights.k",
            "a/k",
            "it stands first in line 2",
        ),
        (
            "- {name: a/b, weights: {c: {shape: [1]}}}\n- {name: a, weights: {b/c: {shape: []}}}",
            "3:23: layers[1].weights.'b/c'",
            "a/b/c",
            "it stands first in line 2",
        ),
        (
            "- {name: a, weights: {'k{1}': {shape: [1]}, k1: {shape: []}}}",
            "2:45: layers[0].weights.k1",
            "a/k1",
            "it stands first in line 2",
        ),
        (
            "- {repeat: 9, layers: [{name: a, weights: {k: {shape: [1]}}}]}",
            "2:44: layers[0].layers[0].weights.k",
            "a/k",
            "put the repeat's index into the name",
        ),
        (
            "- {repeat: 3, layers: [{name: 'a{i % 2}', weights: {k: {shape: [1]}}}]}",
            "2:53: layers[0].layers[0].weights.k",
            "a0/k",
            "put the repeat's index into the name",
        ),
    ],
)
def test_a_path_that_is_used_twice(layers: str, place: str, path: str, hint: str) -> None:
    expected = f"expected a tensor path that is used once, got '{path}' again; {hint}"
    assert problems_of(f"layers:\n{layers}\n") == [f"spec.yaml:{place}: {expected}"]


def test_paths_that_only_look_alike() -> None:
    plan = plan_of(spec(layer("a"), layer("A"), layer("a "), layer("é"), layer("e\u0301")))
    assert len({tensor.path for tensor in plan.tensors}) == 5


# --- notes --------------------------------------------------------------------------------------

SEVEN = {"he_normal": {"seed": 7}}


@pytest.mark.parametrize(
    ("layers", "notes"),
    [
        ([layer("a", initializer=SEVEN)], []),
        ([layer("a"), layer("b")], []),
        (
            [layer("a", initializer=SEVEN), layer("b", initializer=SEVEN)],
            ["a/kernel, b/kernel hold equal values: their initializers have the same seed, 7"],
        ),
        (
            [{"repeat": 12, "layers": [layer("b{i}", initializer=SEVEN)]}],
            [
                "b0/kernel, b1/kernel, b2/kernel and 9 more hold equal values: "
                "their initializers have the same seed, 7"
            ],
        ),
        (
            [
                layer("a", initializer=SEVEN),
                layer("b", initializer={"he_normal": {"seed": 8}}),
                layer("c", initializer={"he_uniform": {"seed": 7}}),
                layer("d", initializer=SEVEN, shape=[4, 5]),
            ],
            [],
        ),
        (
            [layer(name, initializer={"orthogonal": {"seed": len(name)}}) for name in ("a", "b")]
            + [layer(name, initializer=SEVEN) for name in ("c", "d")],
            [
                "a/kernel, b/kernel hold equal values: their initializers have the same seed, 1",
                "c/kernel, d/kernel hold equal values: their initializers have the same seed, 7",
            ],
        ),
    ],
)
def test_equal_seeds_are_noted(layers: list[dict[str, Any]], notes: list[str]) -> None:
    assert list(plan_of(spec(*layers)).notes) == notes


# --- as JSON ------------------------------------------------------------------------------------

GOLDEN_SPEC = """\
kinit: 1
name: golden
seed: 18446744073709551615
dtype: bfloat16
params: {d: 4}
layers:
- repeat: 2
  layers:
  - name: "dense_{i}"
    weights:
      kernel: {shape: [d, 2*d], initializer: {he_normal: {seed: 7}}}
      bias: {shape: [2*d], dtype: float32}
- name: other
  weights:
    scalar: {shape: [], dtype: int64}
    empty: {shape: [0, 3]}
    eye: {shape: [2, 2], initializer: {class_name: Identity, config: {gain: 3}}}
    nested: {shape: [2], initializer: {constant: {value: [1, 2]}}, dtype: float64}
"""


def test_plan_as_json() -> None:
    plan = plan_of(GOLDEN_SPEC)
    text = (GOLDENS / "plan.json").read_text(encoding="utf-8")
    assert json.dumps(plan.to_json(), indent=2) + "\n" == text


def test_sizes_are_counted() -> None:
    plan = plan_of(GOLDEN_SPEC)
    assert [tensor.n_elements for tensor in plan.tensors] == [32, 8, 32, 8, 1, 0, 4, 2]
    assert [tensor.n_bytes for tensor in plan.tensors] == [64, 32, 64, 32, 8, 0, 8, 16]
    assert (plan.n_elements, plan.n_bytes) == (87, 224)


@pytest.mark.parametrize(("kind", "field"), [(Plan, "seed"), (TensorPlan, "path")])
def test_plans_are_frozen(kind: type, field: str) -> None:
    plan = plan_of(GOLDEN_SPEC)
    value = plan if kind is Plan else plan.tensors[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, field, None)
    assert not hasattr(value, "__dict__")


# --- the public names ---------------------------------------------------------------------------


def test_the_public_names() -> None:
    assert kinit_cli.__all__ == [
        "KinitError", "SpecError", "__version__", "arrays", "diff", "generate", "tensor", "verify",
    ]  # fmt: skip
    assert kinit_cli.__all__ == sorted(kinit_cli.__all__)
    assert all(hasattr(kinit_cli, name) for name in kinit_cli.__all__)


# --- what is read once ------------------------------------------------------------------------


@pytest.mark.parametrize("n_kept", [0, 3, 1024])
def test_a_weight_is_planned_as_if_it_were_alone(
    n_kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinit_cli.planner._MAX_SHARED", n_kept)
    ways: list[dict[str, Any]] = [
        {"shape": shape, "dtype": dtype, "initializer": initializer}
        for initializer in ("ones", "he_normal", {"constant": {"value": "i + 1"}})
        for dtype in ("float32", "float64", "int8")
        for shape in ([4, 5], [5, 4])
        if not (dtype == "int8" and initializer == "he_normal")
    ]
    weights = {f"w{index}": way for index, way in enumerate(ways)}
    layers = [{"repeat": 2, "layers": [{"name": "a{i}", "weights": weights}]}]
    together = plan_of(spec(*layers)).tensors
    alone = [
        plan_of(spec({"repeat": i + 1, "layers": [{"name": "a{i}", "weights": {name: way}}]}))
        for i in range(2)
        for name, way in weights.items()
    ]
    assert together == tuple(plan.tensors[-1] for plan in alone)
    assert len(together) == 2 * len(ways)
