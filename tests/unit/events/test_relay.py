"""The relay carries what is committed: all of it, in order, whatever fails meanwhile."""

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import LiteralString
from uuid import uuid4

import nats as nats_client
import psycopg
import pytest
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, StreamConfig

from cellplane.cell import CellContext, InvalidSettingError, MissingSettingsError, entered
from cellplane.events import (
    Event,
    Outbox,
    OutboxSettings,
    OutboxState,
    RelaySettings,
    StreamSettings,
    WhenFull,
    create_outbox,
)
from cellplane.events.event import WaitingEvent
from cellplane.events.publisher import Publisher
from cellplane.events.relay import Relay
from cellplane.events.settings import EVENTS_URL_VARIABLE
from cellplane.events.waiting import READ, READ_BEHIND, REMOVE, Waiting
from e2e_app.servers import Nats
from unit.events.conftest import SMALL, make_stream

CELL = "cell-a"
OUTBOX = Outbox()
SECONDS = 20.0
Connection = psycopg.Connection[tuple[object, ...]]


def settings(database_url: str, events_url: str, **numbers: float) -> RelaySettings:
    quick = {"retry_max_seconds": 0.2, "lock_seconds": 0.05, "poll_seconds": 0.02, "measure_seconds": 0.1}
    return replace(RelaySettings(CELL, database_url, events_url), **{**quick, **numbers})  # type: ignore[arg-type]


def add(connection: Connection, *numbers: int, tenant: str = "acme", size: int = 0) -> None:
    with entered(CellContext(CELL, 9, tenant)):
        for number in numbers:
            OUTBOX.add(connection, Event("order.created", {"n": number, "x": "x" * size}))


def add_now(url: str, *numbers: int, tenant: str = "acme", size: int = 0) -> None:
    with psycopg.connect(url) as connection:
        add(connection, *numbers, tenant=tenant, size=size)


@asynccontextmanager
async def relaying(given: RelaySettings) -> AsyncIterator[Relay]:
    """A relay that runs until the block ends."""
    relay, stop = Relay(given, rng=random.Random(1)), asyncio.Event()
    running = asyncio.create_task(relay.run(stop))
    try:
        yield relay
    finally:
        stop.set()
        async with asyncio.timeout(SECONDS):
            await running


def state(relay: Relay) -> OutboxState:
    """The outbox as the relay last saw it; empty before that."""
    return relay.status().outbox or OutboxState()


def state_of(url: str) -> OutboxState:
    """The outbox as its app sees it."""
    with psycopg.connect(url) as connection:
        return OUTBOX.state(connection)


