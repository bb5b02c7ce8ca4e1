"""Where the things of an app lead: engines, pools, sessions, message clients, and what holds them.

They are told by the names of their classes, so that none of their packages is imported here. What belongs to a driver
and is not understood is refused, never passed over.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType
from typing import Any

from cellplane.cell.wiring import libpq
from cellplane.cell.wiring.endpoints import POSTGRESQL, SQLITE, Endpoint, UnknownDestinationError
from cellplane.cell.wiring.settings import WiringLimits
from cellplane.cell.wiring.strings import looks_like_one, of_file, of_kafka, of_nats, of_string

Environ = Mapping[str, str]

_DRIVERS = frozenset(
    (
        *("aio_pika", "aiokafka", "aiomysql", "aiopg", "aioredis", "aiosqlite", "asyncmy", "asyncpg", "boto3"),
        *("botocore", "cassandra", "clickhouse_connect", "confluent_kafka", "duckdb", "elasticsearch", "kafka"),
        *("kombu", "motor", "mysql", "nats", "neo4j", "pg8000", "pika", "psycopg", "psycopg2", "psycopg_pool"),
        *("pymongo", "pymysql", "redis", "sqlalchemy", "sqlite3", "valkey"),
    )
)
"""Packages of clients of databases and brokers."""

_CONNECTED = re.compile(
    "channel|client|cluster|collection|connection|consumer|cursor|database|driver|engine|pool|producer|redis|session|"
    "valkey",
    re.IGNORECASE,
)
"""In the name of a class of theirs: its objects lead somewhere."""

_LEAVES = (str, bytes, bytearray, int, float, complex, bool, type(None), type, ModuleType, BuiltinFunctionType)
_CONNECTION_STRINGS = frozenset({"dsn", "conninfo"})


def of_object(thing: object, environ: Environ, limits: WiringLimits) -> tuple[Endpoint, ...]:
    """Every place to which a thing leads, as far as it and what it holds say.

    Raises:
        UnknownDestinationError: it holds nothing that leads anywhere, or something that does not say where.
    """
    if isinstance(thing, str):
        return of_string(thing, environ)
    if isinstance(thing, (list, tuple)) and thing and all(isinstance(item, str) for item in thing):
        return tuple(sorted({endpoint for item in thing for endpoint in of_string(item, environ)}))
    found: list[Endpoint] = []
    is_known = False
    seen: dict[int, object] = {id(thing): thing}
    queue: deque[tuple[str, object, int]] = deque([("", thing, 0)])
    while queue:
        name, current, depth = queue.popleft()
        endpoints = _recognised(name, current, environ)
        if endpoints is not None:
            is_known = True
            found += endpoints
            continue
        if depth == limits.max_depth:
            continue
        for inner_name, inner in _held(current):
            if id(inner) in seen or (isinstance(inner, _LEAVES) and not isinstance(inner, str)):
                continue
            if len(seen) >= limits.max_objects:
                raise UnknownDestinationError(
                    f"holds more than {limits.max_objects} objects; name what it uses of the cell instead"
                )
            seen[id(inner)] = inner
            queue.append((inner_name, inner, depth + 1))
    if not is_known:
        raise UnknownDestinationError(
            f"is a {_kind(thing)} in which nothing is known to lead anywhere; name its URL, engine, pool or client"
        )
    return tuple(sorted(set(found)))


def _recognised(name: str, thing: object, environ: Environ) -> tuple[Endpoint, ...] | None:
    """Where something leads; None where it is nothing of that kind."""
    if isinstance(thing, str):
        if name.lower().strip("_") in _CONNECTION_STRINGS or looks_like_one(thing):
            return of_string(thing, environ)
        return None
    if name.lower().strip("_") == "bootstrap_servers":
        return of_kafka(thing)
    if isinstance(thing, _LEAVES):
        return None
    classes = [(each.__module__.partition(".")[0], each.__name__) for each in type(thing).__mro__]
    read = next((_READERS[each] for each in classes if each in _READERS), None)
    if read is not None:
        return read(thing, environ)
    for package, class_name in classes:
        if package in _DRIVERS and _CONNECTED.search(class_name):
            raise UnknownDestinationError(
                f"holds a {_kind(thing)}, which does not say where it leads; name its URL instead"
            )
    return None


def _held(thing: object) -> Iterator[tuple[str, object]]:
    """What an object holds, with names where there are any; properties are not called."""
    if type(thing).__module__.startswith("sqlalchemy.") or hasattr(thing, "_sa_instance_state"):
        return  # statements, tables and rows, each of which has all tables in it
    if isinstance(thing, Mapping):
        yield from ((str(key), value) for key, value in thing.items())
    elif isinstance(thing, (list, tuple, set, frozenset, deque)):
        yield from (("", value) for value in thing)
    elif isinstance(thing, MethodType):
        yield from (("", thing.__self__), ("", thing.__func__))
    elif isinstance(thing, partial):
        yield from (("", thing.func), ("", thing.args), ("", thing.keywords))
    elif isinstance(thing, FunctionType):
        yield from (("", value) for value in (thing.__closure__ or ()))
        yield from (("", value) for value in (thing.__defaults__ or ()))
    elif isinstance(thing, CellType):
        try:
            yield "", thing.cell_contents
        except ValueError:  # it is not filled yet
            return
    elif not isinstance(thing, str):
        yield from getattr(thing, "__dict__", {}).items()
        for each in type(thing).__mro__:
            slots = each.__dict__.get("__slots__", ())
            for slot in (slots,) if isinstance(slots, str) else slots:
                try:
                    yield slot, getattr(thing, slot)
                except AttributeError:  # it is not set
                    continue


def _kind(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}".removeprefix("builtins.")


def _engine(engine: Any, environ: Environ) -> tuple[Endpoint, ...]:
    """By what its driver is really given: a URL says less than ``connect_args``, and nothing beside a ``creator``."""
    dialect = engine.dialect
    creator = engine.pool._creator  # noqa: SLF001 - no other way tells
    names = getattr(getattr(creator, "__code__", None), "co_freevars", ())
    cells = dict(zip(names, getattr(creator, "__closure__", None) or (), strict=False))
    if not {"cargs_tup", "cparams"} <= cells.keys() or getattr(creator, "__module__", "") != "sqlalchemy.engine.create":
        raise UnknownDestinationError("has a creator or a pool of its own, which may lead anywhere; name a URL")
    if list(dialect.dispatch.do_connect):
        raise UnknownDestinationError("has a do_connect listener, which may lead it anywhere; name its URL instead")
    arguments = cells["cargs_tup"].cell_contents
    named = cells["cparams"].cell_contents
    if dialect.name == SQLITE:
        return (of_file(str(named.get("database", arguments[0] if arguments else ""))),)
    if dialect.name != POSTGRESQL or dialect.driver not in ("psycopg", "psycopg2", "asyncpg"):
        raise UnknownDestinationError(
            f"is an engine of {dialect.name}+{dialect.driver}, of which is not known where it leads"
        )
    if any(arguments) or any(name in named for name in ("dsn", "conninfo", "async_creator_fn", "connection_factory")):
        raise UnknownDestinationError("has connect_args that may lead it anywhere; name host, port and dbname alone")
    parameters = {**named, "dbname": named.get("dbname", named.get("database"))}
    for name in ("host", "port"):
        if isinstance(parameters.get(name), (list, tuple)):
            parameters[name] = ",".join(map(str, parameters[name]))
    return libpq.of_parameters(parameters, environ)


def _factory(factory: Any, environ: Environ) -> tuple[Endpoint, ...]:
    """Of sessions."""
    return _binds([factory.kw.get("bind"), *(factory.kw.get("binds") or {}).values()], environ)


def _session(session: Any, environ: Environ) -> tuple[Endpoint, ...]:
    inner = getattr(session, "sync_session", session)
    return _binds([inner.bind, *vars(inner).get("_Session__binds", {}).values()], environ)


def _binds(binds: list[Any], environ: Environ) -> tuple[Endpoint, ...]:
    bound = [bind for bind in binds if bind is not None]
    if not bound:
        raise UnknownDestinationError("is bound to no engine")
    # An engine, a connection, or the asynchronous kind of either.
    return tuple(
        endpoint
        for bind in bound
        for endpoint in _engine(getattr(bind, "sync_engine", getattr(bind, "engine", bind)), environ)
    )


def _connection(connection: Any, environ: Environ) -> tuple[Endpoint, ...]:
    """Of psycopg, that is open."""
    if connection.closed:
        raise UnknownDestinationError("is a connection that is closed")
    return libpq.of_parameters(connection.info.get_parameters(), environ)


def _pool(pool: Any, environ: Environ) -> tuple[Endpoint, ...]:
    conninfo, named = pool.conninfo, pool.kwargs
    if callable(conninfo) or callable(named):
        raise UnknownDestinationError("is a pool that asks a function where to connect; name its URL instead")
    text = conninfo or ""
    parameters = libpq.parse_url(text, of_sqlalchemy=False) if "://" in text else libpq.parse_pairs(text)
    return libpq.of_parameters({**parameters, **(named or {})}, environ)


def _nats(client: Any, _environ: Environ) -> tuple[Endpoint, ...]:
    servers = [server.geturl() for server in client.servers]
    if not servers:
        raise UnknownDestinationError("is a NATS client that was told of no server yet; check it once it connects")
    return of_nats(servers)


def _kafka(client: Any, _environ: Environ) -> tuple[Endpoint, ...]:
    inner = getattr(client, "client", None) or getattr(client, "_client", None) or client
    return of_kafka(vars(inner)["_bootstrap_servers"])


_READERS: Mapping[tuple[str, str], Callable[[Any, Environ], tuple[Endpoint, ...]]] = {
    ("sqlalchemy", "Engine"): _engine,
    ("sqlalchemy", "AsyncEngine"): lambda engine, environ: _engine(engine.sync_engine, environ),
    ("sqlalchemy", "Connection"): lambda connection, environ: _engine(connection.engine, environ),
    ("sqlalchemy", "AsyncConnection"): lambda connection, environ: _engine(connection.engine.sync_engine, environ),
    ("sqlalchemy", "URL"): lambda url, environ: of_string(url.render_as_string(hide_password=False), environ),
    ("sqlalchemy", "sessionmaker"): _factory,
    ("sqlalchemy", "async_sessionmaker"): _factory,
    ("sqlalchemy", "Session"): _session,
    ("sqlalchemy", "AsyncSession"): _session,
    ("sqlalchemy", "scoped_session"): lambda scoped, environ: _factory(scoped.session_factory, environ),
    ("sqlalchemy", "async_scoped_session"): lambda scoped, environ: _factory(scoped.session_factory, environ),
    ("psycopg", "BaseConnection"): _connection,
    ("psycopg_pool", "BasePool"): _pool,
    ("nats", "Client"): _nats,
    ("nats", "JetStreamContext"): lambda stream, environ: _nats(vars(stream)["_nc"], environ),
    ("aiokafka", "AIOKafkaClient"): _kafka,
    ("aiokafka", "AIOKafkaProducer"): _kafka,
    ("aiokafka", "AIOKafkaConsumer"): _kafka,
}
"""Package and class → what tells where one leads."""
