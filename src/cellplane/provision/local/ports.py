"""TCP ports of a local fleet: those that the user names must be free, the others are found."""

import socket
from collections.abc import Iterable, Mapping

from cellplane.errors import ProvisionError


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


def choose(host: str, names: Iterable[str], remembered: Mapping[str, int]) -> dict[str, int]:
    """A free port for each name: the remembered one where it is free, else any."""
    chosen: dict[str, int] = {}
    probes: list[socket.socket] = []
    try:
        for name in names:
            port = remembered.get(name, 0)
            probe = socket.socket()
            probes.append(probe)
            # Without SO_REUSEADDR, so that no two names get one port; all stay bound until all are chosen.
            try:
                probe.bind((host, port))
            except OSError:
                probe.bind((host, 0))
            chosen[name] = probe.getsockname()[1]
    finally:
        for probe in probes:
            probe.close()
    return chosen
