"""Layers into values of a class: each the strongest that says one, and of the type that the class declares. Pure."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from cellplane.cell.config.document import LAYERS, Document
from cellplane.cell.errors import ConfigError

Settings = TypeVar("Settings")
Reader = Callable[[str, object], Any]
"""Takes where a value stands and what it is in JSON; gives it as the field's type, or raises ConfigError."""


@dataclass(frozen=True, slots=True)
class Layered(Generic[Settings]):
    """A document's values, ready to be asked for."""

    of_cell: Settings
    of_tenants: Mapping[str, Settings]
    """Of those that have values of their own."""

    unknown: tuple[str, ...]
    """Names in the document that the class does not have: of another release, or mistaken."""


class Layering(Generic[Settings]):
    """Reads documents for one class of settings.

    Args:
        settings: a dataclass all of whose fields have defaults, of bool, int, float, str, ``Literal``, ``tuple`` of one
            of them of any length, or one of these or None.

    Raises:
        ConfigError: it is none.
    """

    def __init__(self, settings: type[Settings]) -> None:
        name = getattr(settings, "__name__", repr(settings))
        if not dataclasses.is_dataclass(settings):
            raise ConfigError(name, "expected a dataclass of settings")
        hints = get_type_hints(settings)
        self._readers = {field.name: _reader(f"{name}.{field.name}", hints[field.name]) for field in _fields(settings)}
        try:
            self.defaults: Settings = settings()
        except TypeError as error:
            raise ConfigError(name, f"expected a default for every field: {error}") from error
        self._settings = settings

    def read(self, document: Document) -> Layered[Settings]:
        """The values that a document says.

        Raises:
            ConfigError: one is of another type than its field; nothing of the document counts then.
        """
        unknown: set[str] = set()
        said: dict[str, Any] = {}
        for layer in LAYERS:
            said |= self._values(f"layers.{layer}", document.layers[layer], unknown)
        of_cell = self._made("layers", said)
        of_tenants = {}
        for tenant, values in document.tenants.items():
            own = self._values(f"tenants.{tenant}", values, unknown)
            of_tenants[tenant] = self._made(f"tenants.{tenant}", said | own)
        return Layered(of_cell, of_tenants, tuple(sorted(unknown)))

    def origin(self, document: Document, tenant_id: str | None, name: str) -> str:
        """Which layer says a value: ``tenant``, ``cell``, ``pool``, ``fleet`` or ``default``."""
        if tenant_id is not None and name in document.tenants.get(tenant_id, {}):
            return "tenant"
        return next((layer for layer in reversed(LAYERS) if name in document.layers[layer]), "default")

    def _values(self, where: str, values: Mapping[str, Any], unknown: set[str]) -> dict[str, Any]:
        unknown |= values.keys() - self._readers.keys()
        return {name: read(f"{where}.{name}", values[name]) for name, read in self._readers.items() if name in values}

    def _made(self, where: str, values: Mapping[str, Any]) -> Settings:
        try:
            return self._settings(**values)
        except ValueError as error:  # what its own __post_init__ refuses
            raise ConfigError(where, str(error)) from error


def _fields(settings: Any) -> Sequence[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(settings) if field.init]


def _reader(where: str, kind: Any) -> Reader:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return _one_of(arguments)
    if origin in (Union, UnionType) and NoneType in arguments and len(arguments) == 2:
        (other,) = (each for each in arguments if each is not NoneType)
        return _or_none(_reader(where, other))
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _each(_reader(where, arguments[0]))
    if kind in (bool, int, float, str):
        return _plain(kind)
    raise ConfigError(
        where, f"expected bool, int, float, str, Literal, tuple[…, ...], or one of them or None, found {kind}"
    )


def _plain(kind: type) -> Reader:
    def read(where: str, found: object) -> Any:
        # To JSON 1 is a number of either kind; to Python True is 1.
        if kind is float and isinstance(found, int) and not isinstance(found, bool):
            return float(found)
        if type(found) is not kind:
            raise ConfigError(where, f"expected {kind.__name__}, found {found!r:.80}")
        return found

    return read


def _one_of(values: tuple[Any, ...]) -> Reader:
    def read(where: str, found: object) -> Any:
        for value in values:
            if type(value) is type(found) and value == found:
                return value
        raise ConfigError(where, f"expected one of {', '.join(map(repr, values))}, found {found!r:.80}")

    return read


def _or_none(other: Reader) -> Reader:
    return lambda where, found: None if found is None else other(where, found)


def _each(one: Reader) -> Reader:
    def read(where: str, found: object) -> Any:
        if not isinstance(found, list):
            raise ConfigError(where, f"expected a list, found {found!r:.80}")
        return tuple(one(f"{where}[{number}]", value) for number, value in enumerate(found))

    return read
