"""What figures of the control plane stand beside: a server that only answers, and a database that only writes."""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from control_plane import START_SECONDS, STOP_SECONDS
from e2e.harness import free_ports

_AUTOMATIC = {"content-length", "date", "server"}


@contextmanager
def bare_server(answer: httpx2.Response, folder: Path) -> Iterator[str]:
    """URL of a Starlette app, under the same server as the control plane, that gives this answer to everybody."""
    (port,) = free_ports(1)
    body = folder / "body"
    body.write_bytes(answer.content)
    headers = [f"{name}={value}" for name, value in answer.headers.items() if name not in _AUTOMATIC]
    command = [sys.executable, __file__, str(port), str(answer.status_code), str(body), *headers]
    process = subprocess.Popen(command)
    try:
        until = time.monotonic() + START_SECONDS
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > until:
                sys.exit("the bare server does not start")
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def _answers(port: int) -> bool:
    try:
        httpx2.get(f"http://127.0.0.1:{port}/", trust_env=False)
    except httpx2.HTTPError:
        return False
    return True


def serve(port: int, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    """Give everybody this answer."""

    async def give(_request: Request) -> Response:
        return Response(body, status, dict(headers))

    app = Starlette(routes=[Route("/{rest:path}", give)])
    uvicorn.run(app, http="httptools", host="127.0.0.1", port=port, access_log=False, log_level="warning")


class BareDatabase:
    """The rows that an assignment writes, in a copy of the control plane's own tables, by sqlite3 alone."""

    def __init__(self, path: Path, copy_of: Path) -> None:
        with sqlite3.connect(copy_of) as source:
            found = source.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%'")
            statements = [text for (text,) in found]
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        for statement in sorted(statements, key=lambda text: not text.startswith("CREATE TABLE")):
            self._database.execute(statement)
        self._epoch = 0

    def close(self) -> None:
        """Close it."""
        self._database.close()

    def assign(self, rows: Sequence[tuple[str, str]], *, at_once: int) -> float:
        """Write so many (tenant, cell) in each transaction; seconds that it took."""
        began = time.perf_counter()
        for start in range(0, len(rows), at_once):
            part = rows[start : start + at_once]
            self._database.execute("BEGIN IMMEDIATE")
            first, self._epoch = self._epoch + 1, self._epoch + len(part)
            for statement, values in _written(first, part):
                self._database.executemany(statement, values)
            self._database.execute("COMMIT")
        return time.perf_counter() - began


_NOW = "2026-01-01T00:00:00.000+00:00"
_LOAD = {"tenants": 1, "rps": 0.0, "storage_gib": 0.0}
_REST = json.dumps(
    {"state": "active", "pool": None, "placed_pool": "default", "tier": "", "jurisdiction": "", "attributes": {}}
    | {"load": _LOAD, "shard_size": None, "policy": {}}
)
_REMOVE_TENANT = "DELETE FROM tenants WHERE id = ?"
_ADD_TENANT = """
    INSERT INTO tenants (id, shard, state, placed_pool, tier, jurisdiction, attributes, load, version)
    VALUES (?, ?, 'active', 'default', '', '', '{}', ?, ?)
"""
_REMOVE_ASSIGNMENT = "DELETE FROM assignments WHERE tenant = ? AND cell = ?"
_ADD_ASSIGNMENT = "INSERT INTO assignments (tenant, cell) VALUES (?, ?)"
_ADD_CHANGE = """
    INSERT INTO changes (epoch, at, actor, reason, on_behalf_of, kind, id, action, before, after)
    VALUES (?, ?, 'admin', '', '', 'tenant', ?, 'put', NULL, ?)
"""


def _written(first: int, part: Sequence[tuple[str, str]]) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    """The statements that assign these tenants to these cells, each with its rows."""
    load = json.dumps(_LOAD)
    yield _REMOVE_TENANT, [(tenant,) for tenant, _ in part]
    yield _ADD_TENANT, [(*row, load, epoch) for epoch, row in enumerate(part, first)]
    yield _REMOVE_ASSIGNMENT, list(part)
    yield _ADD_ASSIGNMENT, list(part)
    after = f'{{"id": "%s", "shard": ["%s"], {_REST[1:]}'
    yield _ADD_CHANGE, [(epoch, _NOW, row[0], after % row) for epoch, row in enumerate(part, first)]


if __name__ == "__main__":
    _, _port, _status, _body, *_headers = sys.argv
    serve(int(_port), int(_status), Path(_body).read_bytes(), dict(each.split("=", 1) for each in _headers))
