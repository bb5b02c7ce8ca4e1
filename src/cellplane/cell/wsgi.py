"""The door of a WSGI app (PEP 3333), such as one of Flask or Django."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from cellplane.cell.context import CellContext, enter, leave
from cellplane.cell.door import ROUTING_HEADERS, Door, OpenPaths, ProofCheck, RequestLine, nobody_moved, refusal
from cellplane.cell.load import CellLoad, LoadReporter
from cellplane.cell.problem import Problem

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
WSGIApp = Callable[[Environ, StartResponse], Iterable[bytes]]

_CELL_ID = "HTTP_X_CELL_ID"
_HEADERS = tuple((name, f"HTTP_{name.decode().upper().replace('-', '_')}") for name in ROUTING_HEADERS)


class CellWsgiMiddleware:
    """Checks the routing headers, and sets the context while the app runs and while its answer is made and closed.

    It decides as ``Door`` says, as ``CellMiddleware`` does. Between two parts of an answer the context is not set: the
    thread may serve somebody else, and another may go on with this answer. Servers join what was said twice by a
    comma, so a comma is refused. What an app hands to the server's own ``wsgi.file_wrapper`` is read in Python.

    Args:
        app: the WSGI app to guard.
        cell_id: this cell's id, as the fleet knows it.
        exempt_paths: exact paths that need no router, such as a health check; they run without a context.
        private_paths: as well, with all below them, but not found by way of a router: tenants would read of others.
        moved: the epoch by which a tenant is another cell's (``Door``).
        proof: refuses what no router has signed (``Door``).
        load: what routers are told of this cell's load; asked for an answer now and then, it must not wait.
        clock: monotonic seconds.

    Raises:
        InvalidSettingError: ``cell_id`` cannot be the value of a header, or has a comma.
    """

    def __init__(
        self,
        app: WSGIApp,
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

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        path = _path(environ)
        if path in self._open_paths:
            fault = self._open_paths.fault(path, is_routed=_CELL_ID in environ)
            return self._app(environ, start_response) if fault is None else _refuse(start_response, fault)
        # A server gives Latin-1; what is not ASCII must not become something that is.
        headers = [(name, environ[key].encode("utf-8", "surrogatepass")) for name, key in _HEADERS if key in environ]
        found = self._door.admit(headers, lambda: _line(environ))
        if isinstance(found, Problem):
            return _refuse(start_response, found)
        token = enter(found)
        try:
            parts = self._app(environ, start_response if self._load is None else _telling(start_response, self._load))
        finally:
            leave(token)
        # A list is there whole, and a server that can see that says how long the answer is.
        return parts if type(parts) in (list, tuple) else _Parts(parts, found)


class _Parts:
    """An answer's parts, each made in the context of its request."""

    def __init__(self, parts: Iterable[bytes], context: CellContext) -> None:
        self._whole = parts
        self._parts: Iterator[bytes] | None = None
        self._context = context

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        token = enter(self._context)
        try:
            if self._parts is None:
                self._parts = iter(self._whole)
            return next(self._parts)
        finally:
            leave(token)

    def close(self) -> None:
        """End the answer, also where the client has gone."""
        close = getattr(self._whole, "close", None)
        if close is not None:
            token = enter(self._context)
            try:
                close()
            finally:
                leave(token)


def _path(environ: Environ) -> str:
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return path


def _line(environ: Environ) -> RequestLine:
    return RequestLine(
        environ["REQUEST_METHOD"].encode(),
        _path(environ).encode("latin-1", "replace"),
        environ.get("QUERY_STRING", "").encode("latin-1", "replace"),
    )


def _telling(start_response: StartResponse, load: LoadReporter) -> StartResponse:
    """A ``start_response`` that says the load, if it is time."""

    def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        said = load.header()
        if said is not None:
            headers = [*headers, (said[0].decode("ascii"), said[1].decode("ascii"))]
        return start_response(status, headers, *more)

    return start


def _refuse(start_response: StartResponse, problem: Problem) -> list[bytes]:
    from http import HTTPStatus  # noqa: PLC0415  # a refusal may take the milliseconds that an import should not

    headers, body = refusal(problem)
    start_response(
        f"{problem.status} {HTTPStatus(problem.status).phrase}",
        [(name.decode("ascii"), value.decode("ascii")) for name, value in headers],
    )
    return [body]
