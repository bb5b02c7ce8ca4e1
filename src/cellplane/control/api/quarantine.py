"""Tenants in quarantine."""

from typing import Annotated

from fastapi import APIRouter, Query

from cellplane.control.access.needs import needs
from cellplane.control.access.roles import Permission
from cellplane.control.api.asking import CHANGING, EVERYWHERE, MISSING, CurrentChange, CurrentService
from cellplane.control.api.threads import to_write
from cellplane.control.quarantine_schemas import LeftAloneView, QuarantineList, QuarantineOrder, QuarantineView
from cellplane.directory.transaction import Transaction
from cellplane.errors import ConflictError
from cellplane.model import QuarantinePolicy
from cellplane.model.key import check_key
from cellplane.model.quarantine import MAX_QUARANTINE_SECONDS
from cellplane.placement.quarantine import Asked, LeftAlone

router = APIRouter(prefix="/v1/quarantine", tags=["quarantine"], responses=EVERYWHERE)


@router.get("", dependencies=[needs(Permission.READ)])
def list_quarantines(service: CurrentService) -> QuarantineList:
    """Who is in quarantine, who is held out of it, and whom routers find poisonous and who is left alone."""
    with service.directory.snapshot() as snapshot:
        known, fleet = snapshot.quarantines(), snapshot.outline.fleet
    policy = QuarantinePolicy() if fleet is None else fleet.quarantine
    now = service.directory.now()
    return QuarantineList(
        max_tenants=policy.max_tenants,
        cells=list(policy.cells),
        automatic=policy.automatic,
        items=[QuarantineView.of(each) for each in known.values() if each.lasts],
        held=[
            QuarantineView.of(each) for each in known.values() if each.held_until is not None and now < each.held_until
        ],
        left_alone=[
            LeftAloneView(
                tenant=tenant, cell=left.found.cell, by=left.why.by.value, reason=left.why.text, found=left.found.text
            )
            for tenant, left in sorted(service.warden.left_alone.items())
        ],
    )


@router.put("/{tenant_id:rest}", dependencies=[needs(Permission.WRITE_QUARANTINE)], responses=CHANGING)
async def put_quarantine(tenant_id: str, order: QuarantineOrder, change: CurrentChange) -> QuarantineView:
    """Send a tenant to the quarantine cell of its jurisdiction; one that is there gets this time and reason."""
    check_key("tenant_id", tenant_id)
    asked = Asked(tenant_id, order.reason, seconds=order.seconds, cell=order.cell)

    def do(transaction: Transaction) -> QuarantineView:
        found = transaction.quarantine(asked)
        if isinstance(found, LeftAlone):
            raise ConflictError(f"tenant {tenant_id!r} is not quarantined: {found.text}")
        transaction.finish()
        return QuarantineView.of(found)

    view = await to_write(change.service, lambda: change.change(QuarantineView, do))
    change.service.quarantine_changed()
    return view


@router.delete(
    "/{tenant_id:rest}", dependencies=[needs(Permission.WRITE_QUARANTINE)], responses={**MISSING, **CHANGING}
)
async def delete_quarantine(
    tenant_id: str,
    change: CurrentChange,
    hold: Annotated[
        float | None,
        Query(
            ge=0,
            le=MAX_QUARANTINE_SECONDS,
            description="Seconds in which no finding sends it back; by default as the fleet says",
        ),
    ] = None,
) -> QuarantineView:
    """End a tenant's quarantine: its requests go home again."""
    check_key("tenant_id", tenant_id)

    def release() -> QuarantineView:
        seconds = change.service.directory.fleet().quarantine.hold_seconds if hold is None else hold

        def do(transaction: Transaction) -> QuarantineView:
            found = transaction.release(tenant_id, f"released by {change.author.name}", seconds)
            transaction.finish()
            return QuarantineView.of(found)

        return change.change(QuarantineView, do)

    view = await to_write(change.service, release)
    change.service.quarantine_changed()
    return view
