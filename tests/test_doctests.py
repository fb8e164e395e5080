"""Every example in a docstring gives what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from types import ModuleType

import pytest

import kinit_cli

#: Their docstrings are read only where the library that they need is installed.
_OPTIONAL = {"kinit_cli.integrations.keras": "keras", "kinit_cli.engines.tensorflow": "tensorflow"}


def modules() -> list[str]:
    found = pkgutil.walk_packages(kinit_cli.__path__, "kinit_cli.")
    return sorted(module.name for module in found if module.name != "kinit_cli.__main__")


def load(name: str) -> ModuleType:
    if name in _OPTIONAL:
        pytest.importorskip(_OPTIONAL[name], reason=f"{_OPTIONAL[name]} is not installed")
    return importlib.import_module(name)


@pytest.mark.parametrize("name", modules())
def test_examples(name: str) -> None:
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    result = doctest.testmod(load(name), optionflags=options, raise_on_error=False)
    assert not result.failed, f"{result.failed} of {result.attempted} examples: see the output"


def test_there_are_examples_of_the_public_functions() -> None:
    finder = doctest.DocTestFinder()
    for name in ("tensor", "arrays", "generate"):
        (found,) = (test for test in finder.find(getattr(kinit_cli, name), name))
        assert found.examples
