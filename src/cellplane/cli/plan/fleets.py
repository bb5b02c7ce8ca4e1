"""Fleets to plan with: dealt from a seed, or read from a compiled routing table and a file of loads."""

import csv
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellplane.errors import ValidationError
from cellplane.model import UnknownTenant, is_key
from cellplane.placement import SLOT_COUNT
from cellplane.planning.checks import MAX_TENANTS, check_positive, check_whole
from cellplane.planning.placement import NO_CELL, Indexes, Loads, Placement, PlannedCell, merge_equal
from cellplane.planning.planned import scattered
from cellplane.routing import RoutingTable, decide_many, layout


def fleet_of_table(
    path: Path, *, loads: Path | None, rps: float | None, unlisted: int, capacity_rps: float, seed: int
) -> tuple[Placement, int]:
    """The fleet of a compiled table.

    A cell whose status serves nobody is taken out of its shards, as routers do. Tenants of a shard with no other cell
    are down already and counted apart.

    Args:
        path: the table's file.
        loads: CSV of tenant and requests a second; tenants that the table does not list go where their slot does.
            None where loads are equal.
        rps: requests a second of all tenants together, where loads are equal; None for 1 each.
        unlisted: tenants that the table does not list, whose slots are dealt from the seed.
        capacity_rps: what a cell of weight 1 holds; it counts in proportion to the weight.
        seed: of the unlisted tenants' slots.

    Returns:
        The placement, and how many tenants no cell serves even now.

    Raises:
        TableError: the file is no routing table.
        ValidationError: naming the option that breaks a rule.
    """
    table = RoutingTable.of_publication(path.read_bytes())
    keys = table.keys()
    if loads is None:
        tenant_rps = np.ones(len(keys) + unlisted)
        _check_unlisted(table, {}, unlisted)
    else:
        wanted = dict(_read_loads(loads))
        listed = [wanted.pop(key, 0.0) for key in keys]
        _check_unlisted(table, wanted, unlisted)
        keys = [*keys, *wanted]
        tenant_rps = np.concatenate((listed, list(wanted.values()), np.ones(unlisted)))
    if not len(tenant_rps):
        raise ValidationError("table", "the table lists no tenants: name some with --loads, or give their --tenants")
    rows = np.concatenate((decide_many(table, keys).shards, _unlisted_shards(table, unlisted, seed))).astype(np.int64)
    used = rows != layout.NO_CELL
    rows = np.where(used, rows, NO_CELL)[:, : used.sum(axis=1).max()]
    if rps is not None:
        check_positive("rps", rps)
        tenant_rps *= rps / len(tenant_rps)
    cells = tuple(PlannedCell(cell.id, capacity_rps * cell.weight, cell.jurisdiction) for cell in table.cells)
    shards, tenant_shard = merge_equal(rows, len(cells))
    return _without_dead_shards(cells, _serving(table, shards), tenant_shard, tenant_rps)


def assignments(placement: Placement) -> Indexes:
    """The cells of each tenant, shape (tenants, K)."""
    return placement.shards[placement.tenant_shard]


def _unlisted_shards(table: RoutingTable, count: int, seed: int) -> NDArray[np.uint16]:
    """Shards of so many tenants that the table does not list, dealt from the seed."""
    if table.default_shard is not None and table.unknown_tenant is UnknownTenant.DEFAULT_CELL:
        return np.repeat(table.base.shards[table.default_shard][None, :], count, axis=0)
    slots = table.slots_of(table.default_pool)
    if slots is None:
        assert count == 0, "a fleet without slots has a policy for unknown tenants"
        return table.base.shards[:0]
    rows: NDArray[np.uint16] = table.base.shards[slots[scattered(seed, count) % np.uint64(SLOT_COUNT)]]
    return rows


def _serving(table: RoutingTable, shards: Indexes) -> Indexes:
    """The shards without the cells that serve nobody, shape (shards, K); rows may be empty."""
    serves = np.array([*(cell.status.serves for cell in table.cells), False])
    # NO_CELL is the last place, which serves nobody.
    up: Indexes = np.where(serves[shards], shards, NO_CELL)
    order = np.argsort(up == NO_CELL, axis=1, kind="stable")
    return np.take_along_axis(up, order, axis=1)


def _without_dead_shards(
    cells: tuple[PlannedCell, ...], shards: Indexes, tenant_shard: Indexes, tenant_rps: Loads
) -> tuple[Placement, int]:
    alive = shards[:, 0] != NO_CELL
    served = alive[tenant_shard]
    number_of = np.cumsum(alive) - 1
    placement = Placement(cells, shards[alive], number_of[tenant_shard[served]].astype(np.int64), tenant_rps[served])
    return placement, int((~served).sum())


def _check_unlisted(table: RoutingTable, wanted: dict[bytes, float], unlisted: int) -> None:
    check_whole("tenants", unlisted, 0, MAX_TENANTS)
    if table.unknown_tenant is not UnknownTenant.REJECT:
        return
    if unlisted:
        raise ValidationError("tenants", "this fleet refuses tenants that its table does not list")
    if wanted:
        name = next(iter(wanted)).decode()
        raise ValidationError("loads", f"the table does not list {name!r}, and this fleet refuses unknown tenants")


def _read_loads(path: Path) -> Iterator[tuple[bytes, float]]:
    seen: set[str] = set()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValidationError("loads", f"cannot read {path}: {error}") from error
    for number, row in enumerate(csv.reader(text.splitlines()), 1):
        if not row or (number == 1 and row == ["tenant", "rps"]):
            continue
        try:
            tenant, load = row[0], float(row[1])
        except (IndexError, ValueError):
            tenant, load = "", math.nan
        if len(row) != 2 or not is_key(tenant.encode()) or not 0 <= load < math.inf:
            raise ValidationError("loads", f"line {number}: expected tenant,rps with rps from 0 up, found {row}")
        if tenant in seen:
            raise ValidationError("loads", f"line {number}: {tenant!r} stands twice")
        seen.add(tenant)
        yield tenant.encode(), load
