"""Faults of initializers, each at its place, and dtypes that cannot hold what is drawn."""

from __future__ import annotations

from typing import Any

import pytest
from spec_texts import one_weight, problems_of, tensor_of

from kinit_cli.draw import Constant, ConstantArray, Draw, Eye, Normal

FORMS = "expected an initializer: a name, {class_name, config} or {name: {arguments}}, got "
A_SEED = "expected a seed: a whole number from 0 to 2**64 - 1, or null, got "
A_NUMBER = "expected a number or an expression, got "
AXES = "expected a list of axes (whole numbers), or null, got "


@pytest.mark.parametrize(
    ("written", "at", "path", "message"),
    [
        ("5", "5", "", f"{FORMS}5"),
        ("true", "true", "", f"{FORMS}the boolean true"),
        ("[]", "[]", "", f"{FORMS}an empty list"),
        ("{}", "{}", "", f"{FORMS}an empty mapping"),
        ("{zeros: {}, ones: {}}", "{", "", f"{FORMS}a mapping with 'zeros', 'ones'"),
        ("{class_name: 5}", "5", ".class_name", "expected an initializer's name, got 5"),
        (
            "{class_name: HeNorml}", "HeN", ".class_name",
            "expected a known initializer, got 'HeNorml'; did you mean 'HeNormal'? "
            "For code of your own: --allow-code MODULE:HeNorml",
        ),
        (
            "{class_name: Zeros, seed: 1}", "seed", ".seed",
            "expected a known key, got 'seed'; arguments belong under 'config'",
        ),
        (
            "{class_name: HeNormal, config: 5}", "5", ".config",
            "expected a mapping of arguments for he_normal, got 5; write {he_normal: {seed: 5}}",
        ),
        (
            "{normal: 0.1}", "0.1", ".normal",
            "expected a mapping of arguments for random_normal, got 0.1; "
            "write {random_normal: {mean: 0.1}}",
        ),
        (
            "{normal: [1]}", "[1]", ".normal",
            "expected a mapping of arguments for random_normal, got a list of 1",
        ),
        (
            "{zeros: 5}", "5", ".zeros",
            "expected a mapping of arguments for zeros, got 5; write just zeros",
        ),
        (
            "{zeros: {value: 1}}", "value", ".zeros.value",
            "expected an argument of zeros, got 'value'; it takes no arguments",
        ),
        (
            "{normal: {std: 1}}", "std", ".normal.std",
            "expected an argument of random_normal, got 'std'; did you mean 'stddev'?",
        ),
        (
            "{he_normal: {scale: 1}}", "scale", ".he_normal.scale",
            "expected an argument of he_normal, got 'scale'; known: seed, input_axes, output_axes",
        ),
        ("{normal: {stddev: -1}}", "-1", ".normal.stddev", "expected stddev at least 0, got -1"),
        (
            "{truncated_normal: {stddev: 1 - 2}}", "1 - 2", ".truncated_normal.stddev",
            "expected stddev at least 0, got -1",
        ),
        ("{normal: {mean: true}}", "true", ".normal.mean", f"{A_NUMBER}the boolean true"),
        ("{normal: {mean: null}}", "null", ".normal.mean", f"{A_NUMBER}nothing"),
        (
            "{normal: {mean: low}}", "low", ".normal.mean",
            "expected an expression with a value, got 'low'; unknown param 'low'; known: none",
        ),
        (
            "{variance_scaling: {scale: 0}}", "0", ".variance_scaling.scale",
            "expected scale more than 0, got 0",
        ),
        (
            "{variance_scaling: {scale: -0.5}}", "-0.5", ".variance_scaling.scale",
            "expected scale more than 0, got -0.5",
        ),
        (
            "{variance_scaling: {mode: FAN_IN}}", "FAN", ".variance_scaling.mode",
            "expected mode: fan_in, fan_out, fan_avg, got 'FAN_IN'; did you mean 'fan_in'?",
        ),
        (
            "{variance_scaling: {mode: 1}}", "1", ".variance_scaling.mode",
            "expected mode: fan_in, fan_out, fan_avg, got 1",
        ),
        (
            "{variance_scaling: {distribution: gauss}}", "gauss", ".variance_scaling.distribution",
            "expected distribution: truncated_normal, untruncated_normal, uniform, normal, "
            "got 'gauss'",
        ),
        (
            "{uniform: {minval: 1}}", "{minval", ".uniform.maxval",
            "expected more than minval = 1.0, got 0.05; the interval is [minval, maxval)",
        ),
        (
            "{uniform: {minval: 2, maxval: 2}}", "2}", ".uniform.maxval",
            "expected more than minval = 2.0, got 2.0; the interval is [minval, maxval)",
        ),
        ("{normal: {seed: -1}}", "-1", ".normal.seed", f"{A_SEED}-1"),
        ("{normal: {seed: 1.0}}", "1.0", ".normal.seed", f"{A_SEED}1.0"),
        ("{normal: {seed: 4 / 2}}", "4 / 2", ".normal.seed", f"{A_SEED}2.0"),
        ("{normal: {seed: false}}", "false", ".normal.seed", f"{A_SEED}the boolean false"),
        ("{normal: {seed: [1]}}", "[1]", ".normal.seed", f"{A_SEED}a list of 1"),
        (f"{{normal: {{seed: {2**64}}}}}", "1844", ".normal.seed", f"{A_SEED}{2**64}"),
        (
            "{normal: {seed: {class_name: SeedGenerator, config: 3}}}", "{class", ".normal.seed",
            f"{A_SEED}a mapping of 2",
        ),
        (
            "{normal: {seed: {class_name: Seeds, config: {seed: 3}}}}", "{class", ".normal.seed",
            f"{A_SEED}a mapping of 2",
        ),
        ("{he_normal: {input_axes: 0}}", "0", ".he_normal.input_axes", f"{AXES}0"),
        (
            "{he_normal: {input_axes: [1.0]}}", "[1.0]", ".he_normal.input_axes",
            f"{AXES}a list of 1",
        ),
        (
            "{he_normal: {input_axes: [0], output_axes: [2]}}", "[2]", ".he_normal.output_axes",
            "expected axes of a tensor of 2 dimensions, got 2",
        ),
        (
            "{he_normal: {input_axes: [-3], output_axes: [1]}}", "[-3]", ".he_normal.input_axes",
            "expected axes of a tensor of 2 dimensions, got -3",
        ),
        ("{constant: {value: null}}", "null", ".constant.value", f"{A_NUMBER}nothing"),
        ("{constant: {value: {a: 1}}}", "{a", ".constant.value", f"{A_NUMBER}a mapping of 1"),
        ("{constant: {value: [1, {}]}}", "{}", ".constant.value[1]", f"{A_NUMBER}an empty mapping"),
        (
            "{constant: {value: [[1, 2], [3]]}}", "[[", ".constant.value",
            "expected nested lists of equal lengths, got lists of different lengths",
        ),
        (
            "{constant: {value: [[1, 2], 3]}}", "[[", ".constant.value",
            "expected nested lists of equal lengths, got lists of different lengths",
        ),
        (
            "{constant: {value: [1, 2, 3]}}", "[1", ".constant.value",
            "expected values that broadcast to the shape [2, 2], got values of shape [3]",
        ),
    ],
)  # fmt: skip
def test_error(written: str, at: str, path: str, message: str) -> None:
    text = one_weight(f"shape: [2, 2], initializer: {written}")
    column = text.index(at, text.index(written)) + 1
    where = f"spec.yaml:1:{column}: layers[0].weights.kernel.initializer{path}"
    assert problems_of(text) == [f"{where}: {message}"]