async def until(what: str, holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not holds():  # noqa: ASYNC110  # what is waited for tells nobody
            await asyncio.sleep(0.01)
    assert holds(), what


def waiting(url: str) -> int:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT count(*) FROM cellplane_outbox").fetchone()
    assert found is not None
    return int(found[0])


async def drained(url: str) -> None:
    await until("the outbox is empty", lambda: waiting(url) == 0)


@asynccontextmanager
async def jetstream(server: Nats) -> AsyncIterator[JetStreamContext]:
    client = await nats_client.connect(server.url)
    try:
        yield client.jetstream()
    finally:
        await client.close()


async def published(server: Nats) -> list[tuple[str, int]]:
    """Tenant and number of all messages of the stream, in its order."""
    async with jetstream(server) as stream:
        state = (await stream.stream_info(SMALL.name)).state
        places = range(state.first_seq, state.last_seq + 1) if state.messages else ()
        messages = [await stream.get_msg(SMALL.name, place) for place in places]
    bodies = [json.loads(message.data or b"") for message in messages]
    return [(body["tenantid"], body["data"]["n"]) for body in bodies]


def test_events_are_carried_in_their_order_and_deleted(outbox_url: str, nats: Nats) -> None:
    async def run() -> None:
        add_now(outbox_url, *range(25))
        async with relaying(settings(outbox_url, nats.url, batch_events=10)) as relay:
            await drained(outbox_url)
            status = relay.status()
            assert (status.leads, status.connected, status.reason) == (True, True, "")
        assert relay.status().relayed == 25
        assert await published(nats) == [("acme", number) for number in range(25)]

    asyncio.run(run())


def test_a_message_says_what_it_is(outbox_url: str, nats: Nats) -> None:
    async def run() -> None:
        id_ = uuid4()
        with psycopg.connect(outbox_url) as connection, entered(CellContext(CELL, 9, "acme.eu")):
            OUTBOX.add(
                connection, Event("order.created", {"n": 1}, id=id_, occurred_at=datetime(2026, 3, 1, tzinfo=UTC))
            )
        async with relaying(settings(outbox_url, nats.url)):
            await drained(outbox_url)
        async with jetstream(nats) as stream:
            message = await stream.get_msg(SMALL.name, 1)
        assert message.subject == "events.cell-a.acme=2Eeu.order.created"
        assert message.headers is not None
        assert message.headers["Nats-Msg-Id"] == str(id_)
        assert message.headers["Content-Type"] == "application/cloudevents+json"
        body = json.loads(message.data or b"")
        assert (body["id"], body["cellid"], body["tenantid"]) == (str(id_), CELL, "acme.eu")
        assert (body["cellepoch"], body["time"]) == (9, "2026-03-01T00:00:00.000000Z")

    asyncio.run(run())


def test_a_late_commit_is_not_passed_over_and_an_early_id_is_not_early(outbox_url: str, nats: Nats) -> None:
    async def run() -> None:
        connect = psycopg.connect
        with connect(outbox_url) as long, connect(outbox_url) as late, connect(outbox_url) as early:
            late.execute("SELECT pg_current_xact_id()")  # the lowest of all ids
            add(long, 1, tenant="slow")  # the lowest place, and open for long
            async with relaying(settings(outbox_url, nats.url)) as relay:
                add(early, 1)
                early.commit()
                # Nobody waits for transactions that are open.
                await until("the first is carried", lambda: relay.status().relayed == 1)
                add(late, 2)
                late.commit()
                await until("the second is carried", lambda: relay.status().relayed == 2)
                long.commit()
                await drained(outbox_url)
        assert await published(nats) == [("acme", 1), ("acme", 2), ("slow", 1)]

    asyncio.run(run())


def test_one_relay_works_and_another_takes_over(outbox_url: str, nats: Nats) -> None:
    async def run() -> None:
        given = settings(outbox_url, nats.url)
        async with relaying(given) as second_to_be:
            await until("it leads", lambda: second_to_be.status().leads)
            async with relaying(given) as other:
                add_now(outbox_url, *range(5))
                await drained(outbox_url)
                await until("they are counted", lambda: second_to_be.status().relayed == 5)
                assert not other.status().leads
                assert other.status().relayed == 0
                with psycopg.connect(outbox_url) as connection:
                    connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted "
                        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                    )
                await until("one of them leads", lambda: second_to_be.status().leads or other.status().leads)
                assert not (second_to_be.status().leads and other.status().leads)
                add_now(outbox_url, *range(5, 10))
                await drained(outbox_url)
        assert await published(nats) == [("acme", number) for number in range(10)]

    asyncio.run(run())


def test_a_broker_that_is_away_at_the_start_and_later_costs_nothing(outbox_url: str, silent_nats: Nats) -> None:
    async def run() -> None:
        add_now(outbox_url, *range(10))
        async with relaying(settings(outbox_url, silent_nats.url)) as relay:
            await until("it has tried", lambda: relay.status().failures >= 3)
            assert "cannot connect to the stream's NATS" in relay.status().reason
            assert not relay.status().connected
            silent_nats.start_and_wait()
            await until("it finds no stream", lambda: "expected the stream 'EVENTS'" in relay.status().reason)
            await make_stream(silent_nats.url)
            await drained(outbox_url)
            for round_ in range(1, 4):
                silent_nats.kill()
                add_now(outbox_url, *range(10 * round_, 10 * round_ + 10))
                failures = relay.status().failures
                await until("it has lost it", lambda failures=failures: relay.status().failures > failures)  # type: ignore[misc]
                assert waiting(outbox_url) == 10
                silent_nats.start_and_wait()
                await drained(outbox_url)
            await until("all is well", lambda: relay.status().reason == "")
            told = state_of(outbox_url)
            assert (told.waiting, told.oldest_seconds, told.has_relay, told.relayed) == (0, 0, True, 40)
            assert told.failures == relay.status().failures
        await until("it leads no more", lambda: not state_of(outbox_url).has_relay)
        assert state_of(outbox_url) == replace(told, has_relay=False), "what it did outlives it"
        assert await published(silent_nats) == [("acme", number) for number in range(40)]

    asyncio.run(run())


