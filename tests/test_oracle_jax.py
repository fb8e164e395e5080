"""JAX as the judge of delta_orthogonal's structure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from spec_texts import one_weight, problems_of, tensor_of, values_of

import kinit_cli

jax = pytest.importorskip("jax", reason="JAX is not installed")

pytestmark = pytest.mark.oracle

SHAPES = [(3, 4, 6), (4, 2, 2), (3, 3, 4, 5), (2, 5, 1, 4), (3, 2, 4, 3, 3)]


@pytest.mark.parametrize("scale", [1.0, -2.5])
@pytest.mark.parametrize("shape", SHAPES)
def test_delta_orthogonal(shape: tuple[int, ...], scale: float) -> None:
    made = jax.nn.initializers.delta_orthogonal(scale=scale)(jax.random.key(1), shape)
    expected = np.asarray(made, dtype=np.float64)
    tensor = tensor_of({"delta_orthogonal": {"scale": scale}}, str(list(shape)), dtype="float64")
    found = values_of(tensor)
    # The same places are filled, and what is there has the same Gram matrix.
    where = np.argwhere(np.abs(expected).sum(axis=(-1, -2)) > 0)
    assert where.tolist() == np.argwhere(np.abs(found).sum(axis=(-1, -2)) > 0).tolist()
    (middle,) = where
    for values, atol in ((expected, 1e-5), (found, 1e-10)):
        matrix = values[tuple(middle)]
        np.testing.assert_allclose(matrix @ matrix.T, scale**2 * np.eye(shape[-2]), atol=atol)


@pytest.mark.parametrize("shape", [(4, 4), (3, 5, 4), (1, 1, 1, 1, 2, 2)])
def test_what_jax_refuses(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"requires a 3D|must be less"):
        jax.nn.initializers.delta_orthogonal()(jax.random.key(1), shape)
    assert len(problems_of(one_weight(f"shape: {list(shape)}, initializer: delta_orthogonal"))) == 1


@pytest.mark.parametrize("out", ["w.safetensors", "w.npz"])
def test_jax_loads_the_file(tmp_path: Path, out: str) -> None:
    weights = {
        "kernel": {"shape": [30, 20], "initializer": "he_normal"},
        "half": {"shape": [7], "dtype": "float16", "initializer": "random_uniform"},
    }
    if out.endswith("safetensors"):
        weights["brain"] = {"shape": [9, 4], "dtype": "bfloat16", "initializer": "random_normal"}
    spec = {"seed": 4, "layers": [{"name": "a", "weights": weights}]}
    kinit_cli.generate(spec, tmp_path / out)
    if out.endswith("npz"):
        loaded = dict(jax.numpy.load(tmp_path / out))
    else:
        library = pytest.importorskip("safetensors.flax", reason="safetensors is not installed")
        loaded = library.load_file(tmp_path / out)
    expected = kinit_cli.arrays(spec)
    for path, values in expected.items():
        found = jax.numpy.asarray(loaded.pop(path.replace("/", ".")))
        assert (found.shape, found.dtype) == (values.shape, values.dtype)
        assert np.asarray(found).tobytes() == values.tobytes()
    assert set(loaded) <= {"kinit.json"}
