"""What a local fleet tells a real control plane, and what it leaves to the user."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cellplane.client import Client
from cellplane.errors import ProvisionError
from cellplane.provision.local.register import register, wait_converged
from cellplane.provision.local.settings import LocalSettings
from unit.control.serving import Api, serving

CELLS = ["cell-1", "cell-2"]
KEY_SOURCES = [{"kind": "subdomain", "name": "example.com"}, {"kind": "path", "name": "/t/"}]
PORTS = {"cell-1.api": 20_001, "cell-2.api": 20_002}


class GivenUpError(Exception):
    pass


def go_on() -> None:
    pass


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with serving(tmp_path / "state") as api:
        yield api


@pytest.fixture
def client(api: Api) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{api.port}", "local-fleet", api.token) as client:
        yield client


def settings(**changes: Any) -> LocalSettings:
    return LocalSettings(state_dir=Path("unused"), **changes)


def directory(client: Client) -> list[dict[str, Any]]:
    return [client.get(f"/v1/{resource}") for resource in ("fleet", "cells", "pools", "tenants")]


def test_an_empty_directory_gets_all(client: Client) -> None:
    register(client, settings(tenants=3), CELLS, PORTS, go_on)
    assert client.get("/v1/fleet")["default_pool"] == "default"
    assert [(cell["id"], cell["port"]) for cell in client.get("/v1/cells")["items"]] == [
        ("cell-1", 20_001),
        ("cell-2", 20_002),
    ]
    assert client.get("/v1/pools")["items"][0]["cells"] == CELLS
    assert [tenant["id"] for tenant in client.get("/v1/tenants")["items"]] == ["tenant-001", "tenant-002", "tenant-003"]


def test_a_second_start_changes_nothing(client: Client) -> None:
    register(client, settings(tenants=3), CELLS, PORTS, go_on)
    epoch = client.get("/healthz")["epoch"]
    register(client, settings(tenants=3), CELLS, PORTS, go_on)
    assert client.get("/healthz")["epoch"] == epoch


def test_what_the_user_changed_is_kept(client: Client, api: Api) -> None:
    register(client, settings(tenants=3), CELLS, PORTS, go_on)
    client.put("/v1/fleet", {"name": "demo", "key_sources": KEY_SOURCES, "unknown_tenant": "reject"})
    changed = {"region": "eu", "jurisdiction": "de", "status": "draining", "weight": 2.0}
    client.put("/v1/cells/cell-2", {"address": "127.0.0.1", "port": 20_002, **changed})
    client.put("/v1/pools/default", {"cells": ["cell-1"], "strategy": "modulo"})
    client.put("/v1/tenants/tenant-002", {"cell": "cell-2", "state": "suspended"})
    # Where a tenant is placed is what the published table says.
    api.published(client.get("/healthz")["epoch"])
    before = directory(client)
    register(client, settings(tenants=3), CELLS, PORTS, go_on)
    assert directory(client) == before


def test_a_cell_that_is_elsewhere_now_changes_its_address_alone(client: Client) -> None:
    register(client, settings(), CELLS, PORTS, go_on)
    changed = {"region": "eu", "jurisdiction": "de", "status": "draining", "weight": 2.0, "zone": "eu-1a"}
    changed |= {"release": "r7", "capacity": {"tenants": 5, "rps": 70.5}}
    client.put("/v1/cells/cell-2", {"address": "127.0.0.1", "port": 20_002, **changed})
    before = client.get("/v1/cells")["items"][1]
    register(client, settings(), CELLS, {**PORTS, "cell-2.api": 20_003}, go_on)
    after = client.get("/v1/cells")["items"][1]
    assert after == {**before, "port": 20_003, "version": after["version"]}


def test_a_default_pool_of_the_users_own_is_the_only_one(client: Client) -> None:
    register(client, settings(), CELLS, PORTS, go_on)
    client.put("/v1/pools/mine", {"cells": ["cell-1"]})
    client.put("/v1/fleet", {"name": "demo", "key_sources": KEY_SOURCES, "default_pool": "mine"})
    register(client, settings(), CELLS, PORTS, go_on)
    assert client.get("/v1/fleet")["default_pool"] == "mine"
    assert client.get("/v1/pools")["items"][-1]["cells"] == ["cell-1"]


def test_a_cell_that_was_taken_out_does_not_come_back(client: Client) -> None:
    register(client, settings(), CELLS, PORTS, go_on)
    client.put("/v1/pools/default", {"cells": ["cell-1"]})
    client.delete("/v1/cells/cell-2")
    register(client, settings(), CELLS, PORTS, go_on)
    assert [cell["id"] for cell in client.get("/v1/cells")["items"]] == ["cell-1"]


def test_seeding_stops_at_the_next_tenant(client: Client) -> None:
    stopping = threading.Event()

    def give_up() -> None:
        if stopping.is_set():
            raise GivenUpError
        if len(client.get("/v1/tenants")["items"]) == 2:
            stopping.set()

    with pytest.raises(GivenUpError):
        register(client, settings(tenants=9_999), CELLS, PORTS, give_up)
    assert len(client.get("/v1/tenants")["items"]) == 3, "the one that was under way is the last"


def test_only_local_cells_that_serve_are_waited_for(client: Client, api: Api) -> None:
    register(client, settings(), CELLS, PORTS, go_on)
    client.put("/v1/cells/far", {"address": "192.0.2.1", "port": 80})
    api.published(client.get("/healthz")["epoch"])

    def report(**healthy: int) -> None:
        epoch = client.get("/healthz")["published_epoch"]
        cells = {name.replace("_", "-"): {"hosts": 1, "healthy_hosts": count} for name, count in healthy.items()}
        body = {"epoch": epoch, "sha256": "", "proxy": "", "ready": True, "cells": cells}
        assert api.http.post("/v1/routers/router-1/report", json=body).status_code == 200

    report(cell_1=1, cell_2=1, far=0)
    wait_converged(client, settings(start_timeout_seconds=60), CELLS, go_on)
    report(cell_1=1, cell_2=0, far=0)
    with pytest.raises(ProvisionError, match=r"does not reach cell-2$"):
        wait_converged(client, settings(start_timeout_seconds=0.2), CELLS, go_on)
    client.put("/v1/cells/cell-2", {"address": "127.0.0.1", "port": 20_002, "status": "maintenance"})
    api.published(client.get("/healthz")["epoch"])
    report(cell_1=1)
    wait_converged(client, settings(start_timeout_seconds=60), CELLS, go_on)
