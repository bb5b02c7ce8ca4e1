"""The routes of the API, a module a resource. Each reads or changes the directory; none decides anything itself."""

from fastapi import FastAPI
from starlette.routing import Match, Route
from starlette.types import Scope

from cellplane.control.api import (
    access,
    assignments,
    bulk,
    capacity,
    cells,
    configuration,
    console,
    fleets,
    history,
    moves,
    operating,
    pools,
    quarantine,
    residency,
    routers,
    routing,
    tenants,
)

ROUTERS = (
    routing.router,
    routers.router,
    tenants.router,
    assignments.router,
    cells.router,
    capacity.router,
    pools.router,
    fleets.router,
    operating.router,
    bulk.router,
    quarantine.router,
    moves.router,
    configuration.router,
    residency.router,
    history.router,
    access.router,
    console.router,
)
"""Looked through in this order for each request: those first that are asked most."""


def install(app: FastAPI) -> None:
    """Answer requests for these routes, which are whole as they are: routers that are included are made anew for each
    app, each when it is first asked, and that takes a third of a second.
    """
    for router in ROUTERS:
        app.router.routes.extend(router.routes)


def methods_of(scope: Scope) -> frozenset[str]:
    """What may be asked of a path: each of its methods is a route of its own, of which the first would say only its."""
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, Route)]
    matching = [route.methods or set() for route in routes if route.matches(scope)[0] is not Match.NONE]
    return frozenset().union(*matching)
