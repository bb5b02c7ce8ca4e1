"""The decision for many keys at once: what ``decide`` says of each, as arrays."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellplane.model import CellStatus, TenantState, UnknownTenant
from cellplane.placement import SLOT_COUNT
from cellplane.placement.hashing import hash_keys
from cellplane.routing import layout
from cellplane.routing.choose_many import NO_POOL, REFUSED, Asked, Chooser, Found, Keys, first_usable
from cellplane.routing.decide import RefusalCode
from cellplane.routing.key_bytes import are_keys, joined
from cellplane.routing.table import RoutingTable

_WORKERS = 2
"""Threads: NumPy lets others run while it works on an array, and more wait for each other."""

_CHUNK = 1 << 16
"""Keys that are decided in one go: what they need stays in the processor's cache."""

_MOVING, _SUSPENDED, _QUARANTINED = (
    layout.TENANT_STATE_CODES[state] for state in (TenantState.MOVING, TenantState.SUSPENDED, TenantState.QUARANTINED)
)
_CODES = tuple(RefusalCode)


@dataclass(frozen=True, slots=True, eq=False)
class Decisions:
    """What becomes of each key.

    Attributes:
        cell: shape (n,): index in the table's cells, or REFUSED; also of one that clients are redirected to.
        refusal: shape (n,): index in ``tuple(RefusalCode)`` where the cell is REFUSED, else -1.
        shards: shape (n, layout.SHARD_PLACES): cell indexes of the shard, layout.NO_CELL behind the last one, and
            everywhere where none was looked up.
        canary: shape (n,): whether the cell is the pool's canary.
        stale: shape (n,): whether the cell is down, and only answers that a proxy has kept are left.
    """

    cell: NDArray[np.int32]
    refusal: NDArray[np.int8]
    shards: NDArray[np.uint16]
    canary: NDArray[np.bool_]
    stale: NDArray[np.bool_]

    @classmethod
    def none(cls, count: int) -> "Decisions":
        """None yet: no cell, and no refusal either."""
        return cls(
            np.full(count, REFUSED, np.int32),
            np.full(count, -1, np.int8),
            np.full((count, layout.SHARD_PLACES), layout.NO_CELL, np.uint16),
            np.zeros(count, bool),
            np.zeros(count, bool),
        )

    def part(self, places: slice) -> "Decisions":
        """Those of a part of the keys, in place."""
        return Decisions(
            self.cell[places], self.refusal[places], self.shards[places], self.canary[places], self.stale[places]
        )


def decide_many(
    table: RoutingTable,
    keys: Sequence[bytes],
    *,
    writes: bool = False,
    up: NDArray[np.bool_] | None = None,
    turn: int = 0,
    load: NDArray[np.int64] | None = None,
    chance: int = 0,
) -> Decisions:
    """Decide the requests of many keys; a million take less than half a second.

    Args:
        table: the table.
        keys: what the requests have for keys; an empty one is refused, whatever the fleet says of missing keys.
        writes: whether the requests write.
        up: shape (cells,): which cells have a healthy host; all by default.
        turn: of all of them, as of ``decide``.
        load: shape (cells,): requests under way in each cell; none by default.
        chance: of all of them, as of ``decide``.
    """
    cells = _Cells.of(table, up)
    asked = Asked(writes, turn, np.zeros(len(table.cells), np.int64) if load is None else load, chance)
    chooser = None if table.is_plain else Chooser(table, cells.usable, asked)
    decisions = Decisions.none(len(keys))

    def decide_chunk(start: int) -> None:
        chunk = slice(start, start + _CHUNK)
        _decide(table, keys[chunk], cells, chooser, decisions.part(chunk), writes=writes)

    with ThreadPoolExecutor(max_workers=_WORKERS) as executor:
        # The loop ends when all are done, and raises what one has raised.
        for _ in executor.map(decide_chunk, range(0, len(keys), _CHUNK)):
            pass
    return decisions


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """By cell index, layout.NO_CELL included: which can take a request, and which are in maintenance."""

    usable: NDArray[np.bool_]
    maintenance: NDArray[np.bool_]

    @classmethod
    def of(cls, table: RoutingTable, up: NDArray[np.bool_] | None) -> "_Cells":
        usable, maintenance = np.zeros((2, layout.NO_CELL + 1), bool)
        serves = np.array([cell.status.serves for cell in table.cells])
        usable[: len(serves)] = serves if up is None else serves & up
        maintenance[: len(serves)] = [cell.status is CellStatus.MAINTENANCE for cell in table.cells]
        return cls(usable, maintenance)


