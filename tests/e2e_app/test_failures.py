"""What a cell does while its database, its queue or its worker is dead or hangs, and after that."""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import nats as nats_client
import psycopg
import pytest

from e2e_app.servers import CELL_ID, NOT_WAITED_SECONDS, TENANT, Cell, Nats, Postgres, Process, eventually, free_port


def health_problem(cell: Cell) -> list[str]:
    answer = cell.http.get("/healthz")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "1"
    failed: list[str] = answer.json()["failed"]
    return failed


def test_worker_that_dies_between_provider_and_row_delivers_once(cell: Cell) -> None:
    assert cell.worker.stop() == 0
    cell.worker.start(NOTIFICATIONS_FAULT="after-provider")
    notification_id = cell.posted("email")
    assert cell.worker.wait() == -signal.SIGKILL
    assert cell.effects(notification_id) == 1
    assert cell.status(notification_id) == "queued"

    cell.worker.start()
    cell.await_status(notification_id, "delivered")
    assert cell.effects(notification_id) == 1
    assert cell.get(f"/notifications/{notification_id}").json()["attempts"] == 2


def test_a_request_that_kills_cut_short_is_done_once_when_it_comes_again(cell: Cell, postgres: Postgres) -> None:
    blocked = "SELECT 1 FROM pg_locks WHERE relation = 'notifications'::regclass AND NOT granted"
    with ThreadPoolExecutor(1) as threads, psycopg.connect(postgres.url) as lock:
        lock.execute("LOCK TABLE notifications IN EXCLUSIVE MODE")
        threads.submit(cell.post, "email", "cut", "k")
        eventually("it has its key, and waits for its row", lambda: postgres.query(blocked))
        cell.api.kill()  # before the end of the transaction
    cell.api.start(NOTIFICATIONS_FAULT="after-insert")
    cell.await_health(200)
    with pytest.raises(httpx2.TransportError):
        cell.post("email", "cut", "k")
    assert cell.api.wait() == -signal.SIGKILL
    ((notification_id,),) = postgres.query("SELECT id::text FROM notifications WHERE tenant_id = 'cut'")

    cell.api.start()
    cell.await_health(200)
    assert cell.post("email", "cut", "k").json()["id"] == notification_id
    eventually("it is delivered", lambda: cell.status(notification_id, "cut") == "delivered")
    assert cell.effects(notification_id) == 1
    assert postgres.query("SELECT count(*) FROM notifications WHERE tenant_id = 'cut'") == [(1,)]


def test_a_start_waits_for_requests_without_what_they_need_next(cell: Cell, postgres: Postgres) -> None:
    assert cell.worker.stop() == 0
    waits = "SELECT 1 FROM pg_locks WHERE relation = 'cellplane_idempotency'::regclass AND NOT granted"
    with psycopg.connect(postgres.url) as request:
        request.execute("LOCK TABLE cellplane_idempotency IN ROW EXCLUSIVE MODE")  # as to note a key
        cell.worker.start()
        eventually("the start waits", lambda: postgres.query(waits))
        request.execute("LOCK TABLE notifications IN ROW EXCLUSIVE MODE NOWAIT")  # as to insert the row
    cell.await_status(cell.posted(), "delivered")


def test_notifications_are_accepted_without_a_queue_and_delivered_after_it(cell: Cell, nats: Nats) -> None:
    nats.kill()
    cell.await_health(503)
    assert health_problem(cell) == ["queue"]
    began = time.monotonic()
    accepted = [cell.posted("email") for _ in range(12)]
    assert time.monotonic() - began < NOT_WAITED_SECONDS
    assert {cell.status(notification_id) for notification_id in accepted} == {"queued"}

    nats.start_and_wait()
    cell.await_health(200)
    for notification_id in accepted:
        cell.await_status(notification_id, "delivered")
        assert cell.effects(notification_id) == 1


def test_queue_that_lost_its_disk_loses_no_notification(cell: Cell, nats: Nats) -> None:
    assert cell.worker.stop() == 0
    accepted = [cell.posted() for _ in range(3)]
    nats.kill()
    shutil.rmtree(nats.store / "jetstream")
    nats.start_and_wait()
    cell.worker.start()
    for notification_id in accepted:
        cell.await_status(notification_id, "delivered")


async def _hand_over(nats: Nats, stream: str, subjects: list[str], subject: str, data: bytes, **headers: str) -> None:
    """Store a message in a stream, which is made where it is missing, without the SDK."""
    client = await nats_client.connect(nats.url)
    try:
        if subjects:
            await client.jetstream().add_stream(name=stream, subjects=subjects)
        await client.jetstream().publish(subject, data, stream=stream, headers=headers)
    finally:
        await client.close()


