"""What a cell lets in, with which context, and how it refuses the rest."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellplane.cell import CellContext, CellLoad, CellMiddleware, InvalidSettingError, current, current_or_none
from cellplane.cell.asgi import Message, Receive, Scope, Send

Headers = Sequence[tuple[bytes, bytes]]

ROUTED: Headers = [(b"host", b"a"), (b"x-cell-id", b"cell-a"), (b"x-cell-epoch", b"7"), (b"x-tenant-id", b"acme")]


class App:
    """Notes the context of each call and answers with its tenant."""

    def __init__(self) -> None:
        self.contexts: list[CellContext | None] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.contexts.append(current_or_none())
        await send({"type": "http.response.start", "status": 204, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b""})


def call(
    app: App,
    headers: Headers,
    *,
    kind: str = "http",
    path: str = "/x",
    middleware: CellMiddleware | None = None,
    **scope: Any,
) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("the body is not the middleware's to read")

    async def send(message: Message) -> None:
        sent.append(message)

    middleware = middleware or CellMiddleware(app, cell_id="cell-a")
    asyncio.run(middleware({"type": kind, "path": path, "headers": headers, **scope}, receive, send))
    assert current_or_none() is None
    return sent


def problem(sent: list[Message], prefix: str = "http.response") -> dict[str, Any]:
    start, body = sent
    assert (start["type"], body["type"]) == (f"{prefix}.start", f"{prefix}.body")
    headers = dict(start["headers"])
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"content-length"] == str(len(body["body"])).encode()
    document: dict[str, Any] = json.loads(body["body"])
    assert document["status"] == start["status"]
    assert document["type"] == f"urn:cellplane:problem:{document['code']}"
    return document


def routed(changes: Mapping[bytes, bytes | None]) -> Headers:
    """The headers of a router, some replaced, some (None) left out."""
    values = {**dict(ROUTED), **changes}
    return [(name, value) for name, value in values.items() if value is not None]


def test_routed_request_runs_in_its_context_and_its_answer_is_untouched() -> None:
    app = App()
    start, body = call(app, ROUTED)
    assert app.contexts == [CellContext("cell-a", 7, "acme")]
    assert start == {"type": "http.response.start", "status": 204, "headers": [(b"a", b"b")]}
    assert body == {"type": "http.response.body", "body": b""}


def test_context_ends_also_when_the_app_fails() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError(current().tenant_id)

    async def unused(*_: object) -> Any:
        raise AssertionError

    async def main() -> CellContext | None:
        with pytest.raises(LookupError, match="acme"):
            await CellMiddleware(failing, "cell-a")({"type": "http", "path": "/", "headers": ROUTED}, unused, unused)
        return current_or_none()

    assert asyncio.run(main()) is None


@pytest.mark.parametrize("path", ["/healthz"])
def test_exempt_path_needs_no_router_and_has_no_context(path: str) -> None:
    app = App()
    call(app, [], path=path)
    call(app, ROUTED, path=path)
    assert app.contexts == [None, None]


@pytest.mark.parametrize("path", ["/healthz/", "/healthz/x", "/HEALTHZ", "//healthz"])
def test_path_beside_an_exempt_one_is_not_exempt(path: str) -> None:
    app = App()
    assert problem(call(app, [], path=path))["code"] == "no-cell"
    assert app.contexts == []


@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "/metrics/a/b"])
def test_private_path_is_for_whoever_comes_by_no_router(path: str) -> None:
    app = App()
    assert problem(call(app, ROUTED, path=path))["code"] == "not-found"
    assert problem(call(app, [(b"x-cell-id", b"cell-b")], path=path))["status"] == 404
    (closed,) = call(app, ROUTED, path=path, kind="websocket")
    assert closed["type"] == "websocket.close"
    assert app.contexts == []
    call(app, [], path=path)
    assert app.contexts == [None]


def test_path_beside_a_private_one_is_a_tenants() -> None:
    app = App()
    for path in ("/metrics-of-acme", "/x/metrics", "/Metrics"):
        call(app, ROUTED, path=path)
        assert problem(call(app, [], path=path))["code"] == "no-cell"
    call(app, ROUTED, path="/metrics", middleware=CellMiddleware(app, "cell-a", private_paths=()))
    assert app.contexts == [CellContext("cell-a", 7, "acme")] * 4


def test_lifespan_passes() -> None:
    app = App()
    sent: list[Message] = []

    async def receive() -> Message:
        return {}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(CellMiddleware(app, "cell-a")({"type": "lifespan"}, receive, send))
    assert app.contexts == [None]


REFUSALS: list[tuple[str, Mapping[bytes, bytes | None], int, str]] = [
    ("another cell", {b"x-cell-id": b"cell-b"}, 421, "wrong-cell"),
    ("other case", {b"x-cell-id": b"CELL-A"}, 421, "wrong-cell"),
    ("bytes as cell", {b"x-cell-id": b"\xff" * 500}, 421, "wrong-cell"),
    ("two cells in one header", {b"x-cell-id": b"cell-a, cell-a"}, 400, "ambiguous-cell-headers"),
    ("two tenants in one header", {b"x-tenant-id": b"acme,globex"}, 400, "ambiguous-cell-headers"),
    ("no cell", {b"x-cell-id": None}, 421, "no-cell"),
    ("empty cell", {b"x-cell-id": b""}, 421, "no-cell"),
    ("no epoch", {b"x-cell-epoch": None}, 400, "invalid-epoch"),
    ("empty epoch", {b"x-cell-epoch": b""}, 400, "invalid-epoch"),
    ("signed epoch", {b"x-cell-epoch": b"+7"}, 400, "invalid-epoch"),
    ("hexadecimal epoch", {b"x-cell-epoch": b"0x7"}, 400, "invalid-epoch"),
    ("digits of other scripts", {b"x-cell-epoch": "٧".encode()}, 400, "invalid-epoch"),
    ("epoch of 21 digits", {b"x-cell-epoch": b"1" * 21}, 400, "invalid-epoch"),
    ("no tenant", {b"x-tenant-id": None}, 400, "no-tenant"),
    ("empty tenant", {b"x-tenant-id": b""}, 400, "no-tenant"),
    ("tenant of 129 bytes", {b"x-tenant-id": b"t" * 129}, 400, "no-tenant"),
    ("tenant beyond ASCII", {b"x-tenant-id": "ä".encode()}, 400, "no-tenant"),
    ("tenant with NUL", {b"x-tenant-id": b"a\0b"}, 400, "no-tenant"),
]


@pytest.mark.parametrize(
    ("changes", "status", "code"), [each[1:] for each in REFUSALS], ids=[each[0] for each in REFUSALS]
)
def test_request_is_refused(changes: Mapping[bytes, bytes | None], status: int, code: str) -> None:
    app = App()
    document = problem(call(app, routed(changes)))
    assert (document["status"], document["code"]) == (status, code)
    assert app.contexts == []
    assert len(document["detail"]) < 1000


def test_refusal_of_another_cells_request_names_this_cell() -> None:
    assert problem(call(App(), routed({b"x-cell-id": b"cell-b"})))["cell"] == "cell-a"


def said_epoch(sent: list[Message]) -> bytes | None:
    return dict(sent[0]["headers"]).get(b"x-cell-epoch")


def test_a_refusal_of_an_old_table_says_the_newest_epoch_that_is_known() -> None:
    app = App()
    middleware = CellMiddleware(app, "cell-a")
    other = {b"x-cell-id": b"cell-b"}
    sent = call(app, routed(other), middleware=middleware)
    assert (said_epoch(sent), "epoch" in problem(sent)) == (None, False)
    call(app, routed({b"x-cell-epoch": b"9"}), middleware=middleware)
    sent = call(app, routed(other), middleware=middleware)
    assert (said_epoch(sent), problem(sent)["epoch"]) == (b"9", 9)
    assert said_epoch(call(app, routed({**other, b"x-cell-epoch": b"9"}), middleware=middleware)) is None


def test_a_tenant_that_moved_is_refused_until_a_table_says_that_it_is_here() -> None:
    app = App()
    middleware = CellMiddleware(app, "cell-a", moved={"acme": 8}.get)
    sent = call(app, ROUTED, middleware=middleware)
    assert (problem(sent)["status"], problem(sent)["code"]) == (421, "tenant-moved")
    assert (said_epoch(sent), problem(sent)["epoch"]) == (b"8", 8)
    assert app.contexts == []
    call(app, routed({b"x-cell-epoch": b"8"}), middleware=middleware)
    call(app, routed({b"x-tenant-id": b"globex"}), middleware=middleware)
    assert app.contexts == [CellContext("cell-a", 8, "acme"), CellContext("cell-a", 7, "globex")]


def test_the_load_is_said_now_and_then() -> None:
    app, now, load = App(), [100.0], [CellLoad(12.5, 0.8)]
    middleware = CellMiddleware(app, "cell-a", load=lambda: load[0], clock=lambda: now[0])

    def said() -> list[bytes]:
        headers = call(app, ROUTED, middleware=middleware)[0]["headers"]
        assert headers[0] == (b"a", b"b")
        return [value for name, value in headers if name == b"endpoint-load-metrics"]

    assert said() == [b"TEXT named_metrics.queue_lag_seconds=12.5,named_metrics.connection_pool_use=0.8"]
    now[0] += 0.4
    assert said() == []
    now[0] += 0.1
    load[0] = CellLoad(queue_lag_seconds=0.0)
    assert said() == [b"TEXT named_metrics.queue_lag_seconds=0"]


@pytest.mark.parametrize("amount", [None, -1.0, float("nan"), float("inf")])
def test_a_load_of_which_nothing_is_known_is_not_said(amount: float | None) -> None:
    assert CellLoad(amount, amount).to_header() == b""
    app = App()
    sent = call(app, ROUTED, middleware=CellMiddleware(app, "cell-a", load=lambda: CellLoad(amount)))
    assert sent[0]["headers"] == [(b"a", b"b")]


@pytest.mark.parametrize("name", [b"x-cell-id", b"x-cell-epoch", b"x-tenant-id"])
@pytest.mark.parametrize("same", [True, False])
def test_repeated_header_is_refused(name: bytes, same: bool) -> None:
    value = dict(ROUTED)[name] if same else b"x"
    document = problem(call(App(), [*ROUTED, (name, value)]))
    assert (document["status"], document["code"]) == (400, "ambiguous-cell-headers")


def test_other_headers_may_be_repeated() -> None:
    app = App()
    call(app, [(b"cookie", b"a"), *ROUTED, (b"cookie", b"b")])
    assert len(app.contexts) == 1


def test_limits_themselves_are_allowed() -> None:
    app = App()
    call(app, routed({b"x-cell-epoch": b"9" * 20, b"x-tenant-id": b"t" * 128}))
    assert app.contexts == [CellContext("cell-a", 10**20 - 1, "t" * 128)]


def test_websocket_runs_in_its_context() -> None:
    app = App()
    call(app, ROUTED, kind="websocket")
    assert app.contexts == [CellContext("cell-a", 7, "acme")]


@pytest.mark.parametrize("scope", [{}, {"extensions": None}, {"extensions": {}}])
def test_websocket_is_closed_before_it_is_accepted(scope: dict[str, Any]) -> None:
    app = App()
    sent = call(app, routed({b"x-cell-id": b"cell-b"}), kind="websocket", **scope)
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": "wrong-cell"}]
    assert app.contexts == []


def test_websocket_is_refused_with_a_problem_where_the_server_can() -> None:
    sent = call(App(), [], kind="websocket", extensions={"websocket.http.response": {}})
    assert problem(sent, "websocket.http.response")["code"] == "no-cell"


@pytest.mark.parametrize("cell_id", ["", "cell a", "ä"])
def test_own_cell_id_must_fit_a_header(cell_id: str) -> None:
    with pytest.raises(InvalidSettingError, match="cell_id"):
        CellMiddleware(App(), cell_id=cell_id)


names = st.sampled_from([b"x-cell-id", b"x-cell-epoch", b"x-tenant-id", b"cookie"])
header_values = st.sampled_from([b"cell-a", b"7", b"acme", b""]) | st.binary(max_size=140)


@given(headers=st.lists(st.tuples(names, header_values), max_size=5))
def test_app_runs_only_in_the_context_that_the_headers_name_once(headers: list[tuple[bytes, bytes]]) -> None:
    app = App()
    sent = call(app, headers)
    if app.contexts:
        [context] = app.contexts
        assert context is not None
        given_values = sorted(value for name, value in headers if name == b"x-tenant-id")
        assert given_values == [context.tenant_id.encode()]
        assert [value for name, value in headers if name == b"x-cell-id"] == [b"cell-a"]
    else:
        assert problem(sent)["status"] in (400, 421)
