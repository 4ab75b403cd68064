"""Edits of YAML or JSON text that leave every other byte alone, and what undoes them. Pure.

Only whole lines are added, always before something that was there, and single scalars are replaced; so that
the text without them is the text from before. A path is the keys and positions from a document's top.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from advisor.errors import ConfigurationError

Path: TypeAlias = tuple[str | int, ...]
Undo: TypeAlias = list[Any]  # ["-", path] take it out · ["=", path, text] as it was · ["0", path] no value

_NULL = "tag:yaml.org,2002:null"


class _Words(yaml.BaseLoader):
    """Scalars as text, but nothing where there is nothing; a key stands once: an edit means one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As it is written."""
        seen = Counter(str(key.value) for key, _ in node.value)
        for key, _ in node.value:
            if seen[str(key.value)] > 1:
                problem = f"the key '{key.value}' stands there twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found

    def construct_scalar(self, node: yaml.ScalarNode) -> Any:
        """None or text."""
        return None if node.tag == _NULL else super().construct_scalar(node)


@dataclass(frozen=True, slots=True)
class Edit:
    """`text` in place of what stands from `start` to `end`."""

    start: int
    end: int
    text: str


def apply(text: str, edits: Sequence[Edit]) -> str:
    """The text with all of them; they do not overlap."""
    for edit in sorted(edits, key=lambda e: (e.start, e.end), reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


class Document:
    """One document of a stream: its nodes, and the text of the whole stream in which they stand."""

    def __init__(self, text: str, root: yaml.Node, name: str) -> None:
        self.text = text
        self.root = root
        self._name = name
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self._aliased = _aliased(root)

    # ------------------------------------------------------------------------------------------- reading

    def at(self, path: Path) -> yaml.Node | None:
        """The node there."""
        node: yaml.Node | None = self.root
        for part in path:
            node = self._child(node, part)
        return node

    def value(self, path: Path = ()) -> Any:
        """What stands there as mappings, lists and text; a number too is text. None without it."""
        node = self.at(path)
        if node is None or node.tag == _NULL:
            return None
        return _Words("").construct_document(node)

    def error(self, path: Path, why: str, mark: yaml.Mark | None = None) -> ConfigurationError:
        """With the file and the line: of the mark, else of the nearest thing that is there."""
        node, line = self.root, (mark or self.root.start_mark).line
        for part in path:
            inner = self._child(node, part)
            if inner is None:
                break
            keys = [k for k, _ in node.value if k.value == part] if isinstance(node, yaml.MappingNode) else []
            node, line = inner, (keys or [inner])[0].start_mark.line
        return ConfigurationError(f"{self._name}:{line + 1}: {why}")

    # ------------------------------------------------------------------------------------------- editing

    def replace(self, path: Path, new: str) -> tuple[list[Edit], list[Undo]]:
        """Another scalar, as it is written."""
        node = self._own(path)
        old = self.text[node.start_mark.index : node.end_mark.index]
        return [Edit(node.start_mark.index, node.end_mark.index, new)], [["=", list(path), old]]

    def merge(
        self, path: Path, addition: Mapping[str, Any], before: str | None = None
    ) -> tuple[list[Edit], list[Undo]]:
        """Add keys to the mapping there: mappings are merged, lists get their new items first, and a scalar
        that is there stays.

        Raises:
            ConfigurationError: the text is written in a way that cannot be added to; says where.
        """
        node = self._own(path)
        if node.tag == _NULL:
            return self._fill(path, node, addition)
        if not isinstance(node, yaml.MappingNode):
            raise self.error(path, f"'{path[-1]}' should be a mapping")
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise self.error(path, "a mapping with '<<' cannot be added to: write its keys out")
        edits: list[Edit] = []
        undo: list[Undo] = []
        new: dict[str, Any] = {}
        for key, value in addition.items():
            there = self._child(node, key)
            if there is None:
                new[key] = value
            elif isinstance(value, Mapping):
                more = self.merge((*path, key), value)
                edits, undo = edits + more[0], undo + more[1]
            elif isinstance(value, list):
                more = self._insert_items((*path, key), value)
                edits, undo = edits + more[0], undo + more[1]
        if new:
            edits.append(self._insert_keys(path, node, new, before))
            undo += [["-", [*path, key]] for key in new]
        return edits, undo

    def undone(self, undo: Undo) -> Edit:
        """The edit that takes one of the edits back.

        Raises:
            ConfigurationError: what it put there is not there any more.
        """
        kind, path = undo[0], tuple(undo[1])
        node = self.at(path)
        if node is None:
            raise self.error(path, f"{'.'.join(map(str, path))} was added and is not there any more")
        if kind == "=":
            return Edit(node.start_mark.index, node.end_mark.index, str(undo[2]))
        if kind == "0":
            return Edit(node.start_mark.index - 1, node.end_mark.index, "")
        return self._without(path, node)

    # ------------------------------------------------------------------------------------------ inwards

    def _child(self, node: yaml.Node | None, part: str | int) -> yaml.Node | None:
        if isinstance(node, yaml.MappingNode):
            return next((v for k, v in node.value if k.value == part), None)
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found: yaml.Node = node.value[part]
            return found
        return None

    def _own(self, path: Path) -> yaml.Node:
        """The node there, when an edit of it changes nothing else."""
        node = self.root
        for length in range(len(path) + 1):
            found = self.at(path[:length])
            assert found is not None, path
            node = found
            if id(node) in self._aliased:
                raise self.error(
                    path[:length], "an alias (*) repeats this, and an edit would change both: write it out"
                )
            if length and self.text[node.start_mark.index : node.start_mark.index + 1] in {"&", "!"}:
                raise self.error(
                    path[:length],
                    "something with an anchor (&) or a tag (!) cannot be edited: write it without",
                )
        return node

    def _fill(
        self, path: Path, node: yaml.Node, addition: Mapping[str, Any]
    ) -> tuple[list[Edit], list[Undo]]:
        written = _flow(addition)
        if node.start_mark.index < node.end_mark.index:  # null or ~
            return self.replace(path, written)
        return [Edit(node.start_mark.index, node.start_mark.index, " " + written)], [["0", list(path)]]

    def _insert_keys(
        self, path: Path, node: yaml.MappingNode, new: Mapping[str, Any], before: str | None
    ) -> Edit:
        if node.flow_style:
            return self._insert_flow(node, node.value[0][0] if node.value else None, _flow(new)[1:-1])
        keys = [key for key, _ in node.value if self._alone(key)]
        chosen = next((key for key in keys if key.value == before), None) or next(iter(keys), None)
        if chosen is None:
            raise self.error(path, "write its keys on lines of their own")
        return self._insert_lines(chosen.start_mark, _block(new))

    def _insert_items(self, path: Path, items: list[Any]) -> tuple[list[Edit], list[Undo]]:
        node = self._own(path)
        undo: list[Undo] = [["-", [*path, position]] for position in range(len(items))]
        if node.tag == _NULL:
            written = _flow(items)
            if node.start_mark.index < node.end_mark.index:
                return self.replace(path, written)
            return [Edit(node.start_mark.index, node.start_mark.index, " " + written)], [["0", list(path)]]
        if not isinstance(node, yaml.SequenceNode):
            raise self.error(path, f"'{path[-1]}' should be a list")
        if node.flow_style:
            first = node.value[0] if node.value else None
            return [self._insert_flow(node, first, _flow(items)[1:-1])], undo
        if not self._alone(node):
            raise self.error(path, "write this list on lines of its own")
        return [self._insert_lines(node.start_mark, _block(items))], undo

    def _insert_flow(self, node: yaml.CollectionNode, first: yaml.Node | None, written: str) -> Edit:
        if first is None:
            return Edit(node.start_mark.index + 1, node.start_mark.index + 1, written)
        return Edit(first.start_mark.index, first.start_mark.index, written + ", ")

    def _insert_lines(self, mark: yaml.Mark, lines: Sequence[str]) -> Edit:
        """Above the line of `mark`, in its column, and above the comments that belong to that line."""
        start = self._line_start(mark.index)
        indent = self.text[start : start + mark.column]
        while start > 0:
            above = self._line_start(start - 1)
            if not self.text.startswith(f"{indent}#", above):
                break
            start = above
        return Edit(start, start, "".join(f"{indent}{line}{self._newline}" for line in lines))

    def _without(self, path: Path, node: yaml.Node) -> Edit:
        parent = self.at(path[:-1])
        assert isinstance(parent, yaml.CollectionNode)
        if isinstance(parent, yaml.MappingNode):
            starts = [key for key, _ in parent.value]
            position = next(i for i, key in enumerate(starts) if key.value == path[-1])
        else:
            starts, position = list(parent.value), int(path[-1])
        start = starts[position].start_mark.index
        if parent.flow_style:
            last = position + 1 == len(starts)
            return Edit(start, node.end_mark.index if last else starts[position + 1].start_mark.index, "")
        end = self.text.find("\n", _last(node)) + 1
        return Edit(self._line_start(start), end, "")

    def _line_start(self, index: int) -> int:
        return self.text.rfind("\n", 0, index) + 1

    def _alone(self, node: yaml.Node) -> bool:
        """Nothing stands before it in its line."""
        return not self.text[self._line_start(node.start_mark.index) : node.start_mark.index].strip()


def hint(text: str) -> str | None:
    """What may be the matter with text that cannot be read."""
    return "it looks like a template: render it first, as with 'helm template'" if "{{" in text else None


def documents(text: str, name: str) -> list[Document]:
    """All documents of a stream that hold something.

    Raises:
        ConfigurationError: it is not YAML; says where.
    """
    try:
        roots = list(yaml.compose_all(_readable(text), Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigurationError(f"{name}:{line}: not YAML: {error.problem}", hint=hint(text)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigurationError(f"{name}:{line}: not YAML: {error.reason}") from None
    except RecursionError:
        raise ConfigurationError(f"{name}: nested too deeply") from None
    return [Document(text, root, name) for root in roots if isinstance(root, yaml.MappingNode)]


def _readable(text: str) -> str:
    """Spaces for the tabs that kubectl reads and PyYAML does not; every place stays where it is."""
    if text.lstrip("\ufeff \t\r\n")[:1] in {"{", "["}:  # JSON: indented with tabs, and none in its strings
        return text.replace("\t", " ")
    return re.sub(r"(?<=\S)[ \t]*\t[ \t]*", lambda match: " " * len(match[0]), text)


def _aliased(root: yaml.Node) -> set[int]:
    seen: Counter[int] = Counter()
    pending = [root]
    while pending:
        node = pending.pop()
        seen[id(node)] += 1
        if seen[id(node)] == 1:
            pending += _children(node)
    return {found for found, times in seen.items() if times > 1}


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for _, value in node.value:
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _last(node: yaml.Node) -> int:
    """Where its last character stands: PyYAML ends a block only where the next thing begins."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        return max(_last(child) for child in _children(node))
    return int(node.end_mark.index)


def _block(data: Any) -> list[str]:
    written = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=math.inf)
    return str(written).rstrip("\n").split("\n")


def _flow(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False)
