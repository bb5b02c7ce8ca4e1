"""Puts the control plane together, and runs it."""

import asyncio
import gc
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import uvicorn
from fastapi import FastAPI

from cellplane import __version__
from cellplane.control import api, problems
from cellplane.control.access.admin import ensure_admin_token
from cellplane.control.access.gate import Gate
from cellplane.control.access.oidc import check_oidc
from cellplane.control.distribution import Distribution
from cellplane.control.exchange import exchange
from cellplane.control.feed import ChangeFeed
from cellplane.control.guard import RequestGuard
from cellplane.control.metrics import Metrics
from cellplane.control.peers import PeerProtocol
from cellplane.control.publisher import Publisher
from cellplane.control.registry import RouterRegistry
from cellplane.control.service import Service
from cellplane.control.settings import DATABASE, ControlSettings
from cellplane.control.tls import ServerTls, server_tls
from cellplane.control.warden import Warden
from cellplane.directory import Directory
from cellplane.durable import locked
from cellplane.errors import DirectoryError

GC_YOUNG_OBJECTS = 50_000
"""Objects that are made before the collector of cycles looks at them."""


def create_app(settings: ControlSettings, tls: ServerTls | None = None) -> FastAPI:
    """The control plane as an ASGI app; its directory opens when the app starts.

    Args:
        tls: that of the server, which is kept up to date while the app runs.

    Raises:
        KeyFileError: a signing key cannot be used.
        TargetError: a target cannot be.
    """
    metrics = Metrics()
    distribution = Distribution(settings, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with only_one(settings):
            directory = Directory(settings.location)
            await asyncio.to_thread(_ensure_admin, settings, directory)
            gate = Gate(directory.access, settings.access, metrics)
            leadership = directory.leadership(settings.holder, time.monotonic)
            publisher = Publisher(directory, leadership, settings, metrics, distribution)
            feed = ChangeFeed(directory, settings)

            def changed() -> None:
                publisher.notify()
                feed.notify()

            routers = RouterRegistry(settings, time.monotonic)
            metrics.show_routers(routers.routers)
            warden = Warden(
                directory,
                leadership,
                settings=settings,
                metrics=metrics,
                changed=changed,
                clock=time.monotonic,
            )
            app.state.service = Service(
                settings=settings,
                directory=directory,
                leadership=leadership,
                publisher=publisher,
                routers=routers,
                warden=warden,
                metrics=metrics,
                gate=gate,
                feed=feed,
                distribution=distribution,
                loop=asyncio.get_running_loop(),
            )
            distribution.start()
            running = [
                asyncio.create_task(publisher.run()),
                asyncio.create_task(warden.run()),
                asyncio.create_task(gate.run()),
            ]
            if directory.is_shared:
                running.append(asyncio.create_task(exchange(directory, routers, warden, settings)))
            if tls is not None:
                running.append(asyncio.create_task(tls.follow()))
            try:
                yield
            finally:
                for task in running:
                    task.cancel()
                for task in running:
                    with suppress(asyncio.CancelledError):
                        await task
                with suppress(DirectoryError):
                    await asyncio.to_thread(gate.write)
                with suppress(DirectoryError):
                    await asyncio.to_thread(leadership.resign)
                distribution.close()
                directory.close()

    app = FastAPI(
        title="Cellplane control plane",
        version=__version__,
        description="Cells, pools, tenants and the routing table of one fleet.",
        lifespan=lifespan,
        redirect_slashes=False,
        # Pages with scripts of others, for a browser that has no token.
        docs_url=None,
        redoc_url=None,
    )
    api.install(app)
    problems.install(app, settings)
    app.add_middleware(RequestGuard, settings=settings, metrics=metrics)
    return app


def _ensure_admin(settings: ControlSettings, directory: Directory) -> None:
    ensure_admin_token(
        settings.state_dir,
        directory.access,
        now=directory.now(),
        random_bytes=secrets.token_bytes,
        settings=settings.access,
    )


@contextmanager
def only_one(settings: ControlSettings) -> Iterator[None]:
    """Be the one control plane of a state folder; of a PostgreSQL there may be several.

    Raises:
        DirectoryError: another control plane uses the folder.
    """
    if settings.database_url is not None:
        yield
        return
    with locked(settings.state_dir / f"{DATABASE}.lock") as is_ours:
        if not is_ours:
            raise DirectoryError(
                f"another control plane uses {settings.state_dir}: stop that one, choose another folder with --state, "
                "or let several share a PostgreSQL with --database"
            )
        yield


def serve(settings: ControlSettings) -> None:
    """Run the control plane until SIGINT or SIGTERM.

    Raises:
        DirectoryError: the directory is in use, or not one that this release can use.
        KeyFileError: a signing key cannot be used.
        TargetError: a target cannot be.
        ValidationError: the settings of TLS or of an identity provider cannot be, or files of theirs not be used.
    """
    tls = server_tls(settings)
    if settings.access.oidc is not None:
        check_oidc(settings.access.oidc)
    # Once before the server starts: it would tell of an error in its lifespan with a traceback alone.
    with only_one(settings):
        Directory(settings.location).close()
    # Modules stay; and young objects are looked at less often, which made an import of tenants a fifth quicker.
    gc.freeze()
    gc.set_threshold(GC_YOUNG_OBJECTS)
    uvicorn.run(
        create_app(settings, tls),
        http=PeerProtocol,
        ssl_context_factory=None if tls is None else lambda _config, _default: tls.context,
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )
