"""The decision: which cell gets a request. Reference for every implementation (``docs/table-format.md``)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Literal

from cellplane.model import CellStatus, TenantState, UnknownTenant, is_key
from cellplane.placement import slot_of
from cellplane.routing.table import RoutingTable


class RefusalCode(Enum):
    """Why a router answers by itself: the ``code`` of the problem document, and its status."""

    MISSING_KEY = ("missing-key", HTTPStatus.BAD_REQUEST)
    AMBIGUOUS_KEY = ("ambiguous-key", HTTPStatus.BAD_REQUEST)
    INVALID_KEY = ("invalid-key", HTTPStatus.BAD_REQUEST)
    UNKNOWN_TENANT = ("unknown-tenant", HTTPStatus.NOT_FOUND)
    TENANT_SUSPENDED = ("tenant-suspended", HTTPStatus.FORBIDDEN)
    TENANT_MOVING = ("tenant-moving", HTTPStatus.SERVICE_UNAVAILABLE)
    CELL_MAINTENANCE = ("cell-maintenance", HTTPStatus.SERVICE_UNAVAILABLE)
    CELL_UNAVAILABLE = ("cell-unavailable", HTTPStatus.SERVICE_UNAVAILABLE)

    def __init__(self, code: str, status: HTTPStatus) -> None:
        self.code = code
        self.status = status


@dataclass(frozen=True, slots=True)
class Route:
    """The request goes to a cell.

    Attributes:
        cell: id of the chosen cell.
        shard: ids of all cells of the shard, the preferred first.
        pool: name of the pool.
        slot: the key's slot.
        reason: whether an assignment or the slot named the shard.
        epoch: of the table.
    """

    cell: str
    shard: tuple[str, ...]
    pool: str
    slot: int
    reason: Literal["assignment", "slot"]
    epoch: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """The router answers by itself; ``cell`` is the shard's first cell where a shard was found."""

    code: RefusalCode
    epoch: int
    cell: str | None = None


Decision = Route | Refusal


def decide(
    table: RoutingTable,
    key_values: Sequence[bytes],
    *,
    writes: bool,
    has_healthy_host: Callable[[str], bool],
) -> Decision:
    """Decide one request.

    Args:
        table: the table that is live.
        key_values: all values of the fleet's key header, in order.
        writes: whether the request's method is another than GET, HEAD and OPTIONS.
        has_healthy_host: whether a cell, named by id, can be reached.
    """
    epoch = table.epoch
    if len(key_values) > 1:
        return Refusal(RefusalCode.AMBIGUOUS_KEY, epoch)
    if not key_values or not key_values[0]:
        return Refusal(RefusalCode.MISSING_KEY, epoch)
    key = key_values[0]
    if not is_key(key):
        return Refusal(RefusalCode.INVALID_KEY, epoch)
    slot = slot_of(key)
    entry = table.find(key)
    if entry is None and table.unknown_tenant is UnknownTenant.REJECT:
        return Refusal(RefusalCode.UNKNOWN_TENANT, epoch)
    if entry is not None and entry.state is TenantState.SUSPENDED:
        return Refusal(RefusalCode.TENANT_SUSPENDED, epoch)
    if entry is not None and entry.state is TenantState.MOVING and writes:
        return Refusal(RefusalCode.TENANT_MOVING, epoch)
    pool = table.default_pool if entry is None else entry.pool
    pinned = None if entry is None else entry.shard
    shard = table.shards[table.shard_of_slot(pool, slot) if pinned is None else pinned]
    cells = [table.cells[index] for index in shard]
    for cell in cells:
        if cell.status.serves and has_healthy_host(cell.id):
            return Route(
                cell=cell.id,
                shard=tuple(member.id for member in cells),
                pool=table.pools[pool],
                slot=slot,
                reason="slot" if pinned is None else "assignment",
                epoch=epoch,
            )
    in_maintenance = cells[0].status is CellStatus.MAINTENANCE
    code = RefusalCode.CELL_MAINTENANCE if in_maintenance else RefusalCode.CELL_UNAVAILABLE
    return Refusal(code, epoch, cells[0].id)
