"""What a field may hold: read from a node, written as JSON, and described as JSON Schema, in one place each."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from difflib import get_close_matches
from enum import Enum
from typing import Any, Protocol

from cellplane.errors import ValidationError
from cellplane.manifest.problem import Mark, Problem
from cellplane.manifest.tree import Fields, Items, Node, Scalar, short, shown
from cellplane.model.key import MAX_NAME_CHARS, check_name

Json = dict[str, Any]

NAME_PATTERN = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
"""A name (``cellplane.model.is_name``), as JSON Schema says it."""


_MAX_HINT_CHARS = 128
_MAX_HINT_NAMES = 1_000
"""A hint compares with every name: of many, or of long ones, it would cost more than it helps."""

_MAX_UNKNOWN = 20
"""Unknown fields of one object that are said one by one."""


class Report:
    """Collects what is wrong in one resource.

    Args:
        resource: such as ``Cell/cell-2``.
        file: its name.
    """

    def __init__(self, resource: str, file: str) -> None:
        self.resource = resource
        self.file = file
        self.problems: list[Problem] = []

    def add(self, path: str, mark: Mark | None, message: str) -> None:
        """Say what is wrong with the field of this path."""
        self.problems.append(Problem(message, path, self.resource, self.file, mark))


class Shape(Protocol):
    """What a field may hold."""

    def read(self, node: Node, path: str, report: Report) -> Any:
        """The model's value of a node; None, and a problem reported, where it has none."""

    def write(self, value: Any) -> Any:
        """The JSON of a value of the model."""

    def schema(self) -> Json:
        """Its JSON Schema, without default and description."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text.

    Attributes:
        max_chars: its longest.
        check: raises ValidationError where the model would refuse it.
        pattern: what the JSON Schema asks for.
    """

    max_chars: int
    check: Callable[[str, str], None] | None = None
    pattern: str = ""

    def read(self, node: Node, path: str, report: Report) -> str | None:
        """See Shape."""
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            hint = ": put it in quotes" if isinstance(node, Scalar) and node.value is not None else ""
            report.add(path, node.mark, f"expected a text, found {shown(node)}{hint}")
            return None
        if not 1 <= len(node.value) <= self.max_chars:
            report.add(path, node.mark, f"expected 1 to {self.max_chars} characters, found {len(node.value)}")
            return None
        if self.check is not None:
            try:
                self.check(path, node.value)
            except ValidationError as error:
                report.add(path, node.mark, error.message)
                return None
        return node.value

    def write(self, value: str) -> str:
        """See Shape."""
        return value

    def schema(self) -> Json:
        """See Shape."""
        pattern = {"pattern": self.pattern} if self.pattern else {}
        return {"type": "string", "minLength": 1, "maxLength": self.max_chars, **pattern}


