"""The process that answers: ``python -m notifications.api --port 8080``."""

import argparse
import asyncio
import logging
import random
import sys
from typing import Annotated
from uuid import UUID

import uvicorn
from fastapi import FastAPI, Header, Query, Response
from prometheus_client import generate_latest
from starlette.types import ASGIApp

from cellplane.cell import CellMiddleware, Moves, current
from cellplane.cell.config import LiveConfig
from cellplane.cell.door import nobody_moved
from cellplane.cell.errors import BrokerUnavailableError
from cellplane.cell.health import CellHealth, HealthLimits, HealthRoutes
from cellplane.cell.proof import ProofKeys
from cellplane.cell.telemetry import CellRegistry, GoldenSignals, SignalledApp
from cellplane.events import OutboxState
from cellplane.events.metrics import OutboxCollector
from notifications import problems, process
from notifications.edge import BodyLimit, ServedBy
from notifications.faulty import Faulty
from notifications.load import LoadWatch
from notifications.model import Cursor, Notification
from notifications.queue import Queue
from notifications.schemas import CursorText, Key, NewNotification, NotificationPage, NotificationView
from notifications.settings import DELIVERY_SECONDS_FLAG, FLAGS, Limits, LiveSettings, Settings
from notifications.store import Store

_log = logging.getLogger("notifications.api")

METRICS_PATH = "/metrics"


def create_app(
    settings: Settings, store: Store, queue: Queue, load: LoadWatch, config: LiveConfig[LiveSettings]
) -> ASGIApp:
    """Make the API of one cell.

    Args:
        settings: the process's settings.
        store: the rows.
        queue: the queue.
        load: what routers are told of this cell.
        config: what operators change while it runs.
    """
    # No redirects: behind a router they would send the client to this process's own address.
    app = FastAPI(title="Notifications", docs_url=None, redoc_url=None, redirect_slashes=False)
    problems.install(app, settings.retry_after_seconds)
    registry = CellRegistry(settings.cell.cell_id)
    _add_notifications(app, store, queue, config)
    _add_metrics(app, store, registry)

    limited: ASGIApp = BodyLimit(app, Limits.request_body_max_bytes)
    if settings.faults_file is not None:
        limited = Faulty(limited, settings.faults_file, random.Random())  # noqa: S311 - no secret
    cell_id, release = settings.cell.cell_id, settings.cell.release
    counted = SignalledApp(limited, GoldenSignals(registry))
    proof = None if settings.proof_keys is None else ProofKeys(settings.proof_keys)
    moved = nobody_moved if settings.moves is None else Moves(settings.moves, cell_id).moved
    guarded = CellMiddleware(counted, cell_id, moved=moved, proof=proof, load=load.now)
    limits = HealthLimits(probe_seconds=settings.health_seconds, retry_after_seconds=settings.retry_after_seconds)
    health = CellHealth(cell_id, {"database": store.ping, "queue": queue.ping}, release=release, limits=limits)
    # Routers ask /healthz, and are to go elsewhere where a dependency is gone.
    return ServedBy(HealthRoutes(guarded, health, liveness="/livez", readiness="/healthz"), cell_id, release)


def _add_notifications(app: FastAPI, store: Store, queue: Queue, config: LiveConfig[LiveSettings]) -> None:
    def view(notification: Notification) -> NotificationView:
        return NotificationView.of(notification, with_seconds=config.flag(DELIVERY_SECONDS_FLAG))

    # What is not set is left out: a field behind a flag is new only to those for whom that is on.
    @app.post("/notifications", status_code=202, response_model_exclude_unset=True)
    async def create(
        new: NewNotification,
        response: Response,
        idempotency_key: Annotated[list[Key] | None, Header(max_length=1)] = None,
    ) -> NotificationView:
        """Store a notification and queue it for delivery; with the key of an earlier request, answer as that did."""
        key = idempotency_key[0] if idempotency_key else None
        stored = await store.add(current(), new.channel, new.to, new.body, key)
        try:
            await queue.add(stored.id)
        except BrokerUnavailableError as error:
            # It is stored, so it is accepted: the worker's sweep queues it when the queue is back.
            _log.warning(
                "left for the sweep",
                extra={"notification": stored.id, "dependency": "queue", "reason": str(error)},
            )
        response.headers["location"] = f"/notifications/{stored.id}"
        return view(stored)

    @app.get("/notifications", response_model_exclude_unset=True)
    async def read_page(
        limit: Annotated[int | None, Query(ge=1, le=Limits.page_max_items)] = None,
        after: CursorText | None = None,
    ) -> NotificationPage:
        """List the tenant's notifications, the newest first."""
        cursor = None if after is None else Cursor.parse(after)
        items = limit or config.values().page_items
        # One more than asked for tells whether another page follows.
        found = await store.page(current().tenant_id, items + 1, cursor)
        shown = found[:items]
        return NotificationPage(
            items=[view(notification) for notification in shown],
            next=str(Cursor.behind(shown[-1])) if len(found) > items else None,
        )

    @app.get("/notifications/{notification_id}", response_model=NotificationView, response_model_exclude_unset=True)
    async def read_one(notification_id: str) -> NotificationView | Response:
        """Show one of the tenant's notifications."""
        try:
            found = await store.get(current().tenant_id, UUID(notification_id))
        except ValueError:  # no id of this app, so nobody has it
            found = None
        if found is None:
            return problems.not_found("This tenant has no notification of this id.")
        return view(found)


def _add_metrics(app: FastAPI, store: Store, registry: CellRegistry) -> None:
    outbox: OutboxState | None = None
    registry.register(OutboxCollector(lambda: outbox))

    @app.get(METRICS_PATH)
    async def read_metrics() -> Response:
        """Tell how its tenants are served, how full this cell is, and what waits to be told outside.

        The door lets nobody come here by a router.
        """
        nonlocal outbox
        use, outbox = await store.use(), await store.outbox_state()
        text = generate_latest(registry).decode() + use.to_metrics()
        return Response(text, media_type="text/plain; version=0.0.4")


async def serve(settings: Settings, store: Store, queue: Queue, stop: asyncio.Event, port: int) -> None:
    """Answer on 127.0.0.1 until ``stop`` is set: a cell is reached through its routers only."""
    live = LiveConfig(settings.config, settings.cell.cell_id, LiveSettings, flags=FLAGS)
    load = LoadWatch(store.queue_lag, store.pool_use, settings.load_every_seconds)
    config = uvicorn.Config(
        create_app(settings, store, queue, load, live),
        host="127.0.0.1",
        port=port,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.stop_seconds,
    )
    server = uvicorn.Server(config)

    async def exit_when_stopped() -> None:
        await stop.wait()
        server.should_exit = True

    # uvicorn hears signals only while it serves: one that came before is in `stop`.
    besides = [asyncio.create_task(exit_when_stopped()), asyncio.create_task(load.run())]
    live.start()
    try:
        await server.serve()
    finally:
        live.stop()
        for task in besides:
            task.cancel()


def main() -> int:
    """Read the command line and run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m notifications.api", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="TCP port on 127.0.0.1")
    port: int = parser.parse_args().port

    async def serve_at_port(settings: Settings, store: Store, queue: Queue, stop: asyncio.Event) -> None:
        await serve(settings, store, queue, stop, port)

    return process.main("api", serve_at_port)


if __name__ == "__main__":
    sys.exit(main())
