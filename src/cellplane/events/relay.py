"""Carries a cell's events from its outbox to the stream: ``python -m cellplane.events.relay``, or a task of an app.

Read the first events, publish them, wait until JetStream has stored them, delete exactly those; and meanwhile read and
send the next, which are not stored before. Whatever fails, both
connections are closed, and after a delay it begins anew, without end. A crash at any point repeats at most the last
batch, whose ids are known to the stream, and beyond its window to the consumers.
"""

import asyncio
import dataclasses
import logging
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psycopg

from cellplane.cell.errors import CellError
from cellplane.cell.logs import log_json
from cellplane.events.event import WaitingEvent
from cellplane.events.failures import told
from cellplane.events.publisher import PUBLISHED, Outcome, Publisher, Staged, StreamError
from cellplane.events.settings import RelaySettings
from cellplane.events.state import OutboxState
from cellplane.events.waiting import Waiting
from cellplane.faults import fault_point

READ = "events-read"
"""Fault point: events are read, none is published."""

ACKED = "events-acked"
"""Fault point: the stream has them, and the outbox too."""

DELETED = "events-deleted"
"""Fault point: the outbox has them no more."""

FAULT_POINTS = (READ, PUBLISHED, ACKED, DELETED)

_DATABASE_FAILURES = (psycopg.Error, OSError, TimeoutError)
_MISSING = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction)
_log = logging.getLogger("cellplane.events")


@dataclass(frozen=True, slots=True)
class RelayStatus:
    """How a relay fares."""

    leads: bool = False
    """Whether it is the one that works for its cell."""

    connected: bool = False
    """Whether it reaches the stream."""

    relayed: int = 0
    """Events that it carried since its start."""

    failures: int = 0
    """How often it had to begin anew since its start."""

    reason: str = ""
    """Why it carries none now; empty where it does, or waits for events."""

    outbox: OutboxState | None = None
    """The outbox as it was last seen; None before that."""


