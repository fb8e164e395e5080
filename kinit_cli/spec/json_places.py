"""Places in a JSON text, which Python's JSON reader is fast but does not keep."""

from __future__ import annotations

import bisect
import json
import re
from collections.abc import Iterator

from kinit_cli.errors import Place
from kinit_cli.spec.problems import SourceMap, TreePath

#: A string, a bracket or mark, or a number or word; of JSON that is known to be sound.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


class JsonSourceMap(SourceMap):
    """Places in a JSON text, found when the first one is asked for: only a message needs them."""

    def __init__(self, text: str, source: str) -> None:
        super().__init__(source=source, nodes={}, keys={})
        object.__setattr__(self, "_unread", text)

    def find(self, path: TreePath, *, is_key: bool = False) -> Place:
        """Give the place of the node at `path`, or of its key."""
        for _ in self.iter_repeated_keys():
            pass
        return SourceMap.find(self, path, is_key=is_key)

    def iter_repeated_keys(self) -> Iterator[tuple[TreePath, Place]]:
        """Read the text, if it has not been read.

        Yields
        ------
        (tree path of a repeated key, place of the first), the key's own place being known
        """
        text: str = self._unread  # type: ignore[attr-defined]
        object.__setattr__(self, "_unread", "")
        return _map_json(text, self.source, self.nodes, self.keys)  # type: ignore[arg-type]


def _map_json(
    text: str, source: str, nodes: dict[TreePath, Place], keys: dict[TreePath, Place]
) -> Iterator[tuple[TreePath, Place]]:
    line_starts = [0, *(match.end() for match in re.finditer("\n", text))]
    first_places: dict[TreePath, Place] = {}
    # Leads to the node that comes next; None, at the end, where its key comes before it.
    path: list[str | int | None] = []
    for match in _TOKEN.finditer(text):
        token, offset = match.group(), match.start()
        line = bisect.bisect(line_starts, offset)
        place = Place(source=source, line=line, column=offset - line_starts[line - 1] + 1)
        if token in ("}", "]"):
            path.pop()
        elif token == ",":
            last = path[-1]
            path[-1] = last + 1 if isinstance(last, int) else None
        elif path and path[-1] is None:
            path[-1] = json.loads(token)
            key = tuple(part for part in path if part is not None)
            keys[key] = place
            if first_places.setdefault(key, place) is not place:
                yield key, first_places[key]
        elif token != ":":
            nodes[tuple(part for part in path if part is not None)] = place
            if token in ("{", "["):
                path.append(None if token == "{" else 0)
