"""Puts and removes many resources at once."""

from collections.abc import Collection, Sequence
from typing import Any

from cellplane.directory.snapshot import NAMED_ROWS
from cellplane.directory.transaction import Transaction
from cellplane.errors import ValidationError
from cellplane.model import Cell, Fleet, Pool, Tenant

Resource = Fleet | Cell | Pool | Tenant


def apply_all(
    transaction: Transaction,
    puts: Sequence[Resource],
    deletions: Sequence[tuple[str, str]] = (),
    kept_shards: Collection[str] = (),
    base_epoch: int | None = None,
) -> None:
    """Put and remove these: all of them, or none. They are checked as they are together, their order does not matter.
    Tenants see the cells and pools as they are afterwards.

    Args:
        puts: whole resources, each at most once.
        deletions: kind (cell, pool, tenant) and id of each to remove; none that is put.
        kept_shards: ids of tenants among the puts whose shard stays as it is, or is their pool's to choose.
        base_epoch: the epoch that the caller knows; None takes any.

    Raises:
        ValidationError: with the path of the first field that breaks a rule, such as ``tenants.acme.jurisdiction``.
        NotFoundError: one to remove is not in the directory.
        ConflictError: the directory is of another epoch, or one of the reasons of each change by itself.
    """
    _require_once(puts, deletions)
    transaction.require_epoch(base_epoch)
    for resource in puts:
        if isinstance(resource, Cell):
            transaction.put_cell(resource)
        elif isinstance(resource, Pool):
            transaction.put_pool(resource)
        elif isinstance(resource, Fleet):
            transaction.put_fleet(resource)
    for kind, name in deletions:
        if kind == "cell":
            transaction.delete_cell(name)
        elif kind == "pool":
            transaction.delete_pool(name)
    transaction.settle()
    for kind, name in deletions:
        if kind == "tenant":
            transaction.delete_tenant(name)
    _put_tenants(transaction, [resource for resource in puts if isinstance(resource, Tenant)], kept_shards)


def _put_tenants(transaction: Transaction, tenants: Sequence[Tenant], kept_shards: Collection[str]) -> None:
    """Put tenants, those that name their cells first: what a pool chooses for another must not be one of these."""
    named: list[Tenant] = []
    left: list[Tenant] = []
    for tenant in tenants:
        (named if tenant.shard and tenant.id not in kept_shards else left).append(tenant)
    tenants = named + left
    for start in range(0, len(tenants), NAMED_ROWS):
        part = tenants[start : start + NAMED_ROWS]
        transaction.expect_tenants([tenant.id for tenant in part])
        for tenant in part:
            fields = fields_of(tenant)
            if tenant.id in kept_shards:
                del fields["shard"]
            try:
                transaction.change_tenant(tenant.id, fields)
            except ValidationError as error:
                path = error.field.removeprefix("tenant")
                raise error.at(f"tenants.{tenant.id}{path}") from error


def _require_once(puts: Sequence[Resource], deletions: Sequence[tuple[str, str]]) -> None:
    """Raise ValidationError where one of these is put or removed twice."""
    seen = set()
    for name in [*(_name_of(resource) for resource in puts), *deletions]:
        if name in seen:
            raise ValidationError(f"{name[0]}s.{name[1]}", "stands twice: a resource is put or removed once")
        seen.add(name)


def _name_of(resource: Resource) -> tuple[str, str]:
    """Its kind and its name."""
    if isinstance(resource, Fleet):
        return "fleet", resource.name
    if isinstance(resource, Pool):
        return "pool", resource.name
    return ("cell" if isinstance(resource, Cell) else "tenant"), resource.id


def fields_of(tenant: Tenant) -> dict[str, Any]:
    """A tenant as a change that names all of it."""
    return {name: getattr(tenant, name) for name in tenant.__dataclass_fields__ if name != "id"}
