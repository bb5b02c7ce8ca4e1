"""A topology: the whole fleet at one moment, consistent in itself."""

from collections.abc import Iterable
from dataclasses import dataclass

from cellplane.errors import ValidationError
from cellplane.model.cell import Cell
from cellplane.model.fleet import Fleet
from cellplane.model.pool import Pool
from cellplane.model.tenant import Tenant

MAX_CELLS = 65_534
"""Most cells of a fleet: what a shard's 16-bit index can name (``docs/table-format.md``)."""

MAX_POOLS = 255
"""Most pools of a fleet: what a tenant's 8-bit pool index can name."""


@dataclass(frozen=True, slots=True)
class Topology:
    """Everything that placement and routing depend on.

    Attributes:
        fleet: the fleet and its policy.
        cells: its cells, ids unique, at most MAX_CELLS.
        pools: its pools, names unique, at most MAX_POOLS, the fleet's default pool among them.
        tenants: the tenants that the directory knows, ids unique.
    """

    fleet: Fleet
    cells: tuple[Cell, ...]
    pools: tuple[Pool, ...]
    tenants: tuple[Tenant, ...] = ()

    def validate(self) -> None:
        """Raise ValidationError with the path of the first field that breaks a rule."""
        self.fleet.validate("fleet")
        if not 1 <= len(self.cells) <= MAX_CELLS:
            raise ValidationError("cells", f"expected 1 to {MAX_CELLS} cells, found {len(self.cells)}")
        if not 1 <= len(self.pools) <= MAX_POOLS:
            raise ValidationError("pools", f"expected 1 to {MAX_POOLS} pools, found {len(self.pools)}")
        for index, cell in enumerate(self.cells):
            cell.validate(f"cells[{index}]")
        for index, pool in enumerate(self.pools):
            pool.validate(f"pools[{index}]")
        for index, tenant in enumerate(self.tenants):
            tenant.validate(f"tenants[{index}]")
        cells = _unique("cells", "id", (cell.id for cell in self.cells))
        pools = _unique("pools", "name", (pool.name for pool in self.pools))
        _unique("tenants", "id", (tenant.id for tenant in self.tenants))
        weights = {cell.id: cell.weight for cell in self.cells}
        for index, pool in enumerate(self.pools):
            for place, cell_id in enumerate(pool.cells):
                if cell_id not in cells:
                    raise ValidationError(f"pools[{index}].cells[{place}]", f"no cell is named {cell_id!r}")
            pool.validate_ring(f"pools[{index}].virtual_nodes", (weights[cell_id] for cell_id in pool.cells))
        for index, tenant in enumerate(self.tenants):
            if tenant.cell is not None and tenant.cell not in cells:
                raise ValidationError(f"tenants[{index}].cell", f"no cell is named {tenant.cell!r}")
        if self.fleet.default_cell is not None and self.fleet.default_cell not in cells:
            raise ValidationError("fleet.default_cell", f"no cell is named {self.fleet.default_cell!r}")
        if self.fleet.default_pool not in pools:
            raise ValidationError("fleet.default_pool", f"no pool is named {self.fleet.default_pool!r}")


def _unique(field: str, name: str, values: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    for index, value in enumerate(values):
        if value in seen:
            raise ValidationError(f"{field}[{index}].{name}", f"{value!r} stands twice")
        seen.add(value)
    return seen
