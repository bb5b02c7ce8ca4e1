"""A DuckDB file that its consumer shares: readers get their turn, and it gets the file back."""

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cellplane.events.analytics import AnalyticsSettings, StoreError
from cellplane.events.analytics.consumer import COMMITTED, AnalyticsConsumer
from cellplane.events.analytics.holding import Holding
from cellplane.events.analytics.settings import QueryLimits
from cellplane.events.analytics.stores import open_for_reading
from cellplane.events.analytics.tables import WRITTEN
from cellplane.events.settings import EVENTS_URL_VARIABLE
from cellplane.faults import FAULT_VARIABLE
from e2e_app.servers import Nats, Process, eventually
from unit.events.conftest import SMALL
from unit.events.test_counting import asked, body, publish

SECONDS = 30.0
READ = """
import sys
from cellplane.events.analytics.settings import QueryLimits
from cellplane.events.analytics.stores import open_for_reading
store = open_for_reading(sys.argv[1], QueryLimits())
print("open", flush=True)
sys.stdin.read()
"""


def shared(store: Path, url: str = "") -> AnalyticsSettings:
    return AnalyticsSettings(url, str(store), stream=SMALL, shares_store=True, ack_seconds=1.0, retry_max_seconds=0.2)


def events_in(store: Path) -> int:
    found = asked(str(store))
    return found[0].events if found else 0


@contextmanager
def reader(store: Path) -> Iterator[None]:
    """Another process that reads the file until the block ends."""
    process = subprocess.Popen([sys.executable, "-c", READ, store], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"open\n"
        yield
    finally:
        process.communicate(timeout=SECONDS)


@pytest.fixture
def consumer(tmp_path: Path, nats: Nats) -> Iterator[Process]:
    """`cellplane analytics consume --share` of a file, not started."""
    command = [sys.executable, "-m", "cellplane.cli", "analytics", "consume", "--share", "--ack-seconds", "1"]
    command += ["--store", str(tmp_path / "a.duckdb"), "--sum", "bytes", "--stream-max-gib", "1"]
    process = Process("consumer", command, tmp_path / "consumer.log", {EVENTS_URL_VARIABLE: nats.url})
    try:
        yield process
    finally:
        process.stop()


def test_counts_are_shown_while_more_are_counted(consumer: Process, nats: Nats, tmp_path: Path) -> None:
    store = tmp_path / "a.duckdb"
    consumer.start()
    eventually("there is a file", store.exists)
    for number in range(1, 6):
        asyncio.run(publish(nats, [body(number)]))
        eventually(f"{number} are shown", lambda number=number: events_in(store) == number)  # type: ignore[misc]
    assert consumer.running
    assert consumer.stop() == 0


@pytest.mark.parametrize(("point", "shown"), [(WRITTEN, 0), (COMMITTED, 3)])
def test_what_a_killed_consumer_left_can_be_read_and_goes_on(
    consumer: Process, nats: Nats, tmp_path: Path, point: str, shown: int
) -> None:
    asyncio.run(publish(nats, [body(number) for number in range(3)]))
    consumer.start(**{FAULT_VARIABLE: f"{point}:1"})
    assert consumer.wait(SECONDS) == -signal.SIGKILL
    assert events_in(tmp_path / "a.duckdb") == shown
    consumer.start()
    asyncio.run(publish(nats, [body(3)]))
    eventually("all are shown, once", lambda: events_in(tmp_path / "a.duckdb") == 4)


def test_a_reader_that_stays_is_waited_for_and_told_of(nats: Nats, tmp_path: Path) -> None:
    store = tmp_path / "a.duckdb"

    async def run() -> None:
        stop = asyncio.Event()
        given = replace(shared(store, nats.url), share_wait_seconds=0.2, fetch_seconds=0.1)
        consuming = AnalyticsConsumer(given, rng=random.Random(1))
        running = asyncio.create_task(consuming.run(stop))

        async def until(holds: Callable[[], bool]) -> None:
            async with asyncio.timeout(SECONDS):
                while not holds():  # noqa: ASYNC110  # what is waited for tells nobody
                    await asyncio.sleep(0.01)

        await publish(nats, [body(1)])
        await until(lambda: consuming.status().counted == 1)
        with ExitStack() as stack:
            await asyncio.to_thread(stack.enter_context, reader(store))
            await publish(nats, [body(2)])
            await until(lambda: "others have had the store of the counts for 0.2 s" in consuming.status().reason)
            assert consuming.status().counted == 1
        await until(lambda: consuming.status().counted == 2)
        stop.set()
        await running

    asyncio.run(run())
    assert events_in(store) == 2


def test_a_file_is_held_no_longer_than_there_is_work_and_for_a_time_at_most(tmp_path: Path) -> None:
    now, path = [100.0], tmp_path / "a.duckdb"

    def is_free() -> bool:
        try:
            open_for_reading(str(path), QueryLimits(lock_wait_seconds=0)).close()
        except StoreError:  # here, of the same process
            return False
        return True

    async def run() -> None:
        given = replace(shared(path), share_hold_seconds=0.5, share_pause_seconds=0.001)
        holding = Holding(given, clock=lambda: now[0])
        store = await holding.open()
        await holding.rest(busy=True)
        assert not is_free(), "there is more to do"
        now[0] += 0.5
        await holding.rest(busy=True)
        assert is_free(), "it was held for long"
        assert await holding.open() is store
        assert not is_free()
        await holding.rest(busy=False)
        assert is_free(), "there is nothing to do"
        await holding.close()
        alone = Holding(replace(given, shares_store=False), clock=lambda: now[0])
        await alone.open()
        await alone.rest(busy=False)
        assert not is_free()
        await alone.close()

    asyncio.run(run())


def test_a_file_that_somebody_reads_all_the_time_is_a_failure_that_says_so(tmp_path: Path) -> None:
    store = tmp_path / "a.duckdb"

    async def run() -> None:
        holding = Holding(replace(shared(store), share_wait_seconds=0.1))
        await holding.open()
        await holding.rest(busy=False)
        began = time.monotonic()
        with reader(store), pytest.raises(StoreError, match=r"others have had .* for 0\.1 s: expected .* to be free"):
            await holding.open()
        assert time.monotonic() - began >= 0.1
        await holding.close()

    asyncio.run(run())
