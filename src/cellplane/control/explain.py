"""Explains, in fields and in a sentence, how a table routes a key."""

from cellplane.control.schemas import RouteView
from cellplane.placement import slot_of
from cellplane.routing import Refusal, Route, RoutingTable, decide


def explain(table: RoutingTable, tenant_id: str, *, known: bool) -> RouteView:
    """How the table routes this key when every serving cell is healthy.

    Args:
        tenant_id: a valid partition key.
        known: whether the directory lists it.
    """
    key = tenant_id.encode()
    slot = slot_of(key)
    decision = decide(table, [key], writes=False, has_healthy_host=lambda _cell: True)
    if isinstance(decision, Refusal):
        code = decision.code
        pool, shard, cell, reason = None, [], None, code.code
        text = f"{tenant_id} is refused with {int(code.status)} {code.code} (epoch {table.epoch})"
    else:
        pool, shard, cell, reason = decision.pool, list(decision.shard), decision.cell, decision.reason
        text = _sentence(tenant_id, decision)
    return RouteView(
        tenant=tenant_id,
        known=known,
        slot=slot,
        pool=pool,
        shard=shard,
        cell=cell,
        reason=reason,
        epoch=table.epoch,
        text=text,
    )


def _sentence(tenant_id: str, route: Route) -> str:
    how = "is assigned to" if route.reason == "assignment" else f"hashes to slot {route.slot}, which belongs to"
    shard = " + ".join(route.shard)
    return f"{tenant_id} {how} {shard} in pool {route.pool}: its requests go to {route.cell} (epoch {route.epoch})"