NAME = Text(MAX_NAME_CHARS, check_name, NAME_PATTERN)
"""The name of a cell, pool, region, jurisdiction …"""


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number from ``low`` to ``high``."""

    low: int
    high: int

    def read(self, node: Node, path: str, report: Report) -> int | None:
        """See Shape."""
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            found = value if isinstance(value, int) and not isinstance(value, bool) else shown(node)
            report.add(path, node.mark, f"expected {self.low} to {self.high}, found {found}")
            return None
        return value

    def write(self, value: int) -> int:
        """See Shape."""
        return value

    def schema(self) -> Json:
        """See Shape."""
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True, slots=True)
class Number:
    """A number from ``low`` to ``high``; above ``low`` where it is ``exclusive``."""

    low: float
    high: float
    exclusive: bool = False

    def read(self, node: Node, path: str, report: Report) -> float | None:
        """See Shape."""
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, bool) or not isinstance(value, int | float) or not self._holds(value):
            least = f"a number above {self.low:g}, at most" if self.exclusive else f"{self.low:g} to"
            found = value if isinstance(value, int | float) and not isinstance(value, bool) else shown(node)
            report.add(path, node.mark, f"expected {least} {self.high:g}, found {found}")
            return None
        return float(value)

    def _holds(self, value: float) -> bool:
        return self.low <= value <= self.high and not (self.exclusive and value == self.low)

    def write(self, value: float) -> float:
        """See Shape."""
        return int(value) if float(value).is_integer() else value

    def schema(self) -> Json:
        """See Shape."""
        return {"type": "number", "exclusiveMinimum" if self.exclusive else "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    def read(self, node: Node, path: str, report: Report) -> bool | None:
        """See Shape."""
        if not isinstance(node, Scalar) or not isinstance(node.value, bool):
            report.add(path, node.mark, f"expected true or false, found {shown(node)}")
            return None
        return node.value

    def write(self, value: bool) -> bool:  # noqa: FBT001  # a value, not a switch
        """See Shape."""
        return value

    def schema(self) -> Json:
        """See Shape."""
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of an enumeration.

    Attributes:
        of: the enumeration.
        without: members that no file may name.
    """

    of: type[Enum]
    without: tuple[Enum, ...] = ()

    @property
    def values(self) -> list[str]:
        """What can be chosen."""
        return [str(member.value) for member in self.of if member not in self.without]

    def read(self, node: Node, path: str, report: Report) -> Enum | None:
        """See Shape."""
        if not isinstance(node, Scalar) or node.value not in self.values:
            report.add(path, node.mark, f"expected {one_of(self.values)}; found {shown(node)}{self._hint(node)}")
            return None
        return self.of(node.value)

    def _hint(self, node: Node) -> str:
        text = node.value if isinstance(node, Scalar) else None
        return did_you_mean(text, self.values) if isinstance(text, str) else ""

    def write(self, value: Enum) -> str:
        """See Shape."""
        return str(value.value)

    def schema(self) -> Json:
        """See Shape."""
        return {"enum": self.values}


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of at least ``least`` and at most ``most`` different values."""

    item: Shape
    least: int
    most: int

    def read(self, node: Node, path: str, report: Report) -> tuple[Any, ...] | None:
        """See Shape."""
        if not isinstance(node, Items):
            report.add(path, node.mark, f"expected a list, found {shown(node)}")
            return None
        if not self.least <= len(node.nodes) <= self.most:
            report.add(path, node.mark, f"expected {self.least} to {self.most} in the list, found {len(node.nodes)}")
            return None
        values = [self.item.read(below, f"{path}[{place}]", report) for place, below in enumerate(node.nodes)]
        seen: set[Any] = set()
        for place, value in enumerate(values):
            if value is not None and value in seen:
                report.add(f"{path}[{place}]", node.nodes[place].mark, "stands twice in the list")
            seen.add(value)
        return tuple(values)

    def write(self, value: tuple[Any, ...]) -> list[Any]:
        """See Shape."""
        return [self.item.write(each) for each in value]

    def schema(self) -> Json:
        """See Shape."""
        return {
            "type": "array",
            "items": self.item.schema(),
            "minItems": self.least,
            "maxItems": self.most,
            "uniqueItems": True,
        }


@dataclass(frozen=True, slots=True)
class Attributes:
    """Names and texts, at most ``most``; the model has them sorted by name."""

    most: int
    text: Text

    def read(self, node: Node, path: str, report: Report) -> tuple[tuple[str, str], ...] | None:
        """See Shape."""
        if not isinstance(node, Fields):
            report.add(path, node.mark, f"expected names and texts, found {shown(node)}")
            return None
        if len(node.entries) > self.most:
            report.add(path, node.mark, f"expected at most {self.most}, found {len(node.entries)}")
            return None
        found: dict[str, str] = {}
        for name, entry in node.entries.items():
            below = f"{path}.{short(name)}"
            NAME.read(Scalar(name, entry.mark), below, report)
            found[name] = self.text.read(entry.node, below, report) or ""
        return tuple(sorted(found.items()))

    def write(self, value: tuple[tuple[str, str], ...]) -> dict[str, str]:
        """See Shape."""
        return dict(value)

    def schema(self) -> Json:
        """See Shape."""
        return {
            "type": "object",
            "propertyNames": NAME.schema(),
            "additionalProperties": self.text.schema(),
            "maxProperties": self.most,
        }


@dataclass(frozen=True, slots=True)
class Field:
    """One field.

    Attributes:
        name: what the file calls it.
        attribute: what the model calls it; empty where the fields below are those of the model's value above.
        shape: what it may hold.
        about: what it is, one sentence; for the schema and the documentation.
        required: whether it must be there.
        operated: whether operations change it too, so that a file that does not name it leaves it as it is.
    """

    name: str
    attribute: str
    shape: Shape
    about: str
    required: bool = False
    operated: bool = False


@dataclass(frozen=True, slots=True)
class Object:
    """Named fields that are a dataclass of the model.

    Attributes:
        of: the dataclass.
        fields: its fields in the order in which they are written.
    """

    of: type[Any]
    fields: tuple[Field, ...]

    def read(self, node: Node, path: str, report: Report) -> Any:
        """See Shape."""
        before = len(report.problems)
        values = read_fields(self.fields, node, path, report)
        return None if len(report.problems) > before else self.of(**values)

    def write(self, value: Any) -> Json:
        """See Shape. Fields that have their default are left out."""
        return write_fields(self.fields, value, defaults_of(self.of))

    def schema(self) -> Json:
        """See Shape."""
        return schema_of(self.fields, defaults_of(self.of))


@dataclass(frozen=True, slots=True)
class Part:
    """Named fields of a dataclass whose other fields stand a level above."""

    fields: tuple[Field, ...]

    def read(self, node: Node, path: str, report: Report) -> dict[str, Any]:
        """See Shape."""
        return read_fields(self.fields, node, path, report)

    def write(self, value: Any) -> Json:
        """See Shape."""
        return write_fields(self.fields, value, defaults_of(type(value)))

    def schema(self) -> Json:
        """See Shape."""
        return schema_of(self.fields, {})


@dataclass(frozen=True, slots=True)
class Amended:
    """A dataclass of which a file names what differs from a default of its own."""

    default: Any
    fields: tuple[Field, ...]

    def read(self, node: Node, path: str, report: Report) -> Any:
        """See Shape."""
        before = len(report.problems)
        values = read_fields(self.fields, node, path, report)
        return None if len(report.problems) > before else replace(self.default, **values)

    def write(self, value: Any) -> Json:
        """See Shape. Fields that have their default are left out."""
        return write_fields(self.fields, value, self._defaults())

    def schema(self) -> Json:
        """See Shape."""
        return schema_of(self.fields, self._defaults())

    def _defaults(self) -> Mapping[str, Any]:
        return {field.attribute: getattr(self.default, field.attribute) for field in self.fields}


def defaults_of(of: type[Any]) -> dict[str, Any]:
    """The defaults of a dataclass by attribute."""
    return {field.name: field.default for field in fields(of) if field.default is not MISSING}


def read_fields(known: tuple[Field, ...], node: Node, path: str, report: Report) -> dict[str, Any]:
    """The values of named fields by attribute of the model; those that are not there are left out."""
    if not isinstance(node, Fields):
        report.add(path, node.mark, f"expected fields, found {shown(node)}")
        return {}
    report_unknown([field.name for field in known], node, path, report)
    values: dict[str, Any] = {}
    for field in known:
        if field.name not in node.entries:
            if field.required:
                report.add(f"{path}.{field.name}", node.mark, "is missing")
            continue
        value = field.shape.read(node.entries[field.name].node, f"{path}.{field.name}", report)
        values |= {field.attribute: value} if field.attribute else value
    return values


def report_unknown(known: list[str], node: Fields, path: str, report: Report) -> None:
    """Report the fields whose names are none of these, up to a bound."""
    unknown = [name for name in node.entries if name not in known]
    for name in unknown[:_MAX_UNKNOWN]:
        hint = did_you_mean(name, known) or f": expected {', '.join(known)}"
        report.add(f"{path}.{short(name)}".lstrip("."), node.entries[name].mark, f"no such field{hint}")
    if len(unknown) > _MAX_UNKNOWN:
        mark = node.entries[unknown[_MAX_UNKNOWN]].mark
        report.add(path, mark, f"there are {len(unknown) - _MAX_UNKNOWN:,} more fields that do not exist")


def write_fields(known: tuple[Field, ...], value: Any, defaults: Mapping[str, Any]) -> Json:
    """The JSON of a value's fields; those that have their default are left out."""
    written: Json = {}
    for field in known:
        if not field.attribute:
            written[field.name] = field.shape.write(value)
            continue
        held = getattr(value, field.attribute)
        if field.required or field.attribute not in defaults or held != defaults[field.attribute]:
            written[field.name] = field.shape.write(held)
    return written


def schema_of(known: tuple[Field, ...], defaults: Mapping[str, Any]) -> Json:
    """The JSON Schema of named fields and no others."""
    properties: Json = {}
    for field in known:
        properties[field.name] = {**field.shape.schema(), "description": field.about}
        default = defaults.get(field.attribute)
        if default is not None and default != "" and not field.operated and not field.required:
            properties[field.name]["default"] = field.shape.write(default)
    required = [field.name for field in known if field.required]
    return {
        "type": "object",
        "properties": properties,
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def one_of(values: list[str]) -> str:
    """The values that something may have, in words."""
    return values[0] if len(values) == 1 else f"{', '.join(values[:-1])} or {values[-1]}"


def did_you_mean(name: str, names: list[str]) -> str:
    """A hint at the nearest of some names, or nothing where none is near."""
    if len(name) > _MAX_HINT_CHARS or len(names) > _MAX_HINT_NAMES:
        return ""
    by_letters = {_letters(known): known for known in names}
    near = get_close_matches(_letters(name), by_letters, 1, 0.6)
    return f": did you mean {by_letters[near[0]]}?" if near else ""


def _letters(name: str) -> str:
    return "".join(char for char in name.lower() if char.isalnum())