@pytest.mark.parametrize(
    ("shape", "initializer", "message"),
    [
        ("[3]", "identity", "a shape of 2 dimensions, for an identity matrix, got 1"),
        ("[2, 2, 2]", "identity", "a shape of 2 dimensions, for an identity matrix, got 3"),
        ("[3]", "orthogonal", "a shape of 2 or more dimensions, for an orthogonal matrix, got 1"),
        ("[]", "orthogonal", "a shape of 2 or more dimensions, for an orthogonal matrix, got 0"),
    ],
)
def test_a_shape_that_does_not_suit(shape: str, initializer: str, message: str) -> None:
    problems = problems_of(one_weight(f"shape: {shape}, initializer: {initializer}"))
    assert problems == [f"spec.yaml:1:46: layers[0].weights.kernel.shape: expected {message}"]


@pytest.mark.parametrize(
    "written",
    [
        "{constant: {value: [1, 2, 3]}}",
        "{he_normal: {input_axes: [5], output_axes: [0]}}",
        "identity",
        "orthogonal",
    ],
)
def test_nothing_is_said_of_a_shape_that_is_at_fault_itself(written: str) -> None:
    (problem,) = problems_of(one_weight(f"shape: [-1], initializer: {written}"))
    assert "layers[0].weights.kernel.shape[0]: expected a whole number" in problem


