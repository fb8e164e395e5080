"""Layers of a type in a spec: what they may use of the language, and every problem's place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from spec_texts import places_of, plan_of, problems_of, replaced, values_of

from kinit_cli.layers.registry import LAYER_TYPES
from kinit_cli.spec.keras_paths import snake_case


def test_arguments_and_shapes_may_be_expressions() -> None:
    plan = plan_of("""
seed: 1
dtype: float16
params: {d: 8, std: 0.02}
layers:
  - repeat: 2
    layers:
      - name: "block_{i}"
        type: Conv1D
        input_shape: [null, d * 2**i]
        config:
          filters: d * 2**(i + 1)
          kernel_size: [2 + i]
          kernel_initializer: {random_normal: {stddev: std / (i + 1)}}
          use_bias: false
""")
    found = [(t.path, t.shape, t.dtype.name, str(t.initializer)) for t in plan.tensors]
    assert found == [
        ("block_0/kernel", (2, 8, 16), "float16", "random_normal(stddev=0.02)"),
        ("block_1/kernel", (3, 16, 32), "float16", "random_normal(stddev=0.01)"),
    ]
    assert [t.keras_path for t in plan.tensors] == [
        "layers/conv1d/vars/0",
        "layers/conv1d_1/vars/0",
    ]


def test_defaults_go_before_those_of_the_type_and_after_what_is_written() -> None:
    plan = plan_of("""
seed: 1
defaults: {kernel: he_normal, lstm_cell/kernel: lecun_normal, bias: ones, gamma: zeros}
layers:
  - {name: a, type: Dense, input_shape: [2], config: {units: 3}}
  - {name: b, type: Dense, input_shape: [2], config: {units: 3, kernel_initializer: orthogonal}}
  - {name: c, type: LSTM, input_shape: [4, 2], config: {units: 3}}
  - {name: d, type: LayerScale, config: {init_values: 0.5, projection_dim: 3}}
""")
    assert {t.path: str(t.initializer) for t in plan.tensors} == {
        "a/kernel": "he_normal",
        "a/bias": "ones",
        "b/kernel": "orthogonal",
        "b/bias": "ones",
        "c/lstm_cell/kernel": "lecun_normal",
        "c/lstm_cell/recurrent_kernel": "orthogonal",
        "c/lstm_cell/bias": "unit_forget_bias(value=1)",
        "d/gamma": "constant(value=0.5)",
    }


def test_a_type_and_its_weights_written_out_hold_the_same_values() -> None:
    typed = plan_of("""
seed: 5
layout: torch
layers:
  - {name: a, type: Dense, input_shape: [7], config: {units: 3, kernel_initializer: he_normal}}
  - {name: b, type: EinsumDense, input_shape: [6],
     config: {equation: "ab,bcd->acd", output_shape: [2, 4]}}
""")
    listed = plan_of("""
seed: 5
layers:
  - name: a
    weights: {kernel: {shape: [7, 3], initializer: he_normal}, bias: {shape: [3]}}
  - name: b
    weights:
      kernel:
        shape: [6, 2, 4]
        initializer: {glorot_uniform: {input_axes: [0], output_axes: [1, 2]}}
""")
    for one, other in zip(typed.tensors, listed.tensors, strict=True):
        assert (one.path, one.draw, one.stream_key) == (other.path, other.draw, other.stream_key)
        assert values_of(one).tobytes() == values_of(other).tobytes()
        assert other.keras_path is None


def test_the_bias_of_an_lstm_forgets_nothing_at_first() -> None:
    plan = plan_of("""
seed: 1
layers:
  - {name: a, type: LSTM, input_shape: [4, 1], config: {units: 2}}
  - {name: b, type: LSTMCell, input_shape: [1],
     config: {units: 2, bias_initializer: {constant: {value: 0.5}}}}
  - {name: c, type: LSTM, input_shape: [4, 1], config: {units: 2, unit_forget_bias: false}}
