"""Health of a cell's process as an orchestrator and a router ask for it: whether it lives, and whether it can serve.

``/healthz`` says that the process answers, and asks nobody: an app that is restarted for a database that is away helps
nobody. ``/readyz`` uses what the app needs, and is what routers should ask.
"""

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from cellplane.cell.asgi import ASGIApp, Receive, Scope, Send
from cellplane.cell.door import refusal
from cellplane.cell.problem import Problem

Probe = Callable[[], Awaitable[object]] | Callable[[], object]
"""Uses a dependency; raises for no. A plain function runs in a thread."""

LIVENESS_PATH = "/healthz"
READINESS_PATH = "/readyz"

_MAX_REASON_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthLimits:
    """Times of a health check."""

    probe_seconds: float = 0.7
    """Longest wait for one dependency, seconds; under the 0.8 after which a router gives up."""

    retry_after_seconds: int = 1
    """``Retry-After`` of a 503, whole seconds."""


class CellHealth:
    """Asks every dependency, at once and within a time. For one event loop.

    A dependency that hangs is asked by one probe at a time, however often the check is called.

    Args:
        cell_id: this cell's id, which is told.
        probes: name → question.
        release: what the cell runs, told where it is not empty.
        say: whether the reasons of failures are told to whoever asks; they may name hosts, so only their kind is, by
            default.
    """

    def __init__(
        self,
        cell_id: str,
        probes: Mapping[str, Probe],
        *,
        release: str = "",
        say: bool = False,
        limits: HealthLimits | None = None,
    ) -> None:
        self._who = {"cell": cell_id, **({"release": release} if release else {})}
        self._probes = dict(probes)
        self._say = say
        self.limits = limits or HealthLimits()
        self._running: dict[str, asyncio.Task[str]] = {}
        self._leaving = False

    def leave(self) -> None:
        """Be ready no more: the process is about to stop, and routers should go elsewhere first."""
        self._leaving = True

    async def failed(self) -> dict[str, str]:
        """What cannot be used, and why: empty where the cell can serve."""
        for name, probe in self._probes.items():
            if name not in self._running or self._running[name].done():
                self._running[name] = asyncio.create_task(self._ask(probe))
        asked = dict(self._running)
        if asked:
            await asyncio.wait(asked.values(), timeout=self.limits.probe_seconds)
        late = f"no answer within {self.limits.probe_seconds:g} s"
        found = {name: task.result() if task.done() else late for name, task in sorted(asked.items())}
        return {name: why for name, why in found.items() if why}

    def alive(self) -> tuple[int, dict[str, str]]:
        """Status and document of liveness."""
        return HTTPStatus.OK, {"status": "ok", **self._who}

    async def ready(self) -> dict[str, str] | Problem:
        """The document of readiness, or why there is none."""
        if self._leaving:
            return Problem("leaving", 503, "The cell's process stops", "It takes no new requests.", self._who)
        failed = await self.failed()
        if not failed:
            return {"status": "ok", **self._who}
        members = {**self._who, "failed": failed if self._say else sorted(failed)}
        return Problem("not-ready", 503, "The cell cannot serve", f"It cannot use {', '.join(failed)}.", members)

    async def _ask(self, probe: Probe) -> str:
        try:
            if inspect.iscoroutinefunction(probe):
                await probe()
            else:
                answer = await asyncio.to_thread(probe)
                if inspect.isawaitable(answer):
                    await answer
        except Exception as error:  # noqa: BLE001  # whatever it is, it cannot be used
            return f"{type(error).__name__}: {error}"[:_MAX_REASON_CHARS] if self._say else type(error).__name__
        return ""


class HealthRoutes:
    """Answers the two paths, before the door: orchestrators and health checks come through no router.

    Args:
        app: the ASGI app that gets everything else, usually ``CellMiddleware``.
        health: what is told.
        liveness: its path.
        readiness: its path.
    """

    def __init__(
        self, app: ASGIApp, health: CellHealth, *, liveness: str = LIVENESS_PATH, readiness: str = READINESS_PATH
    ) -> None:
        self._app = app
        self._health = health
        self._liveness = liveness
        self._readiness = readiness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http" and scope["path"] == self._liveness:
            status, document = self._health.alive()
            await _answer(send, status, document)
        elif scope["type"] == "http" and scope["path"] == self._readiness:
            found = await self._health.ready()
            if isinstance(found, Problem):
                headers, body = refusal(found)
                retry_after = str(self._health.limits.retry_after_seconds).encode()
                await _send(send, found.status, [*headers, (b"retry-after", retry_after)], body)
            else:
                await _answer(send, HTTPStatus.OK, found)
        else:
            await self._app(scope, receive, send)


async def _answer(send: Send, status: int, document: Mapping[str, str]) -> None:
    body = json.dumps(document, separators=(",", ":")).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await _send(send, status, headers, body)


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
