"""Where Keras looks for a layer's variables in a ``.weights.h5`` file.

There a layer goes by its class and not by its name: ``dense``, then ``dense_1``, counted within
the model that holds it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

#: A variable's place in a ``.weights.h5`` file.
KERAS_PLACE = re.compile(r"(?:([^/]+/)*[^/]+/)?vars/(0|[1-9][0-9]{0,8})")

_BEFORE_WORD = re.compile(r"(.)([A-Z][a-z]+)")
_BEFORE_CAPITAL = re.compile(r"([a-z])([A-Z])")


def snake_case(class_name: str) -> str:
    """Write a class name as Keras does.

    >>> [snake_case(name) for name in ("Conv2DTranspose", "PReLU", "LSTM", "RMSNormalization")]
    ['conv2d_transpose', 'p_re_lu', 'lstm', 'rms_normalization']
    """
    text = re.sub(r"\W+", "", class_name)
    text = _BEFORE_WORD.sub(r"\1_\2", text)
    return _BEFORE_CAPITAL.sub(r"\1_\2", text).lower()


class KerasPaths:
    """Counts layers by class, within each model anew."""

    def __init__(self) -> None:
        self._prefix = "layers"
        self._counts: Counter[str] = Counter()

    def add(self, class_name: str) -> str:
        """Give the path of the next layer of a class."""
        name = snake_case(class_name)
        count = self._counts[name]
        self._counts[name] += 1
        return f"{self._prefix}/{name}_{count}" if count else f"{self._prefix}/{name}"

    @contextmanager
    def within(self, class_name: str) -> Iterator[None]:
        """Let the next layers be those of a model within the model."""
        outer = self._prefix, self._counts
        self._prefix, self._counts = f"{self.add(class_name)}/layers", Counter()
        try:
            yield
        finally:
            self._prefix, self._counts = outer
