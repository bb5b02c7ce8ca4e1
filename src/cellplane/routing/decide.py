"""The decision: which cell gets a request. Reference for every implementation (``docs/table-format.md``)."""

from collections.abc import Callable
from enum import Enum
from http import HTTPStatus
from typing import Literal, NamedTuple

from cellplane.model import CellStatus, KeySourceKind, MissingKey, TenantState, UnknownTenant, is_key
from cellplane.placement import SLOT_COUNT, key_hash, slot_of
from cellplane.routing.keys import AmbiguousKeyError, RequestKeys, key_value
from cellplane.routing.table import RoutingTable


class RefusalCode(Enum):
    """Why a router answers by itself: the ``code`` of the problem document, and its status."""

    MISSING_KEY = ("missing-key", HTTPStatus.BAD_REQUEST)
    UNAUTHENTICATED = ("unauthenticated", HTTPStatus.UNAUTHORIZED)
    AMBIGUOUS_KEY = ("ambiguous-key", HTTPStatus.BAD_REQUEST)
    INVALID_KEY = ("invalid-key", HTTPStatus.BAD_REQUEST)
    UNKNOWN_TENANT = ("unknown-tenant", HTTPStatus.NOT_FOUND)
    TENANT_SUSPENDED = ("tenant-suspended", HTTPStatus.FORBIDDEN)
    TENANT_MOVING = ("tenant-moving", HTTPStatus.SERVICE_UNAVAILABLE)
    TENANT_UNASSIGNED = ("tenant-unassigned", HTTPStatus.SERVICE_UNAVAILABLE)
    CELL_MAINTENANCE = ("cell-maintenance", HTTPStatus.SERVICE_UNAVAILABLE)
    CELL_UNAVAILABLE = ("cell-unavailable", HTTPStatus.SERVICE_UNAVAILABLE)

    def __init__(self, code: str, status: HTTPStatus) -> None:
        self.code = code
        self.status = status


Reason = Literal["assignment", "slot", "default", "source"]
"""What named the shard: an assignment, the key's slot, the fleet's default cell, the slot of the client's address."""


class Route(NamedTuple):
    """The request goes to a cell.

    Attributes:
        cell: id of the chosen cell.
        shard: ids of all cells of the shard, the preferred first.
        pool: name of the pool; None where the default cell takes it.
        slot: the slot of the key, or of the client's address; None where there is neither.
        reason: see Reason.
        epoch: of the table.
    """

    cell: str
    shard: tuple[str, ...]
    pool: str | None
    slot: int | None
    reason: Reason
    epoch: int


class Refusal(NamedTuple):
    """The router answers by itself; ``cell`` is the shard's first cell where a shard was found."""

    code: RefusalCode
    epoch: int
    cell: str | None = None


Decision = Route | Refusal


def decide(
    table: RoutingTable,
    key: bytes | None,
    *,
    writes: bool,
    has_healthy_host: Callable[[str], bool],
    source: bytes = b"",
) -> Decision:
    """Decide one request.

    Args:
        table: the table that is live.
        key: the value that the request has for a key (``keys.key_value``); None or empty where it has none.
        writes: whether the request's method is another than GET, HEAD and OPTIONS.
        has_healthy_host: whether a cell, named by id, can be reached.
        source: the client's address as text, where a missing key is placed by it.
    """
    if not key:
        return _without_key(table, source, has_healthy_host)
    if not is_key(key):
        return Refusal(RefusalCode.INVALID_KEY, table.epoch)
    value = key_hash(key)
    slot = value & (SLOT_COUNT - 1)
    entry = table.find_hashed(key, value)
    if entry is None:
        if table.unknown_tenant is UnknownTenant.REJECT:
            return Refusal(RefusalCode.UNKNOWN_TENANT, table.epoch)
        if table.unknown_tenant is UnknownTenant.DEFAULT_CELL:
            return _default(table, slot, has_healthy_host)
        return _by_slot(table, table.default_pool, slot, "slot", has_healthy_host)
    if entry.state is TenantState.SUSPENDED:
        return Refusal(RefusalCode.TENANT_SUSPENDED, table.epoch)
    if entry.state is TenantState.MOVING and writes:
        return Refusal(RefusalCode.TENANT_MOVING, table.epoch)
    if not entry.shard:
        return _by_slot(table, entry.pool, slot, "slot", has_healthy_host)
    return _choose(table, entry.shard, table.pools[entry.pool], slot, "assignment", has_healthy_host)


def decide_request(
    table: RoutingTable,
    request: RequestKeys,
    *,
    writes: bool,
    has_healthy_host: Callable[[str], bool],
    source: bytes = b"",
) -> Decision:
    """Decide one request, whose key is where the table's sources say; arguments as of ``decide``."""
    try:
        key = key_value(table.key_sources, request)
    except AmbiguousKeyError:
        return Refusal(RefusalCode.AMBIGUOUS_KEY, table.epoch)
    return decide(table, key, writes=writes, has_healthy_host=has_healthy_host, source=source)


def _without_key(table: RoutingTable, source: bytes, has_healthy_host: Callable[[str], bool]) -> Decision:
    if table.missing_key is MissingKey.REJECT:
        wants_token = any(source.kind is KeySourceKind.JWT_CLAIM for source in table.key_sources)
        code = RefusalCode.UNAUTHENTICATED if wants_token else RefusalCode.MISSING_KEY
        return Refusal(code, table.epoch)
    if table.missing_key is MissingKey.DEFAULT_CELL:
        return _default(table, None, has_healthy_host)
    return _by_slot(table, table.default_pool, slot_of(source), "source", has_healthy_host)


def _default(table: RoutingTable, slot: int | None, has_healthy_host: Callable[[str], bool]) -> Decision:
    assert table.default_shard is not None, "a checked table has the default that its policy names"
    return _choose(table, table.shard(table.default_shard), None, slot, "default", has_healthy_host)


def _by_slot(
    table: RoutingTable, pool: int, slot: int, reason: Reason, has_healthy_host: Callable[[str], bool]
) -> Decision:
    shard = table.shard_of_slot(pool, slot)
    if not shard:
        return Refusal(RefusalCode.TENANT_UNASSIGNED, table.epoch)
    return _choose(table, shard, table.pools[pool], slot, reason, has_healthy_host)


def _choose(  # noqa: PLR0917  # one step of the decision, and all that it says
    table: RoutingTable,
    shard: tuple[int, ...],
    pool: str | None,
    slot: int | None,
    reason: Reason,
    has_healthy_host: Callable[[str], bool],
) -> Decision:
    cells = [table.cells[index] for index in shard]
    for cell in cells:
        if cell.status.serves and has_healthy_host(cell.id):
            return Route(cell.id, tuple(member.id for member in cells), pool, slot, reason, table.epoch)
    in_maintenance = cells[0].status is CellStatus.MAINTENANCE
    code = RefusalCode.CELL_MAINTENANCE if in_maintenance else RefusalCode.CELL_UNAVAILABLE
    return Refusal(code, table.epoch, cells[0].id)
