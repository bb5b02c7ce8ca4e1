"""Where something leads: a server's address and a database's name, without any credentials."""

from dataclasses import dataclass

POSTGRESQL = "postgresql"
SQLITE = "sqlite"
NATS = "nats"
KAFKA = "kafka"

DEFAULT_PORTS = {POSTGRESQL: 5432, NATS: 4222, KAFKA: 9092}
"""Kind of server → its port where none is named. What is not here is a file."""

DEFAULT_SOCKETS = ("/var/run/postgresql", "/tmp")  # noqa: S108 - where libpq looks, by how it was built
"""Folders of PostgreSQL's socket where no host is named: Debian's, and that of PostgreSQL's own sources."""

MEMORY = ":memory:"


class UnknownDestinationError(Exception):
    """Nobody can tell where something leads; the message says why, and never more of a URL than its scheme."""


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One place. What leads to several has several."""

    kind: str
    """``postgresql``, ``sqlite``, ``nats`` or ``kafka``."""

    host: str
    """A name or an IP address; of PostgreSQL also the folder of a Unix socket, which begins with / or @; empty for a
    file."""

    port: int
    """0 for a file."""

    database: str
    """A database's name, or a file's path; empty for a broker."""

    def __str__(self) -> str:
        if self.kind == SQLITE:
            return f"sqlite file {self.database}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.is_socket:
            host = self.host.replace("/", "%2F")
        who = "…@" if self.kind == POSTGRESQL else ""
        return f"{self.kind}://{who}{host}:{self.port}" + (f"/{self.database}" if self.database else "")

    @property
    def is_socket(self) -> bool:
        """Whether the host is a Unix socket's folder."""
        return self.host.startswith(("/", "@"))


def host_and_port(text: str, default_port: int) -> tuple[str, int]:
    """``host``, ``host:port``, ``[::1]:port`` or ``::1`` as its two parts; a socket's folder has no port here.

    Raises:
        UnknownDestinationError: it is none of them.
    """
    host, port = text, ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise UnknownDestinationError("has an IPv6 address without its closing bracket")
        port = rest[1:]
    elif not text.startswith(("/", "@")) and text.count(":") == 1:
        host, _, port = text.partition(":")
    return host, port_of(port, default_port)


def port_of(text: str, default: int) -> int:
    """A port's number; the default for an empty text.

    Raises:
        UnknownDestinationError: it is none.
    """
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65_535):
        raise UnknownDestinationError("has a port that is not 1–65535")
    return int(text)
