"""Events are added in the app's transaction, by any connection, and bounded."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from cellplane.cell import CellContext, CellError, InvalidSettingError, entered
from cellplane.events import (
    Event,
    EventsError,
    InvalidEventError,
    NoTransactionError,
    Outbox,
    OutboxDiskFullError,
    OutboxFullError,
    OutboxMissingError,
    OutboxSettings,
    OutboxState,
    WhenFull,
    create_outbox,
    create_outbox_async,
)
from e2e.disks import FULL, FailingDisk
from e2e_app.servers import Postgres, eventually
from unit.databases import is_up

OUTBOX = Outbox()
ACME = CellContext("cell-a", 9, "acme")


@pytest.fixture(autouse=True)
def acme() -> Iterator[None]:
    with entered(ACME):
        yield


def event(number: int = 0, id_: UUID | None = None) -> Event:
    return Event("order.created", {"n": number}, id=id_)


def rows(url: str, what: str = "data ->> 'n'", rest: str = "cellplane_outbox ORDER BY seq") -> list[Any]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute(f"SELECT {what} FROM {rest}".encode())]


def sqlalchemy_url(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")


@contextmanager
def by_psycopg(url: str) -> Iterator[Any]:
    with psycopg.connect(url) as connection:
        yield connection


@contextmanager
def by_psycopg_with_dicts(url: str) -> Iterator[Any]:
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection, connection.transaction():
        yield connection


@contextmanager
def by_sqlalchemy(url: str) -> Iterator[Any]:
    with create_engine(sqlalchemy_url(url), poolclass=NullPool).begin() as connection:
        yield connection


@contextmanager
def by_session(url: str) -> Iterator[Any]:
    with Session(create_engine(sqlalchemy_url(url), poolclass=NullPool)) as session, session.begin():
        yield session


SYNC = pytest.mark.parametrize("connected", [by_psycopg, by_psycopg_with_dicts, by_sqlalchemy, by_session])


@SYNC
def test_an_event_is_there_once_its_transaction_is(database_url: str, connected: Callable[[str], Any]) -> None:
    with connected(database_url) as connection:
        create_outbox(connection)
        assert OUTBOX.state(connection) == OutboxState(max_events=1_000_000, when_full="refuse")
    with connected(database_url) as connection:
        assert OUTBOX.add(connection, event(1), event(2)) == 2
        assert rows(database_url) == []
    assert rows(database_url) == ["1", "2"]
    with connected(database_url) as connection:
        assert (OUTBOX.state(connection).waiting, OUTBOX.state(connection).has_relay) == (2, False)
    assert rows(database_url, "tenant_id || epoch") == ["acme9", "acme9"]


@SYNC
def test_an_event_of_a_transaction_that_is_taken_back_is_not(outbox_url: str, connected: Callable[[str], Any]) -> None:
    def add_and_fail() -> None:
        with connected(outbox_url) as connection:
            OUTBOX.add(connection, event())
            raise LookupError

    with pytest.raises(LookupError):
        add_and_fail()
    assert rows(outbox_url) == []


@pytest.mark.parametrize("kind", ["psycopg", "connection", "session"])
def test_asynchronous_connections_do_as_well(database_url: str, kind: str) -> None:
    async def add(connection: Any) -> None:
        await create_outbox_async(connection)
        assert await OUTBOX.add_async(connection, event(1), event(2)) == 2
        assert (await OUTBOX.state_async(connection)).waiting == 2

    async def run() -> None:
        if kind == "psycopg":
            async with await psycopg.AsyncConnection.connect(database_url) as connection:
                await add(connection)
            return
        from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine  # noqa: PLC0415  # needs greenlet

        engine = create_async_engine(sqlalchemy_url(database_url), poolclass=NullPool)
        if kind == "connection":
            async with engine.begin() as begun:
                await add(begun)
        else:
            async with AsyncSession(engine) as session, session.begin():
                await add(session)

    asyncio.run(run())
    assert rows(database_url) == ["1", "2"]


DJANGO = """
import sys
import django
import psycopg
from django.conf import settings
from django.db import connection, transaction
from cellplane.cell import CellContext, entered
from cellplane.events import Event, NoTransactionError, Outbox, OutboxMissingError, create_outbox

