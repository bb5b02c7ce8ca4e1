"""Fleets to place on, every slot strategy under one name, and how far two placements differ."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from cellplane.placement import Member, Shards, lattice, modulo, rendezvous, ring, shuffle, zones

ZONES = ("zone-a", "zone-b", "zone-c")
RELEASES = ("r1", "r2")

SlotStrategy = Callable[[Sequence[Member]], Shards]


def fleet(count: int, *, weights: Sequence[float] = (1.0,)) -> tuple[Member, ...]:
    """Members of three zones in turn, with these weights in turn."""
    return tuple(
        Member(f"cell-{number}", weights[number % len(weights)], ZONES[number % len(ZONES)]) for number in range(count)
    )


def coordinates(members: Sequence[Member]) -> dict[str, tuple[str, str]]:
    """Zone × release: the first three cells by number have the first release, the next three the second …"""
    return {member.id: (member.zone, RELEASES[int(member.id[5:]) // len(ZONES) % 2]) for member in members}


def on_lattice(members: Sequence[Member], shard_size: int = 2) -> Shards:
    return lattice.place(members, coordinates(members), shard_size=shard_size)


STRATEGIES: dict[str, SlotStrategy] = {
    "modulo": modulo.place,
    "modulo of 4": partial(modulo.place, shard_size=4),
    "ring": partial(ring.place, virtual_nodes=150),
    "ring of 4": partial(ring.place, virtual_nodes=150, shard_size=4),
    "rendezvous": rendezvous.place,
    "rendezvous of 4": partial(rendezvous.place, shard_size=4),
    "shuffle of 2": shuffle.place,
    "shuffle of 4": partial(shuffle.place, shard_size=4, seed=7),
    "zones of 4": partial(zones.place, zones=ZONES, shard_size=4),
    "lattice of 2": on_lattice,
}

STABLE = sorted(set(STRATEGIES) - {"modulo", "modulo of 4"})


def by_id(members: Sequence[Member], shards: Shards) -> list[list[str]]:
    """Each slot's shard as ids of cells."""
    ids = np.array(sorted(member.id for member in members))
    named: list[list[str]] = ids[shards].tolist()
    return named


def sets(members: Sequence[Member], place: SlotStrategy, every: int = 1) -> list[frozenset[str]]:
    """Each slot's shard as a set of ids of cells, or those of every n-th slot."""
    return [frozenset(shard) for shard in by_id(members, place(members)[::every])]


def chi_square_limit(degrees: int) -> float:
    """What a χ² variate of so many degrees of freedom exceeds once in 10**9.

    P(X ≥ d + 2√(dx) + 2x) ≤ exp(−x): Laurent and Massart, Annals of Statistics 28(5), 2000, lemma 1.
    """
    x = 9 * np.log(10)
    return float(degrees + 2 * np.sqrt(degrees * x) + 2 * x)


def chi_square(counts: ArrayLike, expected: ArrayLike) -> float:
    observed, wanted = np.asarray(counts, float), np.asarray(expected, float)
    return float(((observed - wanted) ** 2 / wanted).sum())
