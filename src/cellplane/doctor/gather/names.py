"""Whether host names resolve on this machine, and how long that may be remembered."""

import ipaddress
import re
import secrets
import socket
import time
from pathlib import Path

from cellplane.doctor.facts import NameFact
from cellplane.doctor.gather.dns_message import AAAA, A, DnsMessageError, encode_question, shortest_ttl
from cellplane.doctor.settings import DoctorSettings

RESOLV_CONF = Path("/etc/resolv.conf")
_PORT = 53
_MAX_SERVERS = 3
"""As resolv.conf(5) has it."""

_MAX_DATAGRAM_BYTES = 4096
_MAX_DATAGRAMS = 16
"""Most that are looked at for one answer: what others send is passed over."""


def name_servers(resolv_conf: str) -> list[str]:
    """The addresses of the name servers in the text of resolv.conf(5)."""
    found = re.findall(r"^[ \t]*nameserver[ \t]+(\S+)", resolv_conf, re.MULTILINE)
    return [each for each in found[:_MAX_SERVERS] if _is_ip(each)]


def look_up(
    name: str, cells: tuple[str, ...], settings: DoctorSettings, servers: list[tuple[str, int]] | None = None
) -> NameFact:
    """What a name resolves to, and its time to live.

    Args:
        servers: addresses and ports to ask; None for those of this machine.
    """
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return NameFact(name, cells, failure=str(error))
    addresses = tuple(dict.fromkeys(str(each[4][0]) for each in found))
    kind = AAAA if ":" in addresses[0] else A
    try:
        if servers is None:
            servers = [(server, _PORT) for server in name_servers(RESOLV_CONF.read_text(errors="replace"))]
        ttl = ask(name, kind, servers, settings.probe_seconds)
    except (OSError, DnsMessageError) as error:
        return NameFact(name, cells, addresses, without_ttl=str(error))
    without = "" if ttl is not None else "the name server has no address for it: it comes from elsewhere"
    return NameFact(name, cells, addresses, ttl_seconds=ttl, without_ttl=without)


def ask(name: str, kind: int, servers: list[tuple[str, int]], seconds: float) -> int | None:
    """The time to live that the first name server says that answers.

    Raises:
        OSError: none answers, or there is none.
        DnsMessageError: one answers with something else.
    """
    failure: OSError = OSError("/etc/resolv.conf names no name server")
    for address, port in servers:
        try:
            return _ask(name, kind, (address, port), seconds)
        except OSError as error:
            failure = OSError(f"the name server {address} does not answer ({error})")
    raise failure


def _ask(name: str, kind: int, server: tuple[str, int], seconds: float) -> int | None:
    question = encode_question(secrets.randbits(16), name, kind)
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    end = time.monotonic() + seconds
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.connect(server)
        asking.send(question)
        for _ in range(_MAX_DATAGRAMS):
            asking.settimeout(max(0.001, end - time.monotonic()))
            answer = asking.recv(_MAX_DATAGRAM_BYTES)
            # Another number is of somebody else's question.
            if answer[:2] == question[:2]:
                return shortest_ttl(question, answer)
    raise OSError("it sends answers to other questions")


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
