"""Traffic: the policies of a fleet, its pools and its tenants, merged, and what must be so of the cells they name."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from cellplane.errors import ForeignLawError, ValidationError
from cellplane.model.cell import Cell
from cellplane.model.fleet import Fleet
from cellplane.model.policy import NO_POLICY, Mode, Policy, Reads, ResolvedPolicy, resolve
from cellplane.model.pool import Pool
from cellplane.model.residency import Act, foreign_laws, laws, violations
from cellplane.model.tenant import Tenant

MAX_TENANT_POLICIES = 255
"""Most different policies of tenants in one fleet: what a tenant's 8-bit index can name (``docs/table-format.md``)."""


@dataclass(frozen=True, slots=True)
class _Whose:
    """Whose requests a policy is about.

    Attributes:
        field: path of the policy.
        name: for messages.
        own: what it says itself.
        cells: the cells that they go to.
        law: under whose law they may be answered, beside that of the cells; empty where nobody says.
    """

    field: str
    name: str
    own: Policy
    cells: Collection[Cell]
    law: str


class Traffic:
    """The policies of a fleet.

    Args:
        fleet: the fleet.
        cells: its cells.
        pools: its pools, whose cells are among these.
    """

    def __init__(self, fleet: Fleet, cells: Iterable[Cell], pools: Sequence[Pool]) -> None:
        self._fleet = fleet
        self._cells = {cell.id: cell for cell in cells}
        self._pools = {pool.name: pool for pool in pools}
        self._dedicated = {cell_id: pool.name for pool in pools if pool.dedicated for cell_id in pool.cells}
        self._resolved: dict[tuple[Policy, str], ResolvedPolicy] = {}

    def of_fleet(self) -> ResolvedPolicy:
        """That of requests that are in no pool."""
        return resolve(self._fleet.policy)

    def of_pool(self, pool: str) -> ResolvedPolicy:
        """That of a pool's tenants that say nothing themselves."""
        return self.of_tenant(NO_POLICY, pool)

    def of_tenant(self, policy: Policy, pool: str) -> ResolvedPolicy:
        """That of a tenant which says this, in this pool."""
        known = self._resolved.get((policy, pool))
        if known is None:
            known = self._resolved[policy, pool] = resolve(policy, self._pools[pool].policy, self._fleet.policy)
        return known

    def check(self) -> None:
        """Check the fleet's policy, and those of all pools with their canaries.

        Raises:
            ValidationError: with the path of the first field that breaks a rule.
        """
        default = [cell for cell in self._cells.values() if cell.id == self._fleet.default_cell]
        self._check(self.of_fleet(), self._whose("fleet.policy", "the fleet", self._fleet.policy, default))
        for index, pool in enumerate(self._pools.values()):
            cells = [self._cells[cell_id] for cell_id in pool.cells]
            whose = self._whose(f"pools[{index}].policy", f"pool {pool.name!r}", pool.policy, cells)
            policy = self.of_pool(pool.name)
            self._check(policy, whose)
            if pool.canary is not None:
                self._check_deputy(Act.CANARY, f"pools[{index}].canary.cell", pool.canary.cell, whose)
                if policy.mode is Mode.REDIRECT:
                    self._check_public(f"pools[{index}].policy.mode", whose, [self._cells[pool.canary.cell]])

    def check_tenant(self, field: str, tenant: Tenant, pool: str) -> None:
        """Check the policy of one tenant.

        Args:
            field: path of the policy.
            tenant: the tenant; the cells of its shard are there.
            pool: the pool that it is in.

        Raises:
            ValidationError: with the path of the first field that breaks a rule.
        """
        in_pool = self._pools[pool]
        ids = tenant.shard or (in_pool.cells if in_pool.has_slots else ())
        cells = [self._cells[cell_id] for cell_id in ids]
        whose = self._whose(field, f"tenant {tenant.id!r}", tenant.policy, cells, tenant.jurisdiction)
        self._check(self.of_tenant(tenant.policy, pool), whose)

    def _whose(self, field: str, name: str, own: Policy, cells: Collection[Cell], law: str = "") -> _Whose:
        return _Whose(field, name, own, cells, law)

    def _check(self, policy: ResolvedPolicy, whose: _Whose) -> None:
        field, public = whose.field, list(whose.cells)
        if policy.reads is Reads.STANDBY:
            if policy.standby is None:
                raise ValidationError(f"{field}.standby", f"reads of {whose.name} need one: name a cell")
            self._check_deputy(Act.STANDBY, f"{field}.standby", policy.standby, whose)
            public.append(self._cells[policy.standby])
        elif whose.own.standby is not None:
            raise ValidationError(
                f"{field}.standby", f"means nothing beside reads: {policy.reads.value}; say standby there"
            )
        if policy.reads is not Reads.CACHE and whose.own.cache_seconds is not None:
            raise ValidationError(
                f"{field}.cache_seconds", f"means nothing beside reads: {policy.reads.value}; say cache there"
            )
        if policy.shadow is not None:
            self._check_deputy(Act.SHADOW, f"{field}.shadow", policy.shadow, whose)
        if policy.mode is Mode.REDIRECT:
            if policy.reads is Reads.CACHE:
                raise ValidationError(
                    f"{field}.reads",
                    f"a router that redirects {whose.name} keeps no answers: say another than cache",
                )
            self._check_public(f"{field}.mode", whose, public)

    def _check_deputy(self, act: Act, field: str, cell_id: str, whose: _Whose) -> None:
        """Check a cell that answers for, or instead of, those that requests go to."""
        if cell_id not in self._cells:
            raise ValidationError(field, f"no cell is named {cell_id!r}")
        deputy = self._cells[cell_id]
        # Whoever is at home in one of these cells is under its law.
        foreign = set(foreign_laws(violations(act, whose.name, "", (deputy, *whose.cells))))
        foreign |= {found.law for found in violations(act, whose.name, whose.law, (deputy,))}
        if foreign:
            raise ForeignLawError(
                field,
                f"cell {cell_id!r} is under {laws((deputy,))[0]}, requests of {whose.name} are for cells under "
                f"{', '.join(sorted(foreign))}: name a cell of one jurisdiction with them",
            )
        if cell_id in self._dedicated:
            raise ValidationError(
                field,
                f"{cell_id!r} is in the dedicated pool {self._dedicated[cell_id]!r}, whose cells take one tenant: name "
                "another cell",
            )
        if cell_id in self._fleet.quarantine.cells:
            raise ValidationError(
                field,
                f"{cell_id!r} is a quarantine cell, and takes nobody's requests but those of poison tenants: name "
                "another cell",
            )

    def _check_public(self, field: str, whose: _Whose, cells: Iterable[Cell]) -> None:
        for cell in cells:
            if not cell.public_url:
                raise ValidationError(
                    field,
                    f"{whose.name} redirects, and cell {cell.id!r} has no public URL to send clients to: give it one, "
                    "or say proxy",
                )


def check_tenant_policies(field: str, count: int) -> None:
    """Raise ValidationError where tenants have more different policies than a table can name."""
    if count > MAX_TENANT_POLICIES:
        raise ValidationError(
            field,
            f"tenants have {count} different policies of their own, and a table holds {MAX_TENANT_POLICIES}: put those "
            "that are alike into a pool with that policy",
        )
