"""What a control plane is told of a cell that was provisioned, or is to be removed: over its API."""

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from cellplane.client import LIVE_POLL_SECONDS, Client
from cellplane.errors import ControlPlaneError, ProvisionError
from cellplane.model import Capacity, Cell, CellStatus
from cellplane.provision.settings import REACH_TIMEOUT_SECONDS
from cellplane.provision.values import CellInstance, CellRequest

SEEN = frozenset({"id", "version", "healthy", "score", "breaker", "gray", "pinned_tenants", "load"})
"""What the control plane says of a cell beside what was put."""

_MAX_NAMED = 5


def find_cell(client: Client, cell_id: str) -> dict[str, Any] | None:
    """A cell as the API shows it; None where the control plane does not know it."""
    found: list[dict[str, Any]] = client.list("/v1/cells")["items"]
    return next((cell for cell in found if cell["id"] == cell_id), None)


def request_for(cell: Mapping[str, Any], pool: str) -> CellRequest:
    """What to ask a provisioner for, so that it makes the cell that the API shows."""
    known = _cell(cell)
    return CellRequest(
        known.id,
        region=known.region,
        zone=known.zone,
        jurisdiction=known.jurisdiction,
        capacity=known.capacity,
        release=known.release,
        pool=pool,
    )


def status_of(client: Client, cell_id: str) -> CellStatus | None:
    """What the control plane has a cell as; None where it does not know it."""
    cell = find_cell(client, cell_id)
    return None if cell is None else CellStatus(cell["status"])


def set_status(client: Client, cell_id: str, status: CellStatus, *, force: bool = False) -> int:
    """Put a cell into another place of its life, and return the epoch. All that changes a status does so here.

    Args:
        force: also where a pool is left without a cell that is active or locked.

    Raises:
        ControlPlaneError: there is no such cell, or the control plane refuses.
    """
    if find_cell(client, cell_id) is None:
        raise _unknown(cell_id)
    epoch: int = client.post(f"{_path(cell_id)}/status", {"status": status.value, "force": force})["epoch"]
    return epoch


def change_cell(client: Client, cell_id: str, changes: Mapping[str, Any]) -> int:
    """Change some fields of a cell, and return the epoch.

    Raises:
        ControlPlaneError: there is no such cell, or the control plane refuses.
    """
    cell = find_cell(client, cell_id)
    if cell is None:
        raise _unknown(cell_id)
    epoch: int = client.put(_path(cell_id), {**_spec(cell), **changes})["epoch"]
    return epoch


def register(client: Client, instance: CellInstance) -> int | None:
    """Make a cell known as ``provisioning``, or bring its address up to date where it is known.

    Returns:
        The epoch; None where nothing had to be changed.

    Raises:
        ControlPlaneError: the control plane refuses.
    """
    where = {"address": instance.address, "port": instance.port}
    known = find_cell(client, instance.id)
    if known is not None:
        return None if where.items() <= known.items() else change_cell(client, instance.id, where)
    request = instance.request
    place = {name: getattr(request, name) for name in ("region", "zone", "jurisdiction", "release")}
    capacity = {name: getattr(request.capacity, name) for name in Capacity.__dataclass_fields__}
    status = CellStatus.PROVISIONING.value
    epoch: int = client.put(_path(instance.id), {**where, **place, "capacity": capacity, "status": status})["epoch"]
    return epoch


def wait_reached(client: Client, cell_id: str, *, clock: Callable[[], float] = time.monotonic) -> None:
    """Wait until routers reach a cell; where none reports, nobody is waited for.

    Raises:
        ProvisionError: they do not in time.
    """
    deadline = clock() + REACH_TIMEOUT_SECONDS
    while any(not router["lost"] for router in client.list("/v1/routers")["items"]):
        cell = find_cell(client, cell_id)
        if cell is not None and cell["healthy"]:
            return
        if clock() > deadline:
            raise ProvisionError(
                f"{cell_id} runs, but routers do not reach it in {REACH_TIMEOUT_SECONDS:.0f} s: see "
                "`cellplane cells` and `cellplane routers`, then create it again"
            )
        time.sleep(LIVE_POLL_SECONDS)


