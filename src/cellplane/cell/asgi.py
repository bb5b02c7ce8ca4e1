"""The door of an ASGI app, such as one of FastAPI or Starlette."""

import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from cellplane.cell.context import enter, leave
from cellplane.cell.door import CELL_ID_HEADER, Door, OpenPaths, ProofCheck, RequestLine, decoded, nobody_moved, refusal
from cellplane.cell.load import CellLoad, LoadReporter
from cellplane.cell.problem import Problem

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_POLICY_VIOLATION = 1008  # RFC 6455, 7.4.1


class CellMiddleware:
    """Pure ASGI middleware: checks the routing headers and sets the context while the app runs.

    It decides as ``Door`` says, does not read the body, and adds nothing to the app's response but, now and then, the
    load.

    Args:
        app: the ASGI app to guard; http and websocket are checked, lifespan passes.
        cell_id: this cell's id, as the fleet knows it.
        exempt_paths: exact paths that need no router, such as a health check; they run without a context.
        private_paths: as well, with all below them, but not found by way of a router: tenants would read of others.
        moved: the epoch by which a tenant is another cell's (``Door``).
        proof: refuses what no router has signed (``Door``).
        load: what routers are told of this cell's load; asked for an answer now and then, it must not wait.
        clock: monotonic seconds.

    Raises:
        InvalidSettingError: ``cell_id`` cannot be the value of a header.
    """

    def __init__(
        self,
        app: ASGIApp,
        cell_id: str,
        exempt_paths: Iterable[str] = ("/healthz",),
        *,
        private_paths: Iterable[str] = ("/metrics",),
        moved: Callable[[str], int | None] = nobody_moved,
        proof: ProofCheck | None = None,
        load: Callable[[], CellLoad] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._door = Door(cell_id, moved=moved, proof=proof)
        self._open_paths = OpenPaths(exempt_paths, private_paths)
        self._load = None if load is None else LoadReporter(load, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if path in self._open_paths:
            is_routed = any(name == CELL_ID_HEADER for name, _ in scope["headers"])
            fault = self._open_paths.fault(path, is_routed=is_routed)
            await (self._app(scope, receive, send) if fault is None else _refuse(scope, send, fault))
            return
        found = self._door.admit(scope["headers"], lambda: _line(scope))
        if isinstance(found, Problem):
            await _refuse(scope, send, found)
            return
        token = enter(found)
        try:
            await self._app(scope, receive, send if self._load is None else _telling(send, self._load))
        finally:
            leave(token)


def _line(scope: Scope) -> RequestLine:
    """What a request asks for. A server that does not keep the path as it came has decoded it, from UTF-8."""
    raw = scope.get("raw_path")
    path = scope["path"].encode() if raw is None else decoded(raw)
    return RequestLine(scope.get("method", "GET").encode(), path, scope.get("query_string", b""))


def _telling(send: Send, load: LoadReporter) -> Send:
    """A ``send`` that says the load where an answer begins, if it is time."""

    async def tell(message: Message) -> None:
        if message["type"] == "http.response.start":
            header = load.header()
            if header is not None:
                message = {**message, "headers": [*message.get("headers", ()), header]}
        await send(message)

    return tell


async def _refuse(scope: Scope, send: Send, problem: Problem) -> None:
    """Answer an http request, or turn a websocket down before it is accepted."""
    prefix = "http.response"
    if scope["type"] == "websocket":
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": problem.code})
            return
        prefix = "websocket.http.response"
    headers, body = refusal(problem)
    await send({"type": f"{prefix}.start", "status": problem.status, "headers": headers})
    await send({"type": f"{prefix}.body", "body": body})
