"""Tenants by the thousands."""

import json
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from cellplane.control.access.needs import needs
from cellplane.control.access.roles import Permission
from cellplane.control.api.asking import CHANGING, EVERYWHERE, After, CurrentChange, CurrentService
from cellplane.control.api.threads import to_write
from cellplane.control.bulk import NDJSON, Imported, import_tenants, line_of

router = APIRouter(prefix="/v1/bulk", tags=["tenants"], responses=EVERYWHERE)

NEXT_HEADER = "X-Cellplane-Next"


@router.post(
    "/tenants",
    dependencies=[needs(Permission.WRITE_TENANTS)],
    responses=CHANGING,
    openapi_extra={"requestBody": {"required": True, "content": {NDJSON: {"schema": {"type": "string"}}}}},
)
async def post_tenants(
    request: Request,
    change: CurrentChange,
    more: Annotated[bool, Query(description="Whether more follows at once: routers learn of all together")] = False,  # noqa: FBT002
) -> Imported:
    """Create or change the tenants of a body of lines, each as of `PUT /v1/tenants/…` with its `id`: all, or none."""
    body = await request.body()

    def do() -> Imported:
        return change.change(
            Imported, lambda transaction: import_tenants(transaction, body), is_long=True, is_quiet=more
        )

    return await to_write(change.service, do)


@router.get(
    "/tenants",
    dependencies=[needs(Permission.READ)],
    response_class=Response,
    responses={
        200: {
            "content": {NDJSON: {"schema": {"type": "string"}}},
            "description": f"A line a tenant, as the import takes it; `{NEXT_HEADER}` is `after` of the next page",
        }
    },
)
def get_tenants(service: CurrentService, limit: Annotated[int, Query(ge=1)] = 10_000, after: After = "") -> Response:
    """Tenants by id, one page, a line each."""
    with service.directory.snapshot() as snapshot:
        page = snapshot.tenants(limit=min(limit, service.settings.max_export_tenants), after=after)
    lines = [json.dumps(line_of(record), separators=(",", ":")) for record in page.items]
    headers = {} if page.next is None else {NEXT_HEADER: page.next}
    return Response("".join(f"{line}\n" for line in lines), media_type=NDJSON, headers=headers)
