"""Reads what a file of YAML says, field by field, and names the field where something is wrong."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from cellplane.manifest.problem import Mark, Problem
from cellplane.manifest.settings import ManifestSettings
from cellplane.manifest.shapes import did_you_mean
from cellplane.manifest.tree import Fields, Items, Node, Scalar, short, shown
from cellplane.manifest.yaml_tree import documents
from cellplane.moves.errors import MoveError

Parsed = TypeVar("Parsed")

_LIMITS = ManifestSettings(max_bytes=64 * 1024, max_documents=1, max_nodes=2_000)


class WrongError(Exception):
    """A field is not as expected."""

    def __init__(self, path: str, mark: Mark | None, message: str) -> None:
        super().__init__(message)
        self.path, self.mark, self.message = path, mark, message


@dataclass(frozen=True, slots=True)
class Place:
    """A value, and where it stands."""

    node: Node
    path: str


class Reader:
    """The fields of one object, of which all are known."""

    def __init__(self, node: Node, path: str, names: tuple[str, ...]) -> None:
        if not isinstance(node, Fields):
            raise WrongError(path, node.mark, f"expected {', '.join(names)}, found {shown(node)}")
        for name, entry in node.entries.items():
            if name not in names:
                hint = did_you_mean(name, list(names)) or f": expected {', '.join(names)}"
                raise WrongError(below(path, name), entry.mark, f"no field is named {short(name)!r} here{hint}")
        self._node = node
        self._path = path

    def at(self, name: str) -> Place | None:
        """Where a field stands; None where it is not there."""
        entry = self._node.entries.get(name)
        return None if entry is None else Place(entry.node, below(self._path, name))

    def wrong(self, name: str, message: str) -> WrongError:
        """What is wrong with a field."""
        place = self.at(name)
        return WrongError(below(self._path, name), (place.node if place else self._node).mark, message)

    def items(self, name: str) -> tuple[Place, ...]:
        """A list; empty where the field is not there."""
        place = self.at(name)
        if place is None:
            return ()
        if not isinstance(place.node, Items):
            raise self.wrong(name, f"expected a list, found {shown(place.node)}")
        return tuple(Place(node, f"{place.path}[{number}]") for number, node in enumerate(place.node.nodes))

    def text(self, name: str, default: str | None = None) -> str:
        """A text, which has to be there where there is no default."""
        place = self.at(name)
        if place is None:
            if default is None:
                raise self.wrong(name, "expected a text, found nothing: add it")
            return default
        return text_of(place)

    def number(self, name: str, default: float, least: float, most: float) -> float:
        """A number, or the default where it is not there."""
        place = self.at(name)
        if place is None:
            return default
        value = place.node.value if isinstance(place.node, Scalar) else None
        # Written so that NaN fails; true is no number.
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise self.wrong(name, f"expected a number from {least:g} to {most:g}, found {shown(place.node)}")
        return float(value)

    def texts(self, name: str) -> tuple[Place, ...]:
        """A list of texts, or one."""
        place = self.at(name)
        if place is not None and isinstance(place.node, Scalar):
            return (place,)
        found = self.items(name)
        if not found:
            raise self.wrong(name, "expected a text or a list of them, found none")
        return found

    def named(self, name: str) -> dict[str, Place]:
        """What stands there by names; nothing where the field is not there."""
        place = self.at(name)
        if place is None:
            return {}
        if not isinstance(place.node, Fields):
            raise self.wrong(name, f"expected names and values, found {shown(place.node)}")
        return {key: Place(entry.node, below(place.path, key)) for key, entry in place.node.entries.items()}


def below(path: str, name: str) -> str:
    """The path of a field of what has this path."""
    return f"{path}.{name}" if path else name


def text_of(place: Place) -> str:
    """The text that stands there."""
    if not isinstance(place.node, Scalar) or not isinstance(place.node.value, str) or not place.node.value:
        raise WrongError(place.path, place.node.mark, f"expected a text, found {shown(place.node)}")
    return place.node.value


def parsed(text: str, file: str, names: tuple[str, ...], read: Callable[[Reader], Parsed]) -> Parsed | None:
    """What a text says; None where there is nothing in it.

    Args:
        text: of the file.
        file: its name, for messages.
        names: of the fields that it may have.
        read: makes something of them; may raise ``WrongError``.

    Raises:
        MoveError: it says something that is not understood.
    """
    nodes, problems = documents(text, _LIMITS)
    if problems:
        raise MoveError(f"{file}: {problems[0]}")
    if not nodes:
        return None
    try:
        return read(Reader(nodes[0], "", names))
    except WrongError as error:
        raise MoveError(str(Problem(error.message, error.path, "", file, error.mark))) from error