def test_without_an_outbox_the_relay_waits_for_it(database_url: str, nats: Nats) -> None:
    async def run() -> None:
        async with relaying(settings(database_url, nats.url)) as relay:
            await until("it has looked", lambda: "create_outbox" in relay.status().reason)
            with psycopg.connect(database_url) as connection:
                create_outbox(connection)
            add_now(database_url, 1)
            await drained(database_url)

    asyncio.run(run())


def test_a_full_stream_holds_events_back_and_loses_none(outbox_url: str, silent_nats: Nats) -> None:
    async def run() -> None:
        silent_nats.start_and_wait()
        await make_stream(silent_nats.url, StreamSettings(max_bytes=20_000))
        add_now(outbox_url, *range(30), size=1_000)
        add_now(outbox_url, *range(30), tenant="other", size=300)
        async with relaying(settings(outbox_url, silent_nats.url)) as relay:
            await until("it is full", lambda: "maximum bytes exceeded" in relay.status().reason)
            assert waiting(outbox_url) > 0
            async with jetstream(silent_nats) as stream:
                config = (await stream.stream_info(SMALL.name)).config
                await stream.update_stream(config.evolve(max_bytes=1_000_000))
            await drained(outbox_url)
        found = await published(silent_nats)
        for tenant in ("acme", "other"):
            assert [n for name, n in found if name == tenant] == list(range(30))

    asyncio.run(run())


@pytest.mark.parametrize("batch", [1, 100])
def test_an_event_that_the_stream_never_takes_is_set_aside(outbox_url: str, nats: Nats, batch: int) -> None:
    async def run() -> None:
        async with jetstream(nats) as stream:
            config = (await stream.stream_info(SMALL.name)).config
            await stream.update_stream(config.evolve(max_msg_size=3_000))
        add_now(outbox_url, 1)
        add_now(outbox_url, 2, size=4_000)
        add_now(outbox_url, 3)
        async with relaying(settings(outbox_url, nats.url, batch_events=batch)) as relay:
            await drained(outbox_url)
            await until("it is told", lambda: (state(relay).refused, state(relay).relayed) == (1, 2))
        assert await published(nats) == [("acme", 1), ("acme", 3)]
        with psycopg.connect(outbox_url) as connection:
            refused = connection.execute("SELECT data ->> 'n', reason FROM cellplane_outbox_refused").fetchall()
        assert [number for number, _ in refused] == ["2"]
        assert "message size exceeds maximum" in refused[0][1]

    asyncio.run(run())


def test_a_stream_that_takes_no_batches_gets_events_one_by_one(outbox_url: str, silent_nats: Nats) -> None:
    async def run() -> None:
        silent_nats.start_and_wait()
        async with jetstream(silent_nats) as stream:
            await stream.add_stream(StreamConfig(name=SMALL.name, subjects=["events.>"]))
        for number in range(20):
            for tenant in ("acme", "other"):
                add_now(outbox_url, number, tenant=tenant)
        async with relaying(settings(outbox_url, silent_nats.url, batch_events=15)):
            await drained(outbox_url)
        found = await published(silent_nats)
        assert len(found) == 40
        for tenant in ("acme", "other"):
            assert [n for name, n in found if name == tenant] == list(range(20))

    asyncio.run(run())


def events_of(numbers: Sequence[int], tenant: str = "acme", sizes: dict[int, int] | None = None) -> list[WaitingEvent]:
    return [
        WaitingEvent(
            n, str(n), tenant, "order.created", "2026-03-01T00:00:00Z", 1, json.dumps({"n": n, "x": "x" * size})
        )
        for n in numbers
        for size in ((sizes or {}).get(n, 0),)
    ]


