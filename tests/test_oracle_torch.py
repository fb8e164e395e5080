"""PyTorch as the judge of its own names: scales, structure, exact values."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spec_texts import one_weight, plan_of, values_of

from kinit_cli.draw import Draw, Normal, Uniform
from kinit_cli.initializers.registry import INITIALIZER_TYPES
from kinit_cli.initializers.torch_scaling import NONLINEARITIES, calculate_gain
from kinit_cli.plan import TensorPlan

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
init = torch.nn.init

pytestmark = pytest.mark.oracle

SCALING = ("kaiming_uniform", "kaiming_normal", "xavier_uniform", "xavier_normal")
SHAPES = st.lists(st.integers(1, 40), min_size=2, max_size=5)


def planned(name: str, arguments: dict[str, Any], shape: Any, dtype: str = "float32") -> TensorPlan:
    weight = f"shape: {list(shape)}, initializer: {json.dumps({name: arguments})}, dtype: {dtype}"
    return plan_of(one_weight(weight, "layout: torch\nseed: 1")).tensors[0]


def draw_by_torch(name: str, arguments: dict[str, Any], shape: list[int]) -> Draw:
    """Give the distribution that PyTorch asks a tensor for."""
    calls: list[Draw] = []

    def uniform(tensor: Any, a: float, b: float, generator: Any = None) -> Any:
        calls.append(Uniform(minval=a, maxval=b))
        return tensor

    def normal(tensor: Any, mean: float, std: float, generator: Any = None) -> Any:
        calls.append(Normal(mean=float(mean), stddev=std))
        return tensor

    tensor = torch.empty(shape)
    # Some functions call a tensor's method, some a helper of the module.
    with (
        mock.patch.object(torch.Tensor, "uniform_", uniform),
        mock.patch.object(torch.Tensor, "normal_", normal),
    ):
        getattr(init, f"{name}_")(tensor, **arguments)
    (call,) = calls
    return call


def test_every_name_is_one_of_torchs() -> None:
    names = [name for kind in INITIALIZER_TYPES if kind.library == "torch" for name in kind.names]
    assert names
    assert [name for name in names if name.endswith("_") and not hasattr(init, name)] == []


@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
def test_gains(nonlinearity: str) -> None:
    for slope in (0.0, 0.01, 0.2, -3.5):
        assert calculate_gain(nonlinearity, slope) == init.calculate_gain(nonlinearity, slope)


@given(SHAPES, st.floats(-10, 10), st.sampled_from(["fan_in", "fan_out"]), st.data())
def test_kaiming(shape: list[int], a: float, mode: str, data: st.DataObject) -> None:
    arguments = {"a": a, "mode": mode, "nonlinearity": data.draw(st.sampled_from(NONLINEARITIES))}
    for name in SCALING[:2]:
        assert planned(name, arguments, shape).draw == draw_by_torch(name, arguments, shape)


@given(SHAPES, st.floats(0.01, 100))
def test_xavier(shape: list[int], gain: float) -> None:
    for name in SCALING[2:]:
        found = planned(name, {"gain": gain}, shape).draw
        assert found == draw_by_torch(name, {"gain": gain}, shape)


@pytest.mark.parametrize("name", SCALING)
def test_the_defaults(name: str) -> None:
    assert planned(name, {}, [7, 3, 2]).draw == draw_by_torch(name, {}, [7, 3, 2])


# --- exact values -------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 6), min_size=3, max_size=5), st.integers(1, 4))
def test_dirac(shape: list[int], groups: int) -> None:
    shape[0] *= groups
    expected = init.dirac_(torch.empty(shape), groups).numpy()
    found = values_of(planned("dirac", {"groups": groups}, shape))
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (5, 2), (1, 1)])
def test_eye(shape: tuple[int, int]) -> None:
    expected = init.eye_(torch.empty(shape)).numpy()
    assert values_of(planned("eye", {}, shape)).tobytes() == expected.tobytes()


# --- structure ----------------------------------------------------------------------------------


@given(st.integers(1, 30), st.integers(1, 20), st.floats(0, 1))
def test_sparse_has_as_many_zeros_in_each_column(rows: int, cols: int, sparsity: float) -> None:
    expected = init.sparse_(torch.empty(rows, cols), sparsity).numpy()
    found = values_of(planned("sparse", {"sparsity": sparsity}, (rows, cols)))
    assert (found == 0).sum(axis=0).tolist() == (expected == 0).sum(axis=0).tolist()


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (3, 4, 5), (40, 3, 2, 2)])
@pytest.mark.parametrize("gain", [1.0, 2.5])
def test_orthogonal_is_so_after_the_same_flattening(shape: tuple[int, ...], gain: float) -> None:
    expected = init.orthogonal_(torch.empty(shape, dtype=torch.float64), gain).numpy()
    found = values_of(planned("orthogonal_", {"gain": gain}, shape, "float64"))
    for values in (expected, found):
        matrix = values.reshape(shape[0], -1)
        gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
        np.testing.assert_allclose(gram, gain**2 * np.eye(len(gram)), atol=1e-10)


@pytest.mark.parametrize(("a", "b"), [(-2.0, 2.0), (-0.1, 3.0), (0.5, 0.75), (1.5, 100.0)])
def test_trunc_normal_has_the_same_distribution(a: float, b: float) -> None:
    stats = pytest.importorskip("scipy.stats", reason="SciPy is not installed")
    torch.manual_seed(1)
    expected = init.trunc_normal_(torch.empty(20_000), a=a, b=b).numpy()
    found = values_of(planned("trunc_normal", {"a": a, "b": b}, (20_000,)))
    for values in (expected, found):
        assert a <= values.min() < values.max() <= b
    # One seed in ten thousand gives less.
    assert stats.ks_2samp(found, expected).pvalue > 1e-4
