"""The fleet, and everything of it at once."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from cellplane.control import schemas
from cellplane.control.access.needs import needs
from cellplane.control.access.roles import Permission
from cellplane.control.api.asking import CHANGING, EVERYWHERE, MISSING, After, CurrentChange, CurrentService, Limit, tag
from cellplane.control.apply_schemas import Applied, ApplySpec, ResourceList, ResourceSpec
from cellplane.control.applying import apply
from cellplane.directory.rows import fleet_row
from cellplane.errors import NotFoundError
from cellplane.manifest.resources import resource_of
from cellplane.model import Cell, Fleet, Pool, Tenant

router = APIRouter(tags=["fleet"], responses=EVERYWHERE)


@router.get("/v1/fleet", dependencies=[needs(Permission.READ)], responses=MISSING)
def get_fleet(service: CurrentService, response: Response) -> schemas.FleetSpec:
    """The fleet's routing policy."""
    with service.directory.snapshot() as snapshot:
        fleet = snapshot.outline.fleet
        if fleet is None:
            raise NotFoundError("the directory has no fleet yet: put one first")
        tag(response, snapshot.version("fleet", fleet.name))
    return schemas.FleetSpec(**fleet_row(fleet))


@router.put("/v1/fleet", dependencies=[needs(Permission.WRITE_FLEET)], responses=CHANGING)
async def put_fleet(spec: schemas.FleetSpec, change: CurrentChange) -> schemas.Changed:
    """Set the fleet's routing policy."""
    fleet = spec.to_model()
    return await change.put("fleet", fleet.name, lambda transaction: transaction.put_fleet(fleet))


@router.get("/v1/resources", dependencies=[needs(Permission.READ)])
def list_resources(
    service: CurrentService,
    *,
    tenants: Annotated[bool, Query(description="Whether tenants follow the fleet, its cells and its pools")] = False,
    limit: Limit = None,
    after: After = "",
) -> ResourceList:
    """The fleet as a manifest has it: what `POST /v1/apply` takes. Fleet, cells and pools are on the first page."""
    with service.directory.snapshot() as snapshot:
        outline, following = snapshot.outline, None
        values: list[Fleet | Cell | Pool | Tenant] = []
        if not after:
            values += [] if outline.fleet is None else [outline.fleet]
            values += [*outline.cells.values(), *outline.pools.values()]
        if tenants:
            page = snapshot.tenants(limit=service.page_size(limit), after=after)
            values += [record.tenant for record in page.items]
            following = page.next
    return ResourceList(items=[ResourceSpec(**resource_of(value)) for value in values], next=following)


@router.post("/v1/apply", dependencies=[needs(Permission.WRITE_FLEET)], responses=CHANGING)
def apply_resources(
    spec: ApplySpec,
    change: CurrentChange,
    dry_run: Annotated[bool, Query(alias="dryRun", description="Only say what would change")] = False,  # noqa: FBT002
) -> Applied:
    """Make the fleet what the resources say: all of it, or nothing."""
    return apply(change.service.directory, spec, change.change, dry_run=dry_run)
