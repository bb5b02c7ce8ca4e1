"""The same door for WSGI: in which context an app runs, answers and ends, and what is refused."""

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from cellplane.cell import CellContext, CellLoad, InvalidSettingError, current, current_or_none
from cellplane.cell.wsgi import CellWsgiMiddleware, Environ, StartResponse

ROUTED = {"HTTP_X_CELL_ID": "cell-a", "HTTP_X_CELL_EPOCH": "7", "HTTP_X_TENANT_ID": "acme"}
ACME = CellContext("cell-a", 7, "acme")


class App:
    """Notes the context of each call, each part of its answer, and its end."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, CellContext | None]] = []

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        self.note("call")
        start_response("200 OK", [("content-type", "text/plain")])
        return self._parts()

    def note(self, what: str) -> None:
        self.seen.append((what, current_or_none()))

    def _parts(self) -> Iterator[bytes]:
        try:
            for part in (b"a", b"b"):
                self.note("part")
                yield part
        finally:
            self.note("end")


class Asked:
    """One request, and what the server was told."""

    def __init__(self, middleware: Any, changes: Mapping[str, str | None], path: str = "/x") -> None:
        environ: Environ = {"PATH_INFO": path, "SCRIPT_NAME": "", "QUERY_STRING": ""}
        setup_testing_defaults(environ)
        environ |= {**ROUTED, **changes}
        environ = {name: value for name, value in environ.items() if value is not None}
        self.status = ""
        self.headers: dict[str, str] = {}
        self.parts = middleware(environ, self._start)

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        self.status, self.headers = status, dict(headers)
        return lambda data: None

    def body(self) -> bytes:
        try:
            return b"".join(self.parts)
        finally:
            if hasattr(self.parts, "close"):
                self.parts.close()


def test_context_is_there_while_the_answer_is_made_and_closed_and_not_between() -> None:
    app = App()
    asked = Asked(CellWsgiMiddleware(app, "cell-a"), {})
    parts = iter(asked.parts)
    assert next(parts) == b"a"
    assert current_or_none() is None
    assert list(parts) == [b"b"]
    assert current_or_none() is None
    assert app.seen == [(what, ACME) for what in ("call", "part", "part", "end")]
    assert asked.status == "200 OK"


def test_an_answer_that_is_broken_off_ends_in_its_context() -> None:
    app = App()
    parts = iter(Asked(CellWsgiMiddleware(app, "cell-a"), {}).parts)
    next(parts)
    parts.close()
    assert app.seen[-1] == ("end", ACME)
    assert current_or_none() is None


def test_two_answers_of_one_thread_do_not_mix() -> None:
    app = App()
    middleware = CellWsgiMiddleware(app, "cell-a")
    first, second = (iter(Asked(middleware, {"HTTP_X_TENANT_ID": tenant}).parts) for tenant in ("acme", "globex"))
    for parts in (first, second, first, second):
        next(parts)
    tenants = [context.tenant_id for what, context in app.seen if context is not None and what == "part"]
    assert tenants == ["acme", "globex"] * 2


def test_an_answer_may_be_made_by_another_thread() -> None:
    app = App()
    asked = Asked(CellWsgiMiddleware(app, "cell-a"), {})
    found: list[bytes] = []
    thread = threading.Thread(target=lambda: found.append(asked.body()))
    thread.start()
    thread.join(60)
    assert found == [b"ab"]
    assert {context for _, context in app.seen} == {ACME}


def test_context_ends_also_where_the_app_fails() -> None:
    def failing(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        raise LookupError(current().tenant_id)

    def breaking(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        yield current().tenant_id.encode()
        raise LookupError("broken off")

    with pytest.raises(LookupError, match="acme"):
        Asked(CellWsgiMiddleware(failing, "cell-a"), {})
    assert current_or_none() is None
    with pytest.raises(LookupError, match="broken off"):
        Asked(CellWsgiMiddleware(breaking, "cell-a"), {}).body()
    assert current_or_none() is None


def test_an_answer_that_is_there_whole_stays_what_it_is() -> None:
    whole = [b"a"]
    assert Asked(CellWsgiMiddleware(lambda environ, start_response: whole, "cell-a"), {}).parts is whole


def test_it_keeps_to_the_protocol() -> None:
    middleware = validator(CellWsgiMiddleware(validator(App()), "cell-a"))
    assert Asked(middleware, {}).body() == b"ab"
    refused = Asked(middleware, {"HTTP_X_CELL_ID": "cell-b"})
    assert b"wrong-cell" in refused.body()
    assert refused.status == "421 Misdirected Request"


def test_exempt_path_needs_no_router_and_has_no_context() -> None:
    app = App()
    nothing = dict.fromkeys(ROUTED)
    assert Asked(CellWsgiMiddleware(app, "cell-a"), nothing, "/healthz").body() == b"ab"
    assert {context for _, context in app.seen} == {None}
    assert Asked(CellWsgiMiddleware(app, "cell-a"), nothing, "/healthz/").status == "421 Misdirected Request"


def test_private_path_is_for_whoever_comes_by_no_router() -> None:
    app = App()
    middleware = validator(CellWsgiMiddleware(validator(app), "cell-a"))
    for path in ("/metrics", "/metrics/a"):
        asked = Asked(middleware, {}, path)
        assert b'"code":"not-found"' in asked.body()
        assert asked.status == "404 Not Found"
    assert app.seen == []
    assert Asked(middleware, dict.fromkeys(ROUTED), "/metrics").body() == b"ab"
    assert {context for _, context in app.seen} == {None}


REFUSALS: list[tuple[str, dict[str, str | None], str, str]] = [
    ("another cell", {"HTTP_X_CELL_ID": "cell-b"}, "421 Misdirected Request", "wrong-cell"),
    ("no cell", {"HTTP_X_CELL_ID": None}, "421 Misdirected Request", "no-cell"),
    ("empty cell", {"HTTP_X_CELL_ID": ""}, "421 Misdirected Request", "no-cell"),
    ("two cells", {"HTTP_X_CELL_ID": "cell-a,cell-a"}, "400 Bad Request", "ambiguous-cell-headers"),
    ("two epochs", {"HTTP_X_CELL_EPOCH": "7, 7"}, "400 Bad Request", "ambiguous-cell-headers"),
    ("two tenants", {"HTTP_X_TENANT_ID": "acme,globex"}, "400 Bad Request", "ambiguous-cell-headers"),
    ("two empty tenants", {"HTTP_X_TENANT_ID": ","}, "400 Bad Request", "ambiguous-cell-headers"),
    ("no epoch", {"HTTP_X_CELL_EPOCH": None}, "400 Bad Request", "invalid-epoch"),
    ("superscript", {"HTTP_X_CELL_EPOCH": "\xb2"}, "400 Bad Request", "invalid-epoch"),
    ("epoch of 21 digits", {"HTTP_X_CELL_EPOCH": "1" * 21}, "400 Bad Request", "invalid-epoch"),
    ("no tenant", {"HTTP_X_TENANT_ID": None}, "400 Bad Request", "no-tenant"),
    ("tenant of 129 bytes", {"HTTP_X_TENANT_ID": "t" * 129}, "400 Bad Request", "no-tenant"),
    ("tenant beyond ASCII", {"HTTP_X_TENANT_ID": "\xe4"}, "400 Bad Request", "no-tenant"),
    ("tenant of half a character", {"HTTP_X_TENANT_ID": "\udce4"}, "400 Bad Request", "no-tenant"),
]


@pytest.mark.parametrize(
    ("changes", "status", "code"), [each[1:] for each in REFUSALS], ids=[each[0] for each in REFUSALS]
)
def test_request_is_refused(changes: dict[str, str | None], status: str, code: str) -> None:
    app = App()
    asked = Asked(CellWsgiMiddleware(app, "cell-a"), changes)
    document = json.loads(asked.body())
    assert (asked.status, document["code"]) == (status, code)
    assert asked.headers["content-type"] == "application/problem+json"
    assert app.seen == []


def test_a_tenant_that_moved_is_refused_with_the_epoch_that_moved_it() -> None:
    asked = Asked(CellWsgiMiddleware(App(), "cell-a", moved={"acme": 8}.get), {})
    assert json.loads(asked.body())["code"] == "tenant-moved"
    assert asked.headers["x-cell-epoch"] == "8"


def test_the_load_is_said_now_and_then() -> None:
    now = [100.0]
    middleware = CellWsgiMiddleware(App(), "cell-a", load=lambda: CellLoad(1.5), clock=lambda: now[0])
    assert Asked(middleware, {}).headers["endpoint-load-metrics"] == "TEXT named_metrics.queue_lag_seconds=1.5"
    assert "endpoint-load-metrics" not in Asked(middleware, {}).headers
    now[0] += 0.5
    assert "endpoint-load-metrics" in Asked(middleware, {}).headers


@pytest.mark.parametrize("cell_id", ["", "cell a", "ä", "a,b"])
def test_own_cell_id_must_fit_a_header(cell_id: str) -> None:
    with pytest.raises(InvalidSettingError, match="cell_id"):
        CellWsgiMiddleware(App(), cell_id)
