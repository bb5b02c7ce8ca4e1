"""A tenant of the demo moves with its rows while it is read and written, and comes back."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cellplane.provision.local.folder import StateFolder
from e2e.harness import CELLPLANE, Demo, eventually
from support import plain_http

BODY = {"channel": "email", "to": "ada@example.org", "body": "hello"}
WAITED = frozenset({503})
"""What a write may get for the moment of the flip."""


class Client:
    """Writes and reads one tenant's notifications through the router, and notes what it was told."""

    def __init__(self, demo: Demo, tenant: str) -> None:
        self._demo = demo
        self._headers = {"X-Tenant-Id": tenant}
        self.acknowledged: set[str] = set()
        self.writes: list[int] = []
        self.reads: list[int] = []
        self.unread: list[str] = []
        self.missing: list[str] = []

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Write and read until the block ends."""
        stop = threading.Event()
        threads = [threading.Thread(target=work, args=(stop,)) for work in (self._write, self._read)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _write(self, stop: threading.Event) -> None:
        with plain_http.client(self._demo.router, headers=self._headers, timeout=30) as http:
            while not stop.wait(0.01):
                answer = http.post("/notifications", json=BODY)
                self.writes.append(answer.status_code)
                if answer.status_code == 202:
                    self.acknowledged.add(answer.json()["id"])

    def _read(self, stop: threading.Event) -> None:
        with plain_http.client(self._demo.router, headers=self._headers, timeout=30) as http:
            while not stop.wait(0.01):
                wanted = next(iter(self.acknowledged.copy()), None)
                answer = http.get("/notifications?limit=1" if wanted is None else f"/notifications/{wanted}")
                self.reads.append(answer.status_code)
                if answer.status_code != 200:
                    self.unread.append(answer.text)
                if answer.status_code == 404:
                    self.missing.append(str(wanted))


def rows(demo: Demo, cell: str, tenant: str) -> set[str]:
    """The ids of a tenant's notifications in a cell's database."""
    port = json.loads((demo.state / "endpoints.json").read_text())["ports"][f"{cell}.postgres"]
    with psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres") as connection:
        found = connection.execute("SELECT id::text FROM notifications WHERE tenant_id = %s", (tenant,)).fetchall()
        slots = connection.execute("SELECT slot_name FROM pg_replication_slots").fetchall()
    assert slots == [], "a slot that is forgotten fills a disk"
    return {row[0] for row in found}


BESIDE_ROWS = """
carriers:
  - jetstream:
      name: deliveries
      stream: CELL-{cell}
      subjects: ["deliveries.{cell}"]
  - files:
      name: uploads
      roots: uploads/{cell}
