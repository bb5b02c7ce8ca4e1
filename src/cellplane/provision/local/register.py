"""Tells the control plane what the local fleet consists of."""

import time
from collections.abc import Callable, Mapping

from cellplane.client import Client
from cellplane.errors import ControlPlaneError, ProvisionError
from cellplane.provision.local.settings import LocalSettings

FLEET = "demo"
POOL = "default"


def register(client: Client, settings: LocalSettings, cell_ids: list[str], ports: Mapping[str, int]) -> None:
    """Put the fleet, its cells, its pool and its tenants. What a user changed since, such as a pin, stays."""
    client.put("/v1/fleet", {"name": FLEET, "key_header": "x-tenant-id", "default_pool": POOL})
    for cell_id in cell_ids:
        client.put(f"/v1/cells/{cell_id}", {"address": settings.host, "port": ports[f"{cell_id}.api"]})
    client.put(f"/v1/pools/{POOL}", {"cells": cell_ids, "strategy": "ring"})
    known = _tenant_ids(client)
    for number in range(1, settings.tenants + 1):
        tenant_id = f"tenant-{number:03}"
        if tenant_id not in known:
            client.put(f"/v1/tenants/{tenant_id}", {})


def wait_converged(client: Client, settings: LocalSettings, give_up: Callable[[], None]) -> None:
    """Wait until a router runs what is published and sees every cell healthy.

    Args:
        give_up: raises when waiting makes no sense any more.

    Raises:
        ProvisionError: that was not so in time.
    """
    deadline = time.monotonic() + settings.start_timeout_seconds
    missing = "no router reports"
    while time.monotonic() < deadline:
        give_up()
        try:
            routers = client.get("/v1/routers")
            cells = client.get("/v1/cells")["items"]
        except ControlPlaneError as error:
            missing = str(error)
        else:
            ready = [router for router in routers["items"] if router["ready"] and router["behind"] == 0]
            down = [cell["id"] for cell in cells if not cell["healthy"]]
            if ready and not down:
                return
            missing = f"the router does not reach {', '.join(down)}" if ready else "no router runs the published table"
        time.sleep(settings.probe_interval_seconds)
    raise ProvisionError(f"the fleet was not ready in {settings.start_timeout_seconds:.0f} s: {missing}")


def _tenant_ids(client: Client) -> set[str]:
    found: set[str] = set()
    after = ""
    while True:
        page = client.get("/v1/tenants", limit=1000, after=after)
        found |= {tenant["id"] for tenant in page["items"]}
        if page["next"] is None:
            return found
        after = page["next"]
