"""PyTorch's names: draws, structure, what is refused (test_oracle_torch.py asks PyTorch)."""

from __future__ import annotations

import math
from typing import Any

import pytest
from spec_texts import one_weight, plan_of, problems_of

from kinit_cli.draw import Draw, Normal, Uniform
from kinit_cli.initializers.torch_scaling import NONLINEARITIES, calculate_gain


def draw_of(initializer: str, shape: str, layout: str) -> Draw:
    text = one_weight(f"shape: {shape}, initializer: {initializer}", f"layout: {layout}\nseed: 1")
    return plan_of(text).tensors[0].draw


# --- scales -------------------------------------------------------------------------------------


def test_gains() -> None:
    # The table of torch.nn.init.calculate_gain.
    others = {"tanh": 5 / 3, "relu": 2**0.5, "leaky_relu": 2**0.5, "selu": 0.75}
    for name in NONLINEARITIES:
        assert calculate_gain(name) == others.get(name, 1)
    assert calculate_gain("leaky_relu", 0.2) == math.sqrt(2 / 1.04)
    assert calculate_gain("leaky_relu", 1e200) == 0


@pytest.mark.parametrize(
    ("layout", "fan_in", "fan_out"), [("torch", 12 * 15, 6 * 15), ("keras", 6 * 12, 6 * 12 * 5 / 4)]
)
def test_fans_are_those_of_the_layout(layout: str, fan_in: float, fan_out: float) -> None:
    shape = "[6, 12, 3, 5]" if layout == "torch" else "[6, 3, 4, 5]"
    kaiming = "{kaiming_normal: {mode: %s, nonlinearity: linear}}"
    stddevs = [draw_of(kaiming % mode, shape, layout).stddev for mode in ("fan_in", "fan_out")]
    assert stddevs == [1 / math.sqrt(fan_in), 1 / math.sqrt(fan_out)]
    xavier = draw_of("{xavier_uniform: {gain: 0.5}}", shape, layout)
    bound = math.sqrt(3) * (0.5 * math.sqrt(2 / (fan_in + fan_out)))
    assert xavier == Uniform(minval=-bound, maxval=bound)


def test_a_tensor_without_elements_has_a_scale_all_the_same() -> None:
    assert draw_of("kaiming_normal", "[4, 0]", "torch") == Normal(mean=0.0, stddev=math.sqrt(2))
    assert draw_of("xavier_normal", "[0, 0]", "torch") == Normal(mean=0.0, stddev=math.sqrt(2))


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (
            "shape: [5], initializer: kaiming_normal_",
            "expected a shape of 2 or more dimensions, as PyTorch does for fans, got 1; "
            "he_normal and glorot_uniform take any",
        ),
        (
            "shape: [5, 5], initializer: {xavier_normal: {gain: 0}}",
            "expected gain more than 0, got 0",
        ),
        (
            "shape: [5, 5], initializer: {kaiming_uniform: {nonlinearity: gelu}}",
            "expected nonlinearity: linear, conv1d, conv2d, conv3d, conv_transpose1d, "
            "conv_transpose2d, conv_transpose3d, sigmoid, tanh, relu, leaky_relu, selu, got 'gelu'",
        ),
        (
            "shape: [5], initializer: {trunc_normal: {a: 1, b: 1}}",
            "trunc_normal.b: expected more than a = 1.0, got 1.0",
        ),
        (
            "shape: [5], initializer: {trunc_normal: {std: 0}}",
            "trunc_normal.std: expected std more than 0, got 0",
        ),
        (
            "shape: [5], initializer: {trunc_normal: {std: 0.02, a: 0.0801, b: 2}}",
            "expected an interval [a, b] within 4 std of the mean, got a = 0.0801 and b = 2; "
            "move a and b, or the mean",
        ),
        (
            "shape: [5], initializer: {trunc_normal: {a: 1, b: 1.0009}}",
            "expected b - a of std / 1024 or more, got a = 1 and b = 1.0009; "
            "the normal is flat there: use random_uniform",
        ),
        (
            "shape: [5], initializer: {trunc_normal: {mean: 1, a: 1.001, b: 1.002}}, "
            "dtype: bfloat16",
            "expected a value of bfloat16 from a to b, got a = 1.001 and b = 1.002; "
            "choose a wider dtype",
        ),
        (
            "shape: [5], initializer: {trunc_normal: {std: 1e-60, a: -1e-60, b: 1e-60}}",
            "expected std within float32's range, got 1e-60",
        ),
        (
            "shape: [5], initializer: {trunc_normal: {mean: 1e60, a: -1e60, b: 2e60}}, "
            "dtype: float64",
            "expected mean within float32's range, got 1e+60",
        ),
        (
            "shape: [5], initializer: {trunc_normal: {std: 1e5, a: -1e5, b: 1e5}}, dtype: float16",
            "expected values that float16 can hold (up to 65504), got values from -100000 to "
            "100000",
        ),
        (
            "shape: [5, 5], initializer: sparse",
            "initializer: expected the argument sparsity for sparse, got none",
        ),
        (
            "shape: [5, 5], initializer: {sparse: {sparsity: 1.5}}",
            "sparse.sparsity: expected sparsity at most 1, got 1.5",
        ),
        (
            "shape: [5], initializer: {sparse: {sparsity: 0.5}}",
            "expected a shape of 2 dimensions, for a sparse matrix, got 1",
        ),
        (
            f"shape: [{2**32 + 1}, 1], initializer: {{sparse: {{sparsity: 0.5}}}}",
            "expected up to 4294967296 rows of a sparse matrix, got 4294967297",
        ),
        (
            "shape: [5, 5], initializer: {sparse: {sparsity: 0.5, std: 1e39}}, dtype: float64",
            "expected std within float32's range, got 1e+39",
        ),
        (
            "shape: [5], initializer: orthogonal_",
            "expected a shape of 2 or more dimensions, for an orthogonal matrix, got 1",
        ),
        (
            "shape: [5, 5], initializer: delta_orthogonal",
            "expected a shape of 3, 4 or 5 dimensions, for the kernel of a convolution, got 2",
        ),
        (
            "shape: [3, 6, 5], initializer: delta_orthogonal",
            "expected no more input than output channels, for a kernel that keeps lengths, "
            "got 6 and 5",
        ),
        (
            "shape: [5], initializer: eye",
            "expected a shape of 2 dimensions, for an identity matrix, got 1",
        ),
        (
            "shape: [5, 5], initializer: dirac",
            "expected a shape of 3, 4 or 5 dimensions, for the kernel of a convolution, got 2",
        ),
        (
            "shape: [3, 5, 6], initializer: {dirac: {groups: 4}}",
            "dirac.groups: expected a divisor of the 6 output channels, got 4",
        ),
        (
            "shape: [3, 5, 6], initializer: {dirac: {groups: 0}}",
            "dirac.groups: expected groups: a whole number from 1 on, got 0",
        ),
        (
            "shape: [3, 5, 6], initializer: {dirac: {groups: 3 / 2}}",
            "dirac.groups: expected groups: a whole number from 1 on, got 1.5",
        ),
    ],
)
def test_refused(weight: Any, message: str) -> None:
    (problem,) = problems_of(one_weight(weight))
    assert message in problem
