"""Steps 5 to 8 of the decision for many keys at once, in a table whose policies say more than the first usable cell."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellplane.model import Balance, CanaryBy, Reads, Writes
from cellplane.model.residency import law_codes
from cellplane.placement.hashing import hash_keys
from cellplane.routing import layout
from cellplane.routing.policies import CanaryRow, PolicyRow
from cellplane.routing.table import RoutingTable

REFUSED = -1
NO_POOL = -1
"""The pool of what goes to the default shard."""

Keys = tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32]]
"""Bytes of all keys, and of each its offset, its length and its hash."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What is so of all requests.

    Attributes:
        writes: whether they write.
        turn: as of ``decide``.
        load: requests under way in each cell, shape (cells,).
        chance: as of ``decide``.
    """

    writes: bool
    turn: int
    load: NDArray[np.int64]
    chance: int


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The shards of n keys, and by what.

    Attributes:
        rows: shape (n, layout.SHARD_PLACES): cell indexes, layout.NO_CELL behind the last, and where there is no shard.
        pool: shape (n,): index of the pool, or NO_POOL.
        policy: shape (n,): index of the policy.
        alone: shape (n,): whether only the shard's cells may get the request, since the tenant is in quarantine.
    """

    rows: NDArray[np.uint16]
    pool: NDArray[np.int64]
    policy: NDArray[np.int64]
    alone: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """The cell of each of n keys, or REFUSED; whether it is a canary; whether what it answers is stale."""

    cell: NDArray[np.int32]
    canary: NDArray[np.bool_]
    stale: NDArray[np.bool_]

    @classmethod
    def none(cls, count: int) -> "Chosen":
        """None yet."""
        return cls(np.full(count, REFUSED, np.int32), np.zeros(count, bool), np.zeros(count, bool))


class Chooser:
    """Chooses cells in one table.

    Args:
        table: the table.
        usable: by cell index, layout.NO_CELL included: which can take a request.
        asked: what is so of all requests.
    """

    def __init__(self, table: RoutingTable, usable: NDArray[np.bool_], asked: Asked) -> None:
        self._table = table
        self._usable = usable
        self._asked = asked
        self._law = np.full(layout.NO_CELL + 1, -1, np.int64)
        self._law[: len(table.cells)] = law_codes(table.cells)
        self._load = np.full(layout.NO_CELL + 1, np.iinfo(np.int64).max, np.int64)
        self._load[: len(table.cells)] = asked.load

    def choose(self, keys: Keys, found: Found, open_: NDArray[np.bool_]) -> Chosen:
        """The cells of these keys.

        Args:
            keys: the keys.
            found: their shards.
            open_: shape (n,): which are not refused yet.
        """
        chosen = Chosen.none(len(found.rows))
        left = open_ & (found.rows[:, 0] != layout.NO_CELL)
        for pool, canary in enumerate(self._table.canaries):
            if canary is not None:
                places = np.flatnonzero(left & (found.pool == pool) & ~found.alone)
                places = places[self._falls_to(canary, keys, places) & self._may(canary.cell, found.rows[places])]
                chosen.cell[places], chosen.canary[places] = canary.cell, True
        left &= ~chosen.canary
        for index in np.unique(found.policy[left]).tolist():
            places = np.flatnonzero(left & (found.policy == index))
            cell, stale = self._by_policy(self._table.policies[index], found.rows[places], found.alone[places])
            chosen.cell[places], chosen.stale[places] = cell, stale
        return chosen

    def _falls_to(self, canary: CanaryRow, keys: Keys, places: NDArray[np.intp]) -> NDArray[np.bool_]:
        if canary.by is CanaryBy.REQUEST:
            return np.full(len(places), self._asked.chance < canary.basis_points)
        data, offsets, lengths, _ = keys
        hashes = hash_keys(data, offsets[places], lengths[places], layout.CANARY_SEED)
        falls: NDArray[np.bool_] = hashes % np.uint32(layout.MAX_BASIS_POINTS) < canary.basis_points
        return falls

    def _may(self, cell: int, rows: NDArray[np.uint16]) -> NDArray[np.bool_]:
        """In which of these shards a cell can take the request: it is usable, and a member or of the same law."""
        may: NDArray[np.bool_] = (self._law[rows[:, 0]] == self._law[cell]) | (rows == cell).any(axis=1)
        return may if self._usable[cell] else np.zeros(len(rows), bool)

    def _by_policy(
        self, policy: PolicyRow, rows: NDArray[np.uint16], alone: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        cell = first_usable(self._usable, self._in_turn(policy, rows))
        stale = np.zeros(len(rows), bool)
        none = (cell == REFUSED) & ~alone
        if self._asked.writes or not none.any():
            return cell, stale
        if policy.reads is Reads.CACHE:
            stale = none
            cell[none] = rows[none, 0]
        elif policy.standby is not None:
            cell[none & self._may(policy.standby, rows)] = policy.standby
        return cell, stale

    def _in_turn(self, policy: PolicyRow, rows: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """The cells of each shard that may take its requests, the first choice first."""
        match policy.balance:
            case Balance.ROUND_ROBIN:
                size = (rows != layout.NO_CELL).sum(axis=1)[:, None]
                place = np.arange(layout.SHARD_PLACES)
                turned = np.where(place < size, (place + self._asked.turn % size) % size, place)
                in_turn: NDArray[np.uint16] = np.take_along_axis(rows, turned, axis=1)
                return in_turn
            case Balance.LEAST_LOADED:
                by_load: NDArray[np.uint16] = np.take_along_axis(
                    rows, np.argsort(self._load[rows], axis=1, kind="stable"), axis=1
                )
                return by_load
            case Balance.PREFERRED:
                others = policy.writes is Writes.SHARD if self._asked.writes else policy.reads is Reads.SHARD
                return rows if others else rows[:, :1]


def first_usable(usable: NDArray[np.bool_], rows: NDArray[np.uint16]) -> NDArray[np.int32]:
    """The first usable cell of each row; REFUSED where there is none."""
    cell = np.full(len(rows), REFUSED, np.int32)
    for place in range(rows.shape[1]):
        member = rows[:, place]
        open_ = (cell == REFUSED) & usable[member]
        cell[open_] = member[open_]
        if not (member != layout.NO_CELL).any():
            break
    return cell
