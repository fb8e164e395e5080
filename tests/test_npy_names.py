"""Tensor paths that are no file names on every system."""

from __future__ import annotations

from pathlib import Path

import pytest

from kinit_cli.engines import get_engine
from kinit_cli.errors import OutputError
from kinit_cli.formats.npy import NpyDirectoryWriter, NpyFileWriter
from kinit_cli.pipeline import Output, generate
from kinit_cli.plan import Plan
from kinit_cli.planner import make_plan
from kinit_cli.spec.load import parse_spec


@pytest.fixture
def plan() -> Plan:
    text = rb"""{seed: 1, layers: [{name: 'a\b', weights: {'k': {shape: [2]}}}]}"""
    return make_plan(parse_spec(text, "test.yaml"))


def test_backslash_is_refused_in_a_directory(plan: Plan, tmp_path: Path) -> None:
    faults = NpyDirectoryWriter().validate(plan)
    assert faults == [r"'a\\b/k' has a '\', which is no part of a file name"]
    output = Output(target=tmp_path / "w", writer=NpyDirectoryWriter())
    with pytest.raises(OutputError, match="no part of a file name"):
        generate(plan, output, engine=get_engine("numpy"), jobs=1)
    assert not list(tmp_path.iterdir())


def test_backslash_does_not_matter_in_one_file(plan: Plan) -> None:
    assert NpyFileWriter().validate(plan) == []
