"""Every example of docs/stream.md runs, by itself, and its assertions hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "docs" / "stream.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.S | re.M)


def test_the_page_has_its_examples() -> None:
    assert len(EXAMPLES) == 11
    assert all("assert " in example for example in EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"block{i}" for i in range(len(EXAMPLES))])
def test_example(example: str, monkeypatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    exec(compile(example, str(PAGE), "exec"), {"__name__": "example"})
