"""``make bench-core``: a million tenants through placement, table, decision and plan; and one change among them.

Each figure stands beside plain Python that does the same in the same run, in turn: loops over objects and dictionaries,
as a router that is written by hand has them. Where that would take minutes, it does a part, and its figure is scaled.
"""

import argparse
import random
import resource
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import xxhash

import measure
from cellplane.model import Cell, Fleet, Pool, TenantState, Topology
from cellplane.placement import SLOT_COUNT
from cellplane.planning.blast_radius import Exposure
from cellplane.planning.planned import planned_placement
from cellplane.routing import PlacedTenants, RoutingTable, compile_table, decide, decide_many, encode
from live_change import measure_live_changes

TENANTS = 1_000_000
CELLS = 1_000
SHARD_SIZE = 4
PLAIN_PART = 10
"""The plain program does this part of what is slow."""

ASKED = 200_000
"""Keys that are decided one by one."""

LIMITS: dict[str, tuple[str, float]] = {
    "compile_1m_s": ("≤", 2.0),
    "compile_1m_rss_mib": ("≤", 1024),
    "table_1m_mib": ("≤", 40),
    "first_lookup_ms": ("≤", 50),
    "decide_us": ("≤", 5),
    "decide_many_per_s": ("≥", 2_000_000),
    "blast_radius_1m_s": ("≤", 5),
    "overlay_live_p99_ms": ("≤", 1000),
}


@dataclass(frozen=True)
class Pair:
    """One figure of ours and the plain program's, of the same round."""

    ours: float
    plain: float


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="a million tenants in the routing core")
    parser.add_argument("--rounds", type=int, default=7, help="alternating rounds (default 7)")
    parser.add_argument("--changes", type=int, default=100, help="assignments to measure end to end (default 100)")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of tenants (default 1)")
    options = parser.parse_args()
    print(f"{TENANTS:,} tenants, {CELLS:,} cells, {options.rounds} rounds; seed {options.seed}", flush=True)
    rounds = [_apart(_round, options.seed + number) for number in range(options.rounds)]
    results: dict[str, Any] = {"seed": options.seed, "rounds": options.rounds}
    print(f"\n{'':22}{'median':>14}{'least':>14}{'most':>14}{'plain Python':>16}{'faster':>9}")
    for name in rounds[0]["pairs"]:
        pairs: list[Pair] = [found["pairs"][name] for found in rounds]
        results |= _figure(name, pairs)
    for name in ("compile_1m_rss_mib", "table_1m_mib"):
        results[name] = max(found[name] for found in rounds)
        print(f"{name:22}{results[name]:>14,.1f}")
    with tempfile.TemporaryDirectory(prefix="cellplane-bench-") as folder:
        print("one change among a million, through a control plane and Envoy …", flush=True)
        results |= measure_live_changes(Path(folder), TENANTS, options.changes, random.Random(options.seed))
    for name in ("overlay_live_p50_ms", "overlay_live_p99_ms"):
        print(f"{name:22}{results[name]:>14,.1f}")
    passed = _verdict(results)
    print(f"written to {measure.write_results('core', results)}")
    sys.exit(0 if passed else 1)


def _figure(name: str, pairs: Sequence[Pair]) -> dict[str, Any]:
    ours, plain = sorted(pair.ours for pair in pairs), sorted(pair.plain for pair in pairs)
    ratios = [pair.ours / pair.plain if name.endswith("_per_s") else pair.plain / pair.ours for pair in pairs]
    middle = len(pairs) // 2
    summary = measure.summary(ratios)
    print(
        f"{name:22}{ours[middle]:>14,.2f}{ours[0]:>14,.2f}{ours[-1]:>14,.2f}{plain[middle]:>16,.2f}"
        f"{summary['median']:>8,.2f}×"
    )
    return {
        name: round(ours[middle], 3),
        f"{name}_spread": [round(ours[0], 3), round(ours[-1], 3)],
        f"{name}_plain": round(plain[middle], 3),
        f"{name}_ratio": summary,
    }


def _verdict(results: dict[str, Any]) -> bool:
    print()
    passed = True
    for name, (relation, limit) in LIMITS.items():
        holds = results[name] <= limit if relation == "≤" else results[name] >= limit
        print(f"{'holds' if holds else 'DOES NOT HOLD'}: {name} {relation} {limit:,}")
        passed &= holds
    return passed