""")
    biases = {t.path: values_of(t).tolist() for t in plan.tensors if t.path.endswith("bias")}
    assert biases == {
        "a/lstm_cell/bias": [0, 0, 1, 1, 0, 0, 0, 0],
        "b/bias": [0.5, 0.5, 1, 1, 0.5, 0.5, 0.5, 0.5],
        "c/lstm_cell/bias": [0] * 8,
    }
    assert plan.tensors[2].to_json()["initializer_config"] == {
        "class_name": "UnitForgetBias",
        "config": {"value": 0},
    }


def test_a_model_within_the_model() -> None:
    plan = plan_of("""
seed: 1
layers:
  - {name: stem, type: Dense, input_shape: [2], config: {units: 2, use_bias: false}}
  - repeat: 2
    layers:
      - name: "inner_{i}"
        type: Sequential
        layers:
          - {name: one, type: Dense, input_shape: [2], config: {units: 2, use_bias: false}}
          - name: deep
            type: Functional
            layers:
              - {name: x, type: PReLU, input_shape: [4]}
          - {name: two, type: Dense, input_shape: [2], config: {units: 2, use_bias: false}}
  - {name: head, type: Dense, input_shape: [2], config: {units: 2, use_bias: false}}
  - {name: listed, weights: {w: {shape: [2]}}}
""")
    assert {t.path: t.keras_path for t in plan.tensors} == {
        "stem/kernel": "layers/dense/vars/0",
        "inner_0/one/kernel": "layers/sequential/layers/dense/vars/0",
        "inner_0/deep/x/alpha": "layers/sequential/layers/functional/layers/p_re_lu/vars/0",
        "inner_0/two/kernel": "layers/sequential/layers/dense_1/vars/0",
        "inner_1/one/kernel": "layers/sequential_1/layers/dense/vars/0",
        "inner_1/deep/x/alpha": "layers/sequential_1/layers/functional/layers/p_re_lu/vars/0",
        "inner_1/two/kernel": "layers/sequential_1/layers/dense_1/vars/0",
        "head/kernel": "layers/dense_1/vars/0",
        "listed/w": None,
    }


PROBLEMS = """\
spec.yaml:4:21: layers[0].type: expected a layer type that is known, got 'Dens'; did you mean 'Dense'? If not, list the layer's weights with their shapes
spec.yaml:5:54: layers[1].config: expected the argument 'units', got none; Dense needs it
spec.yaml:5:55: layers[1].config.unit: expected an argument of Dense, got 'unit'; did you mean 'units'?
spec.yaml:5:74: layers[1].config.use_bias: expected true or false, got 1
spec.yaml:6:42: layers[2].input_shape: expected 3 sizes or more, without the batch axis, got 1
spec.yaml:6:65: layers[2].config.filters: expected a whole number from 1 to 1,099,511,627,776, got 0
spec.yaml:6:81: layers[2].config.kernel_size: expected a whole number, or a list of 2 numbers, got a list of 1
spec.yaml:7:5: layers[3].input_shape: expected a list of sizes without the batch axis, got nothing; Dense needs it for the shapes of its weights
spec.yaml:7:44: layers[3].config.units: expected a whole number from 1 to 1,099,511,627,776, got 'd / 2' = 1.5; use // for a whole quotient
spec.yaml:7:58: layers[3].config.dtype: expected a dtype, mixed_float16 or mixed_bfloat16, got 'float23'; did you mean 'float32'?
spec.yaml:8:41: layers[4].input_shape: expected a size that is known (the last one), got null
spec.yaml:9:85: layers[5].config.kernel_initializer: expected a known initializer, got 'he_norml'; did you mean 'he_normal'? For code of your own: --allow-code MODULE:he_norml
spec.yaml:10:66: layers[6].weights: expected a known key, got 'weights'; a layer has a 'type' or 'weights', not both
spec.yaml:11:85: layers[7].config.bias_initializer: expected zeros, ones or constant for the bias of an LSTM with unit_forget_bias, got random_normal; set unit_forget_bias: false
spec.yaml:12:74: layers[8].config.axis: expected axes from -2 to 1, got 3
spec.yaml:13:76: layers[9].config.groups: expected a divisor of the 4 channels, or -1, got 3
spec.yaml:14:54: layers[10].input_shape: expected the shape of 'query', got nothing; MultiHeadAttention needs it for the shapes of its weights
spec.yaml:14:79: layers[10].config: expected the argument 'key_dim', got none; MultiHeadAttention needs it
spec.yaml:15:82: layers[11].config.layer.type: expected a layer type that is known, got 'Dens'; did you mean 'Dense'? If not, list the layer's weights with their shapes
spec.yaml:16:41: layers[12].input_shape: expected a list of sizes without the batch axis, or a mapping of such lists, got 4
spec.yaml:16:52: layers[12].config: expected a mapping, got 5
spec.yaml:17:71: layers[13].config.equation: expected an equation 'ab,bc->ac', '...ab,bc->...ac' or 'ab...,bc->ac...', got 'ab->c'
spec.yaml:18:39: layers[14].config.rat: expected an argument of Dropout, got 'rat'; did you mean 'rate'?
spec.yaml:19:62: layers[15].config.cell: expected a layer: {type: …, config: {…}}, got 3
spec.yaml:20:81: layers[16].config.lora_rank: expected no lora_rank, got 4; remove it, or list the layer's weights with their shapes
"""  # noqa: E501


def test_every_problem_at_once_with_its_place() -> None:
    text = """\
