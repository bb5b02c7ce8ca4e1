"""Who serves a tenant by what a directory says, now or at an epoch: its shard, or that of its slot."""

from cellplane.directory.outline import Outline
from cellplane.directory.records import TenantRecord
from cellplane.model import UnknownTenant
from cellplane.placement import place, slot_of


def serving_cells(outline: Outline, tenant_id: str, record: TenantRecord | None) -> tuple[str, ...]:
    """Ids of the cells that serve a tenant when all are well, the preferred first; none where nobody does.

    A quarantine is not looked at: the tenant's data stay where they are.

    Args:
        outline: of the directory, at the moment that is asked about.
        tenant_id: a valid partition key.
        record: the tenant as it is listed then; None where it is not.
    """
    if record is not None and record.tenant.shard:
        return record.tenant.shard
    fleet = outline.fleet
    if fleet is None or not outline.is_whole:
        return ()
    if record is None and fleet.unknown_tenant is not UnknownTenant.HASH:
        return ()
    pool = outline.pools.get((fleet.default_pool if record is None else record.placed_pool) or "")
    if pool is None or not pool.has_slots:
        return ()
    placed = place(pool, outline.cells)
    return tuple(placed.cells[int(member)] for member in placed.shards[slot_of(tenant_id.encode())])
