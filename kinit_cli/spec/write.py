"""Write a spec's document as YAML that people read and edit."""

from __future__ import annotations

import io
from typing import Any

_WIDTH = 100
#: Mappings and lists that have a line for each item.
_BLOCKS = ("layers", "weights", "defaults", "params")


def spec_text(document: dict[str, Any], comment: str) -> str:
    """Give YAML 1.2 that reads as the same document, a weight or a layer's config in one line.

    Parameters
    ----------
    comment : str
        Lines that are put before it.
    """
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = _WIDTH
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(_laid_out({"kinit": 1, **document}), stream)
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    return "\n".join((*lines, stream.getvalue()))


def _laid_out(node: Any, *, is_flow: bool = False) -> Any:
    """Copy plain data for the YAML writer, everything but `_BLOCKS` in one line."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    made: Any
    if isinstance(node, dict):
        made = CommentedMap()
        for key, value in node.items():
            made[key] = _laid_out(value, is_flow=is_flow or key not in _BLOCKS)
    elif isinstance(node, list):
        made = CommentedSeq(_laid_out(item, is_flow=is_flow) for item in node)
    else:
        return node
    if is_flow:
        made.fa.set_flow_style()
    else:
        made.fa.set_block_style()
    return made
