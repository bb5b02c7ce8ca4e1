"""A fleet of acting cells, and tables for it, compiled from a topology."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cellplane.model import Cell, Fleet, KeySource, Pool, Tenant, Topology
from cellplane.router.tables import StoredTable
from cellplane.routing import RoutingTable, TableContents, compile_table, encode
from e2e.acting_cell import ActingCell
from e2e.edge import Edge
from e2e.harness import eventually

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
    alter: Callable[[TableContents], TableContents] = lambda contents: contents,
) -> StoredTable:
    """The table of such a fleet, in a file.

    Args:
        pools: by default one of MEMBERS.
        changes: fields of cells that are not as by default, by id.
        alter: says in the table what the model would not.
    """
    members = tuple(
        Cell(cell, "127.0.0.1", cells[cell].port, jurisdiction="us" if cell.startswith("us") else "eu")
        for cell in sorted(cells)
    )
    members = tuple(replace(cell, **(changes or {}).get(cell.id, {})) for cell in members)
    in_pool = tuple(cell for cell in MEMBERS if cell in cells)
    topology = Topology(fleet, members, tuple(pools) or (Pool("default", in_pool),), tuple(tenants))
    data = encode(alter(compile_table(topology, epoch)))
    path = folder / f"table-{epoch}.cpt"
    path.write_bytes(data)
    return StoredTable(RoutingTable(data), path)


@dataclass
class Shop:
    """A running Envoy in front of acting cells, which serves one table after the other."""

    folder: Path
    cells: dict[str, ActingCell]
    edge: Edge
    epoch: int = 1

    def serve(self, *tenants: Tenant, **options: Any) -> RoutingTable:
        """Switch to another table, whose counts begin at 0; options as of ``store``."""
        self.epoch += 1
        stored = store(self.folder, self.cells, tenants, epoch=self.epoch, **options)
        self.edge.apply(stored)
        for cell in self.cells:
            self.wait_until(cell, is_healthy=True)
        return stored.table

    def take_down(self, *cells: str) -> None:
        """Let health checks of cells fail, and wait until Envoy knows."""
        for cell in cells:
            self.cells[cell].is_healthy = False
        for cell in cells:
            self.wait_until(cell, is_healthy=False)

    def wait_until(self, cell: str, *, is_healthy: bool) -> None:
        expected = int(is_healthy)
        eventually(lambda: self.edge.healthy_hosts(cell) == expected, f"{cell} is {'' if expected else 'not '}healthy")

    def mend(self) -> None:
        """Make all cells well again."""
        for cell in self.cells.values():
            cell.reset()


def of(tenant: str) -> dict[str, str]:
    """The header that names a tenant."""
    return {"x-tenant-id": tenant}
