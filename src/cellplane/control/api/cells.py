"""Cells, with what routers see of them."""

from collections.abc import Sequence

from fastapi import APIRouter, Response

from cellplane.control import schemas
from cellplane.control.access.needs import needs
from cellplane.control.access.roles import Permission
from cellplane.control.api.asking import CHANGING, EVERYWHERE, MISSING, After, CurrentChange, CurrentService, Limit, tag
from cellplane.control.api.threads import to_read
from cellplane.control.paging import page_of
from cellplane.control.service import Service
from cellplane.directory import Snapshot
from cellplane.directory.rows import cell_row
from cellplane.errors import NotFoundError
from cellplane.model import Cell, CellStatus

router = APIRouter(prefix="/v1/cells", tags=["cells"], responses=EVERYWHERE)


@router.get("", dependencies=[needs(Permission.READ)])
def list_cells(
    service: CurrentService,
    *,
    limit: Limit = None,
    after: After = "",
    pool: str | None = None,
    status: schemas.Status | None = None,
    region: str | None = None,
    jurisdiction: str | None = None,
    release: str | None = None,
) -> schemas.CellList:
    """Cells by id, one page, with what routers see of them."""
    with service.directory.snapshot() as snapshot:
        outline = snapshot.outline
        of_pool = None if pool is None else outline.pools[pool].cells if pool in outline.pools else ()
        found = [
            cell
            for cell in outline.cells.values()
            if (of_pool is None or cell.id in of_pool)
            and status in {None, cell.status.value}
            and region in {None, cell.region}
            and jurisdiction in {None, cell.jurisdiction}
            and release in {None, cell.release}
        ]
        page = page_of(found, lambda cell: cell.id, after, service.page_size(limit))
        items = _views(service, snapshot, page.items)
    return schemas.CellList(items=items, next=page.next)


@router.get("/{cell_id}", dependencies=[needs(Permission.READ)], responses=MISSING)
async def get_cell(cell_id: str, service: CurrentService, response: Response) -> schemas.CellView:
    """One cell."""

    def read() -> schemas.CellView:
        with service.directory.snapshot() as snapshot:
            cell = snapshot.outline.cells.get(cell_id)
            if cell is None:
                raise NotFoundError(f"no cell is named {cell_id!r}")
            (view,) = _views(service, snapshot, [cell])
        return view

    view = await to_read(service, read)
    tag(response, view.version)
    return view


@router.put("/{cell_id}", dependencies=[needs(Permission.WRITE_FLEET)], responses=CHANGING)
async def put_cell(cell_id: str, spec: schemas.CellSpec, change: CurrentChange) -> schemas.Changed:
    """Create or replace a cell."""
    cell = spec.to_model(cell_id)
    return await change.put("cell", cell_id, lambda transaction: transaction.put_cell(cell))


@router.post("/{cell_id}/status", dependencies=[needs(Permission.WRITE_FLEET)], responses={**MISSING, **CHANGING})
async def set_status(cell_id: str, spec: schemas.StatusSpec, change: CurrentChange) -> schemas.Changed:
    """Take a cell on in its life: provisioning → active ⇄ locked ⇄ draining ⇄ maintenance → retired."""
    status = CellStatus(spec.status)
    return await change.put(
        "cell", cell_id, lambda transaction: transaction.set_status(cell_id, status, force=spec.force)
    )


@router.delete("/{cell_id}", dependencies=[needs(Permission.WRITE_FLEET)], responses={**MISSING, **CHANGING})
async def delete_cell(cell_id: str, change: CurrentChange) -> schemas.Changed:
    """Remove a cell that neither the fleet nor a pool or tenant names."""
    return await change.put("cell", cell_id, lambda transaction: transaction.delete_cell(cell_id))


def _views(service: Service, snapshot: Snapshot, cells: Sequence[Cell]) -> list[schemas.CellView]:
    ids = [cell.id for cell in cells]
    healthy, judged = service.routers.cell_health(), service.routers.cell_judgements()
    held = snapshot.holdings(ids)
    views = []
    for cell in cells:
        assigned, load, version = held[cell.id]
        views.append(
            schemas.CellView(
                **cell_row(cell),
                healthy=healthy.get(cell.id),
                score=judged[cell.id].score if cell.id in judged else None,
                breaker=judged[cell.id].breaker if cell.id in judged else None,
                gray=cell.id in judged and judged[cell.id].gray,
                pinned_tenants=assigned,
                load=schemas.LoadSpec(tenants=load.tenants, rps=load.rps, storage_gib=load.storage_gib),
                version=version,
            )
        )
    return views
