"""The routes of the API, a module a resource. Each reads or changes the directory; none decides anything itself."""

from fastapi import FastAPI

from cellplane.control.api import (
    access,
    bulk,
    cells,
    fleets,
    history,
    operating,
    pools,
    quarantine,
    routers,
    routing,
    tenants,
)
from cellplane.control.api.asking import problems

ROUTERS = (
    operating.router,
    fleets.router,
    cells.router,
    pools.router,
    tenants.router,
    bulk.router,
    quarantine.router,
    routing.router,
    routers.router,
    history.router,
    access.router,
)


def install(app: FastAPI) -> None:
    """Answer requests for these routes."""
    for router in ROUTERS:
        app.include_router(
            router,
            responses=problems(
                s401="It does not say who asks, or not so that it can be believed",
                s403="Who asks may not do this",
                s422="The request is not valid",
                s429="Who asks does so too often",
            ),
        )
