"""Tells the control plane what the local fleet consists of."""

import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from cellplane.client import Client
from cellplane.errors import ControlPlaneError, ProvisionError
from cellplane.model import CellStatus
from cellplane.provision.local.settings import LocalSettings
from cellplane.provision.registration import SEEN

FLEET = "demo"
POOL = "default"
TENANT_RPS = 100
"""Requests per second of each tenant, unless the user says otherwise: less than a cell of a demo answers, so that
`cellplane chaos flood` shows who is refused, and who is not."""

KEY_SOURCES = [{"kind": "header", "name": "x-tenant-id", "trusted": True}]


def register(
    client: Client,
    settings: LocalSettings,
    cell_ids: list[str],
    ports: Mapping[str, int],
    give_up: Callable[[], None],
) -> None:
    """Put the fleet, its cells, its pool and its tenants where they are missing. What a user changed since stays.

    Of a cell that is there only the address is brought up to date, since the fleet chooses it.

    Args:
        give_up: raises when the rest is not wanted any more; asked before each tenant.
    """
    addresses = {cell_id: {"address": settings.host, "port": ports[f"{cell_id}.api"]} for cell_id in cell_ids}
    missing = _missing(client, addresses)
    if missing:
        client.post("/v1/apply", {"resources": missing})
    for cell in client.list("/v1/cells")["items"]:
        where = addresses.get(cell["id"])
        if where is not None and not where.items() <= cell.items():
            chosen = {field: value for field, value in cell.items() if field not in SEEN}
            client.put(f"/v1/cells/{cell['id']}", {**chosen, **where})
    known = _tenant_ids(client, give_up)
    for number in range(1, settings.tenants + 1):
        give_up()
        tenant_id = f"tenant-{number:03}"
        if tenant_id not in known:
            client.put(f"/v1/tenants/{tenant_id}", {})


def wait_converged(client: Client, settings: LocalSettings, cell_ids: list[str], give_up: Callable[[], None]) -> None:
    """Wait until a router runs what is published and sees every local cell that serves healthy.

    Args:
        cell_ids: the local cells; whatever else the directory lists is not ours to wait for.
        give_up: raises when waiting makes no sense any more.

    Raises:
        ProvisionError: that was not so in time.
    """
    deadline = time.monotonic() + settings.start_timeout_seconds
    missing = "no router reports"
    while time.monotonic() < deadline:
        give_up()
        try:
            routers = client.list("/v1/routers")
            cells = client.list("/v1/cells")["items"]
        except ControlPlaneError as error:
            missing = str(error)
        else:
            ready = [router for router in routers["items"] if router["ready"] and router["behind"] == 0]
            down = [
                cell["id"]
                for cell in cells
                if cell["id"] in cell_ids and CellStatus(cell["status"]).serves and not cell["healthy"]
            ]
            if ready and not down:
                return
            missing = f"the router does not reach {', '.join(down)}" if ready else "no router runs the published table"
        time.sleep(settings.probe_interval_seconds)
    raise ProvisionError(f"the fleet was not ready in {settings.start_timeout_seconds:.0f} s: {missing}")


def _missing(client: Client, addresses: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The fleet, its cells and its default pool as resources, as far as they are not there.

    Cells are put once, with the fleet: from then on who makes one registers it, and who removes one takes it out.
    """
    fleet = _fleet(client)
    pool = POOL if fleet is None else str(fleet["default_pool"])
    cells = {cell["id"] for cell in client.list("/v1/cells")["items"]} if fleet is None else set(addresses)
    pools = {item["name"] for item in client.list("/v1/pools")["items"]}
    spec = {"keySources": KEY_SOURCES, "defaultPool": POOL, "policy": {"rps": TENANT_RPS}}
    found = [] if fleet is not None else [_resource("Fleet", FLEET, spec)]
    found += [_resource("Cell", cell_id, where) for cell_id, where in addresses.items() if cell_id not in cells]
    if pool not in pools:
        found.append(_resource("Pool", pool, {"cells": list(addresses), "strategy": "ring"}))
    return found


def _resource(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "name": name, "spec": spec}


def _fleet(client: Client) -> dict[str, Any] | None:
    try:
        return client.get("/v1/fleet")
    except ControlPlaneError as error:
        # The client tells the status at the end of its message alone.
        if not str(error).endswith(f"({HTTPStatus.NOT_FOUND.value})"):
            raise
        return None


def _tenant_ids(client: Client, give_up: Callable[[], None]) -> set[str]:
    found: set[str] = set()
    after = ""
    while True:
        give_up()
        page = client.get("/v1/tenants", limit=1000, after=after)
        found |= {tenant["id"] for tenant in page["items"]}
        if page["next"] is None:
            return found
        after = page["next"]