def test_events_that_were_sent_ahead_are_not_there_before_their_turn(outbox_url: str, nats: Nats) -> None:
    async def run() -> None:
        async with await Publisher.connect(settings(outbox_url, nats.url)) as publisher:
            first, second = await publisher.stage(events_of([1, 2, 3])), await publisher.stage(events_of([4, 5, 6]))
            assert await published(nats) == []
            assert (await publisher.store(first)).as_one
            assert await published(nats) == [("acme", number) for number in (1, 2, 3)]
            assert (await publisher.store(second)).as_one
        assert await published(nats) == [("acme", number) for number in range(1, 7)]

    asyncio.run(run())


def test_what_the_stream_has_of_a_batch_is_not_there_twice(outbox_url: str, nats: Nats) -> None:
    async def run() -> None:
        given = settings(outbox_url, nats.url)
        async with await Publisher.connect(given) as publisher:
            assert (await publisher.publish(events_of([1, 2, 3]))).stored == [1, 2, 3]
            # As after a crash before the deletion, with more that has come since.
            outcome = await publisher.publish(events_of([1, 2, 3, 4, 5]))
            assert (sorted(outcome.stored), outcome.failure) == ([1, 2, 3, 4, 5], "")
            assert (await publisher.publish(events_of([6, 7]))).stored == [6, 7]
        assert await published(nats) == [("acme", number) for number in range(1, 8)]

    asyncio.run(run())


def test_where_one_event_of_a_window_fails_none_of_its_tenant_goes_ahead(outbox_url: str, silent_nats: Nats) -> None:
    async def run() -> None:
        silent_nats.start_and_wait()
        async with jetstream(silent_nats) as stream:
            # Full for the large one, with room for the small ones behind it.
            await stream.add_stream(
                StreamConfig(name=SMALL.name, subjects=["events.>"], max_bytes=6_000, discard=DiscardPolicy.NEW)
            )
        both = events_of([1, 2, 3, 4], sizes={2: 8_000}) + events_of([11, 12], "other")
        async with await Publisher.connect(settings(outbox_url, silent_nats.url)) as publisher:
            outcome = await publisher.publish(both)
        assert "maximum bytes exceeded" in outcome.failure
        assert not {2, 3, 4} & set(outcome.stored)
        found = await published(silent_nats)
        assert [n for tenant, n in found if tenant == "acme"] == [1]

    asyncio.run(run())


def test_a_lost_acknowledgement_is_no_lost_event(outbox_url: str, nats: Nats) -> None:
    async def run() -> None:
        add_now(outbox_url, *range(10))
        async with relaying(settings(outbox_url, nats.url, ack_seconds=0.2, connect_seconds=1.0)) as relay:
            await drained(outbox_url)
            nats.signal(19)  # SIGSTOP: it hangs, and its connections stay open
            add_now(outbox_url, *range(10, 20))
            await until("it gives up", lambda: relay.status().failures >= 2)
            nats.signal(18)
            await drained(outbox_url)
        assert await published(nats) == [("acme", number) for number in range(20)]

    asyncio.run(run())


def test_an_outbox_without_a_link_drops_what_it_should_and_counts_it(database_url: str, silent_nats: Nats) -> None:
    async def run() -> None:
        with psycopg.connect(database_url) as connection:
            create_outbox(connection, OutboxSettings(max_events=10, when_full=WhenFull.DROP_OLDEST))
        add_now(database_url, *range(500))
        async with relaying(settings(database_url, silent_nats.url)) as relay:
            await until("it has dropped", lambda: state(relay).dropped > 0)
            silent_nats.start_and_wait()
            await make_stream(silent_nats.url)
            await drained(database_url)
            await until("it has looked", lambda: state(relay).waiting == 0)
            assert state(relay).dropped == 490
        assert await published(silent_nats) == [("acme", number) for number in range(490, 500)]

    asyncio.run(run())


