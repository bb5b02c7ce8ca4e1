"""What is a cell's: its databases and brokers, as a file beside the app says, or its settings."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self, TypeVar

from cellplane.cell.errors import InvalidManifestError, InvalidSettingError
from cellplane.cell.settings import CellSettings, check_cell_id
from cellplane.cell.wiring.endpoints import (
    DEFAULT_PORTS,
    KAFKA,
    NATS,
    POSTGRESQL,
    SQLITE,
    Endpoint,
    UnknownDestinationError,
    host_and_port,
    port_of,
)
from cellplane.cell.wiring.settings import WiringLimits
from cellplane.cell.wiring.strings import of_file, of_string

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """One database of a cell, and every way to it.

    Raises:
        InvalidManifestError: it cannot be one.
    """

    kind: str = POSTGRESQL
    """``postgresql`` or ``sqlite``."""

    name: str
    """The database's name; of SQLite its file, or ``:memory:``."""

    hosts: tuple[str, ...] = ()
    """``host`` or ``host:port`` of its servers, and of what stands before them, such as a pooler."""

    sockets: tuple[str, ...] = ()
    """Folders of its servers' Unix sockets, or ``folder:port``."""

    def __post_init__(self) -> None:
        _texts("a database", self)
        if self.kind not in (POSTGRESQL, SQLITE):
            raise InvalidManifestError(f"a database: expected the kind postgresql or sqlite, found {self.kind!r}")
        if not self.name:
            raise InvalidManifestError("a database: expected a name, found none")
        if self.kind == SQLITE and (self.hosts or self.sockets):
            raise InvalidManifestError(f"database {self.name}: expected a file alone, found hosts or sockets")
        if self.kind == POSTGRESQL and not (self.hosts or self.sockets):
            raise InvalidManifestError(f"database {self.name}: expected hosts or sockets, found none")
        self.endpoints()

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Each way to it."""
        if self.kind == SQLITE:
            return (of_file(self.name),)
        found = [_endpoint(self.kind, host, self.name) for host in self.hosts]
        for socket in self.sockets:
            folder, colon, port = socket.rpartition(":")
            folder, port = (folder, port) if colon and port.isdigit() else (socket, "")
            if not folder.startswith(("/", "@")):
                raise InvalidManifestError(f"database {self.name}: expected a socket's folder, found {socket!r}")
            try:
                number = port_of(port, DEFAULT_PORTS[self.kind])
            except UnknownDestinationError as error:
                raise InvalidManifestError(f"{socket!r} {error}") from error
            found.append(Endpoint(self.kind, folder, number, self.name))
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """One message broker of a cell: all of its servers.

    Raises:
        InvalidManifestError: it cannot be one.
    """

    kind: str = NATS
    """``nats`` or ``kafka``."""

    hosts: tuple[str, ...]
    """``host`` or ``host:port``."""

    def __post_init__(self) -> None:
        _texts("a broker", self)
        if self.kind not in (NATS, KAFKA):
            raise InvalidManifestError(f"a broker: expected the kind nats or kafka, found {self.kind!r}")
        if not self.hosts:
            raise InvalidManifestError("a broker: expected hosts, found none")
        self.endpoints()

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Each of its servers."""
        return tuple(_endpoint(self.kind, host, "") for host in self.hosts)


