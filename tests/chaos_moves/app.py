"""A cell's app, as light as one can be: ``python -m chaos_moves.app --cell cell-a --port 20001 --database URL …``.

A row has a key and the number of the write that made it so. Each write is one statement, which also adds a row to the
log: who took it, and when. That moment is read behind the write itself, so that it lies in the time in which the
database took the tenant's writes. One that is to ``nap`` is under way for so long behind that, in seconds.
"""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import psycopg
import uvicorn

from cellplane.cell import CellMiddleware, Moves, current

SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    tenant_id text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    value bigint NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
CREATE TABLE IF NOT EXISTS log (
    tenant_id text COLLATE "C" NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    number bigint NOT NULL,
    key text COLLATE "C" NOT NULL,
    cell text COLLATE "C" NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
)"""

_CHANGES = {
    "insert": "INSERT INTO entries VALUES (%(tenant)s, %(key)s, %(number)s) ON CONFLICT DO NOTHING RETURNING 1",
    "update": "UPDATE entries SET value = %(number)s WHERE tenant_id = %(tenant)s AND key = %(key)s RETURNING 1",
    "delete": "DELETE FROM entries WHERE tenant_id = %(tenant)s AND key = %(key)s RETURNING 1",
}
_WRITE = """
WITH changed AS ({change})
INSERT INTO log (tenant_id, number, key, cell, at)
SELECT %(tenant)s, %(number)s, %(key)s, %(cell)s, clock_timestamp() FROM changed
RETURNING extract(epoch FROM at)::double precision, pg_sleep(%(nap)s)::text"""
_READ = "SELECT value FROM entries WHERE tenant_id = %(tenant)s AND key = %(key)s"

MOVING = "57CP1"
CONNECT_SECONDS = 2
MAX_CONNECTIONS = 16
REFUSED = b"x-refused"
"""Header of an answer to a write that was certainly not done."""


class NotConnectedError(Exception):
    """The database does not take connections: nothing was sent to it."""


class Database:
    """Connections to the cell's database, which may come and go."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._idle: list[psycopg.AsyncConnection[Any]] = []
        self._free = asyncio.Semaphore(MAX_CONNECTIONS)

    async def row(self, query: str, values: dict[str, Any]) -> tuple[Any, ...] | None:
        """The first row that a statement returns."""
        async with self._connection() as connection:
            return await (await connection.execute(query.encode(), values)).fetchone()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        async with self._free:
            connection = self._idle.pop() if self._idle else await self._connect()
            try:
                yield connection
            finally:
                if connection.broken or connection.closed:
                    # The others are of the same server, which is gone.
                    for each in (connection, *self._idle):
                        await each.close()
                    self._idle = []
                else:
                    self._idle.append(connection)

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        try:
            return await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, connect_timeout=CONNECT_SECONDS, prepare_threshold=1
            )
        except psycopg.OperationalError as error:
            raise NotConnectedError(str(error)) from error


class App:
    """``GET /entries/KEY``, and ``POST /entries/KEY?op=update&number=7``."""

    def __init__(self, cell: str, database: Database) -> None:
        self._cell = cell
        self._database = database

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        status, refused, body = await self._answer(scope)
        headers = [(b"content-type", b"application/json"), *([(REFUSED, b"yes")] if refused else [])]
        data = json.dumps(body).encode()
        headers.append((b"content-length", str(len(data)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": data})

    async def _answer(self, scope: Any) -> tuple[int, bool, dict[str, Any]]:
        if scope["path"] == "/healthz":
            return 200, False, {}
        values = {"tenant": current().tenant_id, "key": scope["path"].rpartition("/")[2], "cell": self._cell}
        try:
            if scope["method"] == "GET":
                return 200, False, {"value": await self._value(values)}
            asked = {name: found[0] for name, found in parse_qs(scope["query_string"].decode()).items()}
            values |= {"number": int(asked["number"]), "nap": float(asked.get("nap", "0"))}
            row = await self._database.row(_WRITE.format(change=_CHANGES[asked["op"]]), values)
            if row is None:
                return 409, True, {"value": await self._value(values)}
            return 200, False, {"cell": self._cell, "at": row[0]}
        except NotConnectedError as error:
            return 503, True, {"error": str(error)}
        except psycopg.Error as error:
            return 503, error.sqlstate == MOVING, {"error": f"{error.sqlstate} {error}"}

    async def _value(self, values: dict[str, Any]) -> int | None:
        row = await self._database.row(_READ, values)
        return None if row is None else int(row[0])


def main() -> None:
    """Read the command line and serve until the process ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--moves", type=Path, required=True)
    options = parser.parse_args()
    moves = Moves.create(options.moves, options.cell)

    async def serve() -> None:
        app = CellMiddleware(App(options.cell, Database(options.database)), options.cell, moved=moves.moved)
        config = uvicorn.Config(
            app, host="127.0.0.1", port=options.port, log_level="warning", lifespan="off", ws="none"
        )
        await uvicorn.Server(config).serve()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