"""


def test_a_tenant_moves_under_load_and_is_taken_back_with_what_it_wrote_there(demo: Demo) -> None:
    tenant = demo.tenants[3]
    home = demo.placed()[tenant]
    there = next(cell for cell in ("cell-1", "cell-2", "cell-3") if cell != home)
    client = Client(demo, tenant)
    with client.busy():
        eventually(lambda: len(client.acknowledged) > 20, "it is written")
        moving = threading.Thread(target=demo.run, args=("move", tenant, there, "--hold", "120"))
        moving.start()
        eventually(lambda: demo.placed()[tenant] == there, "it is flipped", seconds=60)
        seen = len(client.acknowledged)
        eventually(lambda: len(client.acknowledged) > seen + 20, "it is written where it is now")
        (move,) = [each for each in statuses(demo) if each["tenant"] == tenant]
        demo.run("move", "rollback", move["id"])
        moving.join(90)
        assert not moving.is_alive()
    assert demo.placed()[tenant] == home
    assert set(client.reads) == {200}, client.unread
    assert set(client.writes) <= {202} | WAITED
    assert client.acknowledged <= rows(demo, home, tenant)
    assert rows(demo, there, tenant) == set()


def test_cells_of_another_fleet_are_named_in_a_file(demo: Demo, tmp_path: Path) -> None:
    tenant = demo.tenants[4]
    home = demo.placed()[tenant]
    there = next(cell for cell in ("cell-1", "cell-2", "cell-3") if cell != home)
    ports = json.loads((demo.state / "endpoints.json").read_text())["ports"]
    lines = [f"control: {demo.control}", "cells:"]
    for cell in (home, there):
        url = f"postgresql://postgres@127.0.0.1:{ports[f'{cell}.postgres']}/postgres"
        (tmp_path / f"{cell}.url").write_text(url)
        record = StateFolder(demo.state).moves(cell)
        lines += [f"  {cell}:", f"    databaseFile: {cell}.url", f"    peerDatabase: {url}", f"    record: {record}"]
    (tmp_path / "cells.yaml").write_text("\n".join(lines))
    environment = {**os.environ, "CELLPLANE_TOKEN_FILE": str(demo.state / "control" / "admin-token")}

    def run(*words: str) -> Any:
        done = subprocess.run(
            [CELLPLANE, "move", *words, "--state", str(tmp_path), "--json"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    with plain_http.client(demo.router, headers={"X-Tenant-Id": tenant}) as http:
        written = http.post("/notifications", json=BODY).json()["id"]
        (tmp_path / "beside.yaml").write_text(BESIDE_ROWS.replace("jetstream", "jet"))
        with pytest.raises(AssertionError, match=r"beside\.yaml:3:.*no field is named 'jet'"):
            run(tenant, there, "--dry-run", "--config", str(tmp_path / "beside.yaml"))
        (tmp_path / "beside.yaml").write_text("carriers: [{files: {roots: 'uploads/{cell}'}}]")
        (tmp_path / "uploads" / home / tenant).mkdir(parents=True)
        (tmp_path / "uploads" / home / tenant / "a.txt").write_text("a")
        planned = run(tenant, there, "--dry-run", "--config", str(tmp_path / "beside.yaml"))
        assert (planned["source"], planned["carriers"]) == (home, {"files": {"things": 1, "bytes": 1}})
        assert run(tenant, there, "--hold", "0")["phase"] == "done"
        answer = http.get(f"/notifications/{written}")
    assert (answer.status_code, answer.headers["x-cell-id"]) == (200, there)
    assert [each["phase"] for each in run("status")["items"]] == ["done"]
    assert rows(demo, home, tenant) == set()


@pytest.mark.long
def test_the_new_cell_answers_unseen_before_it_has_the_tenant(demo: Demo) -> None:
    tenant = demo.tenants[5]
    home = demo.placed()[tenant]
    there = next(cell for cell in ("cell-1", "cell-2", "cell-3") if cell != home)
    client = Client(demo, tenant)
    with client.busy():
        eventually(lambda: len(client.acknowledged) > 20, "it is written")
        demo.run("move", tenant, there, "--hold", "0", "--shadow", "3")
    (said,) = [each for each in statuses(demo) if each["tenant"] == tenant]
    assert said["phase"] == "done"
    assert said["shadow"]["compared"] > 20
    assert demo.placed()[tenant] == there
    assert set(client.reads) == {200}, client.unread
    assert client.acknowledged <= rows(demo, there, tenant)
    assert demo.get(f"/v1/tenants/{tenant}")["policy"]["shadow"] is None
    told = [each["event"] for each in demo.get("/v1/events", kind="move", id=tenant, after=0)["items"]]
    assert told[told.index("tenant.move.verified") + 1 :][:2] == ["tenant.move.shadowed", "tenant.move.fenced"]


@pytest.mark.long
def test_a_cell_that_answers_otherwise_does_not_get_the_tenant(demo: Demo) -> None:
    tenant = demo.tenants[6]
    home = demo.placed()[tenant]
    there = next(cell for cell in ("cell-1", "cell-2", "cell-3") if cell != home)
    client = Client(demo, tenant)
    demo.run("chaos", "errors", there, "40%")
    try:
        with client.busy():
            eventually(lambda: len(client.acknowledged) > 20, "it is written")
            refused = demo.run("move", tenant, there, "--hold", "0", "--shadow", "3", ok=False)
    finally:
        demo.run("chaos", "restore", there)
    assert f"differ between {home} and {there}" in refused
    assert (set(client.reads), set(client.writes)) == ({200}, {202}), "nobody noticed"
    (move,) = [each for each in statuses(demo) if each["tenant"] == tenant]
    assert move["phase"] == "verified"
    demo.run("move", "abort", move["id"])
    assert demo.placed()[tenant] == home
    assert rows(demo, there, tenant) == set()
    assert demo.get(f"/v1/tenants/{tenant}")["policy"]["shadow"] is None


@pytest.mark.long
def test_a_tenant_moves_with_its_rows_under_load_and_comes_back(demo: Demo) -> None:
    tenant = demo.tenants[0]
    home = demo.placed()[tenant]
    there = next(cell for cell in ("cell-1", "cell-2", "cell-3") if cell != home)
    (demo.state / "moves.yaml").write_text(BESIDE_ROWS)
    uploads = {cell: demo.state / "uploads" / cell / tenant for cell in (home, there)}
    for folder in uploads.values():
        folder.parent.mkdir(parents=True)
    uploads[home].mkdir()
    (uploads[home] / "a.txt").write_text("a")
    planned = json.loads(demo.run("move", tenant, there, "--dry-run", "--json"))
    assert planned["carriers"]["uploads"] == {"things": 1, "bytes": 1}
    client = Client(demo, tenant)
    with client.busy():
        eventually(lambda: len(client.acknowledged) > 20, "it is written")
        demo.run("move", tenant, there, "--hold", "0")
    (said,) = [each for each in statuses(demo) if each["target"] == there]
    assert said["phase"] == "done"
    assert demo.placed()[tenant] == there
    assert set(client.reads) == {200}, client.unread
    assert set(client.writes) <= {202} | WAITED
    assert client.acknowledged <= rows(demo, there, tenant)
    assert rows(demo, home, tenant) == set()
    assert [list(uploads[cell].iterdir()) for cell in (home, there)] == [[], [uploads[there] / "a.txt"]]
    eventually(lambda: undelivered(demo, there, tenant) == 0, "what was queued is delivered")
    (known,) = demo.get("/v1/moves", tenant=tenant)["items"]
    assert (known["id"], known["phase"], known["living"]) == (said["id"], "done", False)
    assert known["pause_seconds"] > 0
    told = [each["event"] for each in demo.get("/v1/events", kind="move", id=tenant, after=0)["items"]]
    ends = ["tenant.move.flipped", "tenant.move.released", "tenant.move.done"]
    assert (told[0], told[-3:]) == ("tenant.move.planned", ends)
    flipped = known["flipped_epoch"]
    assert demo.get(f"/v1/epochs/{flipped - 1}/tenants/{tenant}")["cells"] == [home]
    assert demo.get(f"/v1/epochs/{flipped}/tenants/{tenant}")["cells"] == [there]

    back = Client(demo, tenant)
    holding = threading.Thread(target=demo.run, args=("move", tenant, home, "--hold", "120"))
    with back.busy():
        holding.start()
        eventually(lambda: demo.placed()[tenant] == home, "it is flipped", seconds=60)
        seen = len(back.acknowledged)
        eventually(lambda: len(back.acknowledged) > seen + 20, "it is written where it is now")
        (move,) = [each for each in statuses(demo) if each["phase"] == "flipped"]
        eventually(lambda: demo.get(f"/v1/moves/{move['id']}")["phase"] == "flipped", "that is told")
        # As from another machine: its mover hears of it.
        asked = demo.run("move", "rollback", move["id"], "--control", demo.control)
        assert "is asked to rollback" in asked
        holding.join(90)
        assert not holding.is_alive()
    assert next(each for each in statuses(demo) if each["id"] == move["id"])["phase"] == "rolled-back"
    assert demo.placed()[tenant] == there
    assert set(back.reads) == {200}, back.unread
    assert client.acknowledged | back.acknowledged <= rows(demo, there, tenant)
    assert rows(demo, home, tenant) == set()
    eventually(lambda: undelivered(demo, there, tenant) == 0, "what was queued is delivered")
    demo.run("move", tenant, home, "--hold", "0")
    assert (uploads[home] / "a.txt").read_text() == "a"
    demo.run("unassign", tenant)
    (demo.state / "moves.yaml").unlink()


def undelivered(demo: Demo, cell: str, tenant: str) -> int:
    """How many of a tenant's notifications wait in a cell."""
    port = json.loads((demo.state / "endpoints.json").read_text())["ports"][f"{cell}.postgres"]
    with psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres") as connection:
        waiting = "SELECT count(*) FROM notifications WHERE tenant_id = %s AND status = 'queued'"
        found = connection.execute(waiting, (tenant,)).fetchone()
    assert found is not None
    return int(found[0])


