"""Layers within layers of a spec: their names, dtypes and places, and what is refused."""

from __future__ import annotations

import pytest
from spec_texts import plan_of, problems_of


def test_cells_without_names_are_numbered_as_keras_does() -> None:
    plan = plan_of("""
seed: 1
layers:
  - name: r
    type: RNN
    input_shape: [4, 5]
    config:
      cell:
        type: StackedRNNCells
        config:
          cells:
            - {type: GRUCell, config: {units: 2, use_bias: false}}
            - {type: LSTMCell, name: mine, config: {units: 3, use_bias: false}}
            - type: StackedRNNCells
              config: {cells: [{type: GRUCell, config: {units: 6, use_bias: false}}]}
            - {type: GRUCell, config: {units: 4, use_bias: false}}
""")
    kernels = [t for t in plan.tensors if t.path.endswith("/kernel")]
    prefix = "r/stacked_rnn_cells"
    assert [(t.path, t.shape) for t in kernels] == [
        (f"{prefix}/gru_cell/kernel", (5, 6)),
        (f"{prefix}/mine/kernel", (2, 12)),
        (f"{prefix}/stacked_rnn_cells/gru_cell/kernel", (3, 18)),
        (f"{prefix}/gru_cell_1/kernel", (6, 12)),
    ]
    assert [t.keras_path for t in kernels] == [
        "layers/rnn/cell/cells/gru_cell/vars/0",
        "layers/rnn/cell/cells/lstm_cell/vars/0",
        "layers/rnn/cell/cells/stacked_rnn_cells/cells/gru_cell/vars/0",
        "layers/rnn/cell/cells/gru_cell_1/vars/0",
    ]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (
            "[{type: GRUCell, name: a, config: {units: 2}}, "
            "{type: LSTMCell, name: a, config: {units: 2}}]",
            "cells[1]: expected a name that no cell before it has, got 'a'; give the cells names",
        ),
        ("[{type: Dense, config: {units: 2}}]", "cells[0]: expected a cell, got Dense"),
    ],
)
def test_cells_that_do_not_go_together(cells: str, expected: str) -> None:
    (problem,) = problems_of(
        "layers: [{name: a, type: StackedRNNCells, input_shape: [5], "
        f"config: {{cells: {cells}}}}}]"
    )
    assert problem.partition("config.")[2] == expected


def test_a_part_has_the_dtype_of_the_spec_and_not_of_the_layer_around_it() -> None:
    plan = plan_of("""
seed: 1
dtype: bfloat16
layers:
  - name: a
    type: TimeDistributed
    input_shape: [4, 5]
    config: {dtype: float16, layer: {type: Dense, config: {units: 2}}}
  - name: b
    type: TimeDistributed
    input_shape: [4, 5]
    config: {layer: {type: Dense, config: {units: 2, dtype: float64}}}
  - {name: c, type: LSTM, input_shape: [4, 5], config: {units: 2, dtype: float16}}
""")
    assert {t.layer: t.dtype.name for t in plan.tensors} == {
        "a": "bfloat16",
        "b": "float64",
        "c": "float16",
    }


@pytest.mark.parametrize(
    ("kind", "axis", "expected"),
    [
        ("BatchNormalization", "[1]", "expected one axis, a whole number, got a list of 1"),
        ("GroupNormalization", "[2]", "expected one axis, a whole number, got a list of 1"),
        ("Normalization", "[2, -1]", "expected each axis once, got a list of 2"),
    ],
)
def test_axes_that_keras_refuses(kind: str, axis: str, expected: str) -> None:
    config = f"{{axis: {axis}}}" if kind != "GroupNormalization" else f"{{groups: 1, axis: {axis}}}"
    text = f"layers: [{{name: a, type: {kind}, input_shape: [4, 6], config: {config}}}]"
    (problem,) = problems_of(text)
    assert problem.endswith(f"config.axis: {expected}")


def test_shared_axes_that_keras_refuses() -> None:
    text = "layers: [{name: a, type: PReLU, input_shape: [4, 5, 6], config: {shared_axes: [-3]}}]"
    (problem,) = problems_of(text)
    assert problem.endswith("shared_axes: expected axes from -2 to 3, got a list of 1")


def test_a_model_at_each_step() -> None:
    plan = plan_of("""
seed: 1
params: {d: 3}
layers:
  - name: td
    type: TimeDistributed
    input_shape: [4, 5]
    config:
      layer:
        type: Sequential
        name: step
        layers:
          - {type: Dense, name: one, input_shape: [5], config: {units: d, use_bias: false}}
          - type: Functional
            name: deep
            layers:
              - {type: Dense, name: x, input_shape: [d], config: {units: 2, use_bias: false}}
          - {type: Dense, name: two, input_shape: [2], config: {units: 1, use_bias: false}}
""")
    within = "layers/time_distributed/layer/layers"
    assert [(t.path, t.shape, t.keras_path) for t in plan.tensors] == [
        ("td/step/one/kernel", (5, 3), f"{within}/dense/vars/0"),
        ("td/step/deep/x/kernel", (3, 2), f"{within}/functional/layers/dense/vars/0"),
        ("td/step/two/kernel", (2, 1), f"{within}/dense_1/vars/0"),
    ]


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ("{type: Sequential}", "layer: expected a model with 'layers', a list, got nothing"),
        (
            "{type: Sequential, layers: [{type: Dense, input_shape: 3, config: {units: 2}}]}",
            "layer.layers[0].input_shape: expected a list of sizes without the batch axis, got 3",
        ),
        (
            "{type: Sequential, layers: [{type: Dense, input_shape: [true], config: {units: 2}}]}",
            "layer.layers[0].input_shape[0]: expected a size: a number, an expression or null, "
            "got the boolean true",
        ),
        (
            "{type: Sequential, layers: [{type: Dense, input_shape: [x], config: {units: 2}}]}",
            "layer.layers[0].input_shape[0]: expected an expression with a value, got 'x'; "
            "unknown param 'x'; known: none",
        ),
        (
            "{type: Dense, input_shape: [3], config: {units: 2}}",
            "layer.input_shape: expected a known key, got 'input_shape'",
        ),
    ],
)
def test_models_at_each_step_that_are_wrong(layer: str, expected: str) -> None:
    problem = problems_of(
        "layers: [{name: a, type: TimeDistributed, input_shape: [4, 5], "
        f"config: {{layer: {layer}}}}}]"
    )[0]
    assert problem.partition("config.")[2] == expected