def _apart(function: Callable[[int], dict[str, Any]], seed: int) -> dict[str, Any]:
    """Call it in a process of its own, so that each round starts with nothing in memory."""
    context = get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(function, (seed,))


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def _round(seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    cells = [f"cell-{number:04}" for number in range(CELLS)]
    topology = Topology(
        Fleet("bench"),
        tuple(Cell(cell, "192.0.2.1", 8000) for cell in cells),
        (Pool("default", tuple(cells)),),
    )
    ids = [f"tenant-{number}" for number in range(TENANTS)]
    shards = [(rng.choice(cells),) for _ in ids]
    tenants = PlacedTenants(ids, ["default"] * TENANTS, shards, [TenantState.ACTIVE] * TENANTS)
    compile_s, data = _timed(lambda: encode(compile_table(topology, 1, tenants)))
    rss_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    part = TENANTS // PLAIN_PART
    plain_compile_s, _ = _timed(lambda: plain_table(ids[:part], [shard[0] for shard in shards[:part]], cells))
    lookup_s, table = _timed(lambda: _first_lookup(data))
    plain_lookup_s, router = _timed(lambda: PlainRouter(ids[:part], shards[:part], cells))
    keys = [tenant_id.encode() for tenant_id in ids]
    rng.shuffle(keys)
    one_s, _ = _timed(lambda: _decide_each(table, keys[:ASKED]))
    plain_one_s, _ = _timed(lambda: [router.cell_of(key) for key in keys[:ASKED]])
    many_s, many = _timed(lambda: decide_many(table, keys))
    assert (many.cell[:1000] == [cells.index(shards[int(key[7:])][0]) for key in keys[:1000]]).all()
    placement = planned_placement(
        cells=CELLS, shard_size=SHARD_SIZE, tenants=TENANTS, rps=1e6, capacity_rps=2000.0, seed=seed
    )
    radius_s, _ = _timed(lambda: Exposure(placement).fail_each())
    rows = placement.shards[placement.tenant_shard[:part]].tolist()
    plain_radius_s, _ = _timed(lambda: plain_blast_radius(rows, CELLS // PLAIN_PART))
    return {
        "pairs": {
            "compile_1m_s": Pair(compile_s, plain_compile_s * PLAIN_PART),
            "first_lookup_ms": Pair(lookup_s * 1000, plain_lookup_s * PLAIN_PART * 1000),
            "decide_us": Pair(one_s / ASKED * 1e6, plain_one_s / ASKED * 1e6),
            "decide_many_per_s": Pair(TENANTS / many_s, ASKED / plain_one_s),
            "blast_radius_1m_s": Pair(radius_s, plain_radius_s * PLAIN_PART * PLAIN_PART),
        },
        "compile_1m_rss_mib": round(rss_mib, 1),
        "table_1m_mib": round(len(data) / 2**20, 2),
    }


def _first_lookup(data: bytes) -> RoutingTable:
    table = RoutingTable(data)
    assert table.find(b"tenant-1") is not None
    return table


def _decide_each(table: RoutingTable, keys: Sequence[bytes]) -> None:
    for key in keys:
        decide(table, key, writes=False, has_healthy_host=_is_up)


def _is_up(_cell: str) -> bool:
    return True


def plain_table(ids: Sequence[str], cells_of: Sequence[str], cells: Sequence[str]) -> bytes:
    """Strings and sorted entries of a table, packed one by one."""
    index = {cell: number for number, cell in enumerate(cells)}
    entries = []
    for tenant_id, cell in zip(ids, cells_of, strict=True):
        key = tenant_id.encode()
        entries.append((xxhash.xxh32_intdigest(key, 0), key, index[cell]))
    entries.sort()
    packed = bytearray()
    strings = bytearray()
    for value, key, cell_index in entries:
        packed += struct.pack("<IIIBBBB", value, len(strings), cell_index, len(key), 0, 0, 0)
        strings += key
    return bytes(strings + packed)


class PlainRouter:
    """What a router by hand is: a dictionary of assignments, a ring of slots, a check whether the cell is up."""

    def __init__(self, ids: Sequence[str], shards: Sequence[tuple[str, ...]], cells: Sequence[str]) -> None:
        self._assigned = {tenant_id.encode(): shard for tenant_id, shard in zip(ids, shards, strict=True)}
        self._slots = [(cells[slot % len(cells)],) for slot in range(SLOT_COUNT)]

    def cell_of(self, key: bytes) -> str | None:
        """The first cell of the key's shard that is up."""
        shard = self._assigned.get(key)
        if shard is None:
            shard = self._slots[xxhash.xxh32_intdigest(key, 0) & (SLOT_COUNT - 1)]
        return next((cell for cell in shard if _is_up(cell)), None)


def plain_blast_radius(shards: Sequence[Sequence[int]], failures: int) -> list[tuple[int, int]]:
    """For each failed cell, how many tenants are down and how many degraded, tenant by tenant."""
    found = []
    for failed in range(failures):
        down = degraded = 0
        for shard in shards:
            lost = sum(cell == failed for cell in shard)
            down += lost == len(shard)
            degraded += 0 < lost < len(shard)
        found.append((down, degraded))
    return found


if __name__ == "__main__":
    main()
