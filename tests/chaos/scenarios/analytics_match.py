"""All that handles events in a fleet is killed, again and again; then what is counted is what the cells' rows say."""

import asyncio
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import nats
import psycopg

from cellplane.events.analytics.settings import AnalyticsSettings
from cellplane.events.settings import DEFAULT_STREAM
from cellplane.provision.local import chaos as local_chaos
from cellplane.provision.local.folder import StateFolder
from cellplane.provision.local.parts import CELL_ROLES
from chaos.report import Report, Scale
from e2e.harness import TENANTS, Demo, eventually, exists, start_demo
from support import plain_http

NAME = "analytics-match"
FULL = Scale(seed=1, rps=40.0, seconds=300.0)
CELLS = 2
SENDERS = 4
PAUSE_SECONDS = (0.2, 1.2)
"""From a kill to its restoration, and from that to the next kill."""

WHOLE_PART_SHARE = 0.2
"""How often, beside these, all of a part is, as by `cellplane chaos kill`."""

FAILING_SECONDS = 90.0
"""How long a provider takes nothing at first, where there is time for notifications to fail for good."""

SETTLE_SECONDS = 120.0
MOST_AT_ONCE = 3
"""Processes that are killed before any is restored."""

CHANNELS = ("push", "sms", "email")
TEXT = "Grüße, 𝕏! "

# What each cell itself says, by tenant and type: how many, and how many bytes.
SOURCE = """
SELECT tenant_id, 'notification.accepted', count(*), sum(octet_length(body)) FROM notifications GROUP BY 1
UNION ALL
SELECT tenant_id, 'notification.' || status, count(*), 0 FROM notifications WHERE status <> 'queued' GROUP BY 1, 2
"""
UNSETTLED = """
SELECT (SELECT count(*) FROM notifications WHERE status = 'queued') + (SELECT count(*) FROM cellplane_outbox)
"""

Key = tuple[str, str, str]
"""Cell, tenant and type."""


