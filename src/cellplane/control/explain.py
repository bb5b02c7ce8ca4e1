"""Explains, in fields and in a sentence, how a table routes a request."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

from cellplane.control.schemas import RouteView
from cellplane.directory import TenantRecord
from cellplane.errors import ValidationError
from cellplane.model import Topology
from cellplane.placement import slot_of
from cellplane.routing import Decision, Refusal, Route, RoutingTable, decide


@dataclass(frozen=True, slots=True)
class _PoolChoice:
    """What chose a tenant's pool: see RouteView.pool_by and RouteView.rule; ``text`` stands behind the pool's name."""

    by: Literal["tenant", "rule", "default", "overflow"] | None
    rule: str | None = None
    text: str = ""


def explain(table: RoutingTable, tenant_id: str, record: TenantRecord | None, topology: Topology | None) -> RouteView:
    """How the table routes this key when every serving cell is healthy.

    Args:
        tenant_id: a valid partition key.
        record: the tenant as the directory lists it; None where it does not.
        topology: the fleet with its rules, as the directory has it now.
    """
    key = tenant_id.encode()
    decision = decide(table, key, writes=False, has_healthy_host=lambda _cell: True)
    choice = _choice(record, topology)
    slot = slot_of(key)
    if isinstance(decision, Refusal):
        text = f"{tenant_id} is refused with {_refusal(decision)} (epoch {table.epoch})"
    else:
        text = f"{tenant_id} {_way(decision, choice)}: its requests go to {decision.cell} (epoch {table.epoch})"
    return _view(decision, text, choice, tenant=tenant_id, known=record is not None, slot=slot)


def explain_source(table: RoutingTable, source: str) -> RouteView:
    """How the table routes a request without a key when every serving cell is healthy.

    Args:
        source: the client's IP address, in any spelling.

    Raises:
        ValidationError: it is none.
    """
    try:
        # A zone means something on one machine alone (RFC 4007, 11).
        address = str(ip_address("" if "%" in source else source))
    except ValueError as error:
        raise ValidationError("source", f"expected an IP address, found {source[:80]!r}") from error
    decision = decide(table, None, writes=False, has_healthy_host=lambda _cell: True, source=address.encode())
    who = f"a request without a key from {address}"
    if isinstance(decision, Refusal):
        text = f"{who} is refused with {_refusal(decision)} (epoch {table.epoch})"
    else:
        text = f"{who} {_way(decision, _PoolChoice(None))}: it goes to {decision.cell} (epoch {table.epoch})"
    slot = decision.slot if isinstance(decision, Route) else None
    by = _PoolChoice("default" if isinstance(decision, Route) and decision.pool is not None else None)
    return _view(decision, text, by, source=address, known=False, slot=slot)


def _view(
    decision: Decision,
    text: str,
    choice: _PoolChoice,
    *,
    known: bool,
    slot: int | None,
    tenant: str | None = None,
    source: str | None = None,
) -> RouteView:
    route = decision if isinstance(decision, Route) else None
    has_pool = route is not None and route.pool is not None
    return RouteView(
        tenant=tenant,
        source=source,
        known=known,
        pool_by=choice.by if has_pool else None,
        rule=choice.rule if has_pool else None,
        slot=slot,
        pool=None if route is None else route.pool,
        shard=[] if route is None else list(route.shard),
        cell=None if route is None else route.cell,
        reason=decision.code.code if isinstance(decision, Refusal) else decision.reason,
        epoch=decision.epoch,
        text=text,
    )


def _choice(record: TenantRecord | None, topology: Topology | None) -> _PoolChoice:
    if record is None or topology is None:
        return _PoolChoice("default")
    pool, rule = topology.pool_of(record.tenant)
    name = None if rule is None else rule.name
    if record.placed_pool != pool:
        return _PoolChoice("overflow", name, f" (overflow of {pool})")
    if record.tenant.pool is not None:
        return _PoolChoice("tenant", None, " (its own)")
    return _PoolChoice("default") if name is None else _PoolChoice("rule", name, f" (rule {name})")


def _refusal(decision: Refusal) -> str:
    return f"{int(decision.code.status)} {decision.code.code}"


def _way(route: Route, choice: _PoolChoice) -> str:
    shard = " + ".join(route.shard)
    if route.pool is None:
        return f"belongs to the fleet's default cell, {shard}"
    pool = f"{route.pool}{choice.text}"
    if route.reason == "assignment":
        return f"is assigned to {shard} in pool {pool}"
    return f"hashes to slot {route.slot}, which belongs to {shard} in pool {pool}"