async def _messages(nats: Nats, stream: str) -> int:
    client = await nats_client.connect(nats.url)
    try:
        return (await client.jetstream().stream_info(stream)).state.messages
    finally:
        await client.close()


def test_what_an_earlier_release_queued_in_a_stream_of_its_own_is_delivered(
    cell: Cell, nats: Nats, postgres: Postgres
) -> None:
    assert cell.worker.stop() == 0
    statement = """
        INSERT INTO notifications (tenant_id, id, channel, recipient, body, queued_at)
        VALUES (%s, gen_random_uuid(), 'push', 'somebody', 'hello', now() - interval '1 minute') RETURNING id::text
    """
    ((notification_id,),) = postgres.query(statement, TENANT)
    body = json.dumps({"tenant": TENANT, "id": notification_id, "channel": "push"}).encode()
    asyncio.run(_hand_over(nats, "NOTIFICATIONS", ["notifications.>"], "notifications.push", body))

    cell.worker.start()
    cell.await_status(notification_id, "delivered")
    assert cell.effects(notification_id) == 1


def test_a_message_that_is_not_of_this_app_is_a_dead_letter_and_the_others_go_on(cell: Cell, nats: Nats) -> None:
    headers = {"x-cell-id": CELL_ID, "x-cell-epoch": "7", "x-tenant-id": TENANT}
    asyncio.run(_hand_over(nats, f"CELL-{CELL_ID}", [], f"deliveries.{CELL_ID}", b"\xff", **headers))
    eventually("it is a dead letter", lambda: asyncio.run(_messages(nats, f"DEAD-{CELL_ID}")) == 1)
    cell.await_status(cell.posted(), "delivered")


def test_hanging_queue_delays_an_answer_but_fails_none(cell: Cell, nats: Nats) -> None:
    nats.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        notification_id = cell.posted()
        assert time.monotonic() - began < NOT_WAITED_SECONDS
        began = time.monotonic()
        assert health_problem(cell) == ["queue"]
        assert time.monotonic() - began < NOT_WAITED_SECONDS
    finally:
        nats.signal(signal.SIGCONT)
    cell.await_health(200)
    cell.await_status(notification_id, "delivered")


def test_dead_database_gives_503_and_recovers_by_itself(cell: Cell, postgres: Postgres) -> None:
    with ThreadPoolExecutor(8) as threads:  # so that the pool holds several connections, all to be lost
        before = list(threads.map(lambda _: cell.posted(), range(24)))
    postgres.kill()
    for _ in range(3):
        began = time.monotonic()
        answer = cell.post()
        assert time.monotonic() - began < NOT_WAITED_SECONDS
        assert (answer.status_code, answer.json()["code"]) == (503, "database-unavailable")
        assert answer.headers["retry-after"] == "1"
    assert health_problem(cell) == ["database"]
    assert cell.get("/notifications").status_code == 503

    postgres.start_and_wait()
    cell.await_health(200)
    for notification_id in (*before, cell.posted()):
        cell.await_status(notification_id, "delivered")
        assert cell.effects(notification_id) == 1


def test_database_that_restarts_between_requests_costs_no_request(cell: Cell, postgres: Postgres) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: cell.posted(), range(16)))
    postgres.kill()
    postgres.start_and_wait()
    assert cell.post().status_code == 202


def test_hanging_database_is_not_waited_for(cell: Cell, postgres: Postgres) -> None:
    with ThreadPoolExecutor(8) as threads:  # so that connections lie ready, and hang
        list(threads.map(lambda _: cell.posted(), range(24)))
    postgres.pause()
    try:
        began = time.monotonic()
        assert health_problem(cell) == ["database"]
        assert time.monotonic() - began < NOT_WAITED_SECONDS
        began = time.monotonic()
        assert cell.post().status_code == 503
        assert time.monotonic() - began < NOT_WAITED_SECONDS
    finally:
        postgres.resume()
    cell.await_health(200)
    cell.await_status(cell.posted(), "delivered")


def test_both_processes_stop_also_when_everything_hangs(cell: Cell, nats: Nats, postgres: Postgres) -> None:
    nats.signal(signal.SIGSTOP)
    postgres.pause()
    try:
        for process in (cell.api, cell.worker):
            process.signal(signal.SIGTERM)
        began = time.monotonic()
        assert [process.wait() for process in (cell.api, cell.worker)] == [0, 0]
        assert time.monotonic() - began < NOT_WAITED_SECONDS
    finally:
        postgres.resume()
        nats.signal(signal.SIGCONT)


