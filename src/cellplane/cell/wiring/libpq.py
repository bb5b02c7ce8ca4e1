"""Where libpq's connection strings lead: URLs and ``key=value`` forms, with what the environment adds.

As of PostgreSQL's documentation, "Connection Strings" and "Environment Variables". Where a reader could take a string
in two ways, it is refused: what is checked must be what is used.
"""

from collections.abc import Mapping
from urllib.parse import unquote

from cellplane.cell.wiring.endpoints import (
    DEFAULT_PORTS,
    DEFAULT_SOCKETS,
    POSTGRESQL,
    Endpoint,
    UnknownDestinationError,
    host_and_port,
    port_of,
)

_VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "service": "PGSERVICE",
}
_PORT = DEFAULT_PORTS[POSTGRESQL]


def of_parameters(parameters: Mapping[str, object], environ: Mapping[str, str]) -> tuple[Endpoint, ...]:
    """Every place to which these parameters may lead.

    Args:
        parameters: as of a connection string, by libpq's names.
        environ: stands in for what is not there.

    Raises:
        UnknownDestinationError: they do not tell, or contradict themselves.
    """
    given: dict[str, str] = {}
    for name, variable in _VARIABLES.items():
        value = parameters.get(name)
        given[name] = environ.get(variable, "") if value is None else str(value)
    if given["service"]:
        raise UnknownDestinationError(
            "names a service, whose file says where it leads; name host, port and dbname instead"
        )
    database = given["dbname"] or given["user"]
    if not database:
        raise UnknownDestinationError("names no database; name it as dbname")
    hosts = given["host"].split(",")
    addresses = given["hostaddr"].split(",")
    if given["hostaddr"] and given["host"] and len(hosts) != len(addresses):
        raise UnknownDestinationError(f"has {len(hosts)} hosts and {len(addresses)} addresses in hostaddr")
    count = len(addresses) if given["hostaddr"] else len(hosts)
    ports = given["port"].split(",")
    if len(ports) not in (1, count):
        raise UnknownDestinationError(f"has {count} hosts and {len(ports)} ports")
    found: list[Endpoint] = []
    for at in range(count):
        port = port_of((ports[at] if len(ports) > 1 else ports[0]).strip(), _PORT)
        host = hosts[at] if given["host"] else ""
        # The name is then for certificates alone.
        where = (addresses[at] if given["hostaddr"] else "") or host
        found += [Endpoint(POSTGRESQL, each, port, database) for each in ([where] if where else DEFAULT_SOCKETS)]
    return tuple(found)


def parse_url(text: str, *, of_sqlalchemy: bool) -> dict[str, str]:
    """The parameters of a URL, as of libpq; the password is left out.

    Args:
        text: a URL of the scheme postgresql or postgres, whatever its driver.
        of_sqlalchemy: a host of its query may have a port, and may be repeated.

    Raises:
        UnknownDestinationError: it is none, or can be read in two ways.
    """
    rest = text.partition("://")[2]
    if "#" in rest:
        raise UnknownDestinationError("has a # in its URL, which readers take in different ways; write it as %23")
    rest, _, query = rest.partition("?")
    if rest.count("@") > 1 or "@" in query or "@" in rest.partition("/")[2]:
        raise UnknownDestinationError("has a /, ? or @ in its credentials; write them as %2F, %3F and %40")
    authority, _, path = rest.partition("/")
    credentials, _, servers = authority.rpartition("@")
    if of_sqlalchemy and "%" in servers + path:
        raise UnknownDestinationError("has a percent-encoded host or database, which SQLAlchemy does not decode")
    if of_sqlalchemy and "," in servers:
        raise UnknownDestinationError("has several hosts before its path; SQLAlchemy takes them as ?host=a:1&host=b:2")
    found: dict[str, str] = {}
    if credentials:
        found["user"] = _decoded(credentials.partition(":")[0])
    if servers:
        found |= _hosts(servers.split(","))
    if path:
        if "/" in path:
            raise UnknownDestinationError("has a / in its database's name; write it as %2F")
        found["dbname"] = _decoded(path)
    return found | _query(query, of_sqlalchemy=of_sqlalchemy)


def _query(query: str, *, of_sqlalchemy: bool) -> dict[str, str]:
    found: dict[str, str] = {}
    hosts: list[str] = []
    for pair in query.split("&") if query else []:
        name, equals, value = (_decoded(part) for part in pair.partition("="))
        if not equals or not name:
            raise UnknownDestinationError("has a query with a part that is no name=value")
        if name == "host":
            hosts.append(value)
        elif name != "password":
            if name in found:
                raise UnknownDestinationError(f"names {name[:40]} twice")
            found[name] = value
    if not hosts:
        return found
    if len(hosts) == 1 and not any(_has_port(host) for host in hosts[0].split(",")):
        return {**found, "host": hosts[0]}
    # SQLAlchemy alone knows the form host=a:1&host=b:2.
    if not of_sqlalchemy or "port" in found or any(not _is_plain(host) for host in hosts):
        raise UnknownDestinationError("names hosts in a way that is read in different ways; use host=a,b&port=1,2")
    return found | _hosts(hosts)


def _has_port(host: str) -> bool:
    return host.startswith("[") or (host.count(":") == 1 and not host.startswith(("/", "@")))


def _is_plain(host: str) -> bool:
    name, colon, port = host.partition(":")
    return bool(name) and not set(name) & set(",[]/@") and (port.isdigit() if colon else True)


def _hosts(servers: list[str]) -> dict[str, str]:
    """Hosts with their ports, as they stand in a URL, as libpq's two lists. Of one host, the port may be missing."""
    pairs = [host_and_port(server, 0) for server in servers]
    ports = ",".join(str(port or "") for _, port in pairs)
    return {"host": ",".join(_decoded(host) for host, _ in pairs), **({"port": ports} if ports else {})}


def parse_pairs(text: str) -> dict[str, str]:
    """The parameters of a ``key=value`` string; the password is left out.

    Raises:
        UnknownDestinationError: it is none.
    """
    found: dict[str, str] = {}
    at = 0
    while True:
        while at < len(text) and text[at].isspace():
            at += 1
        if at == len(text):
            break
        name, equals, _ = text[at:].partition("=")
        key = name.strip()
        if not equals or not key or any(char.isspace() for char in key):
            raise UnknownDestinationError("is no connection string: expected key=value pairs")
        at += len(name) + 1
        while at < len(text) and text[at].isspace():
            at += 1
        value, at = _value(text, at)
        found[key] = value
    found.pop("password", None)
    return found


def _value(text: str, at: int) -> tuple[str, int]:
    """A value, in quotes or not, and where it ends. A backslash takes the next character as it is."""
    quoted = text[at : at + 1] == "'"
    at += quoted
    value: list[str] = []
    while at < len(text):
        char = text[at]
        if char == "\\" and at + 1 < len(text):
            at += 1
            char = text[at]
        elif quoted and char == "'":
            return "".join(value), at + 1
        elif not quoted and char.isspace():
            return "".join(value), at
        elif not quoted and char == "\\":
            break
        value.append(char)
        at += 1
    if quoted:
        raise UnknownDestinationError("has a quotation that does not end")
    return "".join(value), len(text)


def _decoded(text: str) -> str:
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise UnknownDestinationError("has a percent-encoding that is no UTF-8") from error
    if "\0" in decoded:
        raise UnknownDestinationError("has a %00")
    return decoded
