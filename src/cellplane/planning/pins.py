"""Pins: whether a person put a tenant where it is, so that nothing moves it unasked.

A tenant's shard is written in the same place whoever chose it. What it is follows from the rest of the fleet: where
the pool chooses shards, one of its cells is its choice; elsewhere only a person can have named one. The attribute PIN
says otherwise: ``"true"`` keeps a tenant in a pool that chooses, ``"false"`` lets one go that would count as pinned.
"""

from cellplane.model import Pool, Tenant

PIN = "pinned"
"""Attribute of a tenant that says it in so many words."""


def is_pinned(tenant: Tenant, pool: Pool, *, came_by_overflow: bool = False) -> bool:
    """Whether nothing but a person moves the tenant.

    Args:
        tenant: the tenant.
        pool: the pool that it is in.
        came_by_overflow: whether that is not the pool that rules give it: placement chose its shard then.
    """
    said = dict(tenant.attributes).get(PIN)
    if said in {"true", "false"}:
        return said == "true"
    is_chosen = pool.assigns or came_by_overflow or tenant.shard_size not in {None, pool.size}
    return bool(tenant.shard) and not (is_chosen and set(tenant.shard) <= set(pool.cells))
