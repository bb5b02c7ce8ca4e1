"""The outline: the fleet, its cells and its pools, without tenants; and whether a change of it may be."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from cellplane.errors import ValidationError
from cellplane.model import NO_POLICY, Cell, Dimension, Fleet, MissingKey, Pool, Rule, Tenant, Topology, UnknownTenant
from cellplane.model.residency import laws
from cellplane.placement import place

_INDEX = re.compile(r"^(cell|pool)s\[(\d+)\]")

_OF_CELL = {".virtual_nodes": "cell.weight", ".policy.mode": "cell.public_url"}
"""Which attribute of a cell is wrong where one of its pool's is, by the latter; ``jurisdiction`` for all others."""


@dataclass(frozen=True, slots=True)
class Outline:
    """Everything of a fleet but its tenants.

    Attributes:
        fleet: the fleet; None as long as none was put.
        cells: by id, in order.
        pools: by name, in order.
    """

    fleet: Fleet | None = None
    cells: Mapping[str, Cell] = field(default_factory=dict)
    pools: Mapping[str, Pool] = field(default_factory=dict)
    _topology: list[Topology] = field(default_factory=list, init=False, repr=False, compare=False)
    _laws: dict[str, frozenset[str]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def with_cell(self, cell: Cell) -> "Outline":
        """The same with this cell in place of the one of its id."""
        return replace(self, cells=dict(sorted({**self.cells, cell.id: cell}.items())))

    def with_pool(self, pool: Pool) -> "Outline":
        """The same with this pool in place of the one of its name."""
        return replace(self, pools=dict(sorted({**self.pools, pool.name: pool}.items())))

    def without(self, kind: str, name: str) -> "Outline":
        """The same without a cell or a pool."""
        if kind == "cell":
            return replace(self, cells={key: cell for key, cell in self.cells.items() if key != name})
        return replace(self, pools={key: pool for key, pool in self.pools.items() if key != name})

    @property
    def topology(self) -> Topology | None:
        """The topology without its tenants; None as long as there is no fleet."""
        if self.fleet is None:
            return None
        # Every tenant asks.
        if not self._topology:
            self._topology.append(Topology(self.fleet, tuple(self.cells.values()), tuple(self.pools.values())))
        return self._topology[0]

    @property
    def is_whole(self) -> bool:
        """Whether all that the fleet names is there, so that a table can be compiled."""
        fleet = self.fleet
        return (
            fleet is not None
            and fleet.default_pool in self.pools
            and (fleet.default_cell is None or fleet.default_cell in self.cells)
            and all(rule.pool in self.pools for rule in fleet.rules)
            and all(cell_id in self.cells for cell_id in (*fleet.policy.cells, *fleet.quarantine.cells))
        )

    def pool_of(self, tenant: Tenant) -> tuple[str | None, Rule | None]:
        """The pool that a tenant is in, and the rule that says so, if one does; None where nothing says it yet."""
        topology = self.topology
        return (tenant.pool, None) if topology is None else topology.pool_of(tenant)

    def jurisdictions(self, pool: Pool) -> frozenset[str]:
        """Under whose law the cells of a pool are."""
        if self.pools.get(pool.name) is not pool:
            return frozenset(laws(self.places(pool)))
        # Every tenant of a pool asks.
        if pool.name not in self._laws:
            self._laws[pool.name] = frozenset(laws(self.places(pool)))
        return self._laws[pool.name]

    def places(self, pool: Pool) -> list[Cell]:
        """The cells of a pool."""
        return [self.cells[cell_id] for cell_id in pool.cells]

    def check(self, before: "Outline", changed: tuple[str, str] | None = None) -> None:
        """Check what a change made of the outline before.

        A fleet is put before the cells and pools that it names; from the moment that they are there, it stays whole.

        Args:
            before: what it was.
            changed: kind and id of the one resource that changed; errors name a field of it where they can.

        Raises:
            ValidationError: with the path of the first field that breaks a rule.
        """
        topology = self.topology
        if topology is None or not (self.is_whole or before.is_whole):
            if not self.pools:
                return
            first = next(iter(self.pools))
            # Pools go by what the fleet says as soon as all is there that it names.
            policy = NO_POLICY if self.fleet is None else self.fleet.policy
            topology = Topology(
                Fleet(
                    "unnamed",
                    default_pool=first,
                    unknown_tenant=UnknownTenant.REJECT,
                    missing_key=MissingKey.REJECT,
                    policy=policy if all(cell_id in self.cells for cell_id in policy.cells) else NO_POLICY,
                ),
                tuple(self.cells.values()),
                tuple(self.pools.values()),
            )
        try:
            topology.validate()
        except ValidationError as error:
            raise error.at(self._path(error.field, changed)) from error
        for pool in self.pools.values():
            if pool.has_slots and not self._places_alike(before, pool):
                self._check_slots(pool, changed)

    def _places_alike(self, before: "Outline", pool: Pool) -> bool:
        """Whether a pool's slots follow from the same as before."""
        return before.pools.get(pool.name) == pool and all(
            _placed_by(self.cells[cell_id]) == _placed_by(before.cells[cell_id]) for cell_id in pool.cells
        )

    def _check_slots(self, pool: Pool, changed: tuple[str, str] | None) -> None:
        """Spread a pool's slots: not every cell can be where every pool wants it. Compiling finds them made."""
        try:
            place(pool, self.cells)
        except ValidationError as error:
            whole = f"pools.{pool.name}"
            attribute = error.field.removeprefix(f"{whole}.").partition("[")[0]
            field = attribute if attribute in Pool.__dataclass_fields__ else "cells"
            path = f"pool.{field}" if changed == ("pool", pool.name) else f"{whole}.{field}"
            raise error.at(path) from error

    def _path(self, path: str, changed: tuple[str, str] | None) -> str:
        """A path with indexes as one with names, or one inside the resource that changed."""
        found = _INDEX.match(path)
        if found is None:
            return path
        kind, names = found[1], tuple(self.cells if found[1] == "cell" else self.pools)
        name, rest = names[int(found[2])], path[found.end() :]
        if changed == (kind, name):
            return f"{kind}{rest}"
        if changed is not None and changed[0] == "cell":
            # A pool cannot be any more, because of what this cell has become.
            return _OF_CELL.get(rest, "cell.jurisdiction")
        return f"{kind}s.{name}{rest}"

    def changed_jurisdictions(self, before: "Outline") -> Collection[str]:
        """Ids of the cells that are under another law than before."""
        return [
            cell_id
            for cell_id, cell in self.cells.items()
            if cell_id in before.cells and len(laws((before.cells[cell_id], cell))) > 1
        ]


def _placed_by(cell: Cell) -> tuple[float | str, ...]:
    """What placement sees of a cell."""
    return cell.weight, *(cell.coordinate(dimension) for dimension in Dimension)
