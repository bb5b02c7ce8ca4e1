"""Tenant policies: those of tenants against the fleet, cells and pools, when either changes."""

from sqlalchemy import Connection, func, null, select

from cellplane.directory import rows, schema
from cellplane.directory.outline import Outline
from cellplane.directory.records import TenantRecord
from cellplane.errors import ConflictError, ValidationError
from cellplane.model import NO_POLICY, Tenant, Traffic
from cellplane.model.traffic import MAX_TENANT_POLICIES, check_tenant_policies


class TenantPolicies:
    """Checks the policies of tenants in one transaction.

    Args:
        connection: inside a transaction.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._has_changed = False
        self._traffic: tuple[Outline | None, Traffic | None] = (None, None)

    def check(self, outline: Outline, record: TenantRecord) -> None:
        """Check the policy of a tenant that changes; raises ValidationError with the path of its field."""
        if record.tenant.policy != NO_POLICY:
            self._has_changed = True
            if outline.is_whole and record.placed_pool is not None:
                self._traffic_of(outline).check_tenant("tenant.policy", record.tenant, record.placed_pool)

    def check_all(self, before: Outline, after: Outline) -> None:
        """Check the policies of tenants against the fleet, cells and pools as they are, where one of them changed.

        Raises:
            ConflictError: a tenant's names a cell that may not answer for it, or that is not there.
            ValidationError: tenants have more different ones than a table can name.
        """
        is_other = before is not after and _policed_by(before) != _policed_by(after)
        if not after.is_whole or not (self._has_changed or is_other):
            return
        tenants = schema.tenants
        traffic = self._traffic_of(after)
        is_said = tenants.c.policy.is_not(null()) & tenants.c.placed_pool.is_not(None)
        if is_other:
            alike = (tenants.c.policy, tenants.c.placed_pool, tenants.c.jurisdiction, tenants.c.shard)
            for tenant_id, policy, pool, law, shard in self._connection.execute(
                select(func.min(tenants.c.id), *alike).where(is_said).group_by(*alike)
            ):
                tenant = Tenant(tenant_id, tuple(shard), jurisdiction=law, policy=rows.policy_of(policy))
                try:
                    traffic.check_tenant("policy", tenant, pool)
                except ValidationError as error:
                    raise ConflictError(f"tenant {tenant_id!r} has a policy that says otherwise: {error}") from error
        own = set()
        for policy, pool in self._connection.execute(
            select(tenants.c.policy, tenants.c.placed_pool).where(is_said).distinct()
        ):
            resolved = traffic.of_tenant(rows.policy_of(policy), pool)
            if resolved != traffic.of_pool(pool):
                own.add(resolved)
            if len(own) > MAX_TENANT_POLICIES:
                break
        check_tenant_policies("tenant.policy", len(own))

    def _traffic_of(self, outline: Outline) -> Traffic:
        """The policies of an outline: those of the last one that was asked for are kept."""
        known, traffic = self._traffic
        if traffic is None or known is not outline:
            topology = outline.topology
            assert topology is not None, "a whole outline has a fleet"
            traffic = topology.traffic
            self._traffic = outline, traffic
        return traffic


def _policed_by(outline: Outline) -> tuple[object, ...]:
    """What the policies of tenants are checked against."""
    fleet = outline.fleet
    return (
        None if fleet is None else (fleet.policy, fleet.default_pool, fleet.rules, fleet.quarantine.cells),
        outline.is_whole,
        {cell_id: (cell.jurisdiction, bool(cell.public_url)) for cell_id, cell in outline.cells.items()},
        {name: (pool.cells, pool.has_slots, pool.dedicated, pool.policy) for name, pool in outline.pools.items()},
    )
