"""The value stream: what every element of every tensor is (docs/stream.md)."""

from __future__ import annotations

#: Changes whenever any bit of any value changes; stored in every file.
STREAM_VERSION = 1

__all__ = ["STREAM_VERSION"]
