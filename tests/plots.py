"""What the tests of pictures share."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from test_panels import tensor_of

from kinit_cli.draw import Normal
from kinit_cli.summary import FileSummary, TensorSummary

SPEC = """\
seed: 3
layers:
  - repeat: 3
    layers:
      - name: "block_{i}/mlp"
        weights:
          kernel: {shape: [40, 50], initializer: {random_normal: {stddev: 0.5}}}
          bias: {shape: [50]}
  - name: head
    weights:
      kernel: {shape: [50, 10]}
      empty: {shape: [0, 3]}
"""
NAMES = [
    "$x_1^2$ \\alpha",
    "a<b>&\"c'",
    "\x1b[31m\n\x00",
    "中文 🎉",
    "[bold]",
    "x" * 3000,
    "_",
    "$",
]


def summary_of(*tensors: TensorSummary) -> FileSummary:
    return FileSummary(
        source="some/w.h5",
        format="hdf5",
        layout="flat",
        tensors=tensors,
        n_parameters=0,
        n_bytes=0,
        seconds=0.0,
    )


def normals(*paths: str, size: int = 100) -> list[TensorSummary]:
    rng = np.random.default_rng(0)
    draw = Normal(mean=0.0, stddev=1.0)
    return [tensor_of(rng.standard_normal(size).astype("f4"), draw, path) for path in paths]


class Page(HTMLParser):
    """What is in an HTML page: tags that are all closed, texts, and every attribute."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data))

    def of(self, tag: str) -> list[str]:
        return [text for where, text in self.texts if where == tag]

    def values(self, tag: str, name: str) -> list[str]:
        return [v or "" for t, n, v in self.attributes if (t, n) == (tag, name)]


def points_of(text: str) -> list[tuple[float, float]]:
    pairs = (pair.split(",") for pair in text.strip("MZ").split())
    return [(float(x), float(y)) for x, y in pairs]


def svg_texts(path: Path) -> list[str]:
    return [element.text or "" for element in ET.parse(path).iter() if element.tag.endswith("text")]