def test_what_does_not_depend_on_the_shape_is_said_nevertheless() -> None:
    problems = problems_of(one_weight("shape: [-1], initializer: {uniform: {minval: 1}}"))
    assert [problem.split(": ")[1].split(".")[-1] for problem in problems] == ["shape[0]", "maxval"]


def test_all_faults_of_one_initializer_are_reported() -> None:
    text = one_weight(
        "shape: [2], initializer: {uniform: {minval: x, maxval: y, std: 1, seed: -1}}"
    )
    assert [problem.split(": ")[1].split(".")[-1] for problem in problems_of(text)] == [
        "minval",
        "maxval",
        "std",
        "seed",
    ]


# --- dtypes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "initializer", "draw"),
    [
        ("int8", {"constant": {"value": -128.0}}, Constant(value=-128)),
        ("int8", {"constant": {"value": [1.0, 127]}}, ConstantArray(values=(1, 127))),
        ("uint8", {"identity": {"gain": 255.0}}, Eye(gain=255)),
        ("uint64", {"constant": {"value": 2**64 - 1}}, Constant(value=2**64 - 1)),
        ("int64", {"constant": {"value": -(2**63)}}, Constant(value=-(2**63))),
        ("bool", {"constant": {"value": True}}, Constant(value=1)),
        ("bool", "identity", Eye(gain=1)),
        ("int32", "ones", Constant(value=1)),
        ("float16", {"constant": {"value": 65504}}, Constant(value=65504)),
        ("float16", {"normal": {"stddev": 10000}}, Normal(mean=0.0, stddev=10000.0)),
        ("bfloat16", {"constant": {"value": 1e38}}, Constant(value=1e38)),
        ("float64", {"constant": {"value": 1e300}}, Constant(value=1e300)),
        ("float64", {"identity": {"gain": 1e300}}, Eye(gain=1e300)),
        ("float64", {"normal": {"stddev": 5e37}}, Normal(mean=0.0, stddev=5e37)),
    ],
)
def test_a_dtype_that_holds_the_values(dtype: str, initializer: Any, draw: Draw) -> None:
    assert repr(tensor_of(initializer, "[2, 2]", dtype=dtype).draw) == repr(draw)


REAL = "got random real numbers; choose a float dtype"
WIDER = "choose a wider dtype or a smaller scale"
F16 = "values that float16 can hold (up to 65504), got"
F32 = "values that float32 can hold (up to 3.40282e+38), got"


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
@pytest.mark.parametrize(
    "written", ["normal", "uniform", "truncated_normal", "he_normal", "orthogonal"]
)
def test_whole_numbers_are_not_drawn(dtype: str, written: str) -> None:
    text = one_weight(f"shape: [2, 2], dtype: {dtype}, initializer: {written}")
    where = f"spec.yaml:1:{text.index(written) + 1}: layers[0].weights.kernel.initializer"
    expected = f"zeros, ones, constant, identity or dirac for the dtype {dtype}"
    assert problems_of(text) == [f"{where}: expected {expected}, {REAL}"]


