"""Puts the control plane together, and runs it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import uvicorn
from fastapi import FastAPI

from cellplane import __version__
from cellplane.control import api, problems
from cellplane.control.distribution import Distribution
from cellplane.control.guard import RequestGuard
from cellplane.control.metrics import Metrics
from cellplane.control.publisher import Publisher
from cellplane.control.registry import RouterRegistry
from cellplane.control.service import Service
from cellplane.control.settings import ControlSettings
from cellplane.control.warden import Warden
from cellplane.directory import Directory

DATABASE = "directory.sqlite3"
"""Name of the directory's file in the state folder."""


def create_app(settings: ControlSettings) -> FastAPI:
    """The control plane as an ASGI app; its directory opens when the app starts.

    Raises:
        KeyFileError: a signing key cannot be used.
        TargetError: a target cannot be.
    """
    metrics = Metrics()
    distribution = Distribution(settings, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        directory = Directory(settings.state_dir / DATABASE)
        publisher = Publisher(directory, settings, metrics, distribution)
        routers = RouterRegistry(settings, time.monotonic)
        metrics.show_routers(routers.routers)
        warden = Warden(directory, settings, metrics, publisher.notify, time.monotonic)
        app.state.service = Service(
            settings=settings,
            directory=directory,
            publisher=publisher,
            routers=routers,
            warden=warden,
            metrics=metrics,
            distribution=distribution,
            loop=asyncio.get_running_loop(),
        )
        distribution.start()
        running = [asyncio.create_task(publisher.run()), asyncio.create_task(warden.run())]
        try:
            yield
        finally:
            for task in running:
                task.cancel()
            for task in running:
                with suppress(asyncio.CancelledError):
                    await task
            distribution.close()
            directory.close()

    app = FastAPI(
        title="Cellplane control plane",
        version=__version__,
        description="Cells, pools, tenants and the routing table of one fleet.",
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.include_router(api.router)
    problems.install(app, settings)
    app.add_middleware(RequestGuard, settings=settings, metrics=metrics)
    return app


def serve(settings: ControlSettings) -> None:
    """Run the control plane until SIGINT or SIGTERM.

    Raises:
        DirectoryError: the state folder has no directory that this release can use.
        KeyFileError: a signing key cannot be used.
        TargetError: a target cannot be.
    """
    # Once before the server starts: it would tell of an error in its lifespan with a traceback alone.
    Directory(settings.state_dir / DATABASE).close()
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )
