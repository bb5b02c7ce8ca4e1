"""The start-up check: everything that an app is wired to is this cell's, or the app does not start."""

import os
from collections.abc import Mapping

from cellplane.cell.errors import WiringError
from cellplane.cell.wiring.addresses import Addresses, Resolver, host_name, resolve, socket_file
from cellplane.cell.wiring.endpoints import SQLITE, Endpoint, UnknownDestinationError
from cellplane.cell.wiring.manifest import CellManifest
from cellplane.cell.wiring.objects import of_object
from cellplane.cell.wiring.settings import WiringLimits


def check_wiring(
    manifest: CellManifest,
    wired: Mapping[str, object],
    *,
    resolver: Resolver = resolve,
    environ: Mapping[str, str] | None = None,
    limits: WiringLimits = WiringLimits(),  # noqa: B008 - frozen
) -> None:
    """Check that all of these lead to what is the cell's, and to nothing else.

    A name that stands in the manifest is right; any other is right where all of its addresses are those of a name in
    the manifest. ``localhost``, ``127.0.0.1`` and ``::1`` are one. A right address may still be a proxy's that leads
    to another cell's database: ``claim_database`` tells.

    Args:
        manifest: what is the cell's.
        wired: a name for people → a URL or connection string, a list of them, an engine, a session or its factory, a
            connection, a pool, a message client; or what holds some, such as a repository.
        resolver: gives the addresses of a name.
        environ: stands in for what a connection string leaves out; None for that of the process.
        limits: how far to look.

    Raises:
        WiringError: names everything that leads elsewhere, or does not say where it leads.
    """
    environ = os.environ if environ is None else environ
    allowed = _Allowed(manifest, resolver, limits)
    faults = []
    for name, thing in wired.items():
        try:
            endpoints = of_object(thing, environ, limits)
        except UnknownDestinationError as error:
            faults.append(f"{name} {error}")
            continue
        faults += [f"{name}: {fault}" for endpoint in endpoints if (fault := allowed.fault_of(endpoint)) is not None]
    if faults:
        raise WiringError(manifest.cell_id, faults)


class _Allowed:
    def __init__(self, manifest: CellManifest, resolver: Resolver, limits: WiringLimits) -> None:
        self._cell_id = manifest.cell_id
        self._endpoints = manifest.endpoints()
        self._addresses = Addresses(resolver)
        self._max_shown = limits.max_shown

    def fault_of(self, found: Endpoint) -> str | None:
        """What is wrong with a place; None where it is the cell's."""
        alike = [
            each
            for each in self._endpoints
            if (each.kind, each.database, each.port) == (found.kind, found.database, found.port)
        ]
        foreign = f"{found} is not of {self._cell_id}; {self._shown(found.kind)}"
        if found.kind == SQLITE:
            return None if alike else foreign
        if found.is_socket:
            file = socket_file(found.host, found.port)
            is_ours = any(each.is_socket and socket_file(each.host, each.port) == file for each in alike)
            return None if is_ours else f"{foreign}. A Unix socket is the cell's where its folder is among the sockets"
        hosts = [each.host for each in alike if not each.is_socket]
        try:
            if host_name(found.host) in {host_name(host) for host in hosts}:
                return None
            addresses = self._addresses.of(found.host)
        except UnknownDestinationError as error:
            return f"{found} {error}; {self._shown(found.kind)}"
        others = addresses - self._known(hosts)
        if not others:
            return None
        if len(others) < len(addresses):
            return f"{found} is also at {', '.join(sorted(others))}, and that is not of {self._cell_id}"
        return foreign

    def _known(self, hosts: list[str]) -> frozenset[str]:
        """The addresses of the cell's own hosts; one that does not resolve has none that could be meant."""
        found: frozenset[str] = frozenset()
        for host in hosts:
            try:
                found |= self._addresses.of(host)
            except UnknownDestinationError:
                continue
        return found

    def _shown(self, kind: str) -> str:
        alike = sorted(str(each) for each in self._endpoints if each.kind == kind)
        more = len(alike) - self._max_shown
        shown = ", ".join(alike[: self._max_shown]) + (f" and {more} more" if more > 0 else "")
        return f"allowed: {shown or f'no {kind}'}"
