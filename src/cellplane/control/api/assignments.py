"""Assignments: the tenants that have cells of their own, where all others go by their slots."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Response

from cellplane.control.access.needs import needs
from cellplane.control.access.roles import Permission
from cellplane.control.api.asking import CHANGING, EVERYWHERE, MISSING, After, CurrentChange, CurrentService, Limit, tag
from cellplane.control.api.threads import to_write
from cellplane.control.assignment_schemas import AssignmentChanged, AssignmentList, AssignmentSpec, AssignmentView
from cellplane.control.schemas import Changed
from cellplane.directory import Page, Snapshot, TenantRecord
from cellplane.directory.outline import Outline
from cellplane.directory.snapshot import TenantFilter
from cellplane.directory.transaction import Transaction
from cellplane.errors import NotFoundError, ValidationError
from cellplane.model.key import check_key
from cellplane.planning.pins import PIN, is_pinned

router = APIRouter(prefix="/v1/assignments", tags=["assignments"], responses=EVERYWHERE)


@router.get("", dependencies=[needs(Permission.READ)])
def list_assignments(
    service: CurrentService,
    *,
    limit: Limit = None,
    after: After = "",
    cell: Annotated[str | None, Query(description="Those to it, alone or among others")] = None,
    pool: Annotated[str | None, Query(description="Of tenants placed in it")] = None,
    tenant: Annotated[str, Query(description="What the tenants' ids begin with")] = "",
    pinned: Annotated[bool | None, Query(description="Those that nothing but a person moves, or the others")] = None,
) -> AssignmentList:
    """Assignments by tenant, one page; `next` tells whether there are more."""
    reading = _Reading(service.page_size(limit), service.settings.max_page_size, service.settings.max_read_tenants)
    with service.directory.snapshot() as snapshot:
        outline = snapshot.outline

        def is_wanted(record: TenantRecord) -> bool:
            return bool(record.tenant.shard) and pinned in {None, _is_pinned(outline, record)}

        wanted = TenantFilter(cell=cell, pool=pool, prefix=tenant)
        page = reading.page(snapshot, wanted, after, is_wanted)
    return AssignmentList(items=[_view(outline, record) for record in page.items], next=page.next)


@router.get("/{tenant_id:rest}", dependencies=[needs(Permission.READ)], responses=MISSING)
def get_assignment(tenant_id: str, service: CurrentService, response: Response) -> AssignmentView:
    """One tenant's; 404 where it has none, and goes by its slot."""
    check_key("tenant_id", tenant_id)
    with service.directory.snapshot() as snapshot:
        record = snapshot.tenant(tenant_id)
        view = _view(snapshot.outline, record)
    if not view.cells:
        raise NotFoundError(f"tenant {tenant_id!r} is assigned to no cell: it goes by its slot")
    tag(response, view.version)
    return view


@router.put("/{tenant_id:rest}", dependencies=[needs(Permission.WRITE_TENANTS)], responses={**MISSING, **CHANGING})
async def put_assignment(tenant_id: str, spec: AssignmentSpec, change: CurrentChange) -> AssignmentChanged:
    """Assign a tenant that the directory knows to these cells. Its route changes, its data does not move."""
    check_key("tenant_id", tenant_id)

    def do(transaction: Transaction) -> AssignmentChanged:
        attributes = _attributes(transaction, tenant_id)
        if spec.pinned is not None:
            attributes[PIN] = str(spec.pinned).lower()
        fields = {"shard": tuple(spec.cells), "attributes": tuple(sorted(attributes.items()))}
        record = transaction.change_tenant(tenant_id, fields).record
        transaction.finish()
        view = _view(transaction.snapshot().outline, record)
        return AssignmentChanged(**view.model_dump(), epoch=transaction.epoch)

    try:
        return await to_write(
            change.service, lambda: change.change(AssignmentChanged, do, resource=("tenant", tenant_id))
        )
    except ValidationError as error:
        raise error.at(error.field.replace("tenant.shard", "assignment.cells")) from error


@router.delete("/{tenant_id:rest}", dependencies=[needs(Permission.WRITE_TENANTS)], responses={**MISSING, **CHANGING})
async def delete_assignment(tenant_id: str, change: CurrentChange) -> Changed:
    """Leave a tenant's place to its pool: to its slot, or, where the pool assigns tenants, to be placed anew."""
    check_key("tenant_id", tenant_id)

    def do(transaction: Transaction) -> Changed:
        attributes = _attributes(transaction, tenant_id)
        attributes.pop(PIN, None)
        transaction.change_tenant(tenant_id, {"attributes": tuple(sorted(attributes.items()))}, anew=True)
        transaction.finish()
        return Changed(epoch=transaction.epoch)

    return await to_write(change.service, lambda: change.change(Changed, do, resource=("tenant", tenant_id)))


@dataclass(frozen=True, slots=True)
class _Reading:
    """How much of the tenants one page may read.

    Attributes:
        size: most on the page.
        step: tenants that are read at once.
        most: tenants that are read in all, where few of them are wanted.
    """

    size: int
    step: int
    most: int

    def page(
        self, snapshot: Snapshot, wanted: TenantFilter, after: str, is_wanted: Callable[[TenantRecord], bool]
    ) -> Page[TenantRecord]:
        """Those that are wanted, behind a tenant."""
        found: list[TenantRecord] = []
        following: str | None = after
        for _ in range(max(1, self.most // self.step)):
            assert following is not None
            page = snapshot.tenants(limit=self.step, after=following, wanted=wanted)
            found += filter(is_wanted, page.items)
            if len(found) > self.size:
                return Page(tuple(found[: self.size]), found[self.size - 1].tenant.id)
            following = page.next
            if following is None:
                break
        return Page(tuple(found), following)


def _attributes(transaction: Transaction, tenant_id: str) -> dict[str, str]:
    return dict(transaction.snapshot().tenant(tenant_id).tenant.attributes)


def _is_pinned(outline: Outline, record: TenantRecord) -> bool:
    pool = outline.pools.get(record.placed_pool or "")
    if pool is None:
        return bool(record.tenant.shard)
    overflowed = record.placed_pool != outline.pool_of(record.tenant)[0]
    return is_pinned(record.tenant, pool, came_by_overflow=overflowed)


def _view(outline: Outline, record: TenantRecord) -> AssignmentView:
    return AssignmentView(
        tenant=record.tenant.id,
        cells=list(record.tenant.shard),
        pinned=_is_pinned(outline, record),
        pool=record.placed_pool,
        version=record.version,
    )
