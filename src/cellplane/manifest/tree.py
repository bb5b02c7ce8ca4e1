"""Values before their meaning is known: what YAML and JSON have in common, each with its place in the text."""

from collections.abc import Mapping as MappingOf
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from typing import Any, TypeAlias

from cellplane.errors import ValidationError
from cellplane.manifest.problem import Mark

MAX_JSON_DEPTH = 16
"""Deepest nesting of a spec that comes as JSON."""

_SHOWN_CHARS = 40

ScalarValue: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text, a number, true, false or nothing."""

    value: ScalarValue
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    nodes: tuple["Node", ...]
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A field's value, and where its name stands."""

    node: "Node"
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Fields:
    """Names and values."""

    entries: dict[str, Entry]
    mark: Mark | None = None


Node: TypeAlias = Scalar | Items | Fields


def fields_of(values: MappingOf[str, Any]) -> Fields:
    """The node of a JSON object; raises as ``node_of`` does."""
    node = node_of(values)
    assert isinstance(node, Fields)
    return node


def node_of(value: Any, *, depth: int = 0) -> Node:
    """The node of a JSON value.

    Raises:
        ValidationError: it is nested too deeply, or is no JSON.
    """
    if depth > MAX_JSON_DEPTH:
        raise ValidationError("spec", f"expected at most {MAX_JSON_DEPTH} levels")
    if value is None or isinstance(value, str | int | float):
        return Scalar(value)
    if isinstance(value, MappingOf) and all(isinstance(name, str) for name in value):
        return Fields({name: Entry(node_of(below, depth=depth + 1)) for name, below in value.items()})
    if isinstance(value, SequenceOf):
        return Items(tuple(node_of(below, depth=depth + 1) for below in value))
    raise ValidationError("spec", f"expected JSON, found {type(value).__name__}")


def short(text: str) -> str:
    """A text as far as a message repeats it."""
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"


def shown(node: Node) -> str:
    """What a node is, for an error message."""
    if isinstance(node, Fields):
        return "fields"
    if isinstance(node, Items):
        return "a list"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, bool):
        return "true" if node.value else "false"
    if isinstance(node.value, str):
        return repr(short(node.value))
    return f"the number {node.value}"


def steps(path: str) -> list[str]:
    """The names and indexes of a path: ``spec.rules[0].pool`` is spec, rules, 0, pool."""
    return [step for step in path.replace("]", "").replace("[", ".").split(".") if step]


def mark_at(root: Node, path: str) -> Mark | None:
    """Where the value of a path stands; of the deepest part of the path that is there."""
    node = root
    for step in steps(path):
        if isinstance(node, Fields) and step in node.entries:
            node = node.entries[step].node
        elif isinstance(node, Items) and step.isdigit() and int(step) < len(node.nodes):
            node = node.nodes[int(step)]
        else:
            break
    return node.mark
