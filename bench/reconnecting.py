"""A thousand routers that lose their control plane, and find it again all at once.

Simulated in one event loop, each as ``cellplane.router`` does it: a long poll on one connection, with the tag and the
base that it has; a report each second, and at once when its table changed, on another; its own token; and pauses with
jitter after failures. The control plane, its store and the connections are real.
"""

import asyncio
import json
import random
import secrets
import signal
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import zstandard

from cellplane.control.access.roles import Role
from cellplane.control.access.settings import AccessSettings
from cellplane.control.access.tokens import TokenOrder, mint
from cellplane.control.settings import DATABASE
from cellplane.directory import Directory
from cellplane.router.backoff import pause_seconds
from cellplane.router.settings import RouterSettings
from cellplane.routing import RoutingTable
from cellplane.routing.frame import split_publication
from control_plane import CELLS, ControlPlane

CONVERGED_SECONDS = 60.0
CALM_SECONDS = 5.0
SAMPLE_SECONDS = 0.05
DOWN_SECONDS = 10.0
"""Twice a router's longest pause: all have found out, and pause as long as they ever do."""

MAX_ANSWER_BYTES = 64 * 1024 * 1024


@dataclass
class Counts:
    """What happened to requests of all routers.

    Attributes:
        tables: tables that came.
        refused: answers that were neither a table nor that there is none newer, by status.
        failed: requests without an answer: nobody listens, or the connection broke.
        late: reports without an answer in time.
    """

    tables: int = 0
    refused: dict[int, int] = field(default_factory=dict)
    failed: int = 0
    late: int = 0

    def clear(self) -> None:
        """Count anew."""
        self.tables = self.failed = self.late = 0
        self.refused = {}


@dataclass
class Known:
    """The table that a router has."""

    epoch: int = 0
    tag: str | None = None
    base: str | None = None


