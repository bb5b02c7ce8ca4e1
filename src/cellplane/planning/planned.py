"""A planned fleet: equal cells, and tenants dealt onto them by a seeded shuffle."""

import numpy as np
import numpy.typing as npt

from cellplane.planning.checks import MAX_TENANTS, check_positive, check_whole
from cellplane.planning.overlap import check_shards
from cellplane.planning.placement import Indexes, Placement, PlannedCell, merge_equal

_GAMMA = 0x9E3779B97F4A7C15
_MASK = 0xFFFFFFFFFFFFFFFF


def planned_placement(
    *, cells: int, shard_size: int, tenants: int, rps: float, capacity_rps: float, seed: int
) -> Placement:
    """A fleet of cells ``cell-1`` … ``cell-N`` whose tenants have equal loads.

    Args:
        cells: how many.
        shard_size: cells of each tenant.
        tenants: how many.
        rps: requests a second of all tenants together, > 0.
        capacity_rps: requests a second that one cell holds, > 0; infinite where it is not known.
        seed: equal seeds deal equal shards, on every machine.

    Raises:
        ValidationError: naming the argument that breaks a rule.
    """
    check_positive("rps", rps)
    assignments = deal(cells=cells, shard_size=shard_size, tenants=tenants, seed=seed)
    shards, tenant_shard = merge_equal(assignments, cells)
    return Placement(
        cells=tuple(PlannedCell(f"cell-{number}", capacity_rps) for number in range(1, cells + 1)),
        shards=shards,
        tenant_shard=tenant_shard,
        tenant_rps=np.full(tenants, rps / tenants),
    )


def deal(*, cells: int, shard_size: int, tenants: int, seed: int) -> Indexes:
    """The shard of each tenant: ``shard_size`` of ``cells`` cells in random order, every choice as likely.

    A Fisher–Yates shuffle that stops after ``shard_size`` cards, run for all tenants at once: draw j takes one of the
    N − j cells that are left, counted past those drawn before.

    Returns:
        Shape (tenants, shard_size).

    Raises:
        ValidationError: naming the argument that breaks a rule.
    """
    check_shards(cells, shard_size)
    check_whole("tenants", tenants, 1, MAX_TENANTS)
    check_whole("seed", seed, 0, _MASK)
    drawn: Indexes = np.empty((tenants, shard_size), dtype=np.int64)
    for draw in range(shard_size):
        left = np.uint64(cells - draw)
        # 64 random bits modulo at most 65,534 cells: no cell is likelier than another by more than 4e-15.
        card = (scattered(seed + (draw << 40), tenants) % left).astype(np.int64)
        for before in np.sort(drawn[:, :draw], axis=1).T:
            card += card >= before
        drawn[:, draw] = card
    return drawn


def scattered(seed: int, count: int) -> npt.NDArray[np.uint64]:
    """Random 64-bit numbers, shape (count,): SplitMix64 (Steele, Lea, Flood 2014, doi:10.1145/2660193.2660195).

    Args:
        seed: any integer; only its low 64 bits count.
        count: how many.
    """
    start = np.uint64(_mixed(seed & _MASK))
    state = start + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GAMMA)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _mixed(value: int) -> int:
    """One step of SplitMix64 on a plain integer: neighbouring seeds start far apart."""
    value = (value + _GAMMA) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
