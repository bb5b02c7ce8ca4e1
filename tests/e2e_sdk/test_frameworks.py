"""The cell's door around real apps on real servers: whose request it is, wherever an app looks, and no other's."""

import asyncio
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

import httpx2
import pytest

from cellplane.cell import Moves
from cellplane.cell.door import RequestLine, Routing
from cellplane.cell.proof import parse_keys, sign
from cellplane.signed_cookie import new_secret
from e2e_app.servers import Process, eventually, free_port, listens
from e2e_sdk.apps import CELL_ID, PARTS
from support import plain_http

KINDS = {
    "fastapi-asgi": ("async", "sync", "stream", "sync-stream"),
    "starlette-asgi": ("async", "sync", "stream"),
    "django-asgi": ("async", "sync", "stream"),
    "django-wsgi": ("async", "sync", "stream"),
    "flask-wsgi": ("sync", "stream"),
    "flask-werkzeug": ("sync", "stream"),
}
REQUESTS = 120
AT_ONCE = 100


@dataclass
class Served:
    """An app on its server."""

    kind: str
    folder: Path
    url: str

    def get(self, path: str, headers: dict[str, str]) -> httpx2.Response:
        return plain_http.get(f"{self.url}{path}", headers=headers, timeout=20)

    def moves(self) -> Moves:
        return Moves(self.folder / "moves", CELL_ID)


def routed(tenant: str = "acme", epoch: int = 7) -> dict[str, str]:
    return {"x-cell-id": CELL_ID, "x-cell-epoch": str(epoch), "x-tenant-id": tenant}


@contextmanager
def served(kind: str, folder: Path) -> Iterator[Served]:
    port = free_port()
    tests = Path(__file__).resolve().parents[1]
    environ = {**os.environ, "PYTHONPATH": str(tests), "APP_FOLDER": str(folder), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "e2e_sdk.apps", kind, str(folder), str(port)]
    process = Process(kind, command, folder / "app.log", environ)
    process.start()
    try:
        eventually(f"{kind} listens", lambda: listens(port), 30)
        yield Served(kind, folder, f"http://127.0.0.1:{port}")
    finally:
        process.stop()


@pytest.fixture(scope="module", params=KINDS)
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(request.param, tmp_path_factory.mktemp("app")) as running:
        yield running


def expected(path: str, whose: str) -> object:
    return {
        "async": {"handler": whose, "task": f"{whose},{whose}"},
        # A thread that is made by hand knows nobody; by carried() it does.
        "sync": {"handler": whose, "thread": f"nobody,{whose}"},
    }.get(path, f"{whose}\n" * PARTS)


def found(path: str, answer: httpx2.Response) -> object:
    assert answer.status_code == 200, answer.text
    return answer.text if "stream" in path else answer.json()


def test_handlers_tasks_threads_and_streams_know_whose_request_it_is(app: Served) -> None:
    for path in KINDS[app.kind]:
        assert found(path, app.get(f"/{path}", routed())) == expected(path, "acme@7"), path


def test_no_two_of_many_requests_at_once_are_mixed_up(app: Served) -> None:
    rng = random.Random(6)
    paths = KINDS[app.kind]

    async def ask(client: httpx2.AsyncClient, number: int, gate: asyncio.Semaphore) -> None:
        path, tenant, epoch = rng.choice(paths), f"tenant-{number}", 100 + number
        async with gate:
            answer = await client.get(f"/{path}", headers=routed(tenant, epoch))
        assert found(path, answer) == expected(path, f"{tenant}@{epoch}")

    async def main() -> None:
        gate = asyncio.Semaphore(AT_ONCE)
        limits = httpx2.Limits(max_connections=AT_ONCE)
        client = plain_http.async_client(base_url=app.url, timeout=60, limits=limits)
        async with client, asyncio.TaskGroup() as group:
            for number in range(REQUESTS):
                group.create_task(ask(client, number, gate))

    asyncio.run(main())


