"""What a publication would do to tenants, and whether somebody should be asked first. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from cellplane.model import UnknownTenant
from cellplane.placement import SLOT_COUNT
from cellplane.routing import RoutingTable, decide_many, layout


class Rail(StrEnum):
    """What is guarded."""

    TENANTS_MOVED = "tenants-moved"
    SLOTS_MOVED = "slots-moved"
    TENANTS_LOST = "tenants-lost"
    POOL_EMPTY = "pool-empty"
    SLOTS_UNSERVED = "slots-unserved"
    TENANTS_UNSERVED = "tenants-unserved"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRails:
    """How much a publication may do unasked."""

    max_moved_share: float = 0.05
    """Part of the known tenants, or of a pool's slots, that may get another first cell, or lose theirs, 0 to 1."""

    free_tenants: int = 10
    """Tenants that may always be moved or removed: in a small fleet one is a large part."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One rail that a publication would break.

    Attributes:
        rail: which.
        found: tenants or slots that it concerns.
        of: how many there are of these.
        text: what would happen, and what to do.
    """

    rail: Rail
    found: int
    of: int
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class _Places:
    """Where keys or slots go: cells as numbers that mean the same in both tables, -1 for none; and whether one of the
    shard serves.
    """

    first: NDArray[np.int64]
    served: NDArray[np.bool_]


def violations(before: RoutingTable, after: RoutingTable, rails: GuardRails) -> list[Violation]:
    """What of the rails the step from one published table to the next would break.

    Tables on the same base differ in the tenants of their overlays alone, and only these are looked at. Else every
    entry and slot is: a million take about a second.
    """
    numbers: dict[str, int] = {}
    of_cell = [np.array([numbers.setdefault(cell.id, len(numbers)) for cell in t.cells]) for t in (before, after)]
    same_base = before.sha256 == after.sha256
    keys = _changed(before, after) if same_base else _known(before, after)
    known = max(len(before.base.entries), len(after.base.entries), len(keys))
    was, will = _of_keys(before, of_cell[0], keys), _of_keys(after, of_cell[1], keys)
    found = list(_tenants(was, will, known, rails))
    if not same_base:
        found += _pools(before, after, of_cell, rails)
    return found


def _known(before: RoutingTable, after: RoutingTable) -> Sequence[bytes]:
    """The keys of all entries, also of those that are gone."""
    one, other = (
        list(chain.from_iterable(layer.entries.keys() for layer in table.layers)) for table in (before, after)
    )
    return one if one == other else list(dict.fromkeys([*one, *other]))


def _changed(before: RoutingTable, after: RoutingTable) -> Sequence[bytes]:
    """The keys of the overlays."""
    overlays = [table.overlay for table in (before, after) if table.overlay is not None]
    return list(dict.fromkeys(chain.from_iterable(overlay.entries.keys() for overlay in overlays)))


def _of_keys(table: RoutingTable, numbers: NDArray[np.int64], keys: Sequence[bytes]) -> _Places:
    return _places(table, numbers, decide_many(table, keys).shards)


def _of_slots(table: RoutingTable, numbers: NDArray[np.int64], pool: int) -> _Places | None:
    slots = table.slots_of(pool)
    return None if slots is None else _places(table, numbers, np.asarray(table.base.shards)[slots])


def _places(table: RoutingTable, numbers: NDArray[np.int64], shards: NDArray[np.uint16]) -> _Places:
    number = np.full(layout.NO_CELL + 1, -1, np.int64)
    number[: len(numbers)] = numbers
    serves = np.zeros(layout.NO_CELL + 1, bool)
    serves[: len(numbers)] = table.serves
    served = serves[shards[:, 0]]
    for place in range(1, layout.SHARD_PLACES):
        served |= serves[shards[:, place]]
    return _Places(number[shards[:, 0]], served)


def _tenants(was: _Places, will: _Places, known: int, rails: GuardRails) -> Iterator[Violation]:
    had = was.first >= 0
    moved = int(np.count_nonzero(had & (will.first >= 0) & (was.first != will.first)))
    lost = int(np.count_nonzero(had & (will.first < 0)))
    unserved = int(np.count_nonzero(was.served & ~will.served & (will.first >= 0)))
    most = max(rails.free_tenants, int(rails.max_moved_share * known))
    if moved > most:
        yield Violation(
            Rail.TENANTS_MOVED,
            moved,
            known,
            f"{moved} of {known} known tenants would get another first cell, more than {most}: their data does not "
            f"follow them. Move fewer at once, or allow it",
        )
    if lost > most:
        yield Violation(
            Rail.TENANTS_LOST,
            lost,
            known,
            f"{lost} of {known} known tenants would have no cell any more, more than {most}. Remove fewer at once, or "
            f"allow it",
        )
    if unserved:
        yield Violation(
            Rail.TENANTS_UNSERVED,
            unserved,
            known,
            f"{unserved} of {known} known tenants would have a shard of which no cell serves. Assign them another "
            f"first, or allow it",
        )


def _pools(
    before: RoutingTable, after: RoutingTable, numbers: Sequence[NDArray[np.int64]], rails: GuardRails
) -> Iterator[Violation]:
    places = {name: place for place, name in enumerate(after.pools)}
    for place, name in enumerate(before.pools):
        was = _of_slots(before, numbers[0], place)
        if was is None or name not in places:
            continue
        will = _of_slots(after, numbers[1], places[name])
        if will is None:
            continue
        unserved = int(np.count_nonzero(was.served & ~will.served))
        if unserved and not will.served.any():
            text = f"pool {name!r} would have no cell that serves. Give it one first, or allow it"
            yield Violation(Rail.POOL_EMPTY, unserved, SLOT_COUNT, text)
        elif unserved:
            text = f"{unserved} of the {SLOT_COUNT} slots of pool {name!r} would have a shard of which no cell serves"
            yield Violation(
                Rail.SLOTS_UNSERVED, unserved, SLOT_COUNT, f"{text}. Give the pool a cell more, or allow it"
            )
        moved = int(np.count_nonzero(was.first != will.first))
        if _places_unlisted(after, places[name]) and moved > rails.max_moved_share * SLOT_COUNT:
            text = f"{moved} of the {SLOT_COUNT} slots of pool {name!r} would get another first cell"
            most = f"more than {rails.max_moved_share:.0%}: whoever is placed by them moves"
            yield Violation(Rail.SLOTS_MOVED, moved, SLOT_COUNT, f"{text}, {most}. Change less at once, or allow it")


def _places_unlisted(table: RoutingTable, pool: int) -> bool:
    """Whether a pool's slots place tenants that have no entry: those that have one are looked at themselves."""
    return pool == table.default_pool and table.unknown_tenant is UnknownTenant.HASH
