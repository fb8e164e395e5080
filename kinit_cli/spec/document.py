"""Read YAML 1.2 or JSON into plain data, strictly, with the place of every node.

Nothing in a spec can run code or grow without bound: only plain tags are accepted, a cycle of
aliases is refused, and what aliases repeat is counted against `MAX_ALIASED_NODES`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from kinit_cli.errors import Place, Problem, SpecError
from kinit_cli.spec.json_places import JsonSourceMap
from kinit_cli.spec.problems import ProblemList, SourceMap, TreePath, fmt_value

MAX_BYTES = 64 * 2**20
MAX_ALIASED_NODES = 100_000
MAX_DEPTH = 64
#: Lists and mappings; of a million tensors each is said in fewer than ten.
MAX_NODES = 10_000_000

#: What the YAML reader lets out on malformed directives, escapes and tagged scalars.
_READER_FAULTS = (ValueError, IndexError, KeyError, AttributeError, TypeError, AssertionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A spec's text as plain data (dict, list, str, int, float, bool, None).

    Attributes
    ----------
    problems : ProblemList
        What is wrong with single nodes (a repeated key, a foreign tag); each such node has been
        given a harmless value, so that the rest can be checked too. Knows all places.
    """

    data: Any
    problems: ProblemList


def parse_document(raw: bytes, source: str) -> Document:
    """Parse the bytes of a spec.

    JSON when `source` ends in ``.json`` or the text is JSON, else YAML 1.2.

    Raises
    ------
    SpecError
        Not UTF-8, empty, too large, bad syntax, more than one document, alias bombs.
    """
    text = _decode(raw, source)
    if not text.strip():
        _refuse_empty(source)
    # Two bytes make a list, which takes 56 or more once it is read.
    if text.count("[") + text.count("{") > MAX_NODES:
        _refuse(source, f"at most {MAX_NODES:,} lists and mappings", "more")
    is_json_file = source.lower().endswith(".json")
    if is_json_file or text.lstrip()[:1] in "{[":
        try:
            return _parse_json(text, source)
        except json.JSONDecodeError as error:
            if is_json_file:
                place = Place(source=source, line=error.lineno, column=error.colno)
                _refuse_at(place, "JSON", error.msg)
    return _parse_yaml(text, source)


def clean_data(data: Any, problems: ProblemList) -> Any:
    """Note what no spec can hold, and copy the data with harmless values in its place.

    That is NaN, infinities and whole numbers beyond float64, texts that UTF-8 cannot write, and
    nesting deeper than `MAX_DEPTH`.
    """
    return _cleaned(data, (), problems)


def _decode(raw: bytes, source: str) -> str:
    if len(raw) > MAX_BYTES:
        _refuse(source, f"at most {MAX_BYTES} bytes", f"{len(raw)} bytes", "use repeat and params")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # `error.object` is `raw` without its byte order mark.
        offset = len(raw) - len(error.object) + error.start
        got = f"byte 0x{raw[offset]:02x} at offset {offset}"
        _refuse(source, "UTF-8 text", got, "save the file as UTF-8")


# --- JSON ---------------------------------------------------------------------------------


def _parse_json(text: str, source: str) -> Document:
    is_repeated = False

    def note_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal is_repeated
        result = dict(pairs)
        is_repeated |= len(result) < len(pairs)
        return result

    try:
        data = json.loads(text, object_pairs_hook=note_repeated_keys)
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError):
        # JSON but for endless digits or nesting: the other reader says where.
        return _parse_yaml(text.replace("\t", " "), source)
    source_map = JsonSourceMap(text, source)
    problems = ProblemList(source_map)
    if is_repeated:
        for path, first in source_map.iter_repeated_keys():
            _add_repeated_key(path, first, problems)
    return Document(data=data, problems=problems)


# --- YAML ---------------------------------------------------------------------------------


def _parse_yaml(text: str, source: str) -> Document:
    builder = _Builder(source)
    data = builder.build(_compose(text, source), ())
    return Document(data=data, problems=builder.problems)


