"""What a real control plane is told of a cell that was provisioned, or is to be removed."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from cellplane.client import Client
from cellplane.errors import ControlPlaneError, ProvisionError
from cellplane.model import Capacity, CellStatus
from cellplane.provision import CellInstance, CellRequest, InstanceState, registration
from unit.control.serving import SHOP, Api, serving

REQUEST = CellRequest("cell-2", "eu-1", "eu-1a", "eu", Capacity(rps=90, tenants=7), "r1")
INSTANCE = CellInstance(REQUEST, "127.0.0.1", 20_002, InstanceState.RUNNING)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with serving(tmp_path / "state") as api:
        api.put_epoch("/v1/fleet", SHOP)
        api.put_epoch(
            "/v1/cells/cell-1", {"address": "127.0.0.1", "port": 20_001, "region": "eu-1", "jurisdiction": "eu"}
        )
        api.put_epoch("/v1/pools/default", {"cells": ["cell-1"]})
        yield api


@pytest.fixture
def client(api: Api) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{api.port}", "test", api.token) as client:
        yield client


def report(api: Api, cell_id: str, healthy_hosts: int) -> None:
    cells = {cell_id: {"hosts": 1, "healthy_hosts": healthy_hosts}}
    body = {"epoch": 1, "sha256": "", "proxy": "", "ready": True, "cells": cells}
    assert api.http.post("/v1/routers/router-1/report", json=body).status_code == 200


def test_a_cell_is_registered_as_provisioning_once_and_its_address_follows(client: Client) -> None:
    assert registration.register(client, INSTANCE) is not None
    found = registration.find_cell(client, "cell-2")
    assert found is not None
    assert registration.request_for(found, "") == REQUEST
    assert (found["status"], found["port"]) == ("provisioning", 20_002)
    assert registration.register(client, INSTANCE) is None
    registration.set_status(client, "cell-2", CellStatus.ACTIVE)
    epoch = registration.register(client, replace(INSTANCE, port=20_009))
    after = {**found, "port": 20_009, "status": "active", "version": epoch}
    assert registration.find_cell(client, "cell-2") == after


def test_another_status_changes_nothing_else(client: Client) -> None:
    registration.register(client, INSTANCE)
    before = registration.find_cell(client, "cell-2")
    assert before is not None
    for status in ("active", "locked", "draining", "maintenance", "retired"):
        epoch = registration.set_status(client, "cell-2", CellStatus(status))
        assert registration.status_of(client, "cell-2") is CellStatus(status)
        assert registration.find_cell(client, "cell-2") == {**before, "status": status, "version": epoch}
    with pytest.raises(ControlPlaneError, match="from retired a cell goes to active, not to locked"):
        registration.set_status(client, "cell-2", CellStatus.LOCKED)
    with pytest.raises(ControlPlaneError, match="the control plane knows no cell-9"):
        registration.set_status(client, "cell-9", CellStatus.ACTIVE)


def test_a_cell_joins_its_pool_once_and_leaves_all(client: Client) -> None:
    registration.register(client, INSTANCE)
    assert registration.join_pool(client, "cell-2", "default") is not None
    assert registration.join_pool(client, "cell-2", "default") is None
    client.put("/v1/pools/other", {"cells": ["cell-2", "cell-1"], "strategy": "modulo"})
    assert [cell.id for cell in registration.pool_cells(client, "other")] == ["cell-1", "cell-2"]
    assert registration.leave_pools(client, "cell-2") is not None
    assert [pool["cells"] for pool in client.get("/v1/pools")["items"]] == [["cell-1"], ["cell-1"]]
    assert registration.leave_pools(client, "cell-2") is None
    with pytest.raises(ControlPlaneError, match="a pool needs at least one cell"):
        registration.leave_pools(client, "cell-1")
    with pytest.raises(ControlPlaneError, match="there is no pool 'shared': the control plane knows default, other"):
        registration.join_pool(client, "cell-2", "shared")


def test_a_cell_that_somebody_names_is_not_deregistered(client: Client) -> None:
    registration.register(client, INSTANCE)
    registration.join_pool(client, "cell-2", "default")
    with pytest.raises(
        ProvisionError, match="cell-2 is in pool default: take it out with `cellplane cell drain cell-2"
    ):
        registration.deregister(client, "cell-2")
    for number in range(7):
        client.put(f"/v1/tenants/t-{number}", {"cell": "cell-2"})
    registration.leave_pools(client, "cell-2")
    with pytest.raises(ProvisionError, match="tenants t-0, t-1, t-2, t-3, t-4 and more are assigned to cell-2"):
        registration.deregister(client, "cell-2")
    for number in range(7):
        client.delete(f"/v1/tenants/t-{number}")
    fleet: dict[str, Any] = client.get("/v1/fleet")
    client.put("/v1/fleet", {**fleet, "missing_key": "default-cell", "default_cell": "cell-2"})
    with pytest.raises(ControlPlaneError, match="cell-2"):
        registration.deregister(client, "cell-2")
    client.put("/v1/fleet", fleet)
    assert registration.deregister(client, "cell-2") is not None
    assert registration.deregister(client, "cell-2") is None


def test_routers_are_waited_for_until_they_reach_the_cell(client: Client, api: Api) -> None:
    registration.register(client, INSTANCE)
    registration.wait_reached(client, "cell-2")
    report(api, "cell-2", 0)
    late = count(0, 15)
    with pytest.raises(ProvisionError, match="cell-2 runs, but routers do not reach it in 20 s"):
        registration.wait_reached(client, "cell-2", clock=lambda: next(late))
    report(api, "cell-2", 1)
    registration.wait_reached(client, "cell-2")
