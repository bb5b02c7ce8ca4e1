"""The published table, and what it makes of a request."""

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse

from cellplane.control import schemas
from cellplane.control.access.needs import needs
from cellplane.control.access.roles import Permission
from cellplane.control.api.asking import EVERYWHERE, MISSING, CurrentService, problems
from cellplane.control.encoded import accepts_zstd
from cellplane.control.explain import explain, explain_source
from cellplane.control.settings import PIECE_BYTES
from cellplane.errors import ValidationError
from cellplane.model.key import check_key

router = APIRouter(tags=["routing"], responses=EVERYWHERE)

NO_TABLE = problems(s503="No table is published yet")


@router.get("/v1/route", dependencies=[needs(Permission.READ)], responses={**MISSING, **NO_TABLE})
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
        away = snapshot.quarantine(tenant)
        return explain(current.table, tenant, snapshot.find_tenant(tenant), snapshot.topology, away)


@router.get(
    "/v1/table",
    dependencies=[needs(Permission.READ_TABLE)],
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {}}, "description": "The table (docs/table-format.md)"},
        304: {"description": "Nothing newer than If-None-Match, also after waiting"},
        **NO_TABLE,
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