def _compose(text: str, source: str) -> Any:
    """Give the root node of a text that is one YAML 1.2 document."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    yaml = YAML(typ="safe", pure=True)
    try:
        nodes = list(_compose_all(yaml, text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(source=source) if mark is None else _place(mark, source)
        _refuse_at(place, "YAML 1.2 or JSON", error.problem or "bad syntax")
    except (YAMLError, *_READER_FAULTS) as error:
        place = _place(yaml.reader, source)
        if hasattr(error, "position"):  # of a character that the reader refused to begin with
            place = _place_of(text, error.position, source)
        _refuse_at(place, "YAML 1.2 or JSON", _first_line(error))
    except RecursionError:
        _refuse(source, f"at most {MAX_DEPTH} levels", "deeper nesting")
    version = yaml.doc_infos[-1].doc_version
    if version is not None and (version.major, version.minor) != (1, 2):
        place = _place_of(text, text.index("%YAML"), source)
        got = f"YAML {version.major}.{version.minor}"
        _refuse_at(place, "YAML 1.2", got, "remove the %YAML directive")
    if not nodes:
        _refuse_empty(source)
    if len(nodes) > 1:
        _refuse(source, "one document", f"{len(nodes)} documents", "split the file at '---'")
    return nodes[0]


def _compose_all(yaml: Any, text: str) -> Iterator[Any]:
    from ruamel.yaml.docinfo import DocInfo

    yaml.doc_infos.append(DocInfo())  # what a %YAML directive is written to
    yaml.composer.warn_double_anchors = False  # YAML 1.2 lets an anchor be set again
    _, parser = yaml.get_constructor_parser(text)
    try:
        while yaml.composer.check_node():
            yield yaml.composer.get_node()
    finally:
        parser.dispose()


class _Builder:
    """Turns YAML nodes into plain data, noting places and collecting problems."""

    def __init__(self, source: str) -> None:
        from ruamel.yaml import YAML

        self._constructor = YAML(typ="safe", pure=True).constructor
        self._nodes: dict[TreePath, Place] = {}
        self._keys: dict[TreePath, Place] = {}
        self.source_map = SourceMap(source=source, nodes=self._nodes, keys=self._keys)
        self.problems = ProblemList(self.source_map)
        self._open: set[int] = set()
        self._seen: set[int] = set()
        self._n_aliased = 0

    def build(self, node: Any, path: TreePath) -> Any:
        self._nodes[path] = _place(node.start_mark, self.source_map.source)
        self._guard(node, path)
        self._open.add(id(node))
        try:
            return self._value(node, path)
        finally:
            self._open.discard(id(node))

    def _guard(self, node: Any, path: TreePath) -> None:
        if id(node) in self._open:
            self._stop(path, "a tree", "an alias to its own parent")
        if len(path) > MAX_DEPTH:
            self._stop(path[:8], f"at most {MAX_DEPTH} levels", "deeper nesting")
        if id(node) in self._seen:
            self._n_aliased += 1
            if self._n_aliased > MAX_ALIASED_NODES:
                self._stop(
                    path,
                    f"aliases that repeat at most {MAX_ALIASED_NODES} nodes",
                    "more",
                    "use repeat",
                )
        self._seen.add(id(node))

    def _stop(self, path: TreePath, expected: str, got: str, hint: str = "") -> NoReturn:
        self.problems.add(path, expected, got, hint)
        self.problems.fail()

    def _value(self, node: Any, path: TreePath) -> Any:
        kind = type(node).__name__
        tag = str(node.tag).removeprefix("tag:yaml.org,2002:")
        if kind == "MappingNode" and tag == "map":
            return self._mapping(node, path)
        if kind == "SequenceNode" and tag == "seq":
            return [self.build(item, (*path, i)) for i, item in enumerate(node.value)]
        if kind == "ScalarNode":
            return self._scalar(node, tag, path)
        return self._refuse_tag(node, path)

    def _refuse_tag(self, node: Any, path: TreePath) -> None:
        self.problems.add(path, "plain YAML", f"the tag {fmt_value(str(node.tag))}", "remove it")
        self.problems.silence(path)

    def _mapping(self, node: Any, path: TreePath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        first_places: dict[str, Place] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            key_path = (*path, key)
            place = _place(key_node.start_mark, self.source_map.source)
            self._keys[key_path] = place
            if first_places.setdefault(key, place) is place:
                result[key] = self.build(value_node, key_path)
            else:
                _add_repeated_key(key_path, first_places[key], self.problems)
        return result

    def _key(self, node: Any, path: TreePath) -> str | None:
        if type(node).__name__ == "ScalarNode":
            # A key is its text: layers may well be named 1, yes or null.
            return _text(node)
        key_path = (*path, "?")
        self._nodes[key_path] = _place(node.start_mark, self.source_map.source)
        self.problems.add(key_path, "a text as key", "a list or mapping as key")
        return None

    def _scalar(self, node: Any, tag: str, path: TreePath) -> Any:
        if tag in ("str", "timestamp", "merge", "value"):
            return _text(node)
        if tag not in ("int", "float", "bool", "null"):
            return self._refuse_tag(node, path)
        try:
            return getattr(self._constructor, f"construct_yaml_{tag}")(node)
        except _READER_FAULTS:
            self.problems.add(path, f"a valid {tag}", fmt_value(node.value))
            self.problems.silence(path)
            return None


def _text(node: Any) -> str:
    """Give a scalar's text, joining the pairs by which JSON escapes characters above U+FFFF."""
    text = str(node.value)
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


