"""The cell's door: lets in what a router sent here, with its context, and refuses everything else."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from cellplane.cell.context import CellContext, enter, leave
from cellplane.cell.problem import Problem
from cellplane.cell.settings import HeaderLimits, check_cell_id

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

CELL_ID_HEADER = b"x-cell-id"
EPOCH_HEADER = b"x-cell-epoch"
TENANT_HEADER = b"x-tenant-id"
_ROUTING_HEADERS = (CELL_ID_HEADER, EPOCH_HEADER, TENANT_HEADER)

_LIMITS = HeaderLimits()
_POLICY_VIOLATION = 1008  # RFC 6455, 7.4.1


class CellMiddleware:
    """Pure ASGI middleware: checks the routing headers and sets the context while the app runs.

    It trusts those headers: the routers strip a client's own, and nothing but routers may reach a cell.
    It neither reads the body nor touches the app's response.

    Args:
        app: the ASGI app to guard; http and websocket are checked, lifespan passes.
        cell_id: this cell's id, as the fleet knows it.
        exempt_paths: exact paths that need no router, such as a health check; they run without a context.

    Raises:
        InvalidSettingError: ``cell_id`` cannot be the value of a header.
    """

    def __init__(self, app: ASGIApp, cell_id: str, exempt_paths: Iterable[str] = ("/healthz",)) -> None:
        check_cell_id("cell_id", cell_id)
        self._app = app
        self._cell_id = cell_id
        self._exempt_paths = frozenset(exempt_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] not in ("http", "websocket") or scope["path"] in self._exempt_paths:
            await self._app(scope, receive, send)
            return
        found = self._admit(scope["headers"])
        if isinstance(found, Problem):
            await _refuse(scope, send, found)
            return
        token = enter(found)
        try:
            await self._app(scope, receive, send)
        finally:
            leave(token)

    def _admit(self, headers: Iterable[tuple[bytes, bytes]]) -> CellContext | Problem:
        """Decide from the request's headers, whose names ASGI gives in lower case."""
        values: dict[bytes, bytes] = {}
        for name, value in headers:
            if name in _ROUTING_HEADERS:
                if name in values:
                    return _ambiguous(name)
                values[name] = value

        cell = values.get(CELL_ID_HEADER, b"")
        if not cell:
            return _NO_CELL
        if cell != self._cell_id.encode("ascii"):
            return self._wrong_cell(cell)
        epoch = values.get(EPOCH_HEADER, b"")
        if not epoch.isdigit() or len(epoch) > _LIMITS.epoch_max_digits:
            return _INVALID_EPOCH
        tenant = values.get(TENANT_HEADER, b"")
        if not 1 <= len(tenant) <= _LIMITS.tenant_max_bytes or not all(0x21 <= byte <= 0x7E for byte in tenant):
            return _NO_TENANT
        return CellContext(cell_id=self._cell_id, epoch=int(epoch), tenant_id=tenant.decode("ascii"))

    def _wrong_cell(self, found: bytes) -> Problem:
        other = found[: _LIMITS.cell_max_bytes].decode("ascii", "backslashreplace")
        return Problem(
            "wrong-cell",
            421,
            "This is another cell",
            f"The request is for cell {other}, and this is cell {self._cell_id}. "
            "The router's table or its addresses are stale.",
            {"cell": self._cell_id},
        )


_NO_CELL = Problem(
    "no-cell",
    421,
    "The request names no cell",
    "Expected an x-cell-id header, which every router sets. Send the request to a router, not to a cell.",
)

_INVALID_EPOCH = Problem(
    "invalid-epoch",
    400,
    "The epoch is not a number",
    f"Expected x-cell-epoch with the routing table's epoch: 1–{_LIMITS.epoch_max_digits} decimal digits. "
    "Send the request to a router, not to a cell.",
)

_NO_TENANT = Problem(
    "no-tenant",
    400,
    "The request names no tenant",
    f"Expected x-tenant-id with 1–{_LIMITS.tenant_max_bytes} visible ASCII characters. "
    "Send the request to a router, not to a cell.",
)


def _ambiguous(name: bytes) -> Problem:
    return Problem(
        "ambiguous-cell-headers",
        400,
        "A routing header is repeated",
        f"Expected {name.decode('ascii')} once, found it more often. "
        "Routers set it once: something before the cell adds another.",
    )


async def _refuse(scope: Scope, send: Send, problem: Problem) -> None:
    """Answer an http request, or turn a websocket down before it is accepted."""
    prefix = "http.response"
    if scope["type"] == "websocket":
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": problem.code})
            return
        prefix = "websocket.http.response"
    body = problem.encode()
    headers = [
        (b"content-type", problem.content_type.encode("ascii")),
        (b"content-length", str(len(body)).encode("ascii")),
    ]
    await send({"type": f"{prefix}.start", "status": problem.status, "headers": headers})
    await send({"type": f"{prefix}.body", "body": body})
