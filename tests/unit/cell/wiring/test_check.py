"""An app that leads to what is not its cell's does not start, and is told what it is."""

import asyncio
import functools
from collections.abc import Collection
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import quote

import psycopg_pool
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from hypothesis import given, settings
from hypothesis import strategies as st
from nats.aio.client import Client
from sqlalchemy import create_engine, event, make_url, select
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import NullPool, QueuePool

from cellplane.cell.errors import WiringError
from cellplane.cell.wiring import Broker, CellManifest, Database, WiringLimits, check_wiring
from e2e_app.servers import Nats
from support.depth import examples

HOSTS = {
    "localhost": ["127.0.0.1", "::1"],
    "127.0.0.1": ["127.0.0.1"],
    "127.1": ["127.0.0.1"],
    "::1": ["::1"],
    "::ffff:127.0.0.1": ["::ffff:127.0.0.1"],
    "0.0.0.0": ["0.0.0.0"],
    "db-1": ["10.0.0.1"],
    "db-1.cell-1.internal": ["10.0.0.1"],
    "10.0.0.1": ["10.0.0.1"],
    "db-2": ["10.0.0.2"],
    "both": ["10.0.0.1", "10.0.0.2"],
    "nats-1": ["10.0.1.1"],
    "kafka-1": ["10.0.2.1"],
    "empty": [],
}
MANIFEST = CellManifest(
    "cell-1",
    (
        Database(name="orders", hosts=("db-1", "localhost:6432", "unknown-yet:7000"), sockets=("/run/pg",)),
        Database(kind="sqlite", name="/data/local.sqlite3"),
    ),
    (Broker(hosts=("nats-1",)), Broker(kind="kafka", hosts=("kafka-1",))),
)


def resolver(host: str) -> Collection[str]:
    if host not in HOSTS:
        raise OSError("Name or service not known")
    return HOSTS[host]


def check(thing: object, **environ: str) -> None:
    check_wiring(MANIFEST, {"orders repository": thing}, resolver=resolver, environ=environ)


def fault(thing: object, **environ: str) -> str:
    with pytest.raises(WiringError) as raised:
        check(thing, **environ)
    assert "hunter2" not in str(raised.value)
    [found] = raised.value.faults
    return found


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@db-1/orders",
        "postgresql://DB-1./orders",
        "postgresql://10.0.0.1:5432/orders",
        "postgresql://db-1.cell-1.internal/orders",
        "postgresql+psycopg://127.0.0.1:6432/orders",
        "postgresql://localhost:6432/orders",
        "postgresql://[::1]:6432/orders",
        "postgresql://[::ffff:127.0.0.1]:6432/orders",
        "postgresql://0.0.0.0:6432/orders",
        "postgresql://127.1:6432/orders",
        "postgresql://db-1,10.0.0.1/orders",
        "postgresql://unknown-yet:7000/orders",
        "host=/run/pg dbname=orders",
        "host=/run/../run/pg/ dbname=orders",
        "dbname=orders host=db-1",
        "nats://token@nats-1",
        "tls://nats-1:4222",
        "kafka://kafka-1:9092,kafka-1",
        "sqlite:////data/local.sqlite3",
        "sqlite+aiosqlite:////data/../data/local.sqlite3",
        "sqlite:///file:/data/local.sqlite3?mode=ro&uri=true",
    ],
)
def test_every_way_to_what_is_the_cells_is_right(url: str) -> None:
    check(url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://u:hunter2@db-2/orders", "postgresql://…@db-2:5432/orders is not of cell-1; allowed: "),
        ("postgresql://db-1/other", "is not of cell-1"),
        ("postgresql://db-1/Orders", "is not of cell-1"),
        ("postgresql://db-1:5433/orders", "is not of cell-1"),
        ("postgresql://127.0.0.1/orders", "is not of cell-1"),
        ("postgresql://db-1,db-2/orders", "postgresql://…@db-2:5432/orders is not of cell-1"),
        ("postgresql://both/orders", "is also at 10.0.0.2, and that is not of cell-1"),
        ("postgresql://db-9/orders", "names the host 'db-9', which does not resolve"),
        ("postgresql://empty/orders", "resolves to no address"),
        ("postgresql://a..b/orders", "does not resolve"),
        ("postgresql://u@ü" + "x" * 80 + "/orders", "cannot be one"),
        ("host=/run/other dbname=orders", "%2Frun%2Fother:5432/orders is not of cell-1"),
        ("host=/run/pg port=6432 dbname=orders", "among the sockets"),
        ("host=@run dbname=orders", "among the sockets"),
        ("nats://nats-1:4223", "is not of cell-1; allowed: nats://nats-1:4222"),
        ("nats://nats-1,nats-2", "no nats://host:port"),
        ("ws://nats-1", "without a port"),
        ("kafka://db-2", "kafka://db-2:9092 is not of cell-1"),
        ("sqlite:///other.sqlite3", "sqlite file"),
        ("sqlite://", "sqlite file :memory: is not of cell-1"),
        ("redis://u:hunter2@db-1", "scheme redis, which is not known"),
        ("https://db-1", "scheme https"),
        ("db-1", "neither a URL"),
        ("service=hunter2", "names a service"),
    ],
)
def test_every_way_to_what_is_not_is_named(url: str, message: str) -> None:
    assert message in fault(url)


