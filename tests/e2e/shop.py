"""A fleet of acting cells, and tables for it, compiled from a topology."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cellplane.model import Cell, Fleet, KeySource, Pool, Tenant, Topology
from cellplane.router.tables import StoredTable
from cellplane.routing import RoutingTable, compile_table, encode
from e2e.acting_cell import ActingCell

FLEET = Fleet("shop", key_sources=(KeySource.trusted_header("x-tenant-id"),))
MEMBERS = ("cell-1", "cell-2", "cell-3")
"""Cells of the pool; all others are in none."""

CELLS = (*MEMBERS, "apart", "us-1")


def store(
    folder: Path,
    cells: Mapping[str, ActingCell],
    tenants: Sequence[Tenant],
    *,
    epoch: int = 1,
    fleet: Fleet = FLEET,
    pools: Sequence[Pool] = (),
    changes: Mapping[str, Mapping[str, Any]] | None = None,
) -> StoredTable:
    """The table of such a fleet, in a file.

    Args:
        pools: by default one of MEMBERS.
        changes: fields of cells that are not as by default, by id.
    """
    members = tuple(
        Cell(cell, "127.0.0.1", cells[cell].port, jurisdiction="us" if cell.startswith("us") else "eu")
        for cell in sorted(cells)
    )
    members = tuple(replace(cell, **(changes or {}).get(cell.id, {})) for cell in members)
    in_pool = tuple(cell for cell in MEMBERS if cell in cells)
    topology = Topology(fleet, members, tuple(pools) or (Pool("default", in_pool),), tuple(tenants))
    data = encode(compile_table(topology, epoch))
    path = folder / f"table-{epoch}.cpt"
    path.write_bytes(data)
    return StoredTable(RoutingTable(data), path)


def of(tenant: str) -> dict[str, str]:
    """The header that names a tenant."""
    return {"x-tenant-id": tenant}
