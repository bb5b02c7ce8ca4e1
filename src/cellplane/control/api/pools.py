"""Pools."""

from fastapi import APIRouter, Response

from cellplane.control import schemas
from cellplane.control.access.needs import needs
from cellplane.control.access.roles import Permission
from cellplane.control.api.asking import CHANGING, EVERYWHERE, MISSING, After, CurrentChange, CurrentService, Limit, tag
from cellplane.control.paging import page_of
from cellplane.directory.rows import pool_row
from cellplane.errors import NotFoundError

router = APIRouter(prefix="/v1/pools", tags=["pools"], responses=EVERYWHERE)


@router.get("", dependencies=[needs(Permission.READ)])
def list_pools(
    service: CurrentService,
    *,
    limit: Limit = None,
    after: After = "",
    strategy: schemas.Strategy | None = None,
    cell: str | None = None,
) -> schemas.PoolList:
    """Pools by name, one page; `cell` keeps those that it is in."""
    with service.directory.snapshot() as snapshot:
        found = [
            pool
            for pool in snapshot.outline.pools.values()
            if strategy in {None, pool.strategy.value} and (cell is None or cell in pool.cells)
        ]
        page = page_of(found, lambda pool: pool.name, after, service.page_size(limit))
        versions = snapshot.versions("pool", [pool.name for pool in page.items])
    items = [schemas.PoolView(**pool_row(pool), version=versions[pool.name]) for pool in page.items]
    return schemas.PoolList(items=items, next=page.next)


@router.get("/{name}", dependencies=[needs(Permission.READ)], responses=MISSING)
def get_pool(name: str, service: CurrentService, response: Response) -> schemas.PoolView:
    """One pool."""
    with service.directory.snapshot() as snapshot:
        pool, version = snapshot.outline.pools.get(name), snapshot.version("pool", name)
    if pool is None or version is None:
        raise NotFoundError(f"no pool is named {name!r}")
    tag(response, version)
    return schemas.PoolView(**pool_row(pool), version=version)


@router.put("/{name}", dependencies=[needs(Permission.WRITE_FLEET)], responses=CHANGING)
async def put_pool(name: str, spec: schemas.PoolSpec, change: CurrentChange) -> schemas.Changed:
    """Create or replace a pool."""
    pool = spec.to_model(name)
    return await change.put("pool", name, lambda transaction: transaction.put_pool(pool))


@router.delete("/{name}", dependencies=[needs(Permission.WRITE_FLEET)], responses={**MISSING, **CHANGING})
async def delete_pool(name: str, change: CurrentChange) -> schemas.Changed:
    """Remove a pool that neither the fleet nor another pool or tenant names."""
    return await change.put("pool", name, lambda transaction: transaction.delete_pool(name))
