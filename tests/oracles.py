"""Keras and tf_keras as judges; where one is missing, the tests that need it skip and say so."""

from __future__ import annotations

import os
import warnings
from types import ModuleType

import pytest

# Before the first import: the backend is chosen then, and TensorFlow's C++ is told to be quiet.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def import_oracle(name: str) -> ModuleType:
    """Import a judge, or skip the module that asked for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what libraries say of each other is not judged here
        pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
        module: ModuleType = pytest.importorskip(name, reason=f"{name} is not installed")
    return module