class Connection:
    """HTTP/1.1 on one connection that is kept, of one request at a time."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._head = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\nAccept-Encoding: zstd\r\n"
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, head: str = "", body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer. Raises OSError or EOFError where none comes."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        try:
            size = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
            writer.write(f"{method} {path} HTTP/1.1\r\n{self._head}{head}{size}\r\n".encode() + body)
            start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            length = int(headers.get("content-length", 0))
            assert length <= MAX_ANSWER_BYTES
            answer = (int(start.split()[1]), headers, await reader.readexactly(length))
            if headers.get("connection") == "close":
                self.close()
            return answer
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close it; the next request opens another."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class Router:
    """One simulated router."""

    def __init__(self, number: int, port: int, token: str, seed: int, counts: Counts) -> None:
        self.name = name_of(number)
        self.known = Known()
        self.has_at: dict[int, float] = {}
        self._settings = settings_of(self.name, port)
        self._table, self._reports = Connection(port, token), Connection(port, token)
        self._rng = random.Random(seed * 1_000_003 + number)
        self._counts = counts
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Follow tables and report, until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow())
                tasks.create_task(self._report())
        finally:
            self._table.close()
            self._reports.close()

    async def _follow(self) -> None:
        failures, settings = 0, self._settings
        while True:
            asked = time.monotonic()
            try:
                is_news = await self._take_next()
                failures = 0
            except (OSError, EOFError) as error:
                failures += 1
                if not isinstance(error, RefusedError):
                    self._counts.failed += 1
                pause = pause_seconds(
                    failures,
                    base_seconds=settings.retry_base_seconds,
                    cap_seconds=settings.retry_cap_seconds,
                    rng=self._rng,
                )
                await asyncio.sleep(pause)
                continue
            if not is_news:
                await asyncio.sleep(max(0.0, settings.poll_interval_seconds - (time.monotonic() - asked)))

    async def _take_next(self) -> bool:
        known = self.known
        head = "" if known.tag is None else f'If-None-Match: "{known.tag}"\r\n'
        base = "" if known.base is None else f"&base={known.base}"
        path = f"/v1/table?wait={self._settings.poll_wait_seconds}{base}"
        status, headers, body = await self._table.ask("GET", path, head)
        if status == httpx2.codes.NOT_MODIFIED:
            return False
        if status != httpx2.codes.OK:
            self._counts.refused[status] = self._counts.refused.get(status, 0) + 1
            raise RefusedError(status)
        self._counts.tables += 1
        tag, epoch = headers["etag"].removeprefix("W/").strip('"'), int(headers["x-cellplane-epoch"])
        assert epoch > known.epoch, f"{self.name} was given epoch {epoch} after {known.epoch}"
        self.known = Known(epoch, tag, _base_of(body) or known.base)
        self.has_at[epoch] = time.monotonic()
        self._news.set()
        return True

    async def _report(self) -> None:
        cell = {"hosts": 1, "healthy_hosts": 1, "score": 100.0, "breaker": "closed", "gray": False}
        while True:
            self._news.clear()
            report = {
                "epoch": self.known.epoch,
                "sha256": self.known.tag or "",
                "proxy": "serving",
                "ready": True,
                "rejected": None,
                "cells": dict.fromkeys(CELLS, cell),
                "suspects": [],
            }
            try:
                async with asyncio.timeout(self._settings.report_timeout_seconds):
                    path = f"/v1/routers/{self.name}/report"
                    status, _, _ = await self._reports.ask("POST", path, body=json.dumps(report).encode())
                if status != httpx2.codes.OK:
                    self._counts.refused[status] = self._counts.refused.get(status, 0) + 1
            except TimeoutError:
                self._counts.late += 1
            except (OSError, EOFError):
                self._counts.failed += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.report_interval_seconds):
                    await self._news.wait()


class RefusedError(OSError):
    """An answer that is no table."""


def settings_of(name: str, port: int) -> RouterSettings:
    """Those of a router as it is started by hand."""
    return RouterSettings(control_url=f"http://127.0.0.1:{port}", router_id=name, state_dir=Path(), port=0)


def name_of(number: int) -> str:
    """The name of a simulated router."""
    return f"router-{number:05}"


_BASES: dict[bytes, str | None] = {}


def _base_of(body: bytes) -> str | None:
    """The checksum of the base in an answer; None where it is an overlay alone. Looked for once for all routers."""
    if body not in _BASES:
        data = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True).decompress(body)
        base, _ = split_publication(data)
        _BASES[body] = None if base is None else RoutingTable(base).sha256
    return _BASES[body]


def make_tokens(control: ControlPlane, routers: int) -> list[str]:
    """A token for each router, in the directory of a control plane that is stopped."""
    directory, settings, texts = Directory(control.state / DATABASE), AccessSettings(), []
    for number in range(routers):
        order = TokenOrder(name=name_of(number), role=Role.ROUTER, subject=name_of(number))
        token, record = mint(
            order, by="bench", now=datetime.now(UTC), random_bytes=secrets.token_bytes, settings=settings
        )
        directory.access.create_token(record, None, settings.max_tokens)
        texts.append(token.text)
    directory.close()
    return texts


async def measure_reconnecting(
    control: ControlPlane, tokens: Sequence[str], rounds: int, seed: int
) -> list[dict[str, Any]]:
    """What happens each time that the control plane is killed, started again, and given a change at once.

    Args:
        control: it runs, has a fleet and published it.
        tokens: one a router.
        rounds: how often.
    """
    counts = Counts()
    routers = [Router(number, control.port, token, seed, counts) for number, token in enumerate(tokens)]
    running = [asyncio.create_task(router.run()) for router in routers]
    watching: asyncio.Task[None] | None = None
    try:
        await _until(lambda: all(router.known.epoch for router in routers), "each router has a table")
        await asyncio.sleep(CALM_SECONDS)
        found = []
        for number in range(rounds):
            peaks = Peaks()
            counts.clear()
            await asyncio.to_thread(control.stop, signal.SIGKILL)
            await asyncio.sleep(DOWN_SECONDS)
            await asyncio.to_thread(control.start)
            down = counts.failed
            began = time.monotonic()
            watching = asyncio.create_task(peaks.watch(control))
            storm = await _change(control, routers, f"storm-{number}")
            await asyncio.sleep(CALM_SECONDS)
            calm = await _change(control, routers, f"calm-{number}")
            await asyncio.sleep(CALM_SECONDS)
            watching.cancel()
            rss_mib, peak_mib = control.rss_mib()
            found.append(
                {
                    "storm": storm,
                    "calm": calm,
                    "seconds": round(time.monotonic() - began, 1),
                    "failed_while_down": down,
                    "failed_since": counts.failed - down,
                    "refused": counts.refused,
                    "late_reports": counts.late,
                    "tables": counts.tables,
                    "connections_peak": peaks.connections,
                    "connections_at_end": control.connections(),
                    "rss_mib": round(rss_mib, 1),
                    "rss_peak_mib": round(peak_mib, 1),
                }
            )
        return found
    finally:
        for task in [*running, *([] if watching is None else [watching])]:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


class Peaks:
    """The most connections that there were."""

    connections = 0

    async def watch(self, control: ControlPlane) -> None:
        """Look, until cancelled."""
        while True:
            self.connections = max(self.connections, await asyncio.to_thread(control.connections))
            await asyncio.sleep(SAMPLE_SECONDS)


async def _change(control: ControlPlane, routers: Sequence[Router], tenant: str) -> dict[str, float]:
    """Assign a tenant; how long until routers have the table with it, seconds from when it was asked for."""

    def put() -> int:
        with control.client() as client:
            answer = client.put(f"/v1/tenants/{tenant}", json={"cell": CELLS[0]}).raise_for_status()
        return int(answer.json()["epoch"])

    began = time.monotonic()
    epoch = await asyncio.to_thread(put)
    await _until(lambda: all(router.known.epoch >= epoch for router in routers), f"epoch {epoch} is everywhere")
    taken = sorted(min(at for known, at in router.has_at.items() if known >= epoch) - began for router in routers)
    return {
        "p50_s": round(statistics.median(taken), 3),
        "p99_s": round(taken[min(len(taken) - 1, int(0.99 * len(taken)))], 3),
        "max_s": round(taken[-1], 3),
    }


async def _until(condition: Any, what: str) -> None:
    until = time.monotonic() + CONVERGED_SECONDS
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"not within {CONVERGED_SECONDS} s: {what}")
        await asyncio.sleep(0.02)