@pytest.mark.long
def test_what_is_carried_makes_room(database_url: str, nats: Nats) -> None:
    async def run() -> None:
        with psycopg.connect(database_url) as connection:
            create_outbox(connection, OutboxSettings(max_events=20))
        async with relaying(settings(database_url, nats.url, measure_seconds=1e6)):
            for number in range(100):
                add_now(database_url, *range(10 * number, 10 * number + 10))
                await drained(database_url)
        async with await Waiting.connect(settings(database_url, nats.url)) as outbox:
            assert (await outbox.state()).places == 0

    asyncio.run(run())


def test_statistics_of_an_empty_outbox_make_no_scan_of_a_full_one(database_url: str, nats: Nats) -> None:
    """Which autovacuum makes whenever it comes by: an outbox is empty most of the time."""

    async def run() -> dict[str, str]:
        with psycopg.connect(database_url) as connection:
            create_outbox(connection)
        add_now(database_url, *range(500))
        with psycopg.connect(database_url) as connection:
            connection.execute("DELETE FROM cellplane_outbox")
            connection.execute("ANALYZE cellplane_outbox")
        add_now(database_url, *range(500))
        with psycopg.connect(database_url) as connection:
            seqs = [row[0] for row in connection.execute("SELECT seq FROM cellplane_outbox")]
        asked: dict[LiteralString, list[object]] = {
            READ: [100],
            READ_BEHIND: [seqs[:100], 100],
            REMOVE: [seqs[:100], []],
        }
        async with await Waiting.connect(settings(database_url, nats.url)) as outbox:
            found = {}
            for statement, parameters in asked.items():
                rows = await outbox._connection.execute("EXPLAIN " + statement, parameters)
                found[statement] = "\n".join(str(row[0]) for row in await rows.fetchall())
            return found

    plans = asyncio.run(run())
    for plan in plans.values():
        assert "Seq Scan on cellplane_outbox " not in plan, plan
    assert "Index Cond: (seq = ANY" in plans[REMOVE], plans[REMOVE]
    assert "TID Cond: (ctid = ANY" in plans[REMOVE], "no join, whose order would be a guess"


def test_a_relay_stops_where_there_is_nothing_to_reach(silent_nats: Nats) -> None:
    async def run() -> None:
        nowhere = "postgresql://user:secret@127.0.0.1:1/nothing"
        async with relaying(settings(nowhere, silent_nats.url)) as relay:
            await until("it has tried", lambda: relay.status().failures >= 2)
            assert "secret" not in relay.status().reason
            assert relay.status().reason.startswith("the cell's database: ")

    asyncio.run(run())


def environ(**more: str) -> dict[str, str]:
    prefix = EVENTS_URL_VARIABLE.removesuffix("URL")
    given = {"CELLPLANE_CELL_ID": CELL, "CELLPLANE_DATABASE_URL": "postgresql://d", EVENTS_URL_VARIABLE: "nats://n"}
    return given | {prefix + name: value for name, value in more.items()}


def test_settings_come_from_the_environment() -> None:
    found = RelaySettings.from_env(environ(BATCH_EVENTS="7", POLL_SECONDS="0.5", STREAM="OTHER"))
    assert (found.batch_events, found.poll_seconds, found.stream, found.cell_id) == (7, 0.5, "OTHER", CELL)
    assert "postgresql" not in repr(found)
    assert "nats" not in repr(found)


def test_all_that_is_missing_is_named() -> None:
    with pytest.raises(MissingSettingsError) as caught:
        RelaySettings.from_env({})
    assert caught.value.names == ("CELLPLANE_CELL_ID", "CELLPLANE_DATABASE_URL", EVENTS_URL_VARIABLE)


@pytest.mark.parametrize(
    "more", [{"BATCH_EVENTS": "0"}, {"BATCH_EVENTS": "1001"}, {"POLL_SECONDS": "x"}, {"STREAM": "a.b"}]
)
def test_settings_that_cannot_be_used_are_refused(more: dict[str, str]) -> None:
    with pytest.raises(InvalidSettingError, match="expected"):
        RelaySettings.from_env(environ(**more))


def test_the_process_says_what_is_missing() -> None:
    from cellplane.events import relay  # noqa: PLC0415

    before = dict(os.environ)
    try:
        os.environ.pop(EVENTS_URL_VARIABLE, None)
        assert relay.main() == 2
    finally:
        os.environ.update(before)
