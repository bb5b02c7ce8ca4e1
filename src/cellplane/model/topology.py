"""A topology: the whole fleet at one moment, consistent in itself."""

from collections.abc import Iterable
from dataclasses import dataclass

from cellplane.errors import ForeignLawError, ValidationError
from cellplane.model.cell import Cell
from cellplane.model.fleet import Fleet
from cellplane.model.policy import NO_POLICY, ResolvedPolicy
from cellplane.model.pool import Pool
from cellplane.model.residency import Act, foreign_laws, laws, one_of_each_law, violations
from cellplane.model.rule import Rule
from cellplane.model.tenant import Tenant
from cellplane.model.traffic import Traffic, check_tenant_policies

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
        self._validate_cells()
        self._validate_pools()
        self._validate_fleet()
        self._validate_quarantine()
        traffic = self.traffic
        traffic.check()
        self._validate_tenants(traffic)

    @property
    def traffic(self) -> Traffic:
        """The policies of its levels, merged."""
        return Traffic(self.fleet, self.cells, self.pools)

    def pool_of(self, tenant: Tenant) -> tuple[str, Rule | None]:
        """The pool that a tenant is in, and the rule that says so, if one does."""
        if tenant.pool is not None:
            return tenant.pool, None
        for rule in self.fleet.rules:
            if rule.matches(tenant):
                return rule.pool, rule
        return self.fleet.default_pool, None

    def _validate_cells(self) -> None:
        if not 1 <= len(self.cells) <= MAX_CELLS:
            raise ValidationError("cells", f"expected 1 to {MAX_CELLS} cells, found {len(self.cells)}")
        for index, cell in enumerate(self.cells):
            cell.validate(f"cells[{index}]")
        require_unique("cells", "id", (cell.id for cell in self.cells))

    def _validate_pools(self) -> None:
        if not 1 <= len(self.pools) <= MAX_POOLS:
            raise ValidationError("pools", f"expected 1 to {MAX_POOLS} pools, found {len(self.pools)}")
        cells = {cell.id: cell for cell in self.cells}
        for index, pool in enumerate(self.pools):
            field = f"pools[{index}]"
            pool.validate(field)
            for place, cell_id in enumerate(pool.cells):
                if cell_id not in cells:
                    raise ValidationError(f"{field}.cells[{place}]", f"no cell is named {cell_id!r}")
            pool.validate_ring(f"{field}.virtual_nodes", (cells[cell_id].weight for cell_id in pool.cells))
            places = [cells[cell_id] for cell_id in pool.cells]
            if pool.size > 1 and violations(Act.PLACEMENT, f"pool {pool.name!r}", "", places):
                found = ", ".join(laws(places))
                raise ForeignLawError(
                    f"{field}.cells", f"shards would cross jurisdictions ({found}): make a pool for each"
                )
        require_unique("pools", "name", (pool.name for pool in self.pools))
        self._validate_overflow()
        self._validate_dedicated()

    def _validate_overflow(self) -> None:
        by_name = {pool.name: (index, pool) for index, pool in enumerate(self.pools)}
        for index, pool in enumerate(self.pools):
            if pool.overflow is not None and pool.overflow not in by_name:
                raise ValidationError(f"pools[{index}].overflow", f"no pool is named {pool.overflow!r}")
        settled: set[str] = set()
        for pool in self.pools:
            way: dict[str, None] = {}
            following: str | None = pool.name
            while following is not None and following not in settled:
                if following in way:
                    circle = [*way][[*way].index(following) :]
                    raise ValidationError(
                        f"pools[{by_name[following][0]}].overflow",
                        f"goes round in a circle: {' → '.join([*circle, following])}",
                    )
                way[following] = None
                following = by_name[following][1].overflow
            settled.update(way)

    def _validate_dedicated(self) -> None:
        dedicated = {cell_id: pool.name for pool in self.pools if pool.dedicated for cell_id in pool.cells}
        for index, pool in enumerate(self.pools):
            for place, cell_id in enumerate(() if pool.dedicated else pool.cells):
                if cell_id in dedicated:
                    raise ValidationError(
                        f"pools[{index}].cells[{place}]",
                        f"a cell of the dedicated pool {dedicated[cell_id]!r} takes one tenant: {cell_id!r} is in no "
                        "pool that is not dedicated",
                    )
        if self.fleet.default_cell in dedicated:
            raise ValidationError(
                "fleet.default_cell",
                f"{self.fleet.default_cell!r} is in the dedicated pool {dedicated[self.fleet.default_cell]!r}, whose "
                "cells take one tenant: name another cell",
            )

    def _validate_fleet(self) -> None:
        fleet = self.fleet
        pools = {pool.name: (index, pool) for index, pool in enumerate(self.pools)}
        if fleet.default_cell is not None and all(cell.id != fleet.default_cell for cell in self.cells):
            raise ValidationError("fleet.default_cell", f"no cell is named {fleet.default_cell!r}")
        if fleet.default_pool not in pools:
            raise ValidationError("fleet.default_pool", f"no pool is named {fleet.default_pool!r}")
        for place, rule in enumerate(fleet.rules):
            if rule.pool not in pools:
                raise ValidationError(f"fleet.rules[{place}].pool", f"no pool is named {rule.pool!r}")
        index, default = pools[fleet.default_pool]
        if fleet.places_by_slot and not default.has_slots:
            raise ValidationError(
                f"pools[{index}].strategy",
                "the default pool has no slots for unknown tenants: set unknown_tenant to reject or default-cell, "
                "and missing_key to another than source-hash",
            )

    def _validate_quarantine(self) -> None:
        ids = {cell.id for cell in self.cells}
        pools = {cell_id: pool.name for pool in self.pools for cell_id in pool.cells}
        for place, cell_id in enumerate(self.fleet.quarantine.cells):
            field = f"fleet.quarantine.cells[{place}]"
            if cell_id not in ids:
                raise ValidationError(field, f"no cell is named {cell_id!r}")
            taken = f"in pool {pools[cell_id]!r}" if cell_id in pools else ""
            taken = taken or ("the fleet's default cell" if cell_id == self.fleet.default_cell else "")
            if taken:
                raise ValidationError(
                    field,
                    f"{cell_id!r} is {taken}, and would bring ordinary tenants together with poison ones: name "
                    "a cell that takes nobody else",
                )

    def _validate_tenants(self, traffic: Traffic) -> None:
        cells = {cell.id: cell for cell in self.cells}
        pools = {pool.name: pool for pool in self.pools}
        # One cell of each law says what all cells of a pool say, for a million tenants.
        slots_lead_to = {pool.name: one_of_each_law(cells[cell_id] for cell_id in pool.cells) for pool in self.pools}
        require_unique("tenants", "id", (tenant.id for tenant in self.tenants))
        own: set[ResolvedPolicy] = set()
        for index, tenant in enumerate(self.tenants):
            field = f"tenants[{index}]"
            tenant.validate(field)
            if tenant.pool is not None and tenant.pool not in pools:
                raise ValidationError(f"{field}.pool", f"no pool is named {tenant.pool!r}")
            for place, cell_id in enumerate(tenant.shard):
                if cell_id not in cells:
                    raise ValidationError(f"{field}.shard[{place}]", f"no cell is named {cell_id!r}")
            if tenant.policy != NO_POLICY:
                name = self.pool_of(tenant)[0]
                traffic.check_tenant(f"{field}.policy", tenant, name)
                own |= {traffic.of_tenant(tenant.policy, name)} - {traffic.of_pool(name)}
            shard = [cells[cell_id] for cell_id in tenant.shard]
            if violations(Act.ASSIGNMENT, tenant.id, "", shard):
                raise ForeignLawError(f"{field}.shard", f"crosses jurisdictions: {', '.join(laws(shard))}")
            if tenant.jurisdiction:
                pool = pools[self.pool_of(tenant)[0]]
                by_slot = pool.has_slots and not shard
                places = slots_lead_to[pool.name] if by_slot else shard
                act = Act.PLACEMENT if by_slot else Act.ASSIGNMENT
                if found := violations(act, tenant.id, tenant.jurisdiction, places, is_shard=False):
                    raise ForeignLawError(
                        f"{field}.jurisdiction",
                        f"{tenant.id!r} is under {tenant.jurisdiction}, but would be placed under "
                        f"{', '.join(foreign_laws(found))}: "
                        f"give it a pool, or a rule for one, whose cells are all under {tenant.jurisdiction}",
                    )
        check_tenant_policies("tenants", len(own))


def require_unique(field: str, name: str, values: Iterable[str]) -> None:
    """Raise ValidationError with the place of the first value that stands twice."""
    seen: set[str] = set()
    for index, value in enumerate(values):
        if value in seen:
            raise ValidationError(f"{field}[{index}].{name}", f"{value!r} stands twice")
        seen.add(value)
