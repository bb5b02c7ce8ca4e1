"""What every request passes first: its Host is ours, its caller known, its body bounded, its answer counted."""

from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cellplane.console import PAGES
from cellplane.control.access.gate import Gate
from cellplane.control.metrics import Metrics
from cellplane.control.problems import known_problem, problem
from cellplane.control.settings import ControlSettings
from cellplane.errors import AccessError, DirectoryError


class RequestGuard:
    """ASGI middleware around the whole API."""

    def __init__(self, app: ASGIApp, settings: ControlSettings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def counted_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._serve(scope, receive, counted_send)
        finally:
            route = scope.get("route")
            self._metrics.requests.labels(
                method=scope["method"] if scope["method"] in _METHODS else "other",
                route=getattr(route, "path", "none"),
                status=str(status),
            ).inc()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        host = request.headers.get("host", "").lower()
        if host.removesuffix(f":{self._settings.port}") not in self._settings.allowed_hosts:
            detail = f"the control plane answers to {', '.join(self._settings.allowed_hosts)}"
            response = problem(HTTPStatus.MISDIRECTED_REQUEST, "wrong-host", detail)
            await response(scope, receive, send)
            return
        refused = await self._identify(request)
        if refused is not None:
            await refused(scope, receive, send)
            return
        try:
            body = await self._read_body(receive)
        except ClientDisconnect:
            # Half a body is no request: nothing may change, and nobody waits for an answer.
            return
        if body is None:
            detail = f"a body may have {self._settings.max_body_bytes} bytes"
            response = problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", detail)
            await response(scope, receive, send)
            return
        delivered = False

        async def replay() -> Message:
            nonlocal delivered
            if delivered:
                return await receive()
            delivered = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)

    async def _identify(self, request: Request) -> Response | None:
        """Find out who asks, for the routes; the answer where nobody that is known does."""
        if request.scope["path"] in ANYBODYS and "authorization" not in request.headers:
            request.state.caller = None
            return None
        gate: Gate = request.app.state.service.gate
        try:
            request.state.caller = await gate.identify(request)
        except (AccessError, DirectoryError) as error:
            return known_problem(error, self._settings.retry_after_seconds)
        return None

    async def _read_body(self, receive: Receive) -> bytes | None:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body += message.get("body", b"")
            if len(body) > self._settings.max_body_bytes:
                return None
            if not message.get("more_body", False):
                return bytes(body)


ANYBODYS = frozenset({"/healthz", *(f"/console/{name}" for name in PAGES)})
"""What needs no caller that is known."""

_METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"})