def pool_cells(client: Client, pool: str) -> list[Cell]:
    """The cells of a pool.

    Raises:
        ControlPlaneError: there is no such pool.
    """
    members = _pool(client, pool)["cells"]
    return [_cell(cell) for cell in client.list("/v1/cells")["items"] if cell["id"] in members]


def join_pool(client: Client, cell_id: str, pool: str) -> int | None:
    """Put a cell into a pool, and return the epoch; None where it is in it.

    Raises:
        ControlPlaneError: there is no such pool, or the control plane refuses.
    """
    known = _pool(client, pool)
    return None if cell_id in known["cells"] else _put_cells(client, known, [*known["cells"], cell_id])


def leave_pools(client: Client, cell_id: str) -> int | None:
    """Take a cell out of every pool, and return the last epoch; None where it is in none.

    Raises:
        ControlPlaneError: the control plane refuses, as where it is a pool's last cell.
    """
    epoch = None
    for pool in client.list("/v1/pools")["items"]:
        if cell_id in pool["cells"]:
            epoch = _put_cells(client, pool, [each for each in pool["cells"] if each != cell_id])
    return epoch


def deregister(client: Client, cell_id: str) -> int | None:
    """Take a cell out of the control plane, and return the epoch; None where it does not know it.

    Raises:
        ProvisionError: a pool or a tenant names it; the message says how to change that.
        ControlPlaneError: the control plane refuses, as where the fleet names it.
    """
    if find_cell(client, cell_id) is None:
        return None
    pools = [pool["name"] for pool in client.list("/v1/pools")["items"] if cell_id in pool["cells"]]
    if pools:
        raise ProvisionError(
            f"{cell_id} is in {_listed('pool', pools)}: take it out with "
            f"`cellplane cell drain {cell_id} --leave-pools`, then retire it"
        )
    found = client.get("/v1/tenants", cell=cell_id, limit=_MAX_NAMED)
    tenants = [tenant["id"] for tenant in found["items"]]
    if tenants:
        more = " and more" if found["next"] is not None else ""
        raise ProvisionError(
            f"{_listed('tenant', tenants)}{more} {'is' if len(tenants) == 1 else 'are'} assigned to {cell_id}: "
            f"`cellplane assign` sends them elsewhere, `cellplane tenants --cell {cell_id}` lists them"
        )
    epoch: int = client.delete(_path(cell_id))["epoch"]
    return epoch


def _unknown(cell_id: str) -> ControlPlaneError:
    return ControlPlaneError(f"the control plane knows no {cell_id}: `cellplane cells` lists those that it does")


def _path(cell_id: str) -> str:
    return f"/v1/cells/{quote(cell_id, safe='')}"


def _spec(cell: Mapping[str, Any]) -> dict[str, Any]:
    """What was put of a cell."""
    return {field: value for field, value in cell.items() if field not in SEEN}


def _cell(cell: Mapping[str, Any]) -> Cell:
    place = {name: cell[name] for name in ("address", "port", "region", "zone", "jurisdiction", "release")}
    return Cell(cell["id"], **place, status=CellStatus(cell["status"]), capacity=Capacity(**cell["capacity"]))


def _pool(client: Client, name: str) -> dict[str, Any]:
    pools: list[dict[str, Any]] = client.list("/v1/pools")["items"]
    for pool in pools:
        if pool["name"] == name:
            return pool
    known = ", ".join(pool["name"] for pool in pools) or "none"
    raise ControlPlaneError(f"there is no pool {name!r}: the control plane knows {known}")


def _put_cells(client: Client, pool: Mapping[str, Any], cells: list[str]) -> int:
    body = {field: value for field, value in pool.items() if field not in {"name", "version"}}
    epoch: int = client.put(f"/v1/pools/{quote(pool['name'], safe='')}", {**body, "cells": cells})["epoch"]
    return epoch


def _listed(noun: str, names: list[str]) -> str:
    return f"{noun}{'' if len(names) == 1 else 's'} {', '.join(names)}"
