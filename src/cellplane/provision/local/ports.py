"""TCP ports of a local fleet: those that the user names must be free, the others are found."""

import random
import socket
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from cellplane.errors import ProvisionError
from cellplane.provision.local.settings import LOWEST_PORT, PORT_TRIES

_LAST_PORT = 65_535


def require_free(host: str, wanted: Mapping[str, int]) -> None:
    """Check the ports that the user chose.

    Args:
        wanted: option name → port.

    Raises:
        ProvisionError: names the busy ones and the options that choose others.
    """
    busy = {option: port for option, port in wanted.items() if not is_free(host, port)}
    if busy:
        ports = " and ".join(f"port {port} is busy" for port in busy.values())
        options = " ".join(f"{option} PORT" for option in busy)
        raise ProvisionError(f"{ports}: choose another with {options}, or stop what listens there")
    if len(set(wanted.values())) != len(wanted):
        raise ProvisionError(f"{' and '.join(wanted)} must be different ports")


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def choose(
    host: str,
    names: Iterable[str],
    remembered: Mapping[str, int],
    *,
    avoid: Collection[int] = (),
    draw: random.Random | None = None,
) -> dict[str, int]:
    """A free port for each name: the remembered one where it is free, else any.

    Args:
        avoid: ports that are meant for something else.
        draw: chooses; by default seeded by the system, so that two fleets that start at once do not choose alike.

    Raises:
        ProvisionError: too many ports are busy.
    """
    draw = draw or random.SystemRandom()
    candidates = _candidates(_ephemeral_ports())
    chosen: dict[str, int] = {}
    probes: list[socket.socket] = []
    try:
        for name in names:
            wanted = remembered.get(name)
            known = [wanted] if wanted in candidates else []
            for port in (*known, *(draw.choice(candidates) for _ in range(PORT_TRIES))):
                probe = socket.socket()
                probes.append(probe)
                # Without SO_REUSEADDR, so that no two names get one port; all stay bound until all are chosen.
                if port not in avoid and _bind(probe, host, port):
                    chosen[name] = port
                    break
                probes.pop().close()
            else:
                raise ProvisionError(f"no free port for {name} in {PORT_TRIES} tries: stop what listens on so many")
    finally:
        for probe in probes:
            probe.close()
    return chosen


def _bind(probe: socket.socket, host: str, port: int) -> bool:
    try:
        probe.bind((host, port))
    except OSError:
        return False
    return True


def _ephemeral_ports() -> range:
    """The ports that the kernel gives to outgoing connections (ip(7), ip_local_port_range)."""
    first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    return range(int(first), int(last) + 1)


def _candidates(ephemeral: range) -> list[int]:
    """Ports for servers: none that an outgoing connection may take before its server, or while that is down.

    Where the kernel gives out all of them, any.
    """
    ports = range(LOWEST_PORT, _LAST_PORT + 1)
    return [port for port in ports if port not in ephemeral] or list(ports)
