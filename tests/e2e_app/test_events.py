"""What a cell tells the outside of its notifications: once for each change, and nothing of what did not happen."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4, uuid5

import nats as nats_client
import psycopg
import pytest
from nats.js.api import AckPolicy, ConsumerConfig

from cellplane.events.settings import DEFAULT_STREAM, StreamSettings
from cellplane.events.stream import ensure_stream
from e2e_app.servers import CELL_ID, NOT_WAITED_SECONDS, TENANT, TEXT, Cell, Nats, Postgres, eventually

OUTBOX_MAX = 6

EARLIER = uuid4()
EARLIER_TABLE = """
CREATE TABLE notifications (
    tenant_id text COLLATE "C" NOT NULL, id uuid NOT NULL, channel text NOT NULL, recipient text NOT NULL,
    body text NOT NULL, status text NOT NULL DEFAULT 'queued', attempts integer NOT NULL DEFAULT 0, reason text,
    created_at timestamptz NOT NULL DEFAULT now(), queued_at timestamptz NOT NULL DEFAULT now(),
    delivered_at timestamptz, PRIMARY KEY (tenant_id, id)
)
"""


@dataclass
class Telling:
    """A cell that tells of its notifications, and the NATS outside of it that takes what it tells."""

    cell: Cell
    outside: Nats

    def metric(self, name: str) -> float:
        """What the cell's /metrics says, which any process of it would."""
        series = f'cellplane_{name}{{cell="{CELL_ID}"}} '
        (line,) = (each for each in self.cell.http.get("/metrics").text.splitlines() if each.startswith(series))
        return float(line.removeprefix(series))

    def told(self) -> list[dict[str, Any]]:
        """All events on the stream, in their order, without those that it knew already."""
        return asyncio.run(_read(self.outside.url))

    def about(self, notification_id: str) -> list[tuple[str, Any]]:
        return [
            (event["type"], event["data"])
            for event in self.told()
            if event["id"] == str(uuid5(UUID(notification_id), event["type"]))
        ]

    def await_about(self, notification_id: str, *expected: tuple[str, Any]) -> None:
        eventually(f"{expected} is told", lambda: self.about(notification_id) == list(expected))


async def _read(url: str) -> list[dict[str, Any]]:
    client = await nats_client.connect(url)
    try:
        jetstream = client.jetstream()
        count = (await jetstream.stream_info(DEFAULT_STREAM)).state.messages
        config = ConsumerConfig(ack_policy=AckPolicy.NONE)
        pull = await jetstream.pull_subscribe("events.>", stream=DEFAULT_STREAM, config=config)
        found: list[dict[str, Any]] = []
        while len(found) < count:
            found += [{**json.loads(each.data), "subject": each.subject} for each in await pull.fetch(count, timeout=5)]
        return found
    finally:
        await client.close()


async def _make_stream(url: str) -> None:
    client = await nats_client.connect(url)
    try:
        await ensure_stream(client.jetstream(), StreamSettings(max_bytes=64 * 1024**2))
    finally:
        await client.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[Telling]:
    folder = tmp_path_factory.mktemp("telling")
    for name in ("queue", "outside"):
        (folder / name).mkdir()
    queue, outside = Nats(folder / "queue"), Nats(folder / "outside")
    owner_url = postgres.url.rpartition("/")[0] + "/telling"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE telling")
    with psycopg.connect(owner_url) as connection:
        connection.execute(EARLIER_TABLE)
        connection.execute("INSERT INTO notifications VALUES ('earlier', %s, 'push', 'x', 'y')", [EARLIER])
    cell = Cell(
        folder,
        postgres,
        queue,
        CELLPLANE_DATABASE_URL=postgres.app_url.rpartition("/")[0] + "/telling",
        NOTIFICATIONS_OWNER_URL=owner_url,
        CELLPLANE_EVENTS_URL=outside.url,
        NOTIFICATIONS_OUTBOX_MAX_EVENTS=str(OUTBOX_MAX),
    )
    try:
        queue.start_and_wait()
        outside.start_and_wait()
        asyncio.run(_make_stream(outside.url))
        cell.api.start()
        cell.worker.start()
        yield Telling(cell, outside)
    finally:
        cell.http.close()
        for process in (cell.worker, cell.api, queue, outside):
            process.stop()
    for process in (cell.api, cell.worker):
        assert '"exception"' not in process.log.read_text(), f"{process.name} met an error that nobody foresaw"


@pytest.fixture
def telling(running: Telling) -> Iterator[Telling]:
    running.cell.await_health(200)
    yield running
    if not running.outside.running:
        running.outside.start_and_wait()
    for process in (running.cell.api, running.cell.worker):
        if not process.running:
            process.start()