parts = psycopg.conninfo.conninfo_to_dict(sys.argv[1])
database = {"ENGINE": "django.db.backends.postgresql", "HOST": parts["host"], "PORT": parts["port"]}
settings.configure(DATABASES={"default": {**database, "NAME": parts["dbname"], "USER": parts["user"]}})
django.setup()
with entered(CellContext("cell-a", 9, "acme")):
    try:
        Outbox().add(connection, Event("order.created", {}))
    except NoTransactionError:
        print("no transaction")
    try:
        with transaction.atomic():
            Outbox().add(connection, Event("order.created", {}))
    except OutboxMissingError:
        print("no outbox")
    with transaction.atomic():
        create_outbox(connection)
        print(Outbox().add(connection, Event("order.created", {"n": 1}), Event("order.created", {"n": 2})))
"""


def test_django_does_as_well(database_url: str) -> None:
    # In a process of its own: Django is configured once.
    found = subprocess.run(
        [sys.executable, "-c", DJANGO, database_url], capture_output=True, text=True, timeout=60, check=False
    )
    assert found.stdout.splitlines() == ["no transaction", "no outbox", "2"], found.stderr
    assert rows(database_url) == ["1", "2"]


def test_the_same_id_waits_once(outbox_url: str) -> None:
    id_ = uuid4()
    with psycopg.connect(outbox_url) as connection:
        assert OUTBOX.add(connection, event(1, id_)) == 1
        assert OUTBOX.add(connection, event(2, id_), event(3)) == 1
    with psycopg.connect(outbox_url) as connection:
        assert OUTBOX.add(connection, event(4, id_)) == 0
    assert rows(outbox_url) == ["1", "3"]


def test_nothing_is_added_for_nothing() -> None:
    assert OUTBOX.add(object()) == 0


def test_a_call_adds_a_bounded_number() -> None:
    with pytest.raises(InvalidEventError, match="at most 1,000 a call"):
        OUTBOX.add(object(), *[event()] * 1_001)


def test_outside_of_a_transaction_no_event_is_added(outbox_url: str) -> None:
    with psycopg.connect(outbox_url, autocommit=True) as connection:
        with pytest.raises(NoTransactionError, match="commits each statement"):
            OUTBOX.add(connection, event())
        with connection.transaction():
            assert OUTBOX.add(connection, event()) == 1


@SYNC
def test_without_an_outbox_the_error_says_what_to_call(database_url: str, connected: Callable[[str], Any]) -> None:
    with pytest.raises(OutboxMissingError, match=r"create_outbox\(\)"), connected(database_url) as connection:
        OUTBOX.add(connection, event())
    with pytest.raises(OutboxMissingError, match=r"create_outbox\(\)"), connected(database_url) as connection:
        OUTBOX.state(connection)


def test_an_outbox_is_created_by_many_at_once(database_url: str) -> None:
    failed: list[BaseException] = []

    def create() -> None:
        try:
            with psycopg.connect(database_url) as connection:
                create_outbox(connection)
        except BaseException as error:  # noqa: BLE001  # told below
            failed.append(error)

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert rows(database_url, "limit_seq", "cellplane_outbox_state") == [1_000_000]


def fill(url: str, settings: OutboxSettings, number: int) -> None:
    with psycopg.connect(url) as connection:
        create_outbox(connection, settings)
        for each in range(number):
            OUTBOX.add(connection, event(each))
            connection.commit()


def test_a_full_outbox_refuses_and_the_transaction_goes_on(database_url: str) -> None:
    fill(database_url, OutboxSettings(max_events=3), 3)
    with psycopg.connect(database_url) as connection:
        with pytest.raises(OutboxFullError, match=r"found 3 that wait.*503") as caught:
            OUTBOX.add(connection, event(3))
        assert caught.value.max_events == 3
        connection.execute("CREATE TABLE without_event ()")
    assert rows(database_url) == ["0", "1", "2"]
    assert rows(database_url, "count(*)", "without_event") == [0]


def test_events_are_added_together_or_refused_together(database_url: str) -> None:
    fill(database_url, OutboxSettings(max_events=3), 2)
    with psycopg.connect(database_url) as connection, pytest.raises(OutboxFullError):
        OUTBOX.add(connection, event(), event())
    assert len(rows(database_url)) == 2


def test_what_waits_already_is_not_refused_by_a_full_outbox(database_url: str) -> None:
    ids = [uuid4(), uuid4()]
    with psycopg.connect(database_url) as connection:
        create_outbox(connection, OutboxSettings(max_events=2))
        assert OUTBOX.add(connection, *(event(0, id_) for id_ in ids)) == 2
        assert OUTBOX.add(connection, *(event(0, id_) for id_ in ids)) == 0


def test_a_larger_outbox_has_room_at_once(database_url: str) -> None:
    fill(database_url, OutboxSettings(max_events=3), 3)
    fill(database_url, OutboxSettings(max_events=5), 2)
    assert len(rows(database_url)) == 5
    with psycopg.connect(database_url) as connection:
        create_outbox(connection, OutboxSettings(max_events=4))
        with pytest.raises(OutboxFullError, match="found 4 that wait"):
            OUTBOX.add(connection, event())


def test_places_that_were_taken_back_count_until_they_are_measured(database_url: str) -> None:
    fill(database_url, OutboxSettings(max_events=3), 0)
    with psycopg.connect(database_url) as connection:
        for _ in range(3):
            OUTBOX.add(connection, event())
            connection.rollback()
        with pytest.raises(OutboxFullError):
            OUTBOX.add(connection, event())
        connection.rollback()
        assert (OUTBOX.state(connection).places, OUTBOX.state(connection).waiting) == (3, 0), "none waits"
        connection.execute("SELECT cellplane_outbox_measure()")
        assert OUTBOX.add(connection, event()) == 1


def test_an_outbox_may_drop_the_oldest_instead(database_url: str) -> None:
    fill(database_url, OutboxSettings(max_events=10, when_full=WhenFull.DROP_OLDEST, trim_every=4), 57)
    left = rows(database_url)
    assert 10 <= len(left) <= 14
    assert left == [str(number) for number in range(57 - len(left), 57)]
    assert rows(database_url, "sum(events)", "cellplane_outbox_dropped") == [57 - len(left)]
    # A relay does so too, and adds up what was dropped.
    assert rows(database_url, "cellplane_outbox_measure()", "cellplane_outbox_state") == [10]
    assert rows(database_url, "dropped", "cellplane_outbox_state") == [47]
    assert rows(database_url, "count(*)", "cellplane_outbox_dropped") == [0]


def test_dropping_waits_for_nobody(database_url: str) -> None:
    fill(database_url, OutboxSettings(max_events=2, when_full=WhenFull.DROP_OLDEST, trim_every=1), 2)
    with psycopg.connect(database_url) as one, psycopg.connect(database_url) as other:
        OUTBOX.add(one, event(2))  # which drops one, and is not committed
        other.execute("SET lock_timeout = '2s'")
        OUTBOX.add(other, event(3))
    with psycopg.connect(database_url) as connection:
        OUTBOX.add(connection, event(4))
    assert rows(database_url) == ["3", "4"]


@pytest.mark.parametrize(("max_events", "trim_every"), [(0, 1), (1, 0)])
def test_an_outbox_without_bounds_is_refused(max_events: int, trim_every: int) -> None:
    with pytest.raises(InvalidSettingError, match="expected 1 to"):
        OutboxSettings(max_events, trim_every=trim_every)


def test_data_comes_back_as_it_was(outbox_url: str) -> None:
    data = {"é": [1, 2.5, None, True, {"a": "100% :sure ?"}], "large": 2**80}
    for connected in (by_psycopg, by_sqlalchemy):
        with connected(outbox_url) as connection:
            OUTBOX.add(connection, Event("order.created", data))
    assert [json.loads(text) for text in rows(outbox_url, "data::text")] == [data, data]


def test_a_full_disk_is_told_and_takes_nothing(tmp_path: Path) -> None:
    server = Postgres(tmp_path)
    disk = FailingDisk(tmp_path / "postgres" / "base", tmp_path)
    server.start(**disk.environ)
    try:
        eventually("PostgreSQL answers", lambda: is_up(server), 30)
        with psycopg.connect(server.url) as connection:
            create_outbox(connection)
        large = Event("order.created", {"x": "".join(map(str, range(10_000)))})

        def fill_the_disk() -> None:
            with psycopg.connect(server.url) as connection:
                for _ in range(1_000):
                    OUTBOX.add(connection, large)

        def fill_the_disk_by_sqlalchemy() -> None:
            with by_sqlalchemy(server.url) as connection:
                for _ in range(1_000):
                    OUTBOX.add(connection, large)

        with disk.is_now(FULL):
            for fill_it in (fill_the_disk, fill_the_disk_by_sqlalchemy):
                with pytest.raises(OutboxDiskFullError, match="rolled back"):
                    fill_it()
        assert rows(server.url) == []
        with psycopg.connect(server.url) as connection:
            assert OUTBOX.add(connection, large) == 1
    finally:
        server.stop()


def test_errors_are_of_the_sdks_tree() -> None:
    assert issubclass(EventsError, CellError)
    assert "password" not in str(OutboxFullError(3)).lower()