# --- shared -------------------------------------------------------------------------------


def _cleaned(data: Any, path: TreePath, problems: ProblemList) -> Any:
    if len(path) > MAX_DEPTH:
        problems.add(path[:8], f"at most {MAX_DEPTH} levels", "deeper nesting")
        problems.silence(path)
        return None
    if isinstance(data, dict):
        return {
            key: _cleaned(value, (*path, key), problems)
            for key, value in data.items()
            if _is_utf8(key, (*path, key), problems, is_key=True)
        }
    if isinstance(data, list):
        return [_cleaned(value, (*path, i), problems) for i, value in enumerate(data)]
    if data is not None and not isinstance(data, bool | int | float | str):
        problems.add(path, "plain data, as in a file", f"an object of {type(data).__name__}")
        problems.silence(path)
        return None
    if isinstance(data, str):
        return data if _is_utf8(data, path, problems) else ""
    if isinstance(data, int | float) and not abs(data) <= sys.float_info.max:
        got = fmt_value(data) if isinstance(data, float) else f"one of {data.bit_length()} bits"
        problems.add(path, "a finite number that float64 can hold", got)
        problems.silence(path)
        return 1
    return data


def _is_utf8(text: Any, path: TreePath, problems: ProblemList, *, is_key: bool = False) -> bool:
    if not isinstance(text, str):
        problems.add(path[:-1], "texts as keys", fmt_value(text), is_key=True)
        return False
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        problems.add(path, "Unicode text", fmt_value(text), "half a surrogate pair", is_key=is_key)
        problems.silence(path)
        return False
    return True


def _add_repeated_key(path: TreePath, first: Place, problems: ProblemList) -> None:
    got, hint = f"{fmt_value(path[-1])} again", f"it stands first in line {first.line}"
    problems.add(path, "each key once", got, hint, is_key=True)


def _place(mark: Any, source: str) -> Place:
    return Place(source=source, line=mark.line + 1, column=mark.column + 1)


def _place_of(text: str, offset: int, source: str) -> Place:
    line_start = text.rfind("\n", 0, offset) + 1
    line = text.count("\n", 0, offset) + 1
    return Place(source=source, line=line, column=offset - line_start + 1)


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]


def _refuse_empty(source: str) -> NoReturn:
    _refuse(source, "a model spec", "an empty file", "see docs/spec.md for a first spec")


def _refuse(source: str, expected: str, got: str, hint: str = "") -> NoReturn:
    _refuse_at(Place(source=source), expected, got, hint)


def _refuse_at(place: Place, expected: str, got: str, hint: str = "") -> NoReturn:
    raise SpecError([Problem(place=place, tree_path="", expected=expected, got=got, hint=hint)])
