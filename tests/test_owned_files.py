"""Indexes are anybody's: `--force` removes only what kinit itself would have named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kinit_cli.errors import OutputError
from kinit_cli.formats.atomic import staged
from kinit_cli.formats.owned_files import owned_files


@pytest.mark.parametrize("name", ["model.weights.json", "model.safetensors.index.json"])
@pytest.mark.parametrize(
    "file",
    [
        "thesis.txt",
        "model.safetensors",
        "model-00001-of-00002.safetensors.bak",
        "model_0.weights.h5",
    ],
)
def test_a_directory_whose_index_names_files_of_others_is_never_replaced(
    tmp_path: Path, name: str, file: str
) -> None:
    target = tmp_path / "w"
    target.mkdir()
    index = {"metadata": {"kinit": '{"kinit": 1}'}, "weight_map": {"a": file, "b": [file]}}
    (target / name).write_text(json.dumps(index))
    (target / file).write_text("precious")
    with pytest.raises(OutputError, match="which kinit did not write"):
        staged(target, is_directory=True, force=True).__enter__()
    assert (target / file).read_text() == "precious"


@pytest.mark.parametrize(
    ("name", "shards"),
    [
        ("model.weights.json", ["model_00000.weights.h5", "model_100000.weights.h5"]),
        (
            "model.safetensors.index.json",
            ["model-00001-of-00002.safetensors", "model-100000-of-100000.safetensors"],
        ),
    ],
)
def test_shards_that_kinit_names_are_its_own(tmp_path: Path, name: str, shards: list[str]) -> None:
    index = {"metadata": {"kinit": '{"kinit": 1}'}, "weight_map": {"a": shards[0], "b": shards}}
    (tmp_path / name).write_text(json.dumps(index))
    assert owned_files(tmp_path) == {name, *shards}