def test_a_unix_socket_is_the_cells_by_its_real_path(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    manifest = CellManifest("cell-1", (Database(name="orders", sockets=(str(tmp_path / "real"),)),))
    check_wiring(manifest, {"db": f"host={tmp_path}/link dbname=orders"}, resolver=resolver, environ={})
    check_wiring(manifest, {"db": "dbname=orders"}, resolver=resolver, environ={"PGHOST": str(tmp_path / "link")})
    with pytest.raises(WiringError):
        check_wiring(manifest, {"db": "dbname=orders"}, resolver=resolver, environ={})


def test_every_culprit_is_named_at_once() -> None:
    wired = {"orders": "postgresql://db-2/orders", "fine": "nats://nats-1", "queue": "nats://nats-9"}
    with pytest.raises(WiringError, match=r"orders: .*; queue: ") as raised:
        check_wiring(MANIFEST, wired, resolver=resolver, environ={})
    assert len(raised.value.faults) == 2


def test_the_system_resolves_where_nothing_else_is_said() -> None:
    manifest = CellManifest("cell-1", (Database(name="orders", hosts=("localhost",)),))
    check_wiring(manifest, {"db": "postgresql://127.0.0.1/orders"}, environ={})
    with pytest.raises(WiringError):
        check_wiring(manifest, {"db": "postgresql://127.0.0.2/orders"}, environ={})


@given(
    user=st.text("aü:/@%?#", max_size=4),
    password=st.text("b/:@%?# '\\", max_size=6),
    host=st.sampled_from(["db-1", "DB-1", "10.0.0.1", "db-1.", "db-2", "10.0.0.2", "both", "empty"]),
    port=st.sampled_from(["", ":5432", ":5433"]),
)
@settings(max_examples=examples(67), deadline=None)
def test_credentials_change_nothing_and_are_never_told(user: str, password: str, host: str, port: str) -> None:
    secret = f"hunter2{password}"
    url = f"postgresql://{quote(user, safe='')}:{quote(secret, safe='')}@{host}{port}/orders"
    is_ours = host.lower().rstrip(".") in ("db-1", "10.0.0.1") and port != ":5433"
    for thing in (url, create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool)):
        if is_ours:
            check(thing)
        else:
            fault(thing)


# Things that an app holds.

OURS, OTHER = "postgresql+psycopg://u:hunter2@db-1/orders", "postgresql+psycopg://u:hunter2@db-2/orders"


class Repository:
    """As apps write them: what leads somewhere is inside of something inside."""

    def __init__(self, held: object) -> None:
        self._inner = {"by_name": [held]}
        self.me = self


class Slotted:
    __slots__ = ("empty", "held")

    def __init__(self, held: object) -> None:
        self.held = held


