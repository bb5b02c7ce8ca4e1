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
from cellplane.control.api.asking import problems

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
    """Answer requests for these routes."""
    for router in ROUTERS:
        app.include_router(
            router,
            responses=problems(
                s400="Its body cannot be parsed at all",
                s401="It does not say who asks, or not so that it can be believed",
                s403="Who asks may not do this",
                s413="Its body is larger than one may be",
                s421="Its `Host` is not one of this control plane's names",
                s422="The request is not valid",
                s429="Who asks does so too often",
                s503="The directory cannot be asked now",
            ),
        )


def methods_of(scope: Scope) -> frozenset[str]:
    """What may be asked of a path: each of its methods is a route of its own, of which the first would say only its."""
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, Route)]
    matching = [route.methods or set() for route in routes if route.matches(scope)[0] is not Match.NONE]
    return frozenset().union(*matching)
