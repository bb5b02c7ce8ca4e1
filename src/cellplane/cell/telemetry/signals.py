"""The golden signals of each route: requests, failures, how long they took, and how many are at work.

A route is a template, such as ``/orders/{id}``, never a path: series must not grow with what clients ask. Tenants are
told apart up to a number.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from threading import Lock
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from cellplane.cell.asgi import ASGIApp, Message, Receive, Scope, Send
from cellplane.cell.context import current_or_none

MAX_TENANTS = 100
"""Tenants that have series of their own, unless somebody says otherwise."""

OTHER_TENANTS = "other"
"""The label of all others."""

NO_TENANT = ""
"""The label where no tenant asks."""

ROUTE = "cellplane.route"
"""Where a request's template is noted for which a framework leaves none."""

UNMATCHED = "unmatched"
"""The route of a request that no route took."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD = "other"

BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_FAILED = 500

WsgiEnviron = dict[str, Any]
WsgiApp = Callable[[WsgiEnviron, Callable[..., Any]], Iterable[bytes]]


class TenantLabel:
    """A tenant's label: its id for the first so many that ask, ``other`` for the rest. Safe to share.

    Args:
        most: how many; 0 tells no tenants apart.
        always: tenants that have a label of their own in any case, as many as these are.
    """

    def __init__(self, most: int = MAX_TENANTS, always: Iterable[str] = ()) -> None:
        self._most = most
        self._known = {tenant: tenant for tenant in always}
        self._left = most
        self._lock = Lock()

    def of(self, tenant_id: str | None) -> str:
        """The label to use."""
        if tenant_id is None:
            return NO_TENANT
        known = self._known.get(tenant_id)
        if known is not None:
            return known
        if self._left <= 0:
            return OTHER_TENANTS
        with self._lock:
            if self._left > 0 and tenant_id not in self._known:
                self._left -= 1
                self._known[tenant_id] = tenant_id
        return self._known.get(tenant_id, OTHER_TENANTS)


class GoldenSignals:
    """The series, and what adds to them.

    Args:
        registry: where they are told, a ``CellRegistry`` in most apps.
        tenants: how tenants are told apart.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        tenants: TenantLabel | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.clock = clock
        self._tenants = tenants or TenantLabel()
        self._requests = Counter(
            "cell_requests",
            "Requests that were answered, or broken off.",
            ("route", "method", "code", "tenant"),
            registry=registry,
        )
        self._seconds = Histogram(
            "cell_request_duration_seconds",
            "How long a request took until its answer was sent whole.",
            ("route", "method"),
            buckets=BUCKETS_SECONDS,
            registry=registry,
        )
        self._at_work = Gauge("cell_requests_in_progress", "Requests that are being served.", registry=registry)

    def begin(self) -> float:
        """A request begins; returns when."""
        self._at_work.inc()
        return self.clock()

    def end(self, began: float, route: str | None, method: str, status: int) -> None:
        """The request has ended.

        Args:
            began: what ``begin`` gave.
            route: its template; None where none took it.
            status: of the answer; 0 where none was begun, which counts as 500.
        """
        self._at_work.dec()
        context = current_or_none()
        tenant = self._tenants.of(None if context is None else context.tenant_id)
        named = method if method in METHODS else OTHER_METHOD
        self._requests.labels(route or UNMATCHED, named, str(status or _FAILED), tenant).inc()
        self._seconds.labels(route or UNMATCHED, named).observe(max(0.0, self.clock() - began))


def route_of_scope(scope: Scope) -> str | None:
    """The template of the route that Starlette or FastAPI chose, or that ``note_route`` noted for Django."""
    found = getattr(scope.get("route"), "path", None) or scope.get(ROUTE)
    return found if isinstance(found, str) else None


def route_of_environ(environ: WsgiEnviron) -> str | None:
    """The template of the route that Flask chose, or that ``note_route`` noted for Django."""
    found = getattr(getattr(environ.get("werkzeug.request"), "url_rule", None), "rule", None) or environ.get(ROUTE)
    return found if isinstance(found, str) else None


def note_route(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A middleware of Django that notes which route was chosen: ``cellplane.cell.telemetry.note_route`` in its
    ``MIDDLEWARE``, anywhere.
    """

    def middleware(request: Any) -> Any:
        response = get_response(request)
        match = request.resolver_match
        if match is not None:
            getattr(request, "scope", request.META)[ROUTE] = f"/{match.route}"
        return response

    return middleware


class SignalledApp:
    """Counts the requests of an ASGI app. It belongs behind ``CellMiddleware``, so that it knows the tenant.

    Args:
        app: the app.
        signals: where they are counted.
        route: the template of a request's route, asked when it has been served.
    """

    def __init__(
        self, app: ASGIApp, signals: GoldenSignals, *, route: Callable[[Scope], str | None] = route_of_scope
    ) -> None:
        self._app = app
        self._signals = signals
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = self._signals.begin()
        try:
            await self._app(scope, receive, noting)
        finally:
            self._signals.end(began, self._route(scope), scope["method"], status)


class SignalledWsgiApp:
    """Counts the requests of a WSGI app, until their answers are sent. It belongs behind the cell's WSGI middleware.

    Args:
        app: the app.
        signals: where they are counted.
        route: the template of a request's route, asked when its answer begins, and again at its end where it had none.
    """

    def __init__(
        self, app: WsgiApp, signals: GoldenSignals, *, route: Callable[[WsgiEnviron], str | None] = route_of_environ
    ) -> None:
        self._app = app
        self._signals = signals
        self._route = route

    def __call__(self, environ: WsgiEnviron, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request."""
        status, route = 0, None

        def noting(line: str, *more: Any) -> Any:
            nonlocal status, route
            # Flask forgets its route once the answer is begun.
            status, route = int(line[:3]), self._route(environ)
            return start_response(line, *more)

        began = self._signals.begin()

        def end() -> None:
            self._signals.end(began, route or self._route(environ), environ["REQUEST_METHOD"], status)

        try:
            answer = self._app(environ, noting)
        except BaseException:
            end()
            raise
        return _Answer(answer, end)


class _Answer:
    """A WSGI answer that tells when it is closed, which every server must do."""

    def __init__(self, answer: Iterable[bytes], ended: Callable[[], None]) -> None:
        self._answer = answer
        self._ended: Callable[[], None] | None = ended

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._answer)

    def close(self) -> None:
        ended, self._ended = self._ended, None
        try:
            close = getattr(self._answer, "close", None)
            if close is not None:
                close()
        finally:
            if ended is not None:
                ended()