def test_request_at_hand_is_answered_before_the_stop(cell: Cell, nats: Nats) -> None:
    nats.signal(signal.SIGSTOP)  # holds a request for the second that a publish may take
    try:
        with ThreadPoolExecutor(1) as threads:
            answer = threads.submit(cell.post)
            eventually("the request is at hand", lambda: not answer.done() and cell.health() == 503)
            cell.api.signal(signal.SIGTERM)
            assert answer.result().status_code == 202
        assert cell.api.wait() == 0
    finally:
        nats.signal(signal.SIGCONT)


def test_start_waits_for_the_database(cell: Cell, postgres: Postgres) -> None:
    cell.api.stop()
    postgres.stop()
    cell.api.start()
    eventually("the API waits", lambda: "waiting for the database" in cell.api.log.read_text())
    postgres.start_and_wait()
    cell.await_health(200)


def test_start_that_waits_for_the_database_heeds_sigterm(cell: Cell, nats: Nats) -> None:
    url = f"postgresql://postgres@127.0.0.1:{free_port()}/postgres"
    worker = Process(
        "worker without a database",
        [sys.executable, "-m", "notifications.worker"],
        cell.worker.log.with_name("waiting.log"),
        cell.environ | {"CELLPLANE_DATABASE_URL": url, "NOTIFICATIONS_OWNER_URL": url},
    )
    worker.start()
    eventually("the worker waits", lambda: "waiting for the database" in worker.log.read_text())
    assert worker.stop() == 0


def test_start_without_a_database_ends_with_a_clear_message(cell: Cell) -> None:
    url = f"postgresql://postgres:secret@127.0.0.1:{free_port()}/postgres"
    urls = {"CELLPLANE_DATABASE_URL": url, "NOTIFICATIONS_OWNER_URL": url}
    environ = cell.environ | urls | {"NOTIFICATIONS_DATABASE_START_SECONDS": "0.5"}
    command = [sys.executable, "-m", "notifications.worker"]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "Check CELLPLANE_DATABASE_URL" in ended.stderr
    assert "secret" not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_start_without_settings_names_all_that_are_missing(cell: Cell) -> None:
    environ = {name: value for name, value in cell.environ.items() if not name.startswith("CELLPLANE_")}
    command = [sys.executable, "-m", "notifications.api", "--port", "1"]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    for name in ("CELLPLANE_CELL_ID", "CELLPLANE_DATABASE_URL", "CELLPLANE_NATS_URL"):
        assert name in ended.stderr
    status, said = refused(cell, NOTIFICATIONS_PROVIDER_DIR="", NOTIFICATIONS_OWNER_URL="")
    assert (status, "NOTIFICATIONS_PROVIDER_DIR, NOTIFICATIONS_OWNER_URL" in said) == (2, True)


def refused(cell: Cell, **environ: str) -> tuple[int, str]:
    """The status and the last words of a worker that does not start."""
    command = [sys.executable, "-m", "notifications.worker"]
    ended = subprocess.run(command, env=cell.environ | environ, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stderr


def test_what_is_another_cells_is_named_and_nothing_starts(cell: Cell, tmp_path: Path) -> None:
    manifest = tmp_path / "cell.toml"
    manifest.write_text(f'cell = "{CELL_ID}"\n[[databases]]\nname = "postgres"\nhosts = ["127.0.0.1:5"]\n')
    status, said = refused(cell, NOTIFICATIONS_MANIFEST=str(manifest))
    assert status == 2
    assert f"{CELL_ID} must not start" in said
    assert "the database: postgresql://" in said
    assert "the queue: nats://" in said
    status, said = refused(cell, NOTIFICATIONS_MANIFEST=str(tmp_path / "none.toml"))
    assert (status, "none.toml" in said) == (2, True)


def test_a_database_that_says_it_is_another_cells_is_not_used(cell: Cell) -> None:
    status, said = refused(cell, CELLPLANE_CELL_ID="cell-b")
    assert status == 1
    assert "cannot start" in said
    assert CELL_ID in said


def test_a_role_that_no_policy_binds_is_not_used(cell: Cell, postgres: Postgres) -> None:
    status, said = refused(cell, CELLPLANE_DATABASE_URL=postgres.url)
    assert status == 1
    assert "postgres is a superuser, whom no policy binds" in said


def test_health_and_every_answer_tell_the_release(cell: Cell) -> None:
    assert "x-cell-release" not in cell.http.get("/healthz").headers
    assert cell.http.get("/healthz").json() == {"status": "ok", "cell": CELL_ID}
    assert cell.http.get("/livez").status_code == 200
    assert cell.api.stop() == 0
    cell.api.start(CELLPLANE_RELEASE="r7")
    cell.await_health(200)
    answer = cell.http.get("/healthz")
    assert (answer.json()["release"], answer.headers["x-cell-release"]) == ("r7", "r7")
    assert cell.get("/notifications").headers["x-cell-release"] == "r7"
    assert cell.api.stop() == 0
    cell.api.start()
    cell.await_health(200)