def test_what_happens_to_a_notification_is_told_with_its_tenant_and_epoch(telling: Telling) -> None:
    cell = telling.cell
    notification_id = cell.posted("email")
    telling.await_about(
        notification_id, ("notification.accepted", {"bytes": len(TEXT)}), ("notification.delivered", {})
    )
    shown = cell.get(f"/notifications/{notification_id}").json()
    for event, field in zip(telling.told()[-2:], ("created_at", "delivered_at"), strict=True):
        assert event["subject"] == f"events.{CELL_ID}.{TENANT}.{event['type']}"
        assert (event["cellid"], event["tenantid"], event["cellepoch"]) == (CELL_ID, TENANT, 7)
        assert datetime.fromisoformat(event["time"]) == datetime.fromisoformat(shown[field])


def test_a_table_of_an_earlier_release_is_brought_up_to_date_with_its_rows(telling: Telling) -> None:
    telling.await_about(str(EARLIER), ("notification.delivered", {}))
    telling.cell.await_status(str(EARLIER), "HTTP 404")
    assert telling.cell.status(str(EARLIER), "earlier") == "delivered"
    first, again = (telling.cell.post(key="k").json()["id"] for _ in range(2))
    assert first == again
    telling.await_about(first, ("notification.accepted", {"bytes": len(TEXT)}), ("notification.delivered", {}))


def test_bytes_are_those_of_the_text_in_utf_8(telling: Telling) -> None:
    new = {"channel": "push", "to": "somebody", "body": "Grüße, 𝕏"}
    answer = telling.cell.http.post("/notifications", json=new, headers=telling.cell.headers())
    telling.await_about(answer.json()["id"], ("notification.accepted", {"bytes": 13}), ("notification.delivered", {}))


def test_a_notification_that_fails_for_good_is_told(telling: Telling) -> None:
    obstacle = telling.cell.provider_dir / "sms.jsonl"
    obstacle.mkdir(parents=True)
    try:
        notification_id = telling.cell.posted("sms")
        telling.await_about(
            notification_id, ("notification.accepted", {"bytes": len(TEXT)}), ("notification.failed", {})
        )
    finally:
        obstacle.rmdir()


def test_a_worker_that_dies_before_it_notes_a_delivery_tells_of_one(telling: Telling) -> None:
    cell = telling.cell
    assert cell.worker.stop() == 0
    cell.worker.start(NOTIFICATIONS_FAULT="after-provider")
    notification_id = cell.posted("email")
    assert cell.worker.wait() == -signal.SIGKILL
    cell.worker.start()
    telling.await_about(
        notification_id, ("notification.accepted", {"bytes": len(TEXT)}), ("notification.delivered", {})
    )


def test_a_full_outbox_refuses_what_it_could_not_tell_and_recovers_by_itself(telling: Telling) -> None:
    cell = telling.cell
    eventually("a relay works", lambda: telling.metric("relay_leads") == 1)
    eventually("nothing waits", lambda: telling.metric("outbox_waiting_events") == 0)
    failures, relayed = telling.metric("relay_failures_total"), telling.metric("relay_relayed_events_total")
    telling.outside.kill()
    tenant = "patient"
    answers = [cell.post(tenant=tenant) for _ in range(OUTBOX_MAX + 1)]
    refused = answers[-1]
    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (503, "outbox-full", "1")
    assert cell.health() == 200, "nothing else is wrong with the cell"
    assert telling.metric("outbox_max_events") == OUTBOX_MAX
    assert telling.metric("outbox_waiting_events") >= OUTBOX_MAX
    assert telling.metric("outbox_oldest_seconds") > 0
    eventually("its relay has failed", lambda: telling.metric("relay_failures_total") > failures)
    stored = cell.get("/notifications", tenant).json()["items"]
    assert len(stored) == sum(answer.status_code == 202 for answer in answers), "what was refused is not there"

    telling.outside.start_and_wait()
    eventually("there is room again", lambda: cell.post(tenant=tenant).status_code == 202)
    assert telling.metric("relay_relayed_events_total") > relayed
    for each in stored:
        telling.await_about(each["id"], ("notification.accepted", {"bytes": len(TEXT)}), ("notification.delivered", {}))


def test_a_worker_that_carries_events_stops_also_when_everything_hangs(telling: Telling, postgres: Postgres) -> None:
    telling.cell.await_status(telling.cell.posted(), "delivered")
    telling.outside.signal(signal.SIGSTOP)
    postgres.pause()
    try:
        time.sleep(0.3)  # so that the relay is in the middle of a look at its outbox
        began = time.monotonic()
        telling.cell.worker.signal(signal.SIGTERM)
        assert telling.cell.worker.wait() == 0
        assert time.monotonic() - began < NOT_WAITED_SECONDS
    finally:
        postgres.resume()
        telling.outside.signal(signal.SIGCONT)


def test_a_cell_that_nobody_listens_to_has_no_outbox(cell: Cell, postgres: Postgres) -> None:
    assert cell.posted()
    assert "outbox" not in cell.http.get("/metrics").text
    assert postgres.query("SELECT to_regclass('cellplane_outbox')") == [(None,)]
