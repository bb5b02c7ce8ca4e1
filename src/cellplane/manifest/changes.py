"""What would change: the resources that are there against those that somebody wants, field by field."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from cellplane.errors import ValidationError
from cellplane.manifest.kinds import KINDS, Kind, Value
from cellplane.manifest.resources import Resource, name_of, resource_of
from cellplane.manifest.shapes import Amended, Field, Json, Object
from cellplane.model import Cell, Fleet, Pool, Tenant, Topology


class Action(Enum):
    """What happens to a resource; the value is what the API shows."""

    CREATE = "create"
    CHANGE = "change"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Change:
    """One resource that would change.

    Attributes:
        kind: of the resource.
        name: of the resource.
        action: see Action.
        fields: by the field's name in a file, such as ``capacity.rps``: its JSON before and after. None stands for what
            is not there; a resource that is created has what differs from the defaults, one that is deleted nothing.
    """

    kind: Kind
    name: str
    action: Action
    fields: dict[str, tuple[Any, Any]]

    def as_json(self) -> Json:
        """It as the API answers it."""
        fields = {name: [before, after] for name, (before, after) in self.fields.items()}
        return {"kind": self.kind.value, "name": self.name, "action": self.action.value, "fields": fields}


def wanted(current: Topology | None, resources: Iterable[Resource], *, prune: bool) -> Topology:
    """The fleet as it would be. It is not validated.

    A tenant that is to have no cells of its own keeps those that its pool assigned: that pool gives it cells anyway,
    and a choice that is made stays.

    Args:
        current: what is there now; None where there is no fleet yet.
        resources: those that somebody wants.
        prune: whether cells, pools and tenants that are not among the resources go away. Of a kind of which there is no
            resource at all, everything stays: a file of cells and pools alone deletes no tenant.

    Raises:
        ValidationError: there is no fleet, or one of another name, or a resource stands twice.
    """
    named: dict[Kind, dict[str, Resource]] = {kind: {} for kind in Kind}
    for resource in resources:
        if resource.name in named[resource.kind]:
            raise ValidationError("resources", f"{resource.kind.value}/{resource.name} stands twice")
        named[resource.kind][resource.name] = resource
    fleet = _fleet(current, list(named[Kind.FLEET].values()))

    def kept(kind: Kind, there: Sequence[Value]) -> list[Value]:
        if not named[kind]:
            return list(there)
        new = dict(named[kind])
        found: list[Value] = []
        for value in there:
            resource = new.pop(name_of(value), None)
            if resource is not None:
                found.append(resource.over(value))
            elif not prune:
                found.append(value)
        return [*found, *(resource.over(None) for resource in new.values())]

    cells = kept(Kind.CELL, current.cells if current else ())
    pools = kept(Kind.POOL, current.pools if current else ())
    tenants = kept(Kind.TENANT, current.tenants if current else ())
    topology = Topology(
        fleet,
        tuple(value for value in cells if isinstance(value, Cell)),
        tuple(value for value in pools if isinstance(value, Pool)),
        tuple(value for value in tenants if isinstance(value, Tenant)),
    )
    left = {name for name, resource in named[Kind.TENANT].items() if "shard" in resource.named}
    there = {} if current is None else {tenant.id: tenant.shard for tenant in current.tenants if tenant.id in left}
    if not there:
        return topology
    kept_shards = (_keeping(topology, tenant, there.get(tenant.id, ())) for tenant in topology.tenants)
    return replace(topology, tenants=tuple(kept_shards))


def _keeping(topology: Topology, tenant: Tenant, shard: tuple[str, ...]) -> Tenant:
    """The tenant with the shard that it has, where it names no cells and its pool, or the overflow, assigned that."""
    if tenant.shard or not shard:
        return tenant
    pools = {pool.name: pool for pool in topology.pools}
    pool = pools.get(topology.pool_of(tenant)[0])
    if pool is None or not (pool.assigns or tenant.shard_size not in {None, pool.size}):
        return tenant
    cells: set[str] = set()
    # Each pool once: nothing has checked yet that overflow does not go round in a circle.
    while pool is not None:
        cells.update(pool.cells)
        del pools[pool.name]
        pool = pools.get(pool.overflow or "")
    return replace(tenant, shard=shard) if cells.issuperset(shard) else tenant


def _fleet(current: Topology | None, named: Sequence[Resource]) -> Fleet:
    if not named:
        if current is None:
            raise ValidationError("fleet", "there is no fleet yet: name one, of kind Fleet")
        return current.fleet
    if current is not None and named[0].name != current.fleet.name:
        raise ValidationError(
            "fleet.name",
            f"this control plane runs the fleet {current.fleet.name!r}, and {named[0].name!r} is wanted: "
            "ask another, or mend the name",
        )
    fleet = named[0].over(current.fleet if current else None)
    assert isinstance(fleet, Fleet)
    return fleet


def changes(before: Topology | None, after: Topology) -> tuple[Change, ...]:
    """What differs between two states of a fleet: its policy, then cells, pools and tenants, each kind by name."""
    found = []
    for kind in Kind:
        old, new = _by_name(before, kind), _by_name(after, kind)
        for name in sorted(old.keys() | new.keys()):
            change = _change(kind, name, old.get(name), new.get(name))
            if change is not None:
                found.append(change)
    return tuple(found)


def _by_name(topology: Topology | None, kind: Kind) -> dict[str, Value]:
    if topology is None:
        return {}
    values: Iterable[Value] = (topology.fleet,) if kind is Kind.FLEET else getattr(topology, KINDS[kind].collection)
    return {getattr(value, KINDS[kind].name): value for value in values}


def _change(kind: Kind, name: str, old: Value | None, new: Value | None) -> Change | None:
    # What a file does not name is the same object: a million of those are compared in no time.
    if old is new:
        return None
    if new is None:
        return Change(kind, name, Action.DELETE, {})
    if old is None:
        spec = resource_of(new)["spec"]
        given = {name: value for name, value in _flat(KINDS[kind].fields, new).items() if _names(spec, name)}
        return Change(kind, name, Action.CREATE, {field: (None, value) for field, value in given.items()})
    was, is_now = _flat(KINDS[kind].fields, old), _flat(KINDS[kind].fields, new)
    fields = {field: (was[field], is_now[field]) for field in is_now if was[field] != is_now[field]}
    return Change(kind, name, Action.CHANGE, fields) if fields else None


def _flat(known: tuple[Field, ...], value: Any) -> dict[str, Any]:
    """The JSON of all fields, defaults too; those of an object below by ``capacity.rps``."""
    found: dict[str, Any] = {}
    for field in known:
        held = getattr(value, field.attribute)
        if isinstance(field.shape, Object | Amended):
            # What is not there has nothing below it.
            below = (
                dict.fromkeys(each.name for each in field.shape.fields)
                if held is None
                else _flat(field.shape.fields, held)
            )
            found |= {f"{field.name}.{name}": each for name, each in below.items()}
        else:
            found[field.name] = None if held is None or held == "" else field.shape.write(held)
    return found


def _names(spec: Json, name: str) -> bool:
    top, _, below = name.partition(".")
    return top in spec and (not below or _names(spec[top], below))