def _decide(
    table: RoutingTable,
    keys: Sequence[bytes],
    cells: _Cells,
    chooser: Chooser | None,
    made: Decisions,
    *,
    writes: bool,
) -> None:
    data, offsets, lengths = joined(keys)
    refusal = made.refusal
    sound = are_keys(data, offsets, lengths)
    _refuse(refusal, lengths == 0, RefusalCode.MISSING_KEY)
    _refuse(refusal, ~sound, RefusalCode.INVALID_KEY)
    chosen = np.flatnonzero(sound)
    known: Keys = (data, offsets[chosen], lengths[chosen], hash_keys(data, offsets[chosen], lengths[chosen]))
    found = _shards(table, known, refusal, chosen, writes=writes)
    made.shards[chosen] = found.rows
    if chooser is None:
        made.cell[:] = first_usable(cells.usable, made.shards)
    else:
        some = chooser.choose(known, found, refusal[chosen] < 0)
        made.cell[chosen], made.canary[chosen], made.stale[chosen] = some.cell, some.canary, some.stale
    _refuse_down(cells, made.shards, made.cell, refusal)


def _shards(
    table: RoutingTable, keys: Keys, refusal: NDArray[np.int8], chosen: NDArray[np.intp], *, writes: bool
) -> Found:
    """The shard of each key, layer by layer: the overlay's entry, the base's, the policy for unknown tenants."""
    hashes = keys[3]
    count = len(hashes)
    rows = np.full((count, layout.SHARD_PLACES), layout.NO_CELL, np.uint16)
    pool = np.full(count, table.default_pool, np.int64)
    listed = np.zeros(count, bool)
    assigned = np.zeros(count, bool)
    gone = np.zeros(count, bool)
    policy = np.zeros(0 if table.is_plain else count, np.int64)
    alone = np.zeros(0 if table.is_plain else count, bool)
    open_ = np.arange(count)
    for layer in table.layers:
        data, offsets, lengths, _ = keys
        found = layer.entries.find_many(data, offsets[open_], lengths[open_], hashes[open_])
        there = open_[found >= 0]
        entry = layer.entries.columns[found[found >= 0]]
        state, shard = entry["state"], entry["shard"]
        gone[there[state == layout.GONE]] = True
        pool[there] = entry["pool"]
        if not table.is_plain:
            policy[there] = entry["policy"]
            alone[there] = state == _QUARANTINED
        listed[there] = True
        _refuse(refusal, _places(chosen, there[state == _SUSPENDED], len(refusal)), RefusalCode.TENANT_SUSPENDED)
        if writes:
            _refuse(refusal, _places(chosen, there[state == _MOVING], len(refusal)), RefusalCode.TENANT_MOVING)
        named = shard != layout.NO_SHARD
        rows[there[named]] = layer.shards[shard[named]]
        assigned[there[named]] = True
        open_ = open_[found < 0]
    listed &= ~gone
    pool[gone] = table.default_pool
    by_slot = ~assigned
    if table.unknown_tenant is not UnknownTenant.HASH:
        unknown = ~listed
        by_slot &= listed
        if table.unknown_tenant is UnknownTenant.REJECT:
            _refuse(refusal, _places(chosen, np.flatnonzero(unknown), len(refusal)), RefusalCode.UNKNOWN_TENANT)
        else:
            assert table.default_shard is not None, "a checked table has the default that its policy names"
            default = table.shard(table.default_shard)
            rows[unknown, : len(default)] = default
            pool[unknown] = NO_POOL
    base_shards = table.base.shards
    for index in np.unique(pool[by_slot]).tolist():
        places = np.flatnonzero(by_slot & (pool == index))
        slots = table.slots_of(index)
        if slots is None:
            _refuse(refusal, _places(chosen, places, len(refusal)), RefusalCode.TENANT_UNASSIGNED)
        else:
            rows[places] = base_shards[slots[hashes[places] & np.uint32(SLOT_COUNT - 1)]]
    return Found(rows, pool, policy if table.is_plain else _policies(table, policy, pool), alone)


def _policies(table: RoutingTable, policy: NDArray[np.int64], pool: NDArray[np.int64]) -> NDArray[np.int64]:
    """The policy that holds for each key: its own, or its pool's."""
    # The default shard's is behind those of the pools, where NO_POOL finds it.
    of_pool = np.array([table.policies.index(row) for row in (*table.pool_policies, table.default_policy)])
    return np.where(policy == layout.POOL_POLICY, of_pool[pool], policy)


def _refuse_down(cells: _Cells, rows: NDArray[np.uint16], cell: NDArray[np.int32], refusal: NDArray[np.int8]) -> None:
    """Refuse what has a shard, and no cell of it took."""
    first = rows[:, 0]
    none = (cell == REFUSED) & (first != layout.NO_CELL)
    _refuse(refusal, none & cells.maintenance[first], RefusalCode.CELL_MAINTENANCE)
    _refuse(refusal, none, RefusalCode.CELL_UNAVAILABLE)
    cell[refusal >= 0] = REFUSED


def _refuse(refusal: NDArray[np.int8], where: NDArray[np.bool_], code: RefusalCode) -> None:
    """Refuse these, but those that are refused already."""
    refusal[where & (refusal < 0)] = _CODES.index(code)


def _places(chosen: NDArray[np.intp], which: NDArray[np.intp], count: int) -> NDArray[np.bool_]:
    where = np.zeros(count, bool)
    where[chosen[which]] = True
    return where
