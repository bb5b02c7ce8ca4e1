"""The routes of the API. Each reads or changes the directory; none decides anything itself."""

from collections.abc import AsyncIterator
from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.convertors import Convertor, register_url_convertor

from cellplane.control import schemas
from cellplane.control.apply_schemas import Applied, ApplySpec, ResourceList, ResourceSpec
from cellplane.control.applying import apply
from cellplane.control.encoded import accepts_zstd
from cellplane.control.explain import explain, explain_source
from cellplane.control.publication import Publication
from cellplane.control.quarantine_schemas import LeftAloneView, QuarantineList, QuarantineOrder, QuarantineView
from cellplane.control.service import Service
from cellplane.control.settings import MAX_ACTOR_CHARS, PIECE_BYTES
from cellplane.control.shadow_schemas import ShadowList
from cellplane.directory import TenantRecord
from cellplane.directory.rows import cell_row, fleet_row, pool_row
from cellplane.errors import ConflictError, ValidationError
from cellplane.manifest.resources import resource_of
from cellplane.model import Cell, Fleet, Pool, Quarantine, QuarantinePolicy, Tenant
from cellplane.model.key import check_key, check_name
from cellplane.model.quarantine import MAX_QUARANTINE_SECONDS
from cellplane.placement.quarantine import Asked, LeftAlone
from cellplane.routing import Refusal, decide


class _Rest(Convertor[str]):
    """All of the rest of a path, so that a bad tenant id is refused with its reason. ``:path`` drops a last newline."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        """The text as it is."""
        return value

    def to_string(self, value: str) -> str:
        """The text as it is."""
        return value


register_url_convertor("rest", _Rest())

router = APIRouter(
    responses={
        422: {
            "model": schemas.Problem,
            "description": "The request is not valid",
            "content": {"application/problem+json": {}},
        }
    }
)


CONFLICT: dict[str, Any] = {
    "model": schemas.Problem,
    "description": "The change contradicts what the directory holds",
    "content": {"application/problem+json": {}},
}


def service_of(request: Request) -> Service:
    """The service of the running app."""
    service: Service = request.app.state.service
    return service


def actor_of(x_cellplane_actor: Annotated[str, Header(max_length=MAX_ACTOR_CHARS)] = "anonymous") -> str:
    """Who asks, as they say: the API does not check it yet (docs/limits.md)."""
    return x_cellplane_actor


CurrentService = Annotated[Service, Depends(service_of)]
Actor = Annotated[str, Depends(actor_of)]


@router.get("/healthz", tags=["health"])
def healthz(service: CurrentService) -> schemas.Health:
    """Whether the control plane can read its directory."""
    current = service.publisher.current
    return schemas.Health(
        status="ok", epoch=service.directory.epoch(), published_epoch=None if current is None else current.epoch
    )


@router.get("/metrics", tags=["health"], response_class=PlainTextResponse)
def metrics(service: CurrentService) -> Response:
    """Prometheus metrics."""
    return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/v1/fleet", tags=["fleet"])
def get_fleet(service: CurrentService) -> schemas.FleetSpec:
    """The fleet's routing policy."""
    return schemas.FleetSpec(**fleet_row(service.directory.fleet()))


@router.put("/v1/fleet", tags=["fleet"])
def put_fleet(spec: schemas.FleetSpec, service: CurrentService, actor: Actor) -> schemas.Changed:
    """Set the fleet's routing policy."""
    unhealthy = service.routers.unhealthy_cells()
    return service.changed(service.directory.put_fleet(spec.to_model(), actor=actor, unhealthy=unhealthy))


@router.get("/v1/cells", tags=["cells"])
def list_cells(service: CurrentService) -> schemas.CellList:
    """All cells, with what routers see of them."""
    healthy = service.routers.cell_health()
    judged = service.routers.cell_judgements()
    with service.directory.snapshot() as snapshot:
        assigned, loads = snapshot.assigned_tenants(), snapshot.loads()
        cells = snapshot.outline.cells.values()
    return schemas.CellList(
        items=[
            schemas.CellView(
                **cell_row(cell),
                healthy=healthy.get(cell.id),
                score=judged[cell.id].score if cell.id in judged else None,
                breaker=judged[cell.id].breaker if cell.id in judged else None,
                gray=cell.id in judged and judged[cell.id].gray,
                pinned_tenants=assigned[cell.id],
                load=schemas.LoadSpec(**asdict(loads[cell.id])),
            )
            for cell in cells
        ]
    )