@dataclass(frozen=True, slots=True)
class CellManifest:
    """All that an app of this cell may be wired to.

    Raises:
        InvalidManifestError: the cell's id cannot be one.
    """

    cell_id: str
    databases: tuple[Database, ...] = ()
    brokers: tuple[Broker, ...] = ()

    def __post_init__(self) -> None:
        try:
            check_cell_id("cell", self.cell_id)
        except InvalidSettingError as error:
            raise InvalidManifestError(str(error)) from error

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Every place that is the cell's."""
        return tuple(endpoint for each in self.databases for endpoint in each.endpoints()) + tuple(
            endpoint for each in self.brokers for endpoint in each.endpoints()
        )

    @classmethod
    def of_settings(cls, settings: CellSettings) -> Self:
        """What the settings name: one database, and one broker if any. They then say both what is right and what is
        used, so check against a file where there is one.

        Raises:
            InvalidManifestError: a URL does not tell where it leads.
        """
        databases, brokers = [], []
        for name, url in (("database_url", settings.database_url), ("nats_url", settings.nats_url)):
            if name == "nats_url" and not url:
                continue
            try:
                found = of_string(url, {})
            except UnknownDestinationError as error:
                raise InvalidManifestError(f"{name} {error}") from error
            ways = tuple(f"{_bracketed(each)}:{each.port}" for each in found)
            if found[0].kind == POSTGRESQL:
                sockets = tuple(way for way, each in zip(ways, found, strict=True) if each.is_socket)
                hosts = tuple(way for way in ways if way not in sockets)
                databases.append(Database(name=found[0].database, hosts=hosts, sockets=sockets))
            elif found[0].kind == SQLITE:
                databases.append(Database(kind=SQLITE, name=found[0].database))
            else:
                brokers.append(Broker(kind=found[0].kind, hosts=ways))
        return cls(settings.cell_id, tuple(databases), tuple(brokers))

    @classmethod
    def load(
        cls,
        path: Path,
        limits: WiringLimits = WiringLimits(),  # noqa: B008 - frozen
        *,
        cell_id: str | None = None,
    ) -> Self:
        """Read a manifest: TOML, or JSON by its name's end.

        Args:
            path: of the file.
            limits: bounds of the file.
            cell_id: of this cell, whose manifest it has to be; None takes that of any.

        Raises:
            InvalidManifestError: it is not there, too long, another cell's, or says something else than a manifest
                does.
        """
        try:
            with path.open("rb") as file:
                data = file.read(limits.max_manifest_bytes + 1)
            if len(data) > limits.max_manifest_bytes:
                raise InvalidManifestError(
                    f"{path}: expected at most {limits.max_manifest_bytes} bytes, found more. Is it a cell's manifest?"
                )
            text = data.decode()
            document: object = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        except (OSError, ValueError, RecursionError) as error:
            raise InvalidManifestError(f"{path}: expected a cell's manifest, found: {error}") from error
        try:
            found = cls.of_document(document)
        except InvalidManifestError as error:
            raise InvalidManifestError(f"{path}: {error}") from error
        if cell_id is not None and found.cell_id != cell_id:
            raise InvalidManifestError(
                f"{path}: expected the manifest of {cell_id}, which this process runs as; found that of {found.cell_id}"
            )
        return found

    @classmethod
    def of_document(cls, document: object) -> Self:
        """What a manifest's text says, once it is parsed.

        Raises:
            InvalidManifestError: it is no manifest.
        """
        members = _members("the manifest", document, {"cell", "databases", "brokers"})
        cell_id = members.get("cell")
        if not isinstance(cell_id, str):
            raise InvalidManifestError("cell: expected the cell's id, found none")
        databases = _each("databases", members.get("databases", []), Database)
        return cls(cell_id, databases, _each("brokers", members.get("brokers", []), Broker))


def _each(name: str, found: object, kind: type[T]) -> tuple[T, ...]:
    if not isinstance(found, list):
        raise InvalidManifestError(f"{name}: expected a list, found {type(found).__name__}")
    made = []
    for at, item in enumerate(found):
        where = f"{name}[{at}]"
        members = _members(where, item, {field.name for field in fields(kind)})  # type: ignore[arg-type]
        given: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in members.items()
        }
        try:
            made.append(kind(**given))
        except InvalidManifestError as error:
            raise InvalidManifestError(f"{where}: {error}") from error
        except TypeError as error:
            raise InvalidManifestError(f"{where}: a member is missing: {error}") from error
    return tuple(made)


def _members(where: str, found: object, known: set[str]) -> Mapping[str, object]:
    if not isinstance(found, dict):
        raise InvalidManifestError(f"{where}: expected a table, found {type(found).__name__}")
    unknown = sorted(set(found) - known)
    if unknown:
        raise InvalidManifestError(f"{where}: expected {', '.join(sorted(known))} alone, found {unknown[0][:100]!r}")
    return found


def _texts(what: str, value: object) -> None:
    """Check the types of what a file says: texts, and lists of texts."""
    for field in fields(value):  # type: ignore[arg-type]
        found = getattr(value, field.name)
        is_list = field.name in ("hosts", "sockets")
        items = found if is_list and isinstance(found, tuple) else (found,)
        if (is_list and not isinstance(found, tuple)) or not all(isinstance(item, str) for item in items):
            raise InvalidManifestError(f"{what}: {field.name}: expected {'a list of texts' if is_list else 'a text'}")


def _endpoint(kind: str, host: str, database: str) -> Endpoint:
    if not host or "@" in host or "/" in host:
        raise InvalidManifestError(f"expected host or host:port, found {'something else' if '@' in host else host!r}")
    try:
        return Endpoint(kind, *host_and_port(host, DEFAULT_PORTS[kind]), database)
    except UnknownDestinationError as error:
        raise InvalidManifestError(f"{host!r} {error}") from error


def _bracketed(endpoint: Endpoint) -> str:
    return f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
