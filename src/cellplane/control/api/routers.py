"""Routers, as they report."""

import time
from typing import Annotated

from fastapi import APIRouter, Query

from cellplane.control import schemas
from cellplane.control.access.needs import needs
from cellplane.control.access.roles import Permission
from cellplane.control.api.asking import EVERYWHERE, After, CurrentService, Limit, problems
from cellplane.control.paging import page_of
from cellplane.control.shadow_schemas import ShadowList
from cellplane.model.key import MAX_KEY_BYTES, check_name

router = APIRouter(tags=["routers"], responses=EVERYWHERE)


@router.get("/v1/routers", dependencies=[needs(Permission.READ)])
def list_routers(
    service: CurrentService,
    *,
    limit: Limit = None,
    after: After = "",
    lost: Annotated[bool | None, Query(description="Those that are silent, or those that are not")] = None,
    behind: Annotated[bool | None, Query(description="Those that run an older epoch than is published, or not")] = None,
) -> schemas.RouterList:
    """Routers by id, one page: the epoch each applied, and the age of what they said."""
    current = service.publisher.current
    published = 0 if current is None else current.epoch
    now = time.time()
    views = [
        schemas.RouterView(
            id=known.id,
            **known.report.model_dump(exclude={"cells", "suspects", "shadows", "waiting_seconds", "at"}),
            age_seconds=round(age, 3),
            clock_offset_seconds=None if known.report.at is None else round(known.report.at - (now - age), 3),
            lost=age > service.settings.router_stale_seconds,
            behind=0 if current is None else published - known.report.epoch,
        )
        for known, age in service.routers.routers()
    ]
    found = [view for view in views if lost in {None, view.lost} and (behind is None or behind == (view.behind > 0))]
    page = page_of(found, lambda view: view.id, after, service.page_size(limit))
    return schemas.RouterList(
        published_epoch=None if current is None else published,
        known=len(views),
        converged=sum(1 for view in views if not view.lost and view.behind <= 0),
        lost=sum(1 for view in views if view.lost),
        items=list(page.items),
        next=page.next,
    )


@router.get("/v1/shadows", dependencies=[needs(Permission.READ)])
def list_shadows(
    service: CurrentService,
    *,
    tenant: Annotated[
        str | None, Query(max_length=MAX_KEY_BYTES, description="Show this tenant alone, and by router too")
    ] = None,
) -> ShadowList:
    """What comparing the answers of cells and their shadows came to, at all routers together."""
    return service.routers.shadows(tenant)


@router.post(
    "/v1/routers/{router_id}/report",
    dependencies=[needs(Permission.REPORT_ROUTER, "router_id")],
    responses=problems(s409="There are too many routers"),
)
async def report_router(router_id: str, report: schemas.RouterReport, service: CurrentService) -> schemas.Health:
    """Take a router's report."""
    check_name("router_id", router_id)
    service.routers.report(router_id, report)
    service.warden.suspect(report.suspects)
    current = service.publisher.current
    epoch = 0 if current is None else current.epoch
    return schemas.Health(status="ok", epoch=epoch, published_epoch=None if current is None else epoch)
