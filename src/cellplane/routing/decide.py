"""The decision: which cell gets a request. Reference for every implementation (``docs/table-format.md``)."""

from collections.abc import Callable, Sequence
from enum import Enum
from http import HTTPStatus
from typing import Literal, NamedTuple

import xxhash

from cellplane.model import (
    Balance,
    CanaryBy,
    CellStatus,
    Copies,
    FailOpen,
    KeySourceKind,
    MissingKey,
    Mode,
    Reads,
    TenantState,
    UnknownTenant,
    Writes,
    is_key,
)
from cellplane.model.residency import Act, violations
from cellplane.placement import SLOT_COUNT, key_hash, slot_of
from cellplane.routing import layout
from cellplane.routing.keys import AmbiguousKeyError, RequestKeys, key_value
from cellplane.routing.layers import TenantRow
from cellplane.routing.policies import CanaryRow, PolicyRow
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
        policy: what else is so of the request, such as its limits.
        canary: whether the cell is the pool's canary.
        stale: whether the cell is down, and the proxy answers from what it has kept of its answers, or not at all.
        shadow: id of the cell that gets a copy; None for none.
        compares: whether its answer is compared.
    """

    cell: str
    shard: tuple[str, ...]
    pool: str | None
    slot: int | None
    reason: Reason
    epoch: int
    policy: PolicyRow = PolicyRow()
    canary: bool = False
    stale: bool = False
    shadow: str | None = None
    compares: bool = False


class Redirect(NamedTuple):
    """The client is to ask the cell itself: 307. Attributes as of Route.

    Attributes:
        location: the cell's public URL, behind which the request's path and query go.
    """

    cell: str
    location: str
    shard: tuple[str, ...]
    pool: str | None
    slot: int | None
    reason: Reason
    epoch: int
    policy: PolicyRow = PolicyRow()
    canary: bool = False


class Refusal(NamedTuple):
    """The router answers by itself; ``cell`` is the shard's first cell where a shard was found."""

    code: RefusalCode
    epoch: int
    cell: str | None = None


Decision = Route | Redirect | Refusal


def _no_load(_cell: str) -> int:
    return 0


class _Asked(NamedTuple):
    """A request, and what the router knows when it comes: as the arguments of ``decide``."""

    writes: bool
    has_healthy_host: Callable[[str], bool]
    source: bytes
    turn: int
    load: Callable[[str], int]
    chance: int


class _Found(NamedTuple):
    """What names the shard: fields as of Route; ``subject`` is what a canary's hash is of, and ``is_alone`` says that
    only the shard's cells may get the request, and nobody a copy: the tenant is in quarantine.
    """

    shard: tuple[int, ...]
    pool: int | None
    slot: int | None
    reason: Reason
    policy: PolicyRow
    subject: bytes
    is_alone: bool = False


