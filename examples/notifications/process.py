"""What both processes do around their work: settings, logs, signals, connections, exit status."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable

from cellplane.cell import CellError
from cellplane.cell.logs import log_json
from cellplane.cell.wiring import check_wiring
from notifications.errors import UnavailableError
from notifications.queue import Queue
from notifications.settings import Settings
from notifications.store import Store

Serve = Callable[[Settings, Store, Queue, asyncio.Event], Awaitable[None]]

_log = logging.getLogger(__name__)


def main(role: str, serve: Serve) -> int:
    """Run a process until SIGTERM or SIGINT.

    Args:
        role: ``api`` or ``worker``.
        serve: does its work, with connections that are open, until the event is set.

    Returns:
        The exit status: 0 after a signal, 1 when the process cannot run, 2 when its settings are wrong.
    """
    try:
        settings = Settings.from_env(os.environ)
        check_what_is_ours(settings)
    except CellError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    log_json(settings.cell.cell_id, process=role)
    try:
        asyncio.run(_run(role, settings, serve))
    except (UnavailableError, CellError) as error:
        _log.critical("cannot start", extra={"reason": str(error)})
        return 1
    except Exception:  # noqa: BLE001 - the interpreter's own report would show messages, which may quote a recipient
        _log.critical("ended by an error that is a bug", exc_info=True)
        return 1
    return 0


def check_what_is_ours(settings: Settings) -> None:
    """Find out whether all that this process would use is this cell's, before anything is used.

    Raises:
        WiringError: something is not.
        InvalidManifestError: the file cannot be read, or is another cell's.
    """
    used = {
        "the database": settings.cell.database_url,
        "the database, for its owner": settings.owner_url,
        "the queue": settings.cell.nats_url,
    }
    check_wiring(settings.what_is_ours(), used)


async def sleep(seconds: float, stop: asyncio.Event) -> None:
    """Wait, but not on after ``stop`` is set."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


async def _run(role: str, settings: Settings, serve: Serve) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    store = Store(settings)
    queue = Queue(settings, f"{settings.cell.cell_id}/{role}")
    queue.open()
    try:
        if await _open(store, stop):
            await serve(settings, store, queue, stop)
    finally:
        await queue.close()
        await store.close()
    _log.info("stopped")


async def _open(store: Store, stop: asyncio.Event) -> bool:
    """Open the store, unless ``stop`` is set before the database is there; returns whether it is open."""
    opening = asyncio.create_task(store.open())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if opening.done():
            opening.result()
            return True
        return False
    finally:
        opening.cancel()
        stopping.cancel()
