"""Engines: ways to compute the value stream, all with the same bits."""

from __future__ import annotations

from kinit_cli.engines.registry import ENGINE_NAMES, EngineName, get_engine

__all__ = ["ENGINE_NAMES", "EngineName", "get_engine"]
