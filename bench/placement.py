"""What placement costs and moves: the figures of ``docs/placement.md``.

Prints the CPU time of each strategy for a large fleet, how much of a small one moves when a cell joins, leaves or gets
another weight, how often two shards share cells, how many shards a search finds, and the time to assign one tenant. All
but the times are the same on every machine.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import comb

import numpy as np

from cellplane.errors import PlacementError
from cellplane.model import Cell, Dimension, Fleet, Pool, StrategyName, Tenant, Topology, UnknownTenant
from cellplane.placement import (
    SLOT_COUNT,
    Assigned,
    Member,
    SearchingAssigner,
    Shards,
    assign,
    lattice,
    modulo,
    rendezvous,
    ring,
    shuffle,
    zones,
)

ZONES = ("zone-a", "zone-b", "zone-c")
Place = Callable[[Sequence[Member]], Shards]


def fleet(count: int) -> list[Member]:
    """Cells of one weight, in three zones in turn."""
    return [Member(f"cell-{number}", 1.0, ZONES[number % 3]) for number in range(count)]


def on_lattice(members: Sequence[Member]) -> Shards:
    """Zone × release, the release changing with every third cell."""
    at = {member.id: (member.zone, f"r{int(member.id[5:]) // 3 % 2}") for member in members}
    return lattice.place(members, at, shard_size=2)


STRATEGIES: dict[str, Place] = {
    "modulo": modulo.place,
    "ring, 150 nodes": partial(ring.place, virtual_nodes=150),
    "rendezvous": rendezvous.place,
    "ring, K = 2": partial(ring.place, virtual_nodes=150, shard_size=2),
    "shuffle, K = 2": shuffle.place,
    "shuffle, K = 4": partial(shuffle.place, shard_size=4),
    "zones, K = 4 of 3 zones": partial(zones.place, zones=ZONES, shard_size=4),
    "lattice, K = 2, 3 × 2": on_lattice,
}


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(description="what placement costs and moves")
    parser.add_argument("--cells", type=int, default=1000, help="cells of the large fleet (default 1000)")
    parser.add_argument("--runs", type=int, default=5, help="runs, of which the least time counts (default 5)")
    options = parser.parse_args()
    times(options.cells, options.runs)
    movement()
    overlap()
    searching()
    assigning(options.runs)


def times(cells: int, runs: int) -> None:
    """CPU time of each strategy."""
    members = fleet(cells)
    unequal = [replace(member, weight=1 + number % 97 / 10) for number, member in enumerate(members)]
    strategies: dict[str, Place] = {
        "modulo": partial(modulo.place, shard_size=4),
        "ring, 150 nodes": partial(ring.place, virtual_nodes=150, shard_size=4),
        "rendezvous": partial(rendezvous.place, shard_size=4),
        "shuffle": partial(shuffle.place, shard_size=4),
        "zones": partial(zones.place, zones=ZONES, shard_size=4),
        "lattice (K = 2, 3 × 2)": on_lattice,
    }
    print(f"CPU seconds for {cells} cells, K = 4, {SLOT_COUNT} slots, least of {runs}: equal weights, 97 weights")
    for name, place in strategies.items():
        print(f"  {name:26} {least_time(place, members, runs):6.2f} {least_time(place, unequal, runs):6.2f}")


def least_time(place: Place, members: Sequence[Member], runs: int) -> float:
    """CPU seconds of the fastest run."""
    taken = []
    for _ in range(runs):
        started = time.process_time()
        place(members)
        taken.append(time.process_time() - started)
    return min(taken)


def movement() -> None:
    """Of 12 cells: one joins, one leaves, one doubles its weight."""
    before = fleet(12)
    joined = [*before, Member("cell-12", 1.0, ZONES[0])]
    left = [member for member in before if member.id != "cell-4"]
    doubled = [replace(member, weight=2.0) if member.id == "cell-4" else member for member in before]
    print("12 cells: shards that change, in %, and the most members that change in one; fullest cell / mean")
    print(f"  {'':26} {'one joins':>12} {'one leaves':>12} {'one doubles':>12} {'fullest':>9}")
    for name, place in STRATEGIES.items():
        columns = [
            f"{part:6.2f} % {most:3}" for part, most in (moved(place, before, x) for x in (joined, left, doubled))
        ]
        counts = np.bincount(place(before).ravel())
        print(f"  {name:26} {columns[0]:>12} {columns[1]:>12} {columns[2]:>12} {counts.max() / counts.mean():9.3f}")


def moved(place: Place, before: Sequence[Member], after: Sequence[Member]) -> tuple[float, int]:
    """Percentage of slots whose set of cells changes, and the most members that change in one of them."""
    old, new = (named(members, place(members)) for members in (before, after))
    kept = (old[:, :, None] == new[:, None, :]).sum(axis=(1, 2))
    changed = old.shape[1] - kept
    return float((changed > 0).mean() * 100), int(changed.max())


def named(members: Sequence[Member], shards: Shards) -> np.ndarray[tuple[int, ...], np.dtype[np.str_]]:
    """Shards as ids of cells."""
    return np.array(sorted(member.id for member in members))[shards]


def overlap() -> None:
    """How many cells two shards share: as computed, and between the slots of the two halves."""
    print("two shards share 0, 1 … K cells, in %: by hypergeometric probability / between slots")
    for cells, size in ((8, 2), (50, 4)):
        shards = shuffle.place(fleet(cells), shard_size=size)
        one, other = shards[: SLOT_COUNT // 2], shards[SLOT_COUNT // 2 :]
        shared = np.bincount((one[:, :, None] == other[:, None, :]).sum(axis=(1, 2)), minlength=size + 1)
        wanted = [comb(size, k) * comb(cells - size, size - k) / comb(cells, size) * 100 for k in range(size + 1)]
        row = ", ".join(
            f"{want:.4f} / {got:.4f}" for want, got in zip(wanted, shared / shared.sum() * 100, strict=True)
        )
        print(f"  {size} of {cells} ({comb(cells, size)} shards): {row}")


def searching() -> None:
    """Fill fleets until the search finds no shard."""
    print("searching: cells, K, overlap: shards found / Johnson bound, CPU seconds to fill")
    for cells, size, most_common in ((8, 2, 1), (20, 3, 1), (50, 2, 1), (50, 4, 1), (50, 4, 2), (100, 3, 1)):
        assigner = SearchingAssigner(fleet(cells), shard_size=size, max_overlap=most_common)
        started = time.process_time()
        found = 0
        try:
            while True:
                assigner.assign(f"tenant-{found}")
                found += 1
        except PlacementError:
            pass
        taken = time.process_time() - started
        bound = assigner.most_shards
        print(f"  {cells:4} {size:2} {most_common:2}: {found:6} / {bound:6} = {found / bound:4.0%}  {taken:6.2f}")


def assigning(runs: int) -> None:
    """Place one more tenant: the time grows with the cells of the pool and the tenants that have shards there."""
    cells = tuple(Cell(f"cell-{number}", "h", 1, zone=ZONES[number % 3]) for number in range(1000))
    names = tuple(cell.id for cell in cells)
    tenant = Tenant("one-more")
    searched = Pool("default", names, StrategyName.SHUFFLE, shard_size=4, max_overlap=2, spread=(Dimension.ZONE,))
    assigner = SearchingAssigner(fleet(1000), shard_size=4, max_overlap=2)
    there = {f"tenant-{number}": assigner.assign(f"tenant-{number}") for number in range(1000)}
    print("assigning one tenant, CPU milliseconds: 1,000 cells, 1,000 tenants there")
    for name, pool, shards in (
        ("explicit, least loaded", Pool("default", names, StrategyName.EXPLICIT), {}),
        ("shuffle, K = 4, overlap 2", searched, {"default": there}),
    ):
        topology = Topology(Fleet("bench", unknown_tenant=UnknownTenant.REJECT), cells, (pool,))
        taken = []
        for _ in range(runs):
            started = time.process_time()
            placed = assign(tenant, topology, {}, shards)
            taken.append(time.process_time() - started)
            assert isinstance(placed, Assigned)
        print(f"  {name:26} {min(taken) * 1000:6.1f}")


if __name__ == "__main__":
    main()