seed: 1
params: {d: 3}
layers:
  - {name: a, type: Dens, input_shape: [2], config: {units: 3}}
  - {name: b, type: Dense, input_shape: [2], config: {unit: 3, use_bias: 1}}
  - {name: c, type: Conv2D, input_shape: [2], config: {filters: 0, kernel_size: [3]}}
  - {name: d, type: Dense, config: {units: d / 2, dtype: float23}}
  - {name: e, type: Dense, input_shape: [null], config: {units: 2}}
  - {name: f, type: Dense, input_shape: [2], config: {units: 2, kernel_initializer: he_norml}}
  - {name: g, type: Dense, input_shape: [2], config: {units: 2}, weights: {}}
  - {name: h, type: LSTM, input_shape: [2, 2], config: {units: 2, bias_initializer: normal}}
  - {name: i, type: LayerNormalization, input_shape: [4], config: {axis: 3}}
  - {name: j, type: GroupNormalization, input_shape: [4], config: {groups: 3}}
  - {name: k, type: MultiHeadAttention, input_shape: {value: [1, 4]}, config: {num_heads: 1}}
  - {name: l, type: TimeDistributed, input_shape: [4, 4], config: {layer: {type: Dens}}}
  - {name: m, type: Dense, input_shape: 4, config: 5}
  - {name: n, type: EinsumDense, input_shape: [4], config: {equation: "ab->c", output_shape: 2}}
  - {name: o, type: Dropout, config: {rat: 1}}
  - {name: p, type: RNN, input_shape: [4, 4], config: {cell: 3}}
  - {name: q, type: Embedding, config: {input_dim: 2, output_dim: 2, lora_rank: 4}}