class Relay:
    """The relay of one cell. Several may run: one works, and another takes over when it ends.

    Args:
        settings: which cell, from where to where, and its limits.
        clock: seconds that only grow.
        rng: of the random part of delays.
    """

    def __init__(
        self,
        settings: RelaySettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311  # spreads delays
        self._status = RelayStatus()
        self._measured = float("-inf")
        self._progressed = False
        self._unnoted = 0

    def status(self) -> RelayStatus:
        """How it fares, as of its last look."""
        return self._status

    async def run(self, stop: asyncio.Event) -> None:
        """Carry events until ``stop`` is set; the batch that is under way is finished."""
        delay = self._settings.retry_min_seconds
        while not stop.is_set():
            self._progressed = False
            try:
                await self._work(stop)
                continue
            except _MISSING:
                reason = (
                    "this cell's database has no outbox yet, or an earlier release's: the app makes it (create_outbox)"
                )
            except StreamError as error:
                reason = str(error)
            except _DATABASE_FAILURES as error:
                reason = f"the cell's database: {_without_rows(error)}"
            finally:
                self._note(leads=False, connected=False)
            if reason != self._status.reason:
                _log.warning("no events are carried", extra={"reason": reason})
            self._note(reason=reason, failures=self._status.failures + 1)
            self._unnoted += 1
            if self._progressed:
                delay = self._settings.retry_min_seconds
            await _sleep(delay * self._rng.uniform(0.5, 1.0), stop)
            delay = min(2 * delay, self._settings.retry_max_seconds)

    async def _work(self, stop: asyncio.Event) -> None:
        async with await Waiting.connect(self._settings) as waiting:
            while not await waiting.lead():
                if not await _sleep(self._settings.lock_seconds, stop):
                    return
            self._note(leads=True)
            if self._unnoted:
                await waiting.note_failures(self._unnoted)
                self._unnoted = 0
            # Also without a link, so that an outbox that is nearly full is counted, and drops what it should.
            await self._look(waiting)
            async with await Publisher.connect(self._settings) as publisher:
                if self._status.reason:
                    _log.info("events are carried again")
                self._note(connected=True, reason="")
                await self._carry(waiting, publisher, stop)

    async def _carry(self, waiting: Waiting, publisher: Publisher, stop: asyncio.Event) -> None:
        ahead: Staged | None = None
        while not stop.is_set():
            await self._look(waiting)
            staged = ahead or await self._stage(waiting, publisher, ())
            if staged is None:
                await _sleep(self._settings.poll_seconds, stop)
                continue
            # While these are stored, the next are read and sent, to be stored after them and not before.
            storing = asyncio.create_task(publisher.store(staged))
            try:
                ahead = await self._stage(waiting, publisher, staged.events)
                outcome = await storing
            finally:
                storing.cancel()
            fault_point(ACKED)
            await self._remove(waiting, outcome, stop)
            if outcome.failure:
                raise StreamError(outcome.failure)
            if ahead and not outcome.as_one:
                ahead = await publisher.stage(ahead.events)  # one by one takes long: the server may have let them go

    async def _stage(self, waiting: Waiting, publisher: Publisher, behind: Sequence[WaitingEvent]) -> Staged | None:
        """Read the next events, and send them ahead; None where there are none."""
        events = await waiting.read(self._settings.batch_events, behind)
        if not events:
            return None
        fault_point(READ)
        return await publisher.stage(events)

    async def _remove(self, waiting: Waiting, outcome: Outcome, stop: asyncio.Event) -> None:
        """Delete what is stored, and set aside what never will be."""
        if not (outcome.stored or outcome.refused):
            return
        gone = await waiting.remove(outcome.stored, outcome.refused)
        fault_point(DELETED)
        self._progressed = True
        self._note(relayed=self._status.relayed + len(outcome.stored))
        for seq, reason in outcome.refused:
            _log.error(
                "the stream will never take an event: it is in cellplane_outbox_refused",
                extra={"seq": seq, "reason": reason},
            )
        if gone < len(outcome.stored) + len(outcome.refused):
            await _sleep(self._settings.poll_seconds, stop)  # an app is dropping them

    async def _look(self, waiting: Waiting) -> None:
        """Look how full the outbox is, now and then; count it where that matters."""
        if self._clock() - self._measured < self._settings.measure_seconds:
            return
        self._measured = self._clock()
        state = await waiting.state()
        if state.places >= self._settings.measure_above * state.max_events:
            await waiting.measure()
            state = await waiting.state()
        self._note(outbox=state)

    def _note(self, **values: object) -> None:
        self._status = dataclasses.replace(self._status, **values)  # type: ignore[arg-type]  # fields, by name


async def _sleep(seconds: float, stop: asyncio.Event) -> bool:
    """Wait, but not on after ``stop`` is set; returns whether to go on."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
    return not stop.is_set()


def _without_rows(error: BaseException) -> str:
    """Say what happened without quoting a row: an error that the server gave a code for may do that."""
    if isinstance(error, psycopg.Error) and error.sqlstate is not None:
        return f"{type(error).__name__} {error.sqlstate}"
    return told(error)


async def _tell(relay: Relay, seconds: float, stop: asyncio.Event) -> None:
    while await _sleep(seconds, stop):
        _log.info("status", extra=dataclasses.asdict(relay.status()))


async def _serve(settings: RelaySettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    relay = Relay(settings)
    async with asyncio.TaskGroup() as group:
        group.create_task(_tell(relay, settings.status_seconds, stop))
        await relay.run(stop)
    _log.info("stopped", extra=dataclasses.asdict(relay.status()))


def main() -> int:
    """Run the process until SIGTERM or SIGINT.

    Returns:
        The exit status: 0 after a signal, 2 when its settings are wrong.
    """
    try:
        settings = RelaySettings.from_env(os.environ)
    except CellError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    log_json(settings.cell_id, process="relay")
    asyncio.run(_serve(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
