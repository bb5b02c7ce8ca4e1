"""YAML text to nodes with their places. Bounded, and nothing of YAML that makes objects or surprises.

Plain scalars are read as YAML 1.2 does (core schema, https://yaml.org/spec/1.2.2/#103-core-schema), so that ``no`` is
Norway. Tags are refused. An alias counts as everything that it stands for, which bounds what aliases of aliases make.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import yaml

from cellplane.manifest.problem import Mark, Problem
from cellplane.manifest.settings import ManifestSettings
from cellplane.manifest.tree import Entry, Fields, Items, Node, Scalar, ScalarValue, short

_LOADER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_MAX_NUMBER_CHARS = 64
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NAMED: dict[str, ScalarValue] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


class _Place(Protocol):
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class _Anchored:
    node: Node
    nodes: int
    height: int


class _RefusedError(Exception):
    """The rest of the text cannot be read."""

    def __init__(self, message: str, mark: Mark | None) -> None:
        super().__init__(message)
        self.message = message
        self.mark = mark


def plain_value(text: str) -> ScalarValue:
    """What a plain scalar stands for in the core schema of YAML 1.2."""
    if text in _NAMED:
        return _NAMED[text]
    if len(text) > _MAX_NUMBER_CHARS:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text


def documents(text: str, settings: ManifestSettings) -> tuple[list[Node], list[Problem]]:
    """The documents of a text, empty ones left out, and what is wrong with it. Reading ends at what is no YAML."""
    if (size := len(text.encode("utf-8", "surrogatepass"))) > settings.max_bytes:
        return [], [Problem(f"expected at most {settings.max_bytes:,} bytes, found {size:,}: split the file")]
    composer = _Composer(text, settings)
    found: list[Node] = []
    try:
        while (node := composer.next_document()) is not None:
            if node != Scalar(None, node.mark):
                found.append(node)
    except _RefusedError as refused:
        composer.problems.append(Problem(refused.message, mark=refused.mark))
    except yaml.MarkedYAMLError as error:
        said = ", ".join(part for part in (error.context, error.problem) if part)
        composer.problems.append(Problem(f"this is no YAML: {said}", mark=_mark(error.problem_mark)))
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        composer.problems.append(Problem(f"this is no YAML: {' '.join(str(error).split())}"))
    return found, composer.problems


class _Composer:
    def __init__(self, text: str, settings: ManifestSettings) -> None:
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=_LOADER)
        self._settings = settings
        self._documents = 0
        self._nodes = 0
        self._deepest = 0
        self._anchors: dict[str, _Anchored | None] = {}
        self.problems: list[Problem] = []

    def next_document(self) -> Node | None:
        """The next one; None after the last."""
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._documents += 1
                if self._documents > self._settings.max_documents:
                    raise _RefusedError(f"expected at most {self._settings.max_documents:,} documents", _start(event))
                self._anchors = {}
                return self._node(next(self._events), 1)
        return None

    def _node(self, event: yaml.Event, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        assert isinstance(event, yaml.ScalarEvent | yaml.MappingStartEvent | yaml.SequenceStartEvent)
        mark = _start(event)
        self._count(1, depth, mark)
        if event.tag is not None:
            raise _RefusedError(f"tags are not taken, found {short(event.tag)!r}: write the value alone", mark)
        before = self._nodes - 1
        above, self._deepest = self._deepest, depth
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.MappingStartEvent):
            node: Node = self._fields(mark, depth)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._items(mark, depth)
        else:
            plain, _quoted = event.implicit
            node = Scalar(plain_value(event.value) if plain else event.value, mark)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchored(node, self._nodes - before, self._deepest - depth)
        self._deepest = max(above, self._deepest)
        return node

    def _alias(self, event: yaml.AliasEvent, depth: int) -> Node:
        mark = _start(event)
        assert event.anchor is not None, "an alias has a name"
        if event.anchor not in self._anchors:
            raise _RefusedError(f"no anchor before is named {short(event.anchor)!r}", mark)
        anchored = self._anchors[event.anchor]
        if anchored is None:
            raise _RefusedError(f"the alias {short(event.anchor)!r} stands inside of what it stands for", mark)
        self._count(anchored.nodes, depth + anchored.height, mark)
        self._deepest = max(self._deepest, depth + anchored.height)
        return anchored.node

    def _fields(self, mark: Mark, depth: int) -> Fields:
        entries: dict[str, Entry] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            at = _start(event)
            name = self._node(event, depth + 1)
            node = self._node(next(self._events), depth + 1)
            if not isinstance(name, Scalar) or not isinstance(name.value, str):
                raise _RefusedError("expected a text as the name of a field: put it in quotes", at)
            if name.value in entries:
                first = entries[name.value].mark
                assert first is not None
                self.problems.append(
                    Problem(f"{short(name.value)!r} stands twice, first in line {first.line}", mark=at)
                )
            else:
                entries[name.value] = Entry(node, at)
        return Fields(entries, mark)

    def _items(self, mark: Mark, depth: int) -> Items:
        nodes: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            nodes.append(self._node(event, depth + 1))
        return Items(tuple(nodes), mark)

    def _count(self, nodes: int, depth: int, mark: Mark) -> None:
        self._nodes += nodes
        if self._nodes > self._settings.max_nodes:
            raise _RefusedError(f"expected at most {self._settings.max_nodes:,} values, aliases written out", mark)
        if depth > self._settings.max_depth:
            raise _RefusedError(f"expected at most {self._settings.max_depth} levels", mark)


def _start(event: yaml.Event) -> Mark:
    mark = _mark(event.start_mark)
    assert mark is not None, "an event of a text has a place"
    return mark


def _mark(mark: _Place | None) -> Mark | None:
    return None if mark is None else Mark(mark.line + 1, mark.column + 1)
