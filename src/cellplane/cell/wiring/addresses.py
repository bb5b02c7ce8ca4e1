"""One form for the many ways of naming a machine, so that they can be compared."""

import os
import socket
from collections.abc import Callable, Collection
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from cellplane.cell.wiring.endpoints import UnknownDestinationError

Resolver = Callable[[str], Collection[str]]
"""Gives the IP addresses of a name, or of an address itself; raises OSError where there is none."""

LOOPBACK = "127.0.0.1"


def resolve(host: str) -> Collection[str]:
    """Ask the system, as a client would. It waits for as long as ``resolv.conf`` says."""
    return {str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}


class Addresses:
    """The addresses of names, each asked for once.

    Args:
        resolver: asked for them.
    """

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._known: dict[str, frozenset[str]] = {}

    def of(self, host: str) -> frozenset[str]:
        """All of a host's addresses, in one form.

        Raises:
            UnknownDestinationError: it has none, or nobody can tell now.
        """
        name = host_name(host)
        if name not in self._known:
            try:
                found = frozenset(canonical_ip(address) for address in self._resolver(name))
            except (OSError, UnicodeError) as error:
                reason = " ".join(str(error).split())
                raise UnknownDestinationError(f"names the host {name!r}, which does not resolve ({reason})") from error
            if not found:
                raise UnknownDestinationError(f"names the host {name!r}, which resolves to no address")
            self._known[name] = found
        return self._known[name]


def host_name(host: str) -> str:
    """A host as names are compared: lower case, without the dot at its end, in ASCII.

    Raises:
        UnknownDestinationError: it cannot be a host.
    """
    name = host.lower().rstrip(".")
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise UnknownDestinationError(f"names a host that cannot be one: {host[:100]!r}") from error
    if not name or len(name) > 253 or any(char <= " " or char in "/@,?#" for char in name):
        raise UnknownDestinationError(f"names a host that cannot be one: {host[:100]!r}")
    return name


def canonical_ip(text: str) -> str:
    """An address in its one form; what is only this machine to itself is always ``127.0.0.1``."""
    address = ip_address(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_unspecified or str(address) == "::1":
        return LOOPBACK
    return str(address)


def socket_file(folder: str, port: int) -> str:
    """The file of PostgreSQL's socket in a folder, without symbolic links; one that begins with @ is no file."""
    if folder.startswith("@"):
        return f"{folder}/.s.PGSQL.{port}"
    return os.path.realpath(Path(folder) / f".s.PGSQL.{port}")