def decide(
    table: RoutingTable,
    key: bytes | None,
    *,
    writes: bool,
    has_healthy_host: Callable[[str], bool],
    source: bytes = b"",
    turn: int = 0,
    load: Callable[[str], int] = _no_load,
    chance: int = 0,
) -> Decision:
    """Decide one request.

    Args:
        table: the table that is live.
        key: the value that the request has for a key (``keys.key_value``); None or empty where it has none.
        writes: whether the request's method is another than GET, HEAD and OPTIONS.
        has_healthy_host: whether a cell, named by id, can be reached, and no circuit breaker keeps requests from it.
        source: the client's address as text, where a missing key is placed by it.
        turn: a number that goes up by one from request to request, for ``round-robin``.
        load: requests under way in a cell, named by id, for ``least-loaded``.
        chance: a random number, 0 to 9,999, for canaries by request and for comparisons: another one for each.
    """
    if not key:
        return _without_key(table, _Asked(writes, has_healthy_host, source, turn, load, chance))
    if not is_key(key):
        return Refusal(RefusalCode.INVALID_KEY, table.epoch)
    value = key_hash(key)
    slot = value & (SLOT_COUNT - 1)
    entry = table.find_hashed(key, value)
    if entry is None:
        if table.unknown_tenant is UnknownTenant.REJECT:
            return Refusal(RefusalCode.UNKNOWN_TENANT, table.epoch)
        if table.unknown_tenant is UnknownTenant.DEFAULT_CELL:
            return _default(table, _Asked(writes, has_healthy_host, source, turn, load, chance), slot)
        entry = TenantRow(key, (), table.default_pool, TenantState.ACTIVE)
    _, shard, pool, state, policy = entry
    if state is TenantState.SUSPENDED:
        return Refusal(RefusalCode.TENANT_SUSPENDED, table.epoch)
    if state is TenantState.MOVING and writes:
        return Refusal(RefusalCode.TENANT_MOVING, table.epoch)
    reason: Reason = "assignment"
    if not shard:
        reason, shard = "slot", table.shard_of_slot(pool, slot)
        if not shard:
            return Refusal(RefusalCode.TENANT_UNASSIGNED, table.epoch)
    is_alone = state is TenantState.QUARANTINED
    found = _Found(shard, pool, slot, reason, policy or table.pool_policies[pool], key, is_alone)
    if table.is_plain:
        return _first_usable(table, found, has_healthy_host)
    return _choose(table, _Asked(writes, has_healthy_host, source, turn, load, chance), found)


def decide_request(
    table: RoutingTable,
    request: RequestKeys,
    *,
    writes: bool,
    has_healthy_host: Callable[[str], bool],
    source: bytes = b"",
    turn: int = 0,
    load: Callable[[str], int] = _no_load,
    chance: int = 0,
) -> Decision:
    """Decide one request, whose key is where the table's sources say; arguments as of ``decide``."""
    try:
        key = key_value(table.key_sources, request)
    except AmbiguousKeyError:
        return Refusal(RefusalCode.AMBIGUOUS_KEY, table.epoch)
    return decide(
        table,
        key,
        writes=writes,
        has_healthy_host=has_healthy_host,
        source=source,
        turn=turn,
        load=load,
        chance=chance,
    )


def _without_key(table: RoutingTable, asked: _Asked) -> Decision:
    is_shut = asked.writes and table.fail_open is FailOpen.READS
    if table.missing_key is MissingKey.REJECT or is_shut:
        wants_token = any(source.kind is KeySourceKind.JWT_CLAIM for source in table.key_sources)
        code = RefusalCode.UNAUTHENTICATED if wants_token else RefusalCode.MISSING_KEY
        return Refusal(code, table.epoch)
    if table.missing_key is MissingKey.DEFAULT_CELL:
        return _default(table, asked, None)
    pool, slot = table.default_pool, slot_of(asked.source)
    shard = table.shard_of_slot(pool, slot)
    assert shard, "a checked table has the slots that its policy needs"
    return _choose(table, asked, _Found(shard, pool, slot, "source", table.pool_policies[pool], asked.source))


def _default(table: RoutingTable, asked: _Asked, slot: int | None) -> Decision:
    assert table.default_shard is not None, "a checked table has the default that its policy names"
    shard = table.shard(table.default_shard)
    return _choose(table, asked, _Found(shard, None, slot, "default", table.default_policy, b""))


def _first_usable(table: RoutingTable, found: _Found, has_healthy_host: Callable[[str], bool]) -> Decision:
    """What ``_choose`` comes to where no policy and no canary says more, as in most tables."""
    shard, pool, slot, reason, policy, *_ = found
    cells, serves = table.cells, table.serves
    for index in shard:
        cell = cells[index]
        if serves[index] and has_healthy_host(cell.id):
            ids = tuple([cells[member].id for member in shard])
            return Route(cell.id, ids, None if pool is None else table.pools[pool], slot, reason, table.epoch, policy)
    return _refused(table, shard)