def test_background_work_knows_whose_it_is(app: Served) -> None:
    app.get("/background", routed("later", 9))
    log = app.folder / "background"
    lines = {"fastapi-asgi": ["async later@9", "sync later@9"], "starlette-asgi": ["async later@9"]}
    expected_lines = lines.get(app.kind, ["thread later@9"])
    eventually("the work is done", lambda: log.exists() and log.read_text().splitlines() == expected_lines)


def test_an_answer_that_nobody_waits_for_leaves_nothing_behind(app: Served) -> None:
    for _ in range(20):
        with httpx2.stream("GET", f"{app.url}/stream", headers=routed("gone"), trust_env=False) as answer:
            next(answer.iter_raw())
    for path in KINDS[app.kind]:
        assert found(path, app.get(f"/{path}", routed("next"))) == expected(path, "next@7")


def test_health_checks_need_no_router(app: Served) -> None:
    if app.kind.startswith("starlette"):
        pytest.skip("it has none")
    assert app.get("/healthz", {}).json() == {"handler": "nobody"}


def test_what_is_not_for_this_cell_is_refused(app: Served) -> None:
    for changes, status, code in [
        ({"x-cell-id": "cell-b"}, 421, "wrong-cell"),
        ({"x-cell-id": ""}, 421, "no-cell"),
        ({"x-cell-epoch": "-1"}, 400, "invalid-epoch"),
        ({"x-tenant-id": "t" * 129}, 400, "no-tenant"),
        ({"x-tenant-id": "acme,globex"}, 400, "ambiguous-cell-headers"),
    ]:
        answer = app.get("/sync", {**routed(), **changes})
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["content-type"] == "application/problem+json"
    headers = [*routed().items(), ("x-tenant-id", "globex")]
    answer = plain_http.get(f"{app.url}/sync", headers=headers)
    assert answer.json()["code"] == "ambiguous-cell-headers"
    latin = [(name.encode(), value.encode()) for name, value in routed().items() if name != "x-tenant-id"]
    latin.append((b"x-tenant-id", b"acm\xe9"))
    assert plain_http.get(f"{app.url}/sync", headers=latin).json()["code"] == "no-tenant"


def test_a_tenant_that_was_given_away_is_refused_at_once(app: Served) -> None:
    moves = app.moves()
    assert app.get("/sync", routed("mover", 7)).status_code == 200
    moves.note("mover", "cell-b", 8)
    answer = app.get("/sync", routed("mover", 7))
    assert (answer.status_code, answer.json()["code"], answer.headers["x-cell-epoch"]) == (421, "tenant-moved", "8")
    moves.note("mover", CELL_ID, 9)
    assert app.get("/sync", routed("mover", 7)).status_code == 200


@pytest.mark.parametrize("kind", ["fastapi-asgi", "django-asgi", "django-wsgi", "flask-wsgi", "flask-werkzeug"])
def test_what_no_router_signed_is_refused(kind: str, tmp_path: Path) -> None:
    text = f"a {new_secret()}\n"
    (tmp_path / "proof-keys").write_text(text)

    def proven(path: str, method: str = "GET") -> dict[str, str]:
        headers = routed()
        routing = Routing(CELL_ID.encode(), b"7", b"acme", b"")
        before, _, query = path.partition("?")
        line = RequestLine(method.encode(), unquote_to_bytes(before), query.encode())
        return {**headers, "x-cell-proof": sign(parse_keys(text), routing, line, int(time.time())).decode()}

    with served(kind, tmp_path) as app:
        assert app.get("/sync", routed()).json()["code"] == "no-proof"
        for path in ("/sync", "/sync?", "/sync?a=%2F&b=%20c", "/a%20b", "/a%20b?%C3%A4"):
            assert app.get(path, proven(path)).status_code == 200, path
        assert app.get("/sync", proven("/other")).json()["code"] == "invalid-proof"
        assert app.get("/sync", proven("/sync", "POST")).status_code == 403
        assert app.get("/sync?a", proven("/sync?b")).status_code == 403
        assert app.get("/healthz", {}).status_code == 200
