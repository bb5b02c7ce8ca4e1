"""Explains, in fields and in a sentence, how a table routes a request."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

from cellplane.control.policy_schemas import CompareSpec, RoutePolicy
from cellplane.control.quarantine_schemas import QuarantineView
from cellplane.control.schemas import RouteView
from cellplane.directory import TenantRecord
from cellplane.errors import ValidationError
from cellplane.model import Balance, CanaryBy, Copies, Quarantine, Reads, TenantState, Topology, Writes
from cellplane.placement import slot_of
from cellplane.routing import CanaryRow, Decision, PolicyRow, Redirect, Refusal, Route, RoutingTable, decide

NEVER = 9_999
"""The chance at which a request falls to no canary by request, unless all do."""


@dataclass(frozen=True, slots=True)
class _PoolChoice:
    """What chose a tenant's pool: see RouteView.pool_by and RouteView.rule; ``text`` stands behind the pool's name."""

    by: Literal["tenant", "rule", "default", "overflow"] | None
    rule: str | None = None
    text: str = ""


def explain(
    table: RoutingTable,
    tenant_id: str,
    record: TenantRecord | None,
    topology: Topology | None,
    quarantine: Quarantine | None = None,
) -> RouteView:
    """How the table routes this key when every serving cell is healthy.

    Args:
        tenant_id: a valid partition key.
        record: the tenant as the directory lists it; None where it does not.
        topology: the fleet with its rules, as the directory has it now.
        quarantine: the tenant's last one, as the directory has it now; None where it remembers none.
    """
    key = tenant_id.encode()
    decision = decide(table, key, writes=False, has_healthy_host=lambda _cell: True, chance=NEVER)
    choice = _choice(record, topology)
    slot = slot_of(key)
    row = table.find(key)
    away = None if row is None or row.state is not TenantState.QUARANTINED else quarantine
    if isinstance(decision, Refusal):
        text = f"{tenant_id} is refused with {_refusal(decision)} (epoch {table.epoch})"
    elif away is not None:
        text = (
            f"{tenant_id} is in quarantine until {away.until:%Y-%m-%d %H:%M:%S} UTC, {_why_away(away)}: its requests "
        )
        text += f"go to {decision.cell} and to no other cell (epoch {table.epoch})"
    else:
        text = f"{tenant_id} {_way(decision, choice)}: {_goal(table, decision, 'its requests go')}"
    view = _view(table, decision, text, choice, tenant=tenant_id, known=record is not None, slot=slot)
    if away is None:
        return view
    no_canary = {"canary_cell": None, "canary_percent": 0.0}
    return view.model_copy(update={**no_canary, "quarantine": QuarantineView.of(away)})


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
    decision = decide(
        table, None, writes=False, has_healthy_host=lambda _cell: True, source=address.encode(), chance=NEVER
    )
    who = f"a request without a key from {address}"
    if isinstance(decision, Refusal):
        text = f"{who} is refused with {_refusal(decision)} (epoch {table.epoch})"
    else:
        text = f"{who} {_way(decision, _PoolChoice(None))}: {_goal(table, decision, 'it goes')}"
    slot = None if isinstance(decision, Refusal) else decision.slot
    by = _PoolChoice("default" if not isinstance(decision, Refusal) and decision.pool is not None else None)
    return _view(table, decision, text, by, source=address, known=False, slot=slot)


def _view(
    table: RoutingTable,
    decision: Decision,
    text: str,
    choice: _PoolChoice,
    *,
    known: bool,
    slot: int | None,
    tenant: str | None = None,
    source: str | None = None,
) -> RouteView:
    route = None if isinstance(decision, Refusal) else decision
    has_pool = route is not None and route.pool is not None
    canary = None if route is None else _canary(table, route)
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
        policy=None if route is None else _policy(table, route.policy),
        canary=route is not None and route.canary,
        canary_cell=None if canary is None else table.cells[canary.cell].id,
        canary_percent=0.0 if canary is None else canary.basis_points / 100,
        quarantine=None,
        redirect=route.location if isinstance(route, Redirect) else None,
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


def _why_away(quarantine: Quarantine) -> str:
    found = "found by a router" if quarantine.figures else "by order of a person"
    return f"{found} ({quarantine.reason})"


def _refusal(decision: Refusal) -> str:
    return f"{int(decision.code.status)} {decision.code.code}"


def _canary(table: RoutingTable, route: Route | Redirect) -> CanaryRow | None:
    return None if route.pool is None else table.canaries[table.pools.index(route.pool)]


def _policy(table: RoutingTable, row: PolicyRow) -> RoutePolicy:
    return RoutePolicy(
        writes=row.writes.value,
        reads=row.reads.value,
        standby=None if row.standby is None else table.cells[row.standby].id,
        cache_seconds=row.cache_s or None,
        balance=row.balance.value,
        mode=row.mode.value,
        priority=row.priority.value,
        shadow=None if row.shadow is None else table.cells[row.shadow].id,
        copies=row.copies.value,
        compare=CompareSpec(percent=row.compare_bp / 100, ignore=row.ignored.splitlines()) if row.compare_bp else None,
        rps=row.rps_milli / 1000 or None,
        burst_seconds=row.burst_ms / 1000,
    )


def _goal(table: RoutingTable, route: Route | Redirect, they_go: str) -> str:
    """Where requests go, and what else a policy does with them; ``they_go`` begins the sentence."""
    goal = f"{they_go} to {route.cell}"
    if route.canary:
        goal += ", the pool's canary"
    if isinstance(route, Redirect):
        goal += f", by a redirect to {route.location}"
    canary, policy = _canary(table, route), route.policy
    more = []
    if canary is not None and canary.by is CanaryBy.REQUEST and not route.canary:
        more.append(f"{canary.basis_points / 100:g} % of them to the canary {table.cells[canary.cell].id}")
    if policy.balance is not Balance.PREFERRED and not route.canary:
        more.append(f"{policy.balance.value} over {' + '.join(route.shard)}")
    if isinstance(route, Route) and route.shadow is not None:
        compared = f", {policy.compare_bp / 100:g} % of them compared" if policy.compare_bp else ""
        of_what = " of those that read" if policy.copies is Copies.READS else ""
        more.append(f"a copy to {route.shadow}{of_what}{compared}")
    more += _while_down(table, route.shard[0], policy)
    if policy.rps_milli:
        more.append(f"at most {policy.rps_milli / 1000:g} a second through each router")
    return f"{'; '.join([goal, *more])} (epoch {table.epoch})"


def _while_down(table: RoutingTable, first: str, policy: PolicyRow) -> list[str]:
    """What happens while the first cell is down, where it is not that another of the shard takes over."""
    said = []
    if policy.writes is not Writes.SHARD:
        said.append(f"writes {policy.writes.value}")
    match policy.reads:
        case Reads.STANDBY:
            assert policy.standby is not None, "a checked policy has the standby that it reads from"
            said.append(f"reads go to {table.cells[policy.standby].id}")
        case Reads.CACHE:
            said.append(f"reads get what the router has kept, at most {policy.cache_s} s old")
        case Reads.FAIL:
            said.append("reads fail")
        case Reads.SHARD:
            pass
    return [f"while {first} is down, {' and '.join(said)}"] if said else []


def _way(route: Route | Redirect, choice: _PoolChoice) -> str:
    shard = " + ".join(route.shard)
    if route.pool is None:
        return f"belongs to the fleet's default cell, {shard}"
    pool = f"{route.pool}{choice.text}"
    if route.reason == "assignment":
        return f"is assigned to {shard} in pool {pool}"
    return f"hashes to slot {route.slot}, which belongs to {shard} in pool {pool}"
