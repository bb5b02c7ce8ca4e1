"""The cell's door: lets in what a router sent here, with its context, and refuses everything else."""

import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from cellplane.cell.context import CellContext, enter, leave
from cellplane.cell.load import CellLoad, LoadReporter
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
    It does not read the body, and adds nothing to the app's response but, now and then, the load.

    A refusal with 421 names the newest epoch that this process knows, if it is newer than the request's: the router
    then fetches the table of it, and tries again.

    Args:
        app: the ASGI app to guard; http and websocket are checked, lifespan passes.
        cell_id: this cell's id, as the fleet knows it.
        exempt_paths: exact paths that need no router, such as a health check; they run without a context.
        moved: the epoch by which a tenant is another cell's; None for one of this cell. A request that was routed by
            an older table is refused; by a newer one the tenant is here again. Asked for every request, so it must not
            wait.
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
        moved: Callable[[str], int | None] = lambda _tenant: None,
        load: Callable[[], CellLoad] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_cell_id("cell_id", cell_id)
        self._app = app
        self._cell_id = cell_id
        self._exempt_paths = frozenset(exempt_paths)
        self._moved = moved
        self._load = None if load is None else LoadReporter(load, clock)
        self._newest_epoch = 0

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
            await self._app(scope, receive, send if self._load is None else _telling(send, self._load))
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
        digits = values.get(EPOCH_HEADER, b"")
        if not digits.isdigit() or len(digits) > _LIMITS.epoch_max_digits:
            return _INVALID_EPOCH
        epoch = int(digits)
        self._newest_epoch = max(self._newest_epoch, epoch)
        if cell != self._cell_id.encode("ascii"):
            return self._wrong_cell(cell, epoch)
        tenant = values.get(TENANT_HEADER, b"")
        if not 1 <= len(tenant) <= _LIMITS.tenant_max_bytes or not all(0x21 <= byte <= 0x7E for byte in tenant):
            return _NO_TENANT
        tenant_id = tenant.decode("ascii")
        moved = self._moved(tenant_id)
        if moved is not None and epoch < moved:
            return self._tenant_moved(moved, epoch)
        return CellContext(cell_id=self._cell_id, epoch=epoch, tenant_id=tenant_id)

    def _tenant_moved(self, moved: int, epoch: int) -> Problem:
        return Problem(
            "tenant-moved",
            421,
            "The tenant is another cell's",
            f"Cell {self._cell_id} gave the tenant away by epoch {moved}, and the request was routed by epoch {epoch}. "
            "Send it again by a newer table.",
            {"cell": self._cell_id, "epoch": moved},
        )

    def _wrong_cell(self, found: bytes, epoch: int) -> Problem:
        other = found[: _LIMITS.cell_max_bytes].decode("ascii", "backslashreplace")
        return Problem(
            "wrong-cell",
            421,
            "This is another cell",
            f"The request is for cell {other}, and this is cell {self._cell_id}. "
            "The router's table or its addresses are stale.",
            {"cell": self._cell_id, **({"epoch": self._newest_epoch} if epoch < self._newest_epoch else {})},
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
    body = problem.encode()
    headers = [
        (b"content-type", problem.content_type.encode("ascii")),
        (b"content-length", str(len(body)).encode("ascii")),
    ]
    if "epoch" in problem.members:
        headers.append((EPOCH_HEADER, str(problem.members["epoch"]).encode("ascii")))
    await send({"type": f"{prefix}.start", "status": problem.status, "headers": headers})
    await send({"type": f"{prefix}.body", "body": body})