@router.put("/v1/cells/{cell_id}", tags=["cells"])
def put_cell(cell_id: str, spec: schemas.CellSpec, service: CurrentService, actor: Actor) -> schemas.Changed:
    """Create or replace a cell."""
    return service.changed(service.directory.put_cell(spec.to_model(cell_id), actor=actor))


@router.delete("/v1/cells/{cell_id}", tags=["cells"])
def delete_cell(cell_id: str, service: CurrentService, actor: Actor) -> schemas.Changed:
    """Remove a cell that neither the fleet nor a pool or tenant names."""
    return service.changed(service.directory.delete_cell(cell_id, actor=actor))


@router.get("/v1/pools", tags=["pools"])
def list_pools(service: CurrentService) -> schemas.PoolList:
    """All pools."""
    return schemas.PoolList(items=[schemas.PoolView(**pool_row(pool)) for pool in service.directory.pools()])


@router.put("/v1/pools/{name}", tags=["pools"])
def put_pool(name: str, spec: schemas.PoolSpec, service: CurrentService, actor: Actor) -> schemas.Changed:
    """Create or replace a pool."""
    unhealthy = service.routers.unhealthy_cells()
    return service.changed(service.directory.put_pool(spec.to_model(name), actor=actor, unhealthy=unhealthy))


@router.delete("/v1/pools/{name}", tags=["pools"])
def delete_pool(name: str, service: CurrentService, actor: Actor) -> schemas.Changed:
    """Remove a pool that neither the fleet nor another pool or tenant names."""
    return service.changed(service.directory.delete_pool(name, actor=actor))


@router.get("/v1/resources", tags=["fleet"])
def list_resources(
    service: CurrentService,
    *,
    tenants: Annotated[bool, Query(description="Whether tenants follow the fleet, its cells and its pools")] = False,
    limit: Annotated[int | None, Query(ge=1, description="Tenants on a page")] = None,
    after: str = "",
) -> ResourceList:
    """The fleet as a manifest has it: what `POST /v1/apply` takes. Fleet, cells and pools are on the first page."""
    size = min(limit or service.settings.page_size, service.settings.max_page_size)
    with service.directory.snapshot() as snapshot:
        outline, following = snapshot.outline, None
        values: list[Fleet | Cell | Pool | Tenant] = []
        if not after:
            values += [] if outline.fleet is None else [outline.fleet]
            values += [*outline.cells.values(), *outline.pools.values()]
        if tenants:
            page = snapshot.tenants(limit=size, after=after)
            values += [record.tenant for record in page.items]
            following = page.next
    return ResourceList(items=[ResourceSpec(**resource_of(value)) for value in values], next=following)


@router.get("/v1/tenants", tags=["tenants"])
def list_tenants(
    service: CurrentService,
    limit: Annotated[int | None, Query(ge=1)] = None,
    after: str = "",
    cell: str | None = None,
) -> schemas.TenantList:
    """Tenants by id, one page; `cell` keeps those assigned to it."""
    size = min(limit or service.settings.page_size, service.settings.max_page_size)
    page = service.directory.tenants(limit=size, after=after, cell=cell)
    current, away = service.publisher.current, service.directory.quarantines()
    items = [_placed(current, record, away.get(record.tenant.id)) for record in page.items]
    return schemas.TenantList(items=items, next=page.next)


@router.get("/v1/tenants/{tenant_id:rest}", tags=["tenants"])
def get_tenant(tenant_id: str, service: CurrentService) -> schemas.PlacedTenant:
    """One tenant."""
    check_key("tenant_id", tenant_id)
    with service.directory.snapshot() as snapshot:
        record, away = snapshot.tenant(tenant_id), snapshot.quarantines()
    return _placed(service.publisher.current, record, away.get(tenant_id))


