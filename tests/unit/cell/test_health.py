"""Whether a process lives, and whether it can serve."""

import asyncio
import json
import threading
from typing import Any

from cellplane.cell.asgi import Message, Receive, Scope, Send
from cellplane.cell.health import CellHealth, HealthLimits, HealthRoutes

QUICK = HealthLimits(probe_seconds=0.05)


async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 299, "headers": []})


async def ask(routes: HealthRoutes, path: str, kind: str = "http") -> tuple[int, dict[bytes, bytes], Any]:
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await routes({"type": kind, "path": path}, receive, send)
    body = json.loads(sent[1]["body"]) if len(sent) > 1 else None
    return sent[0]["status"], dict(sent[0]["headers"]), body


async def works() -> None:
    await asyncio.sleep(0)


def fails() -> None:
    raise ConnectionError("db-7.internal is away")


def test_a_process_lives_whatever_is_away() -> None:
    routes = HealthRoutes(app, CellHealth("cell-3", {"database": fails}, release="7"))
    assert asyncio.run(ask(routes, "/healthz"))[::2] == (200, {"status": "ok", "cell": "cell-3", "release": "7"})


def test_it_is_ready_when_all_that_it_needs_can_be_used() -> None:
    called = threading.Event()
    routes = HealthRoutes(app, CellHealth("cell-3", {"database": works, "queue": called.set}))
    assert asyncio.run(ask(routes, "/readyz"))[::2] == (200, {"status": "ok", "cell": "cell-3"})
    assert called.is_set()


def test_what_cannot_be_used_is_named_and_its_reason_only_where_that_is_wanted() -> None:
    probes = {"queue": works, "database": fails}
    status, headers, found = asyncio.run(ask(HealthRoutes(app, CellHealth("cell-3", probes)), "/readyz"))
    assert (status, found["code"], found["failed"]) == (503, "not-ready", ["database"])
    assert "db-7" not in json.dumps(found)
    assert headers[b"retry-after"] == b"1"
    assert headers[b"content-type"] == b"application/problem+json"
    told = asyncio.run(ask(HealthRoutes(app, CellHealth("cell-3", probes, say=True)), "/readyz"))[2]
    assert told["failed"] == {"database": "ConnectionError: db-7.internal is away"}


def test_who_hangs_is_asked_once_and_keeps_nobody_waiting() -> None:
    asked = 0

    async def hangs() -> None:
        nonlocal asked
        asked += 1
        await asyncio.Event().wait()

    async def main() -> None:
        health = CellHealth("cell-3", {"database": hangs, "queue": works}, limits=QUICK)
        for _ in range(3):
            assert await health.failed() == {"database": "no answer within 0.05 s"}
        assert asked == 1

    asyncio.run(main())


def test_who_comes_back_is_used_again() -> None:
    away = True

    def maybe() -> None:
        if away:
            raise OSError

    async def main() -> None:
        nonlocal away
        health = CellHealth("cell-3", {"database": maybe})
        assert await health.failed() == {"database": "OSError"}
        away = False
        assert await health.failed() == {}

    asyncio.run(main())


def test_a_process_that_stops_says_so_before() -> None:
    health = CellHealth("cell-3", {})
    health.leave()
    status, _, found = asyncio.run(ask(HealthRoutes(app, health), "/readyz"))
    assert (status, found["code"]) == (503, "leaving")
    assert asyncio.run(ask(HealthRoutes(app, health), "/healthz"))[0] == 200


def test_all_else_is_the_apps() -> None:
    routes = HealthRoutes(app, CellHealth("cell-3", {}), liveness="/live", readiness="/ready")
    for path in ("/healthz", "/readyz", "/", "/live/"):
        assert asyncio.run(ask(routes, path))[0] == 299
    assert asyncio.run(ask(routes, "/live", "websocket"))[0] == 299
