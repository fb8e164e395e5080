"""Fans of every rank in both layouts, and what a weight without an initializer gets."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spec_texts import one_weight, plan_of, problems_of, tensor_of

from kinit_cli.draw import Uniform
from kinit_cli.initializers.fans import compute_fans
from kinit_cli.initializers.registry import BY_NAME, default_initializer


@pytest.mark.parametrize(
    ("shape", "keras", "torch"),
    [
        ((), (1, 1), (1, 1)),
        ((7,), (7, 7), (7, 7)),
        ((0,), (0, 0), (0, 0)),
        ((3, 4), (3, 4), (4, 3)),
        ((0, 3), (0, 3), (3, 0)),
        ((3, 4, 5), (12, 15), (20, 15)),
        ((2, 3, 4, 5), (24, 30), (60, 40)),
        ((2, 2, 2, 3, 5), (24, 40), (60, 60)),
        ((2, 3, 2, 3, 4, 5), (144, 180), (360, 240)),
        ((3, 3, 0, 5), (0, 45), (0, 0)),
        ((2, 3, 4, 0), (24, 0), (0, 0)),
    ],
)
def test_fans(shape: tuple[int, ...], keras: tuple[int, int], torch: tuple[int, int]) -> None:
    assert compute_fans(shape) == keras
    assert compute_fans(shape, layout="torch") == torch


@pytest.mark.parametrize("layout", ["keras", "torch"])
def test_fans_of_named_axes(layout: Any) -> None:
    shape = (512, 8, 64)
    assert compute_fans(shape, layout=layout, input_axes=[0], output_axes=[1, 2]) == (512, 512)
    assert compute_fans(shape, layout=layout, input_axes=[-1, -2], output_axes=[-3]) == (512, 512)
    assert compute_fans(shape, layout=layout, input_axes=[], output_axes=[]) == (1, 1)
    whole = compute_fans(shape, layout=layout)
    assert compute_fans(shape, layout=layout, input_axes=[0]) == whole
    assert compute_fans(shape, layout=layout, output_axes=[0]) == whole
    with pytest.raises(IndexError):
        compute_fans(shape, layout=layout, input_axes=[3], output_axes=[0])


@given(st.lists(st.integers(0, 9), min_size=2, max_size=6))
def test_torch_fans_are_keras_fans_of_the_moved_axes(shape: list[int]) -> None:
    moved = (*shape[2:], shape[1], shape[0])
    assert compute_fans(tuple(shape), layout="torch") == compute_fans(moved)


@pytest.mark.parametrize(
    ("shape", "n"), [("[0, 4]", 1), ("[6, 0]", 6), ("[0]", 1), ("[]", 1), ("[2]", 2)]
)
def test_a_fan_of_zero_counts_as_one(shape: str, n: int) -> None:
    limit = math.sqrt(3 * (1 / n))
    assert tensor_of("lecun_uniform", shape).draw == Uniform(minval=-limit, maxval=limit)


def test_the_layout_of_a_spec_chooses_the_fans() -> None:
    text = one_weight("shape: [9, 2], initializer: lecun_uniform", "layout: torch")
    assert plan_of(text).tensors[0].draw == Uniform(
        minval=-math.sqrt(3 * (1 / 2)), maxval=math.sqrt(3 * (1 / 2))
    )


def test_named_axes_reach_the_draw() -> None:
    axes = {"input_axes": [0], "output_axes": [1, 2]}
    found = tensor_of({"glorot_uniform": axes}, "[512, 8, 64]")
    limit = math.sqrt(3 * (1 / 512))
    assert found.draw == Uniform(minval=-limit, maxval=limit)
    assert found.initializer.args["output_axes"] == (1, 2)


# --- the default by a weight's name -------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "rank", "expected"),
    [
        ("kernel", 2, "glorot_uniform"),
        ("kernel", 1, "glorot_uniform"),
        ("depthwise_kernel", 4, "glorot_uniform"),
        ("recurrent_kernel", 2, "orthogonal"),
        ("recurrent_kernel", 1, "glorot_uniform"),
        ("recurrent_kernel", 0, "glorot_uniform"),
        ("embeddings", 2, "random_uniform"),
        ("bias", 1, "zeros"),
        ("bias", 2, "zeros"),
        ("lstm_cell/bias", 1, "zeros"),
        ("lstm_cell/recurrent_kernel", 2, "orthogonal"),
        ("beta", 1, "zeros"),
        ("gamma", 1, "ones"),
        ("moving_mean", 1, "zeros"),
        ("moving_variance", 1, "ones"),
        ("anything", 3, "glorot_uniform"),
        ("Bias", 1, "glorot_uniform"),
    ],
)
def test_the_default_of_a_weight(weight: str, rank: int, expected: str) -> None:
    assert default_initializer(weight, is_float=True, rank=rank) == expected
    assert default_initializer(weight, is_float=False, rank=rank) == "zeros"
    shape = ", ".join("2" * rank)
    text = f"layers: [{{name: a, weights: {{{weight}: {{shape: [{shape}]}}}}}}]"
    assert plan_of(text).tensors[0].initializer.type is BY_NAME[expected]


def test_the_defaults_of_a_spec_come_before_those_of_keras() -> None:
    weights = "kernel: {shape: [2]}, a/kernel: {shape: [2]}, b/kernel: {shape: [2]}"
    text = (
        f"defaults: {{kernel: ones, a/kernel: {{constant: {{value: 3}}}}, bias: null}}\n"
        f"layers: [{{name: x, weights: {{{weights}, bias: {{shape: [2]}}, w: {{shape: [2],"
        f" initializer: zeros}}, kernel2: {{shape: [2], initializer: null}}}}}}]"
    )
    assert [str(tensor.initializer) for tensor in plan_of(text).tensors] == [
        "ones",
        "constant(value=3)",
        "ones",
        "zeros",
        "zeros",
        "glorot_uniform",
    ]


def test_a_default_is_checked_even_if_no_weight_uses_it() -> None:
    text = one_weight("shape: [d]", "params: {d: 2}\ndefaults: {bias: {normal: {mean: d * x}}}")
    assert problems_of(text) == [
        "spec.yaml:3:34: defaults.bias.normal.mean: expected an expression with a value, "
        "got 'd * x'; unknown param 'x'; known: d"
    ]


def test_an_unused_default_may_use_params_though_no_weight_is_sound() -> None:
    text = one_weight("shape: [-1]", "params: {s: 2}\ndefaults: {bias: {normal: {stddev: s}}}")
    (problem,) = problems_of(text)
    assert "shape[0]" in problem


def test_a_default_that_does_not_suit_one_weight_says_which() -> None:
    weights = "weights: {k: {shape: [2, 2]}, m/k: {shape: [3]}}"
    text = f"defaults: {{k: orthogonal}}\nlayers: [{{name: a, {weights}}}]"
    (problem,) = problems_of(text)
    assert problem.startswith(
        "spec.yaml:2:63: layers[0].weights.'m/k'.shape: expected a shape of 2"
    )