@pytest.mark.parametrize(
    ("dtype", "written", "message"),
    [
        ("int8", "{constant: {value: 128}}", "whole, -128 to 127, got 128"),
        ("int8", "{constant: {value: 1.5}}", "whole, -128 to 127, got 1.5"),
        ("uint8", "{constant: {value: -1}}", "whole, 0 to 255, got -1"),
        ("uint8", "{constant: {value: [1, 256]}}", "whole, 0 to 255, got 256"),
        ("uint8", "{identity: {gain: 0.5}}", "whole, 0 to 255, got 0.5"),
        ("bool", "{constant: {value: 2}}", "whole, 0 to 1, got 2"),
    ],
)
def test_whole_numbers_that_do_not_fit(dtype: str, written: str, message: str) -> None:
    text = one_weight(f"shape: [2, 2], dtype: {dtype}, initializer: {written}")
    where = f"spec.yaml:1:{text.index(written) + 1}: layers[0].weights.kernel.initializer"
    assert problems_of(text) == [f"{where}: expected values that {dtype} can hold: {message}"]


@pytest.mark.parametrize(
    ("dtype", "written", "message"),
    [
        ("float16", "{constant: {value: 65505}}", f"{F16} 65505; {WIDER}"),
        ("float16", "{normal: {stddev: 2e4}}", f"{F16} values from -126800 to 126800; {WIDER}"),
        (
            "float16",
            "{truncated_normal: {stddev: 33000}}",
            f"{F16} values from -66000 to 66000; {WIDER}",
        ),
        (
            "float16",
            "{uniform: {minval: -65505, maxval: 0}}",
            f"{F16} values from -65505 to 0; {WIDER}",
        ),
        (
            "float16",
            "{orthogonal: {gain: -1e5}}",
            f"{F16} values from -100000 to 100000; {WIDER}",
        ),
        (
            "float32",
            "{constant: {value: [0, 1e39]}}",
            f"{F32} values from 0 to 1e+39; {WIDER}",
        ),
        ("float32", "{identity: {gain: 1e39}}", f"{F32} values from 0 to 1e+39; {WIDER}"),
        (
            "bfloat16",
            "{constant: {value: 3.4e38}}",
            f"values that bfloat16 can hold (up to 3.38953e+38), got 3.4e+38; {WIDER}",
        ),
        ("float64", "{normal: {stddev: 1e39}}", "stddev within float32's range, got 1e+39"),
        (
            "float64",
            "{truncated_normal: {mean: -1e39}}",
            "mean within float32's range, got -1e+39",
        ),
        ("float64", "{uniform: {minval: -1e39}}", "minval within float32's range, got -1e+39"),
        (
            "float32",
            "{uniform: {minval: 1, maxval: 1.00000001}}",
            "minval and maxval that differ in float32, got 1.0 and 1.00000001; "
            "choose a wider dtype",
        ),
        (
            "bfloat16",
            "{uniform: {minval: 1, maxval: 1.001}}",
            "minval and maxval that differ in bfloat16, got 1.0 and 1.001; choose a wider dtype",
        ),
        (
            "float32",
            "{uniform: {minval: -3e38, maxval: 3e38}}",
            "maxval - minval within float32's range, got 6e+38",
        ),
    ],
)
def test_a_dtype_that_does_not(dtype: str, written: str, message: str) -> None:
    text = one_weight(f"shape: [2, 2], dtype: {dtype}, initializer: {written}")
    where = f"spec.yaml:1:{text.index(written) + 1}: layers[0].weights.kernel.initializer"
    assert problems_of(text) == [f"{where}: expected {message}"]