def _choose(table: RoutingTable, asked: _Asked, found: _Found) -> Decision:
    """Steps 6 to 10."""
    shard, pool, slot, reason, policy, _, is_alone = found
    canary = None if pool is None or is_alone else table.canaries[pool]
    is_canary = is_stale = False
    if canary is not None and _falls_to(canary, asked, found) and _is_usable(table, asked, found, canary.cell):
        cell, is_canary = canary.cell, True
    else:
        chosen = _of_shard(table, asked, shard, policy)
        if chosen is None and not asked.writes and not is_alone:
            chosen, is_stale = _instead(table, asked, found)
        if chosen is None:
            return _refused(table, shard)
        cell = chosen
    cells = table.cells
    row = cells[cell]
    ids = tuple([cells[member].id for member in shard])
    name = None if pool is None else table.pools[pool]
    if policy.mode is Mode.REDIRECT and row.public_url and not is_stale:
        return Redirect(row.id, row.public_url, ids, name, slot, reason, table.epoch, policy, is_canary)
    shadow = None if is_alone or (asked.writes and policy.copies is Copies.READS) else policy.shadow
    if shadow is None or is_stale or shadow == cell or not _is_usable(table, asked, found, shadow):
        return Route(row.id, ids, name, slot, reason, table.epoch, policy, is_canary, is_stale)
    compares = asked.chance < policy.compare_bp
    return Route(row.id, ids, name, slot, reason, table.epoch, policy, is_canary, is_stale, cells[shadow].id, compares)


def _falls_to(canary: CanaryRow, asked: _Asked, found: _Found) -> bool:
    """Whether a request is one of the canary's."""
    if canary.by is CanaryBy.REQUEST:
        return asked.chance < canary.basis_points
    by_hash = xxhash.xxh32_intdigest(found.subject, layout.CANARY_SEED) % layout.MAX_BASIS_POINTS
    return by_hash < canary.basis_points


def _is_usable(table: RoutingTable, asked: _Asked, found: _Found, cell: int) -> bool:
    """Whether a cell, of the shard or not, may take the request: never one of another jurisdiction than the first."""
    row = table.cells[cell]
    if not table.serves[cell] or not asked.has_healthy_host(row.id):
        return False
    return cell in found.shard or not violations(Act.FAILOVER, "a tenant", "", (table.cells[found.shard[0]], row))


def _of_shard(table: RoutingTable, asked: _Asked, shard: tuple[int, ...], policy: PolicyRow) -> int | None:
    """The cell of the shard that takes the request; None where none does."""
    for cell in _in_turn(table, asked, shard, policy):
        if table.serves[cell] and asked.has_healthy_host(table.cells[cell].id):
            return cell
    return None


def _in_turn(table: RoutingTable, asked: _Asked, shard: tuple[int, ...], policy: PolicyRow) -> Sequence[int]:
    """The cells of the shard that may take the request, the first choice first."""
    match policy.balance:
        case Balance.ROUND_ROBIN:
            start = asked.turn % len(shard)
            return shard[start:] + shard[:start]
        case Balance.LEAST_LOADED:
            return sorted(shard, key=lambda cell: asked.load(table.cells[cell].id))
        case Balance.PREFERRED:
            others_take = policy.writes is Writes.SHARD if asked.writes else policy.reads is Reads.SHARD
            return shard if others_take else shard[:1]


def _instead(table: RoutingTable, asked: _Asked, found: _Found) -> tuple[int | None, bool]:
    """What reads where no cell of the shard does: a cell, and whether what it answers is stale."""
    reads, standby = found.policy.reads, found.policy.standby
    if reads is Reads.CACHE:
        return found.shard[0], True
    return (standby if standby is not None and _is_usable(table, asked, found, standby) else None), False


def _refused(table: RoutingTable, shard: tuple[int, ...]) -> Refusal:
    first = table.cells[shard[0]]
    is_maintained = first.status is CellStatus.MAINTENANCE
    return Refusal(
        RefusalCode.CELL_MAINTENANCE if is_maintained else RefusalCode.CELL_UNAVAILABLE, table.epoch, first.id
    )
