"""Metrics of a cell, as they are told of apps that really serve."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import flask
import httpx2
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter, generate_latest
from starlette.responses import StreamingResponse

from cellplane.cell import CellMiddleware
from cellplane.cell.telemetry import (
    CellRegistry,
    GoldenSignals,
    SignalledApp,
    SignalledWsgiApp,
    TenantLabel,
    note_route,
)
from cellplane.cell.telemetry.signals import route_of_environ, route_of_scope

ROUTED = {"x-cell-id": "cell-3", "x-cell-epoch": "7", "x-tenant-id": "acme"}


def samples(registry: CollectorRegistry, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    return {
        tuple(sorted(sample.labels.items())): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == name
    }


def labels(**said: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(said.items()))


def test_every_series_says_its_cell() -> None:
    registry, other = CellRegistry("cell-3"), CollectorRegistry()
    registry.include(other)
    Counter("orders", "Orders.", ("kind",), registry=registry).labels("new").inc()
    Counter("mails", "Mails.", registry=other).inc(2)
    Counter("own", "Of another cell.", ("cell",), registry=registry).labels("cell-4").inc()
    text = generate_latest(registry).decode()
    assert 'orders_total{cell="cell-3",kind="new"} 1.0' in text
    assert 'mails_total{cell="cell-3"} 2.0' in text
    assert 'own_total{cell="cell-4"} 1.0' in text
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all('cell="cell-' in line for line in lines)


def test_tenants_are_told_apart_up_to_a_number() -> None:
    label = TenantLabel(2, always=("vip",))
    assert [label.of(tenant) for tenant in ("a", "b", "c", "a", "vip", None)] == ["a", "b", "other", "a", "vip", ""]
    assert TenantLabel(0).of("a") == "other"


def fastapi_app() -> FastAPI:
    app = FastAPI()

    @app.get("/orders/{order}")
    async def read(order: str) -> dict[str, str]:
        if order == "bad":
            raise RuntimeError
        return {"id": order}

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"a"
            yield b"b"

        return StreamingResponse(parts())

    return app


def test_routes_of_fastapi_are_counted_by_template_and_tenant() -> None:
    registry = CellRegistry("cell-3")
    app = CellMiddleware(SignalledApp(fastapi_app(), GoldenSignals(registry)), "cell-3")

    async def main() -> None:
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://cell", headers=ROUTED) as http:
            for path in ("/orders/1", "/orders/2", "/orders/bad", "/nowhere", "/stream"):
                await http.get(path)
            await http.request("BREW", "/orders/1")

    asyncio.run(main())
    found = samples(registry, "cell_requests_total")
    tenant = {"tenant": "acme", "cell": "cell-3"}
    assert found == {
        labels(route="/orders/{order}", method="GET", code="200", **tenant): 2.0,
        labels(route="/orders/{order}", method="GET", code="500", **tenant): 1.0,
        labels(route="unmatched", method="GET", code="404", **tenant): 1.0,
        labels(route="/stream", method="GET", code="200", **tenant): 1.0,
        labels(route="/orders/{order}", method="other", code="405", **tenant): 1.0,
    }
    assert samples(registry, "cell_requests_in_progress") == {labels(cell="cell-3"): 0.0}
    counts = samples(registry, "cell_request_duration_seconds_count")
    assert counts[labels(route="/orders/{order}", method="GET", cell="cell-3")] == 3.0


def call_wsgi(app: Any, path: str) -> tuple[str, bytes]:
    said: list[str] = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "SERVER_NAME": "cell",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": None,
        "wsgi.errors": None,
    }
    answer: Iterable[bytes] = app(environ, lambda status, _headers, *_: said.append(status))
    try:
        body = b"".join(answer)
    finally:
        close = getattr(answer, "close", None)
        if close is not None:
            close()
            close()
    return said[0], body


def test_routes_of_flask_are_counted_until_their_answers_are_sent() -> None:
    registry = CellRegistry("cell-3")
    app = flask.Flask(__name__)
    at_work: list[float] = []

    @app.get("/orders/<order>")
    def read(order: str) -> flask.Response:
        def parts() -> Iterable[str]:
            at_work.extend(samples(registry, "cell_requests_in_progress").values())
            yield order

        return flask.Response(parts())

    signalled = SignalledWsgiApp(app, GoldenSignals(registry))
    assert call_wsgi(signalled, "/orders/1") == ("200 OK", b"1")
    call_wsgi(signalled, "/nowhere")
    assert at_work == [1.0]
    assert samples(registry, "cell_requests_total") == {
        labels(route="/orders/<order>", method="GET", code="200", tenant="", cell="cell-3"): 1.0,
        labels(route="unmatched", method="GET", code="404", tenant="", cell="cell-3"): 1.0,
    }
    assert samples(registry, "cell_requests_in_progress") == {labels(cell="cell-3"): 0.0}


def test_a_wsgi_app_that_fails_is_counted_once() -> None:
    registry = CellRegistry("cell-3")

    def failing(*_: object) -> Iterable[bytes]:
        raise LookupError

    with pytest.raises(LookupError):
        call_wsgi(SignalledWsgiApp(failing, GoldenSignals(registry)), "/")
    (found,) = samples(registry, "cell_requests_total").items()
    assert found == (labels(route="unmatched", method="GET", code="500", tenant="", cell="cell-3"), 1.0)


class Match:
    route = "orders/<int:order>/"


class Request:
    """As much of Django's as ``note_route`` uses."""

    def __init__(self, resolver_match: Match | None, **more: Any) -> None:
        self.resolver_match = resolver_match
        self.META: dict[str, Any] = {}
        vars(self).update(more)


def test_django_notes_its_route() -> None:
    middleware = note_route(lambda _request: "answer")
    wsgi, asgi, none = Request(Match()), Request(Match(), scope={}), Request(None)
    assert [middleware(request) for request in (wsgi, asgi, none)] == ["answer"] * 3
    assert route_of_environ(wsgi.META) == "/orders/<int:order>/"
    assert route_of_scope(asgi.scope) == "/orders/<int:order>/"  # type: ignore[attr-defined]
    assert route_of_environ(none.META) is None
