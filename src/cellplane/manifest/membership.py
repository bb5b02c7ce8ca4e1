"""Which pool each tenant is in, for a million of them."""

from collections.abc import Iterable, Iterator

from cellplane.model import Tenant, Topology


def pool_names(topology: Topology, tenants: Iterable[Tenant]) -> Iterator[str]:
    """The pool of each tenant, as ``Topology.pool_of`` says.

    Rules are asked once for all tenants that are alike to them, unless a rule goes by ids.
    """
    if any(rule.id_pattern for rule in topology.fleet.rules):
        yield from (topology.pool_of(tenant)[0] for tenant in tenants)
        return
    known: dict[tuple[object, ...], str] = {}
    for tenant in tenants:
        alike = (tenant.pool, tenant.tier, tenant.jurisdiction, tenant.attributes)
        if alike not in known:
            known[alike] = topology.pool_of(tenant)[0]
        yield known[alike]
