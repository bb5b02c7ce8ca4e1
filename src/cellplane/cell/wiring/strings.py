"""Where a URL or a connection string leads."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cellplane.cell.wiring import libpq
from cellplane.cell.wiring.endpoints import (
    DEFAULT_PORTS,
    KAFKA,
    MEMORY,
    NATS,
    POSTGRESQL,
    SQLITE,
    Endpoint,
    UnknownDestinationError,
    host_and_port,
)

_SCHEME = re.compile(r"([a-z][a-z0-9]*)(\+[a-z0-9_]+)?://", re.IGNORECASE)
_KINDS = {
    "postgresql": POSTGRESQL,
    "postgres": POSTGRESQL,
    "sqlite": SQLITE,
    "nats": NATS,
    "tls": NATS,
    "ws": NATS,
    "wss": NATS,
    "kafka": KAFKA,
}
_PAIR = re.compile(r"\s*(host|hostaddr|port|dbname|user|service)\s*=")


def looks_like_one(text: str) -> bool:
    """Whether a text is meant as a URL or a connection string of a kind that is known here."""
    scheme = _SCHEME.match(text)
    return (scheme is not None and scheme[1].lower() in _KINDS) or _PAIR.match(text) is not None


def of_string(text: str, environ: Mapping[str, str]) -> tuple[Endpoint, ...]:
    """Every place to which a URL or a connection string may lead.

    Raises:
        UnknownDestinationError: it does not tell.
    """
    scheme = _SCHEME.match(text)
    if scheme is None:
        if "=" not in text:
            raise UnknownDestinationError("is neither a URL nor a connection string of key=value pairs")
        return libpq.of_parameters(libpq.parse_pairs(text), environ)
    kind = _KINDS.get(scheme[1].lower())
    if kind == POSTGRESQL:
        return libpq.of_parameters(libpq.parse_url(text, of_sqlalchemy=scheme[2] is not None), environ)
    if kind == SQLITE:
        return (of_file(unquote(text.partition("://")[2].partition("?")[0].removeprefix("/"))),)
    if kind == NATS:
        return of_nats([text])
    if kind == KAFKA:
        return of_kafka(text.partition("://")[2].rstrip("/"))
    raise UnknownDestinationError(
        f"is of the scheme {scheme[1]}, which is not known here: expected one of {', '.join(_KINDS)}"
    )


def of_file(path: str) -> Endpoint:
    """Where SQLite's name of a file leads, also as a URI."""
    if path.startswith("file:"):
        path = unquote(urlsplit(path).path)
    if path in ("", MEMORY):
        return Endpoint(SQLITE, "", 0, MEMORY)
    return Endpoint(SQLITE, "", 0, str(Path(path).resolve()))


def of_nats(urls: Iterable[str]) -> tuple[Endpoint, ...]:
    """Where a NATS client's servers are: URLs, or ``host:port``.

    Raises:
        UnknownDestinationError: one is no server.
    """
    found = []
    for url in urls:
        try:
            parts = urlsplit(url if "://" in url else f"nats://{url}")
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise UnknownDestinationError("has a NATS server whose URL cannot be read") from error
        if _KINDS.get(parts.scheme) != NATS or not host or "," in parts.netloc:
            raise UnknownDestinationError("has a NATS server that is no nats://host:port")
        if port is None and parts.scheme in ("ws", "wss"):
            raise UnknownDestinationError("has a NATS server by WebSocket without a port; name it")
        found.append(Endpoint(NATS, host, port or DEFAULT_PORTS[NATS], ""))
    return tuple(found)


def of_kafka(servers: object) -> tuple[Endpoint, ...]:
    """Where ``bootstrap_servers`` are: ``host:port``, as a list or with commas.

    Raises:
        UnknownDestinationError: they are no servers.
    """
    listed = servers.split(",") if isinstance(servers, str) else servers
    if not isinstance(listed, (list, tuple, set, frozenset)) or not listed:
        raise UnknownDestinationError("has bootstrap_servers that are neither a text nor a list")
    found = []
    for server in listed:
        name = str(server).strip()
        if not name or "://" in name or "@" in name:
            raise UnknownDestinationError("has a Kafka server that is no host:port")
        found.append(Endpoint(KAFKA, *host_and_port(name, DEFAULT_PORTS[KAFKA]), ""))
    return tuple(found)
