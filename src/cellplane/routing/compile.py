"""Compiles a topology into a table: every strategy has run, a router only looks up."""

from cellplane.model import TenantState, Topology, UnknownTenant
from cellplane.placement import place
from cellplane.routing.contents import PoolSlots, TableContents, TenantEntry


def compile_table(topology: Topology, epoch: int) -> TableContents:
    """The table of a topology.

    Args:
        topology: the fleet now; validated here.
        epoch: the table's version, ≥ 1.

    Raises:
        ValidationError: with the path of the first field that breaks a rule.
    """
    topology.validate()
    cells = tuple(sorted(topology.cells, key=lambda cell: cell.id))
    by_id = {cell.id: cell for cell in cells}
    # Shards of one cell: shard i is cell i, so that a cell's index is also its shard's.
    shard_of = {cell.id: index for index, cell in enumerate(cells)}
    pools = tuple(
        PoolSlots(pool.name, pool.strategy, [shard_of[cell] for cell in place(pool, by_id)])
        for pool in sorted(topology.pools, key=lambda pool: pool.name)
    )
    default_pool = [pool.name for pool in pools].index(topology.fleet.default_pool)
    list_all = topology.fleet.unknown_tenant is UnknownTenant.REJECT
    tenants = tuple(
        TenantEntry(
            key=tenant.id.encode(),
            shard=None if tenant.cell is None else shard_of[tenant.cell],
            pool=default_pool,
            state=tenant.state,
        )
        for tenant in topology.tenants
        if list_all or tenant.cell is not None or tenant.state is not TenantState.ACTIVE
    )
    return TableContents(
        epoch=epoch,
        fleet=topology.fleet,
        cells=cells,
        pools=pools,
        shards=tuple((index,) for index in range(len(cells))),
        tenants=tenants,
    )
