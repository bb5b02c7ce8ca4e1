"""What wraps the app on all sides: the limit of a body, and the name and release of the cell on every answer."""

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from notifications.problems import body_too_large, respond

# The rest of such a body is not read, so the connection cannot serve another request.
_CLOSE = {"connection": "close"}


class BodyLimit:
    """Refuses a body over a number of bytes: by its content-length, and while it streams.

    Args:
        app: the ASGI app behind the limit; it must make an answer of an HTTPException in ``receive``.
        max_bytes: the largest body that passes.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _content_length(scope) > self._max_bytes:
            await respond(body_too_large(), _CLOSE)(scope, receive, send)
            return
        read_bytes = 0

        async def limited() -> Message:
            nonlocal read_bytes
            message = await receive()
            read_bytes += len(message.get("body", b""))
            if read_bytes > self._max_bytes:
                raise HTTPException(413, headers=_CLOSE)
            return message

        await self._app(scope, limited, send)


class ServedBy:
    """Sets ``x-cell-id`` and ``x-cell-release`` on every answer, so that people can see which cell served.

    Args:
        app: the ASGI app.
        cell_id: this cell's id.
        release: what it runs; empty where nobody says, and then no header does.
    """

    def __init__(self, app: ASGIApp, cell_id: str, release: str = "") -> None:
        self._app = app
        self._headers = {"x-cell-id": cell_id, **({"x-cell-release": release} if release else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        await self._app(scope, receive, named)


def _content_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)  # the HTTP parser let only digits pass
    return 0