def things(url: str) -> dict[str, Any]:
    engine, async_engine = create_engine(url), create_async_engine(url)
    conninfo = url.replace("+psycopg", "")
    return {
        "engine": engine,
        "options": engine.execution_options(isolation_level="AUTOCOMMIT"),
        "async engine": async_engine,
        "sessionmaker": sessionmaker(engine),
        "async sessionmaker": async_sessionmaker(async_engine),
        "session": Session(engine),
        "async session": AsyncSession(async_engine),
        "scoped": scoped_session(sessionmaker(engine)),
        "async scoped": async_scoped_session(async_sessionmaker(async_engine), scopefunc=lambda: None),
        "binds": sessionmaker(binds={Repository: engine}),
        "url": make_url(url),
        "pool": psycopg_pool.ConnectionPool(conninfo, open=False),
        "pool by kwargs": psycopg_pool.ConnectionPool(
            "host=db-1", kwargs={"host": make_url(url).host, "dbname": "orders"}, open=False
        ),
        "repository": Repository(engine),
        "slots": Slotted(engine),
        "method": Repository(engine).__init__,  # type: ignore[misc]
        "partial": functools.partial(print, engine),
        "closure": lambda: engine,
        "a url within": Repository(conninfo),
        "list": [conninfo, conninfo],
        "connect_args": create_engine("postgresql+psycopg://db-1/orders", connect_args={"host": make_url(url).host}),
    }


@pytest.mark.parametrize("name", things(OURS))
def test_things_are_looked_into(name: str) -> None:
    check(things(OURS)[name])
    assert "postgresql://…@db-2:5432/orders is not of cell-1" in fault(things(OTHER)[name])


def test_what_does_not_say_where_it_leads_is_refused() -> None:
    def listening() -> Any:
        engine = create_engine(OURS)
        event.listen(engine, "do_connect", lambda *_: None)
        return engine

    deep: object = create_engine(OURS)
    for _ in range(6):
        deep = Slotted(deep)

    class Redis:
        __module__ = "redis.client"

    for thing, message in (
        (object(), "nothing is known to lead anywhere"),
        (Repository(select(1)), "nothing is known to lead anywhere"),
        (None, "nothing is known"),
        (deep, "nothing is known"),
        ([], "nothing is known"),
        (Client(), "told of no server yet"),
        (sessionmaker(), "bound to no engine"),
        (Session(), "bound to no engine"),
        (create_engine(OURS, creator=lambda: None), "a creator"),
        (create_engine(OURS, pool=QueuePool(Mock())), "a creator"),
        (create_engine(OURS, connect_args={"conninfo": "host=db-2"}), "connect_args"),
        (create_engine(OURS, connect_args={"service": "x"}), "names a service"),
        (listening(), "do_connect"),
        (psycopg_pool.ConnectionPool(lambda: "host=db-1", open=False), "asks a function"),
        (Repository([create_engine(OURS), Redis()]), "redis.client"),
    ):
        assert message in fault(thing), thing


def test_a_graph_that_is_too_large_is_refused() -> None:
    with pytest.raises(WiringError, match="more than 10 objects"):
        check_wiring(
            MANIFEST,
            {"app": [Slotted(number + 0.5) for number in range(20)]},
            resolver=resolver,
            environ={},
            limits=WiringLimits(max_objects=10),
        )


def test_kafka_clients_are_looked_into() -> None:
    async def scenario() -> None:
        for servers, is_ours in (("kafka-1", True), (["kafka-1:9092", "db-2:9092"], False)):
            producer = AIOKafkaProducer(bootstrap_servers=servers)
            consumer = AIOKafkaConsumer(bootstrap_servers=servers)
            for client in (producer, consumer, Repository(producer)):
                if is_ours:
                    check(client)
                else:
                    assert "kafka://db-2:9092 is not of cell-1" in fault(client)
            await producer.stop()
            await consumer.stop()

    asyncio.run(scenario())


def test_a_nats_client_is_looked_into(tmp_path: Path) -> None:
    server = Nats(tmp_path)
    server.start_and_wait()
    try:

        async def scenario() -> None:
            client = Client()
            await client.connect(server.url)
            stream = client.jetstream()
            for manifest, is_ours in (
                (CellManifest("cell-1", (), (Broker(hosts=(f"localhost:{server.port}",)),)), True),
                (MANIFEST, False),
            ):
                for thing in (client, stream, Repository(stream), [server.url]):
                    if is_ours:
                        check_wiring(manifest, {"queue": thing}, environ={})
                    else:
                        with pytest.raises(
                            WiringError, match=rf"queue: nats://127.0.0.1:{server.port} is not of cell-1"
                        ):
                            check_wiring(manifest, {"queue": thing}, environ={})
            await client.close()

        asyncio.run(scenario())
    finally:
        server.stop()
