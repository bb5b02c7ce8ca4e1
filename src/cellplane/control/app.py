"""Puts the control plane together, and runs it."""

import asyncio
import gc
import resource
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from importlib.util import find_spec

import structlog
import uvicorn
from fastapi import FastAPI

from cellplane import __version__
from cellplane.control import api, problems
from cellplane.control.access.admin import ensure_admin_token
from cellplane.control.access.gate import Gate
from cellplane.control.access.oidc import check_oidc
from cellplane.control.capacity.growing import Grower
from cellplane.control.capacity.keeper import CapacityKeeper
from cellplane.control.capacity.looking import Lookout
from cellplane.control.capacity.provisioners import find_provisioner
from cellplane.control.capacity.scraper import Scraper
from cellplane.control.capacity_schemas import CellReport
from cellplane.control.disk import watch_disk
from cellplane.control.distribution import Distribution
from cellplane.control.exchange import exchange
from cellplane.control.feed import ChangeFeed
from cellplane.control.guard import RequestGuard
from cellplane.control.metrics import Metrics
from cellplane.control.move_schemas import MoveReport
from cellplane.control.move_watch import MoveWatch
from cellplane.control.outbox import Outbox
from cellplane.control.peers import PeerProtocol
from cellplane.control.publisher import Publisher
from cellplane.control.registry import RouterRegistry
from cellplane.control.report_book import ReportBook
from cellplane.control.service import Service
from cellplane.control.settings import DATABASE, ControlSettings
from cellplane.control.tls import ServerTls, server_tls
from cellplane.control.warden import Warden
from cellplane.directory import Directory, Leadership
from cellplane.directory.moving import MAX_LIVING
from cellplane.durable import locked
from cellplane.errors import DirectoryError, DiskError, ValidationError
from cellplane.model.topology import MAX_CELLS

log = structlog.get_logger()

SPARE_FILES = 200
"""Files that are open beside connections: the directory, targets, checks."""

GC_YOUNG_OBJECTS = 100_000
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
            cells, moves = _report_books(settings)
            lookout = Lookout(directory, cells, settings.capacity)
            loop = asyncio.get_running_loop()

            def changed_elsewhere() -> None:
                loop.call_soon_threadsafe(changed)

            grower = None
            if settings.provisioner:
                grower = Grower(
                    directory,
                    leadership,
                    find_provisioner(settings.provisioner, directory),
                    settings,
                    health=routers.cell_health,
                    changed=changed_elsewhere,
                )
            keeper = CapacityKeeper(
                directory,
                leadership,
                lookout,
                settings=settings,
                metrics=metrics,
                changed=changed_elsewhere,
                scraper=Scraper(cells, settings) if settings.scrapes_cells else None,
                grower=grower,
            )
            app.state.service = Service(
                settings=settings,
                directory=directory,
                leadership=leadership,
                publisher=publisher,
                routers=routers,
                warden=warden,
                cells=cells,
                moves=moves,
                lookout=lookout,
                metrics=metrics,
                gate=gate,
                feed=feed,
                outbox=Outbox(settings),
                distribution=distribution,
                loop=loop,
            )
            distribution.start()
            running = [
                asyncio.create_task(publisher.run()),
                asyncio.create_task(warden.run()),
                asyncio.create_task(keeper.run()),
                asyncio.create_task(MoveWatch(directory, moves, metrics.moves, settings, time.monotonic).run()),
                asyncio.create_task(gate.run()),
                asyncio.create_task(watch_disk(directory, metrics, settings)),
                *_bridging(settings, directory, feed, leadership, metrics),
            ]
            if directory.is_shared:
                running.append(
                    asyncio.create_task(exchange(directory, routers, cells, moves, warden, settings=settings))
                )
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
    problems.install(app, settings, api.methods_of)
    app.add_middleware(RequestGuard, settings=settings, metrics=metrics)
    return app


def _bridging(
    settings: ControlSettings, directory: Directory, feed: ChangeFeed, leadership: Leadership, metrics: Metrics
) -> Iterator[asyncio.Task[None]]:
    """The bridge to other systems, where there is one."""
    if settings.bridge is None:
        return
    require_bridge(settings)
    from cellplane.control.bridge import Bridge  # noqa: PLC0415  # needs nats, which others need not

    bridge = Bridge(settings.bridge, directory, feed, leadership, metrics)
    yield asyncio.create_task(bridge.run())


def require_bridge(settings: ControlSettings) -> None:
    """Raise ValidationError where the bridge cannot be, since what it needs is not installed."""
    if settings.bridge is not None and find_spec("nats") is None:
        raise ValidationError("events_to", "it needs nats: pip install 'cellplane[control,nats]'")


def _report_books(settings: ControlSettings) -> tuple[ReportBook[CellReport], ReportBook[MoveReport]]:
    """What cells and movers said last."""
    clock = time.monotonic
    return (
        ReportBook(CellReport, "cells", most=MAX_CELLS, forget_seconds=settings.cell_forget_seconds, clock=clock),
        ReportBook(MoveReport, "movers", most=MAX_LIVING, forget_seconds=settings.move_forget_seconds, clock=clock),
    )


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


def _prepare(settings: ControlSettings) -> None:
    """Bring the directory up to date, and see that what the settings name is there. SQLite needs some room also where
    there is nothing to bring up to date: that is waited for.
    """
    while True:
        try:
            with closing(Directory(settings.location)) as directory:
                if settings.provisioner:
                    find_provisioner(settings.provisioner, directory)
        except DiskError as error:
            log.error("directory_not_writable", error=str(error), next_try_seconds=settings.retry_seconds)
            time.sleep(settings.retry_seconds)
        else:
            return


def _allow_files(wanted: int) -> None:
    """Let this process open so many files, as far as it may: shells give a thousand."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning("few_files", allowed=allowed, wanted=wanted, advice="raise the limit of open files (ulimit -Hn)")


def serve(settings: ControlSettings) -> None:
    """Run the control plane until SIGINT or SIGTERM.

    Raises:
        DirectoryError: the directory is in use, or not one that this release can use.
        KeyFileError: a signing key cannot be used.
        TargetError: a target cannot be.
        ValidationError: the settings of TLS, of an identity provider or of the provisioner cannot be, or files of
            theirs not be used.
    """
    require_bridge(settings)
    tls = server_tls(settings)
    if settings.access.oidc is not None:
        check_oidc(settings.access.oidc)
    # Once before the server starts: it would tell of an error in its lifespan with a traceback alone.
    with only_one(settings):
        _prepare(settings)
    _allow_files(settings.max_connections + SPARE_FILES)
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
        limit_concurrency=settings.max_connections,
    )