@router.put(
    "/v1/tenants/{tenant_id:rest}",
    tags=["tenants"],
    responses={409: CONFLICT},
)
def put_tenant(
    tenant_id: str, spec: schemas.TenantSpec, service: CurrentService, actor: Actor
) -> schemas.TenantChanged:
    """Create or change a tenant; what is absent stays as it is.

    `{"cell": "cell-3"}` pins it, `{"cells": ["cell-3", "cell-1"]}` assigns it a shard; `{}` leaves its place to its
    pool: to its slot, or, where the pool assigns tenants, to be placed anew.
    """
    try:
        placement = service.directory.change_tenant(
            tenant_id,
            spec.fields(),
            anew=spec.places_anew,
            actor=actor,
            unhealthy=service.routers.unhealthy_cells(),
        )
    except ValidationError as error:
        raise ValidationError(spec.path(error.field), error.message) from error
    return schemas.TenantChanged(
        **schemas.TenantView.fields_of(placement.record),
        epoch=service.changed(placement.epoch).epoch,
        rule=placement.rule,
        reason=placement.reason,
    )


@router.delete("/v1/tenants/{tenant_id:rest}", tags=["tenants"])
def delete_tenant(tenant_id: str, service: CurrentService, actor: Actor) -> schemas.Changed:
    """Remove a tenant from the directory."""
    check_key("tenant_id", tenant_id)
    return service.changed(service.directory.delete_tenant(tenant_id, actor=actor))


@router.get("/v1/quarantine", tags=["quarantine"])
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


@router.put("/v1/quarantine/{tenant_id:rest}", tags=["quarantine"], responses={409: CONFLICT})
def put_quarantine(tenant_id: str, order: QuarantineOrder, service: CurrentService, actor: Actor) -> QuarantineView:
    """Send a tenant to the quarantine cell of its jurisdiction; one that is there gets this time and reason."""
    check_key("tenant_id", tenant_id)
    asked = Asked(tenant_id, order.reason, seconds=order.seconds, cell=order.cell)
    found = service.directory.quarantine(asked, actor=actor)
    if isinstance(found, LeftAlone):
        raise ConflictError(f"tenant {tenant_id!r} is not quarantined: {found.text}")
    service.quarantine_changed(found.epoch)
    return QuarantineView.of(found)