def statuses(demo: Demo) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(demo.run("move", "status", "--json"))["items"]
    return items


@pytest.mark.long
def test_a_part_of_a_cell_moves_as_a_batch_that_can_be_cut_short(demo: Demo) -> None:
    before = demo.placed()
    source, target = "cell-1", "cell-2"
    planned = json.loads(demo.run("move", "batch", "split", source, target, "--dry-run", "--json"))["moves"]
    leaving = [each["tenant"] for each in planned]
    assert 0 < len(leaving) < list(before.values()).count(source)
    assert demo.placed() == before
    words = ["move", "batch", "split", source, target, "--hold", "0", "--at-once", "1"]
    begun = subprocess.Popen([CELLPLANE, *words], env=demo.environment)
    try:
        eventually(lambda: demo.placed()[leaving[0]] == target, "one is moved", seconds=60)
    finally:
        begun.kill()
        begun.wait()
    (batch,) = json.loads(demo.run("move", "batch", "status", "--json"))["items"]
    demo.run("move", "batch", "resume", batch["id"])
    (batch,) = json.loads(demo.run("move", "batch", "status", batch["id"], "--json"))["items"]
    assert {state: count for state, count in batch["counts"].items() if count} == {"done": len(leaving)}
    assert {tenant: cell for tenant, cell in demo.placed().items() if before[tenant] != cell} == dict.fromkeys(
        leaving, target
    )
    for tenant in leaving:
        assert rows(demo, source, tenant) == set()