"""
    assert problems_of(text) == PROBLEMS.splitlines()


@pytest.mark.parametrize(
    ("equation", "output_shape", "expected"),
    [
        ("ab,bc->ac", "[null]", "config.output_shape: expected a size that is known for the axis "
         "'c', got null"),
        ("abc,cd->abd", "[3, 6]", "config.output_shape: expected 4 for the axis 'b', got 3"),
        ("abc,cd->abd", "6", "config.output_shape: expected 2 sizes, for abc,cd->abd, got 1"),
        ("abcd,cd->abd", "6", "input_shape: expected 3 sizes, for abcd,cd->abd, got 2"),
        ("abc,cx->abd", "[4, 6]", "config.equation: expected a kernel of axes of the input or the "
         "output, got 'cx'"),
        ("...c,cd->d", "6", "config.equation: expected an equation 'ab,bc->ac', '...ab,bc->...ac' "
         "or 'ab...,bc->ac...', got '...c,cd->d'"),
    ],
)  # fmt: skip
def test_an_equation_that_does_not_fit(equation: str, output_shape: str, expected: str) -> None:
    config = f'{{equation: "{equation}", output_shape: {output_shape}}}'
    shape = "[4]" if equation == "ab,bc->ac" else "[4, 5]"
    (problem,) = problems_of(
        f"layers: [{{name: a, type: EinsumDense, input_shape: {shape}, config: {config}}}]"
    )
    assert problem.partition("layers[0].")[2] == expected


@pytest.mark.parametrize("kind", LAYER_TYPES, ids=lambda kind: kind.class_name)
@pytest.mark.parametrize("shape", ["[]", "[3]", "[4, 4, 4, 4, 4]", "[null, null, null]", "{q: []}"])
def test_no_type_breaks_on_nothing(kind, shape: str) -> None:
    text = f"layers: [{{name: a, type: {kind.class_name}, input_shape: {shape}}}]"
    for problem in problems_of(text):
        assert problem.startswith("spec.yaml:1:")


@pytest.mark.parametrize("kind", LAYER_TYPES, ids=lambda kind: kind.class_name)
@pytest.mark.parametrize("value", ["null", "true", "[]", "{}", "''", "-1", "1e300", "[[1]]", "x"])
def test_no_type_breaks_on_nonsense(kind, value: str) -> None:
    config = ", ".join(f"{name}: {value}" for name in kind.arguments)
    before = f"layers: [{{name: a, type: {kind.class_name}, input_shape: [3, 3]"
    text = f"{before}, config: {{{config}}}}}]"
    for problem in problems_of(text):
        assert problem.startswith("spec.yaml:1:")


SOUND = {
    "seed": 1,
    "layers": [
        {
            "name": "a",
            "type": "Dense",
            "input_shape": [3],
            "config": {"units": 2, "kernel_initializer": {"he_normal": {}}, "dtype": "float16"},
        },
        {
            "name": "b",
            "type": "MultiHeadAttention",
            "input_shape": {"query": [4, 6], "value": [4, 6]},
            "config": {"num_heads": 2, "key_dim": 3},
        },
        {
            "name": "c",
            "type": "Sequential",
            "layers": [
                {
                    "repeat": 2,
                    "layers": [
                        {
                            "name": "d{i}",
                            "type": "Bidirectional",
                            "input_shape": [None, 3],
                            "config": {"layer": {"type": "LSTM", "config": {"units": 2}}},
                        }
                    ],
                }
            ],
        },
        {
            "name": "t",
            "type": "TimeDistributed",
            "input_shape": [4, 3],
            "config": {
                "layer": {
                    "type": "Sequential",
                    "layers": [{"type": "Dense", "input_shape": [3], "config": {"units": 2}}],
                }
            },
        },
        {"name": "e", "type": "Attention", "config": {"use_scale": True, "score_mode": "dot"}},
        {"name": "f", "type": "Normalization", "input_shape": [3, 4], "config": {"axis": [1]}},
    ],
}


@pytest.mark.parametrize(
    "value",
    [None, True, -1, 1e300, "", "é", [], {}, [[1]], {"a": 1}, [None] * 60, "Sequential", "LSTM"],
)
def test_nonsense_anywhere_is_a_problem_or_nothing(value: Any) -> None:
    assert not problems_of(json.dumps(SOUND))
    for path in places_of(SOUND):
        for problem in problems_of(json.dumps(replaced(SOUND, path, value))):
            assert problem.startswith("spec.yaml:"), path


def test_class_names_as_keras_writes_them() -> None:
    names = {
        "Conv2DTranspose": "conv2d_transpose",
        "PReLU": "p_re_lu",
        "LSTM": "lstm",
        "MultiHeadAttention": "multi_head_attention",
        "RMSNormalization": "rms_normalization",
        "GPT2Block": "gpt2_block",
        "ConvLSTM2D": "conv_lstm2d",
    }
    assert {name: snake_case(name) for name in names} == names
