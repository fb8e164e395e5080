"""The examples run as their pages say, and do what their docstrings promise."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY / "scripts"))

import doc_pages  # noqa: E402

from kinit_cli.planner import make_plan  # noqa: E402
from kinit_cli.spec.load import load_spec  # noqa: E402

EXAMPLE = REPOSITORY / "examples" / "custom_initializer"


@pytest.fixture
def spectral(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("spectral", EXAMPLE / "spectral.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "spectral", module)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_custom_initializers_is_true(tmp_path: Path) -> None:
    folder = tmp_path / "example"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    session = doc_pages.Session(folder)
    blocks = doc_pages.parse_blocks((EXAMPLE / "README.md").read_text("utf-8"))
    assert [block.words for block in blocks] == 3 * [("console",)] + [("python",)]
    for block in blocks:
        session.run(block)


def test_once_installed_its_names_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spectral: ModuleType
) -> None:
    """The entry points of its pyproject.toml are what an installer would write."""
    project = (EXAMPLE / "pyproject.toml").read_text("utf-8")
    group = project.partition('[project.entry-points."kinit.initializers"]\n')[2]
    points = re.findall(r'^(\w+) = "([\w.:]+)"$', group.partition("\n\n")[0], re.M)
    assert len(points) == 2
    info = tmp_path / "kinit_example_spectral-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kinit-example\nVersion: 1.0\n")
    lines = "".join(f"{name} = {value}\n" for name, value in points)
    (info / "entry_points.txt").write_text(f"[kinit.initializers]\n{lines}")
    monkeypatch.syspath_prepend(tmp_path)
    plan = make_plan(load_spec(EXAMPLE / "spec.yaml"))
    assert [tensor.initializer_config()["class_name"] for tensor in plan.tensors] == [
        "power_law",
        "Zeros",
        "SpectralNormal",
        "SpectralNormal",
    ]


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (3, 3, 2, 5), (1, 1)])
def test_the_singular_values_are_those_asked_for(
    spectral: ModuleType, shape: tuple[int, ...]
) -> None:
    matrix = spectral.power_law(shape, "float64", exponent=2.0, seed=1)
    assert matrix.shape == shape
    found = np.linalg.svd(matrix.reshape(-1, shape[-1]), compute_uv=False)
    np.testing.assert_allclose(found, np.arange(1.0, len(found) + 1) ** -2, atol=1e-14)
    normal = spectral.SpectralNormal(norm=3.0, seed=1)(shape, "float64")
    assert np.linalg.norm(normal.reshape(-1, shape[-1]), 2) == pytest.approx(3.0)


def test_the_directions_are_uniform(spectral: ModuleType) -> None:
    """The mean of x x^T over the first left direction x is I / n, within 5 sigma."""
    n, n_draws = 4, 4000
    firsts = [spectral.power_law((n, 1), "float64", seed=seed)[:, 0] for seed in range(n_draws)]
    mean = np.mean([np.outer(x, x) for x in firsts], axis=0)
    # Var(x_i^2) = 2 (n - 1) / (n^2 (n + 2)), the largest of any element.
    sigma = np.sqrt(2 * (n - 1) / (n**2 * (n + 2)) / n_draws)
    np.testing.assert_allclose(mean, np.eye(n) / n, atol=5 * sigma)
    np.testing.assert_allclose(np.mean(firsts, axis=0), 0, atol=5 * np.sqrt(1 / n / n_draws))