@router.delete("/v1/quarantine/{tenant_id:rest}", tags=["quarantine"])
def delete_quarantine(
    tenant_id: str,
    service: CurrentService,
    actor: Actor,
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
    seconds = service.directory.fleet().quarantine.hold_seconds if hold is None else hold
    found = service.directory.release(tenant_id, f"released by {actor}", hold_seconds=seconds, actor=actor)
    service.quarantine_changed(found.epoch)
    return QuarantineView.of(found)


@router.post("/v1/apply", tags=["fleet"], responses={409: CONFLICT})
def apply_resources(
    spec: ApplySpec,
    service: CurrentService,
    actor: Actor,
    dry_run: Annotated[bool, Query(alias="dryRun", description="Only say what would change")] = False,  # noqa: FBT002
) -> Applied:
    """Make the fleet what the resources say: all of it, or nothing."""
    unhealthy = service.routers.unhealthy_cells()
    found = apply(service.directory, spec, actor=actor, dry_run=dry_run, unhealthy=unhealthy)
    if not dry_run:
        service.changed(found["epoch"])
    return Applied(**found)


@router.get("/v1/route", tags=["routing"], responses={503: {"model": schemas.Problem}})
def explain_route(
    service: CurrentService,
    tenant: Annotated[str | None, Query(description="The partition key")] = None,
    source: Annotated[str | None, Query(description="The client's IP address of a request without a key")] = None,
) -> schemas.RouteView:
    """How the published table routes a request: key → pool → assignment or slot → shard → cell."""
    if (tenant is None) == (source is None):
        raise ValidationError("tenant", "expected a tenant, or the source of a request without one")
    if tenant is None:
        assert source is not None
        return explain_source(service.publisher.require_current().table, source)
    check_key("tenant", tenant)
    current = service.publisher.require_current()
    with service.directory.snapshot() as snapshot:
        away = snapshot.quarantines().get(tenant)
        return explain(current.table, tenant, snapshot.find_tenant(tenant), snapshot.topology, away)


@router.get("/v1/routers", tags=["routers"])
def list_routers(service: CurrentService) -> schemas.RouterList:
    """Routers, the epoch each applied, and the age of what they said."""
    current = service.publisher.current
    published = 0 if current is None else current.epoch
    return schemas.RouterList(
        published_epoch=None if current is None else published,
        items=[
            schemas.RouterView(
                id=known.id,
                **known.report.model_dump(exclude={"cells", "suspects", "shadows"}),
                age_seconds=round(age, 3),
                lost=age > service.settings.router_stale_seconds,
                behind=0 if current is None else published - known.report.epoch,
            )
            for known, age in service.routers.routers()
        ],
    )


@router.get("/v1/shadows", tags=["routers"])
def list_shadows(service: CurrentService) -> ShadowList:
    """What comparing the answers of cells and their shadows came to, at all routers together."""
    return ShadowList(items=service.routers.shadows())


@router.post("/v1/routers/{router_id}/report", tags=["routers"])
async def report_router(router_id: str, report: schemas.RouterReport, service: CurrentService) -> schemas.Health:
    """Take a router's report."""
    check_name("router_id", router_id)
    service.routers.report(router_id, report)
    service.warden.suspect(report.suspects)
    current = service.publisher.current
    epoch = 0 if current is None else current.epoch
    return schemas.Health(status="ok", epoch=epoch, published_epoch=None if current is None else epoch)


@router.get(
    "/v1/table",
    tags=["routing"],
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {}}, "description": "The table (docs/table-format.md)"},
        304: {"description": "Nothing newer than If-None-Match, also after waiting"},
        503: {"model": schemas.Problem, "description": "No table is published yet"},
    },
)
async def get_table(
    service: CurrentService,
    if_none_match: Annotated[str | None, Header()] = None,
    accept_encoding: Annotated[str | None, Header()] = None,
    wait: Annotated[float, Query(ge=0, description="Seconds to wait for a table other than If-None-Match")] = 0,
    base: Annotated[str | None, Query(description="SHA-256 of the base that the caller has")] = None,
) -> Response:
    """The published routing table: a base, a base followed by its overlay, or an overlay of the base that is there.
    In zstd where that is accepted; `X-Cellplane-Manifest` is its signed manifest.
    """
    if wait:
        await service.publisher.wait_for_other(if_none_match, min(wait, service.settings.max_wait_seconds))
    current = service.publisher.require_current()
    headers = {"ETag": current.etag, "X-Cellplane-Epoch": str(current.epoch), "Cache-Control": "no-cache"}
    if current.matches(if_none_match):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    manifest = service.distribution.manifest_header(current.table)
    if manifest is not None:
        headers["X-Cellplane-Manifest"] = manifest
    headers["Vary"] = "Accept-Encoding"
    parts = current.parts(base)
    if accepts_zstd(accept_encoding):
        parts = await service.distribution.encoded.of(parts)
        # Other bytes of the same table: a weak tag (RFC 9110, 8.8.1).
        headers |= {"Content-Encoding": "zstd", "ETag": f"W/{current.etag}"}
    headers["Content-Length"] = str(sum(map(len, parts)))
    return StreamingResponse(_pieces(parts), media_type="application/octet-stream", headers=headers)


async def _pieces(parts: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    """The parts in pieces, so that no more of a base is held for each router than its connection takes."""
    for part in parts:
        for start in range(0, len(part), PIECE_BYTES):
            yield part[start : start + PIECE_BYTES]


def _placed(current: Publication | None, record: TenantRecord, quarantine: Quarantine | None) -> schemas.PlacedTenant:
    """A tenant, with the cell that the published table sends it to."""
    placed = None
    if current is not None:
        key = record.tenant.id.encode()
        decision = decide(current.table, key, writes=False, has_healthy_host=lambda _cell: True)
        placed = None if isinstance(decision, Refusal) else decision.cell
    view = QuarantineView.of(quarantine) if quarantine is not None and quarantine.lasts else None
    return schemas.PlacedTenant(**schemas.TenantView.fields_of(record), placed=placed, quarantine=view)