class Senders:
    """Tenants that send notifications through the router, whatever happens behind it."""

    def __init__(self, demo: Demo, scale: Scale) -> None:
        self.accepted: dict[str, str] = {}
        """Id → tenant of what was answered with 202."""

        self.answers: Counter[str] = Counter()
        self._demo = demo
        self._scale = scale
        self._stop = threading.Event()

    @contextmanager
    def sending(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._send, args=(number,)) for number in range(SENDERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _send(self, number: int) -> None:
        rng = random.Random(f"{self._scale.seed}/{number}")
        with plain_http.client(base_url=self._demo.router, timeout=10) as client:
            while not self._stop.wait(rng.uniform(0, 2 * SENDERS / self._scale.rps)):
                tenant = f"tenant-{rng.randint(1, TENANTS):03}"
                body = {"channel": rng.choice(CHANNELS), "to": "somebody", "body": TEXT * rng.randint(1, 20)}
                try:
                    answer = client.post("/notifications", json=body, headers={"X-Tenant-Id": tenant})
                except httpx2.HTTPError as error:
                    self.answers[type(error).__name__] += 1
                    continue
                self.answers[str(answer.status_code)] += 1
                if answer.status_code == 202:
                    self.accepted[answer.json()["id"]] = tenant


class Killer:
    """Kills what handles events, some processes at a time or a whole part, and restores it."""

    def __init__(self, demo: Demo, seed: int) -> None:
        self.kills: Counter[str] = Counter()
        self._demo = demo
        self._folder = StateFolder(demo.state)
        self._rng = random.Random(f"{seed}/kills")
        cells = [f"cell-{number}" for number in range(1, CELLS + 1)]
        # A cell's and the analytics' equally often.
        self._victims = [(cell, role) for cell in cells for role in CELL_ROLES]
        self._victims += 2 * CELLS * [("analytics", role) for role in ("nats", "consumer")]
        self._first = [(self._rng.choice(cells), role) for role in CELL_ROLES]
        self._first += [("analytics", "nats"), ("analytics", "consumer")]
        self._rng.shuffle(self._first)

    def run(self, seconds: float) -> None:
        """Kill for so long: one of each kind, then as it is drawn."""
        end = time.monotonic() + seconds
        while self._first or time.monotonic() < end:
            victims = [self._draw() for _ in range(self._rng.randint(1, MOST_AT_ONCE))]
            for part, role in victims:
                self._kill(part, role)
            if self._rng.random() < WHOLE_PART_SHARE:
                local_chaos.kill(self._folder, victims[0][0], now_ns=time.time_ns())
                self.kills[f"all of {victims[0][0]}"] += 1
            time.sleep(self._rng.uniform(*PAUSE_SECONDS))
            for part in sorted({part for part, _ in victims}):
                local_chaos.restore(self._folder, part, now_ns=time.time_ns(), timeout_seconds=SETTLE_SECONDS)
            time.sleep(self._rng.uniform(*PAUSE_SECONDS))

    def _draw(self) -> tuple[str, str]:
        return self._first.pop() if self._first else self._rng.choice(self._victims)

    def _kill(self, part: str, role: str) -> None:
        pids = self._demo.pids()
        pid: int | None = (pids if part == "analytics" else pids["cells"])[part][role]
        if pid is None or not exists(pid):  # killed in this round already, or not on record again yet
            return
        os.kill(pid, signal.SIGKILL)
        self.kills[f"{part}, {role}"] += 1


def run(folder: Path, scale: Scale) -> Report:
    """Run it on a fleet of real cells."""
    report = Report(NAME, scale)
    with start_demo(folder / "state", "--cells", str(CELLS)) as demo:
        eventually(demo.whole, "the fleet is whole", seconds=SETTLE_SECONDS)
        senders, killer = Senders(demo, scale), Killer(demo, scale.seed)
        with senders.sending(), _failing_provider(demo, scale):
            killer.run(scale.seconds)
        eventually(demo.whole, "the fleet is whole again", seconds=SETTLE_SECONDS)
        settled = eventually(
            lambda: _settled(demo), "all is delivered, and all events have left", seconds=SETTLE_SECONDS
        )
        drained = eventually(lambda: _drained(demo), "all events are counted", seconds=SETTLE_SECONDS)
        source, rows = _source(demo)
        counted = _counted(demo)
        dead = _query(demo, "SELECT count(*) AS dead FROM event_dead_letters")[0]["dead"]
        on_stream = asyncio.run(_stream(demo))[0]
    report.figures |= {
        "kills": dict(sorted(killer.kills.items())),
        "answers": dict(sorted(senders.answers.items())),
        "events_by_type": dict(sorted(_by_type(source).items())),
        "bytes": sum(size for _, size in source.values()),
        "messages_twice_on_the_stream": on_stream - sum(events for events, _ in source.values()),
        "settled_after_s": round(settled, 1),
        "drained_after_s": round(drained, 1),
    }
    report.hold("kills_in_all", killer.kills.total(), len(CELL_ROLES) + 2, at_least=True)
    report.hold("events", sum(events for events, _ in source.values()), 1, at_least=True)
    report.hold("cells_and_tenants_and_types", len(source), 2, at_least=True)
    report.hold("accepted_and_not_there", len(senders.accepted.items() - rows.items()))
    report.hold("figures_that_differ", sum(source.get(key) != counted.get(key) for key in {*source, *counted}))
    report.hold("dead_letters", dead)
    return report


@contextmanager
def _failing_provider(demo: Demo, scale: Scale) -> Iterator[None]:
    """Let a provider of one cell take nothing for a while, where there is time for that."""
    obstacle = demo.state / "cells" / "cell-1" / "provider" / "sms.jsonl"
    if scale.seconds < 2 * FAILING_SECONDS:
        yield
        return
    obstacle.mkdir(parents=True)
    timer = threading.Timer(FAILING_SECONDS, obstacle.rmdir)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def _urls(demo: Demo) -> dict[str, str]:
    """The database of each cell."""
    ports = json.loads((demo.state / "endpoints.json").read_text())["ports"]
    return {
        name.removesuffix(".postgres"): f"postgresql://postgres@127.0.0.1:{port}/postgres"
        for name, port in ports.items()
        if name.endswith(".postgres")
    }


def _settled(demo: Demo) -> bool:
    with suppress(psycopg.OperationalError):
        for url in _urls(demo).values():
            with psycopg.connect(url, connect_timeout=2) as connection:
                row = connection.execute(UNSETTLED).fetchone()
                if row != (0,):
                    return False
        return True
    return False


def _source(demo: Demo) -> tuple[dict[Key, tuple[int, int]], dict[str, str]]:
    """What the cells' own rows add up to, and the tenants of all ids."""
    found: dict[Key, tuple[int, int]] = {}
    rows: dict[str, str] = {}
    for cell, url in _urls(demo).items():
        with psycopg.connect(url) as connection:
            for tenant, type_, events, size in connection.execute(SOURCE):
                found[cell, tenant, type_] = events, int(size)
            rows |= dict(connection.execute("SELECT id::text, tenant_id FROM notifications").fetchall())
    return found, rows


def _counted(demo: Demo) -> dict[Key, tuple[int, int]]:
    """What `cellplane analytics query` says."""
    arguments = ("analytics", "query", "--by", "cell", "--by", "tenant", "--by", "type", "--json")
    rows = json.loads(demo.run(*arguments))
    return {(row["cell"], row["tenant"], row["type"]): (row["events"], row["sums"].get("bytes", 0)) for row in rows}


def _query(demo: Demo, sql: str) -> Any:
    return json.loads(demo.run("analytics", "query", "--sql", sql, "--json"))


def _drained(demo: Demo) -> bool:
    with suppress(nats.errors.Error, OSError):
        return asyncio.run(_stream(demo))[1] == 0
    return False


async def _stream(demo: Demo) -> tuple[int, int]:
    """Messages of the stream, and those of them that are not counted yet."""
    port = json.loads((demo.state / "endpoints.json").read_text())["ports"]["analytics.nats"]
    client = await nats.connect(f"nats://127.0.0.1:{port}", allow_reconnect=False)
    try:
        jetstream = client.jetstream()
        stream = await jetstream.stream_info(DEFAULT_STREAM)
        consumer = await jetstream.consumer_info(DEFAULT_STREAM, AnalyticsSettings.consumer)
    finally:
        await client.close()
    return stream.state.messages, (consumer.num_pending or 0) + (consumer.num_ack_pending or 0)


def _by_type(source: dict[Key, tuple[int, int]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for (_, _, type_), (events, _) in source.items():
        found[type_] += events
    return found
