"""Each event counts once, on its day, in either store: late ones, duplicates, and what cannot be counted."""

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import nats as nats_client
import psycopg
import pytest
from click.testing import CliRunner

from cellplane.cli.commands import cli
from cellplane.events.analytics import AnalyticsSettings, QueryError, StoreError, StoreLockedError
from cellplane.events.analytics.consumer import AnalyticsConsumer, AnalyticsStatus
from cellplane.events.analytics.facts import DeadLetter, Fact, Message
from cellplane.events.analytics.query import By, Count, Question, counts
from cellplane.events.analytics.settings import QueryLimits
from cellplane.events.analytics.stores import open_for_reading, open_for_writing
from cellplane.events.analytics.tables import Written
from cellplane.events.settings import StreamSettings
from e2e_app.servers import Nats
from unit.events.conftest import SMALL

NOW = datetime(2026, 3, 10, 12)  # noqa: DTZ001  # as stores keep it
TODAY, LONG_AGO = date(2026, 3, 10), date(2025, 1, 1)
SECONDS = 30.0


@pytest.fixture(params=["duckdb", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where counts can be."""
    if request.param == "duckdb":
        return str(tmp_path / "analytics.duckdb")
    url: str = request.getfixturevalue("database_url")
    return url


def fact(id_: str, day: date = TODAY, tenant: str = "acme", number: str | None = "1.5") -> Fact:
    numbers = () if number is None else (("bytes", Decimal(number)),)
    return Fact(id_, datetime(day.year, day.month, day.day, 7), tenant, "cell-a", "order.created", numbers)  # noqa: DTZ001


def settings(store: str, url: str = "") -> AnalyticsSettings:
    return AnalyticsSettings(url, store, stream=SMALL, sums=("bytes",), ack_seconds=1.0, retry_max_seconds=0.2)


def write(
    store: str, facts: Sequence[Fact], dead: Sequence[DeadLetter] = (), now: datetime = NOW, keep: int = 9
) -> Written:
    opened = open_for_writing(settings(store))
    try:
        return opened.write(facts, dead, now, dead_letters_max=keep, dead_letter_chars=50)
    finally:
        opened.close()


def asked(store: str, question: Question = Question((By.DAY, By.TENANT))) -> list[Count]:  # noqa: B008  # frozen
    opened = open_for_reading(store, QueryLimits())
    try:
        return counts(opened, question, 1_000)
    finally:
        opened.close()


def sql(store: str, query: str) -> list[tuple[Any, ...]]:
    opened = open_for_reading(store, QueryLimits())
    try:
        return opened.ask(query, 1_000)[1]
    finally:
        opened.close()


def test_events_are_counted_by_day_tenant_cell_and_type(store: str) -> None:
    facts = [fact("a"), fact("b", number=None), fact("c", tenant="other", number="-2"), fact("d", LONG_AGO)]
    assert write(store, facts) == Written(4, 0, 0)
    assert asked(store) == [
        Count((LONG_AGO, "acme"), 1, {"bytes": Decimal("1.5")}),
        Count((TODAY, "acme"), 2, {"bytes": Decimal("1.5")}),
        Count((TODAY, "other"), 1, {"bytes": Decimal(-2)}),
    ]
    assert asked(store, Question(())) == [Count((), 4, {"bytes": Decimal(1)})]
    assert asked(store, Question((By.CELL, By.TYPE), tenant_id="acme", first_day=TODAY)) == [
        Count(("cell-a", "order.created"), 2, {"bytes": Decimal("1.5")})
    ]
    assert asked(store, Question((By.DAY,), last_day=LONG_AGO, cell_id="cell-a", type="order.created")) == [
        Count((LONG_AGO,), 1, {"bytes": Decimal("1.5")})
    ]
    assert asked(store, Question(tenant_id="nobody")) == []


def test_duplicates_count_once_in_a_batch_and_between_batches(store: str) -> None:
    assert write(store, [fact("a"), fact("a"), fact("b")]) == Written(2, 1, 0)
    assert write(store, [fact("b"), fact("c"), fact("a")]) == Written(1, 2, 0)
    assert asked(store) == [Count((TODAY, "acme"), 3, {"bytes": Decimal("4.5")})]


def test_a_late_event_counts_on_its_own_day_also_beyond_the_horizon(store: str) -> None:
    write(store, [fact("a")])
    assert write(store, [fact("late", LONG_AGO), fact("late", LONG_AGO)]) == Written(1, 1, 0)
    assert write(store, [fact("late", LONG_AGO)]) == Written(0, 1, 0)
    assert [(each.by[0], each.events) for each in asked(store)] == [(LONG_AGO, 1), (TODAY, 1)]


def test_an_id_is_known_for_the_horizon_after_it_came(store: str) -> None:
    write(store, [fact("old")], now=NOW - timedelta(days=8))
    write(store, [fact("new")], now=NOW - timedelta(days=6))
    opened = open_for_writing(settings(store))
    opened.prune(NOW, 7 * 86_400.0, 100)
    opened.close()
    assert sql(store, "SELECT id FROM event_facts") == [("new",)]
    # The bound that docs/events.md tells of: beyond it, an id is a new one. The counts stay.
    assert write(store, [fact("new"), fact("old")]) == Written(1, 1, 0)
    assert asked(store)[0].events == 3


def test_what_cannot_be_counted_is_kept_with_its_reason_and_bounded(store: str) -> None:
    dead = [DeadLetter(Message(n, f"events.\x00{n}", b"\xff\x00" + b"x" * 99), f"reason {n}") for n in range(5)]
    assert write(store, [fact("a")], dead) == Written(1, 0, 5)
    assert write(store, [], dead) == Written(0, 0, 5)
    found = sql(store, "SELECT stream_seq, subject, reason, body FROM event_dead_letters ORDER BY stream_seq")
    assert [row[0] for row in found] == list(range(5))
    assert found[4][1:3] == ("events.\\x004", "reason 4")
    assert found[4][3].startswith("\\xff\\x00xxx")
    more = [DeadLetter(Message(n, "s", b""), "r") for n in range(5, 9)]
    write(store, [], more, keep=3)
    assert sql(store, "SELECT stream_seq FROM event_dead_letters ORDER BY 1") == [(6,), (7,), (8,)]


def test_a_batch_that_fails_is_taken_back(store: str) -> None:
    opened = open_for_writing(settings(store))
    opened.run("DROP TABLE event_sums")
    with pytest.raises(opened.failures):
        opened.write([fact("a")], [], NOW, dead_letters_max=1, dead_letter_chars=1)
    opened.close()
    assert write(store, [fact("a")]) == Written(1, 0, 0)


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM event_days",
        "SELECT 1; SELECT 2",
        "SELECT nothing FROM event_days",
        "DROP TABLE event_days",
        "not sql",
        "",
        "COPY event_days TO '/tmp/somewhere'",
    ],
)
def test_sql_of_ones_own_only_reads(store: str, query: str) -> None:
    write(store, [fact("a")])
    with pytest.raises(QueryError):
        sql(store, query)
    assert asked(store)[0].events == 1


def test_sql_of_ones_own_reads_no_files(tmp_path: Path) -> None:
    store = str(tmp_path / "a.duckdb")
    write(store, [fact("a")])
    for query in (
        f"SELECT * FROM read_text('{__file__}')",
        f"ATTACH '{tmp_path / 'b.duckdb'}'",
        "SET lock_configuration=false",
    ):
        with pytest.raises(QueryError, match="cannot be answered"):
            sql(store, query)


def test_too_many_rows_are_refused(store: str) -> None:
    write(store, [fact(str(n), tenant=f"t{n}") for n in range(5)])
    opened = open_for_reading(store, QueryLimits())
    with pytest.raises(QueryError, match="expected at most 4 rows"):
        counts(opened, Question(), 4)
    opened.close()


def test_a_file_that_another_process_writes_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    write(str(path), [fact("a")])
    lines = f"import duckdb, sys; c = duckdb.connect({str(path)!r}); print('open', flush=True); sys.stdin.read()"
    holder = subprocess.Popen([sys.executable, "-c", lines], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(StoreLockedError, match="one process writes a DuckDB file, or many read it"):
            write(str(path), [])
        waits: list[float] = []
        limits = QueryLimits(lock_wait_seconds=3.0, lock_retry_seconds=0.5)
        with pytest.raises(StoreLockedError, match=r"with --share.*PostgreSQL.*\(tried for 3 s\)"):
            open_for_reading(str(path), limits, clock=lambda: sum(waits), sleep=waits.append)
        assert waits == [0.5] * 6, "it was tried again for as long as the limit says"
    finally:
        holder.communicate(timeout=SECONDS)


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        ("mysql://x", "expected the path of a DuckDB file, or postgresql"),
        ("", "expected the path"),
        ("postgresql://u:secret@127.0.0.1:1/x", "cannot connect to the PostgreSQL"),
        ("/nowhere/at/all.duckdb", "cannot open /nowhere/at/all.duckdb"),
    ],
)
def test_a_store_that_cannot_be_used_is_told_of(store: str, expected: str) -> None:
    with pytest.raises(StoreError, match=expected) as caught:
        open_for_writing(settings(store))
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_store_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="found none: `cellplane analytics consume` makes it"):
        open_for_reading(str(tmp_path / "a.duckdb"), QueryLimits())
    (tmp_path / "b.duckdb").write_text("something else" * 1_000)
    with pytest.raises(StoreError, match="cannot open"):
        open_for_writing(settings(str(tmp_path / "b.duckdb")))


def body(number: int, **change: Any) -> tuple[str, bytes]:
    at = datetime.now(UTC).isoformat()
    said: dict[str, Any] = {
        "id": f"e{number}",
        "cellid": "cell-a",
        "tenantid": "acme",
        "type": "order.created",
        "time": at,
    }
    said |= {"data": {"bytes": number}, **change}
    return "events.cell-a.acme.order.created", json.dumps(said).encode()


async def publish(server: Nats, messages: Sequence[tuple[str, bytes]]) -> None:
    client = await nats_client.connect(server.url)
    try:
        for subject, data in messages:
            await client.jetstream().publish(subject, data)
    finally:
        await client.close()


async def consume(given: AnalyticsSettings) -> AnalyticsStatus:
    """All that the stream has now."""
    consumer = AnalyticsConsumer(given, rng=random.Random(1))
    async with asyncio.timeout(SECONDS):
        await consumer.run(asyncio.Event(), until_end=True)
    return consumer.status()


def test_all_that_the_stream_has_is_counted_then_it_ends(store: str, nats: Nats) -> None:
    async def run() -> None:
        poison = [("events.cell-a.acme.order.created", b"nonsense"), body(7, cellid="cell-b"), body(8, id=None)]
        late = body(100, time="2025-01-01T10:00:00Z")
        messages = [body(n) for n in range(5)]
        await publish(nats, [*messages, *poison, *messages, late, late])
        given = settings(store, nats.url)
        status = await consume(given)
        assert (status.counted, status.duplicates, status.dead, status.pending) == (6, 6, 3, 0)
        assert [(each.by[0], each.events, int(each.sums["bytes"])) for each in asked(store)] == [
            (LONG_AGO, 1, 100),
            (datetime.now(UTC).date(), 5, 10),
        ]
        # The next run goes on where this one stopped.
        await publish(nats, [body(200)])
        again = await consume(given)
        assert (again.counted, again.duplicates, again.dead) == (1, 0, 0)

    asyncio.run(run())


def test_an_empty_stream_ends_at_once_and_is_made_where_it_is_not_there(store: str, silent_nats: Nats) -> None:
    silent_nats.start_and_wait()
    assert asyncio.run(consume(settings(store, silent_nats.url))).counted == 0


def test_it_waits_for_a_broker_and_counts_as_events_come(store: str, silent_nats: Nats) -> None:
    async def run() -> None:
        stop = asyncio.Event()
        consumer = AnalyticsConsumer(replace(settings(store, silent_nats.url), fetch_seconds=0.1), rng=random.Random(1))
        running = asyncio.create_task(consumer.run(stop))

        async def until(holds: Any) -> None:
            async with asyncio.timeout(SECONDS):
                while not holds():  # noqa: ASYNC110  # what is waited for tells nobody
                    await asyncio.sleep(0.01)

        await until(lambda: consumer.status().failures >= 2)
        assert "the stream's NATS" in consumer.status().reason
        silent_nats.start_and_wait()
        await until(lambda: consumer.status().reason == "")
        await publish(silent_nats, [body(n) for n in range(5)])
        await until(lambda: consumer.status().counted == 5)
        silent_nats.kill()
        failures = consumer.status().failures
        await until(lambda: consumer.status().failures > failures)
        silent_nats.start_and_wait()
        await publish(silent_nats, [body(n) for n in range(3, 9)])
        await until(lambda: consumer.status().counted == 9)
        stop.set()
        async with asyncio.timeout(SECONDS):
            await running
        assert asked(store)[0].events == 9

    asyncio.run(run())


def test_several_consumers_of_one_database_count_each_event_once(database_url: str, nats: Nats) -> None:
    async def run() -> None:
        await publish(nats, [body(n % 60) for n in range(150)])
        given = replace(settings(database_url, nats.url), batch_messages=10)
        found = await asyncio.gather(*(consume(given) for _ in range(3)))
        assert sum(each.counted for each in found) == 60
        assert asked(database_url)[0].events == 60

    asyncio.run(run())


def test_a_store_that_is_away_is_waited_for(database_url: str, nats: Nats) -> None:
    async def run() -> None:
        stop = asyncio.Event()
        consumer = AnalyticsConsumer(replace(settings(database_url, nats.url), fetch_seconds=0.1), rng=random.Random(1))
        running = asyncio.create_task(consumer.run(stop))
        async with asyncio.timeout(SECONDS):
            for number in range(3):
                await publish(nats, [body(number)])
                while consumer.status().counted <= number:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                with psycopg.connect(database_url) as connection:
                    connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                        "AND application_name = 'cellplane-analytics'"
                    )
            stop.set()
            await running
        assert asked(database_url)[0].events == 3

    asyncio.run(run())


def run_cli(*words: str) -> str:
    result = CliRunner().invoke(cli, ["analytics", *words])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_command_line_counts_and_shows(tmp_path: Path, nats: Nats) -> None:
    asyncio.run(publish(nats, [body(n) for n in range(4)]))
    store = str(tmp_path / "analytics.duckdb")
    counted = json.loads(run_cli("consume", "--store", store, "--events", nats.url, "--sum", "bytes", "--until-end"))
    assert counted["counted"] == 4
    today = datetime.now(UTC).date().isoformat()
    lines = run_cli("query", "--store", store).splitlines()
    assert lines[0].split() == ["DAY", "TENANT", "CELL", "TYPE", "EVENTS", "BYTES"]
    assert lines[1].split() == [today, "acme", "cell-a", "order.created", "4", "6"]
    shown = json.loads(run_cli("query", "--store", store, "--by", "tenant", "--from", today, "--to", today, "--json"))
    assert shown == [{"tenant": "acme", "events": 4, "sums": {"bytes": 6}}]
    assert run_cli("query", "--store", store, "--cell", "cell-b") == "Nothing was counted.\n"
    one = run_cli("query", "--store", store, "--sql", "SELECT sum(total) AS all_bytes FROM event_sums", "--json")
    assert json.loads(one) == [{"all_bytes": 6}]
    assert run_cli("query", "--store", store, "--sql", "SELECT 1 AS one").split() == ["ONE", "1"]


def test_the_command_line_says_what_is_wrong(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["analytics", "query", "--store", str(tmp_path / "none.duckdb")])
    assert result.exit_code == 1
    assert "error: expected a DuckDB file" in result.output


def test_the_stream_is_left_as_somebody_made_it(nats: Nats, tmp_path: Path) -> None:
    async def run() -> None:
        given = replace(settings(str(tmp_path / "a.duckdb"), nats.url), stream=StreamSettings(max_bytes=1_000_000))
        await consume(given)
        client = await nats_client.connect(nats.url)
        assert (await client.jetstream().stream_info(SMALL.name)).config.max_bytes == SMALL.max_bytes
        await client.close()

    asyncio.run(run())
