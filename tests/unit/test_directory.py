"""The store on a real SQLite file."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from sqlite3 import ProgrammingError

import pytest
from psycopg import OperationalError
from sqlalchemy import text

from cellplane.directory import StoredPublication
from cellplane.directory.database import open_database
from cellplane.directory.settings import DatabaseSettings
from cellplane.errors import ConflictError, DirectoryError, NotFoundError, ValidationError
from cellplane.model import Cell, CellStatus, Fleet, Pool, Tenant
from support.directory import Directory

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
def directory(location: Path | str) -> Iterator[Directory]:
    directory = Directory(location, clock=lambda: NOON)
    yield directory
    directory.close()


def fill(directory: Directory) -> None:
    directory.put_fleet(Fleet("shop"), actor="test")
    directory.put_cell(Cell("cell-1", "127.0.0.1", 8001), actor="test")
    directory.put_cell(Cell("cell-2", "127.0.0.1", 8002), actor="test")
    directory.put_pool(Pool("default", ("cell-1", "cell-2")), actor="test")


def test_an_empty_directory_has_no_topology(directory: Directory) -> None:
    assert directory.topology() is None
    assert directory.epoch() == 0
    with pytest.raises(NotFoundError, match="no fleet"):
        directory.fleet()


def test_every_change_is_an_epoch_and_an_entry_of_the_log(directory: Directory) -> None:
    fill(directory)
    assert directory.put_tenant(Tenant("acme"), actor="ann") == 5
    assert directory.put_tenant(Tenant("acme", ("cell-2",)), actor="bob") == 6
    assert directory.delete_tenant("acme", actor="eve") == 7
    log = directory.changes(limit=10, after=4)
    assert [(entry.epoch, entry.actor, entry.action, entry.kind, entry.id) for entry in log] == [
        (5, "ann", "put", "tenant", "acme"),
        (6, "bob", "put", "tenant", "acme"),
        (7, "eve", "delete", "tenant", "acme"),
    ]
    assert log[0].before is None
    assert log[1].before == log[0].after
    assert log[1].after == {
        "id": "acme",
        "shard": ["cell-2"],
        "state": "active",
        "pool": None,
        "placed_pool": "default",
        "tier": "",
        "jurisdiction": "",
        "attributes": {},
        "load": {"tenants": 1, "rps": 0.0, "storage_gib": 0.0},
        "shard_size": None,
        "policy": {},
    }
    assert log[2].after is None
    assert log[0].at == "2026-01-02T12:00:00.000+00:00"


def test_a_change_that_changes_nothing_is_no_epoch(directory: Directory) -> None:
    fill(directory)
    assert directory.put_cell(Cell("cell-1", "127.0.0.1", 8001), actor="test") == 4
    assert directory.epoch() == 4


def test_what_was_put_is_read_back(directory: Directory) -> None:
    fill(directory)
    cell = Cell("cell-3", "c.example", 443, "eu-west", "eu", CellStatus.DRAINING, 2.5)
    directory.put_cell(cell, actor="test")
    found = directory.topology()
    assert found is not None
    topology, epoch = found
    assert epoch == 5
    assert topology.cells[2] == cell
    assert topology.pools == (Pool("default", ("cell-1", "cell-2")),)


@pytest.mark.parametrize(
    "tenant", [Tenant("acme", ("cell-9",)), Tenant("a/b"), Tenant(""), Tenant("x" * 129), Tenant("\ud800")]
)
def test_a_tenant_that_cannot_be_is_refused_and_leaves_no_trace(directory: Directory, tenant: Tenant) -> None:
    fill(directory)
    with pytest.raises(ValidationError):
        directory.put_tenant(tenant, actor="test")
    assert directory.epoch() == 4


def test_a_cell_that_is_used_is_not_deleted(directory: Directory) -> None:
    fill(directory)
    with pytest.raises(ConflictError, match="pool 'default'"):
        directory.delete_cell("cell-1", actor="test")
    directory.put_tenant(Tenant("acme", ("cell-2",)), actor="test")
    directory.put_pool(Pool("default", ("cell-1",)), actor="test")
    with pytest.raises(ConflictError, match="tenant 'acme'"):
        directory.delete_cell("cell-2", actor="test")
    directory.delete_tenant("acme", actor="test")
    directory.delete_cell("cell-2", actor="test")
    with pytest.raises(NotFoundError):
        directory.delete_cell("cell-2", actor="test")


def test_a_directory_is_one_fleets(directory: Directory) -> None:
    fill(directory)
    with pytest.raises(ConflictError, match="'shop'"):
        directory.put_fleet(Fleet("other"), actor="test")


def test_a_pool_is_deleted_unless_it_is_the_fleets_default(directory: Directory) -> None:
    fill(directory)
    directory.put_pool(Pool("canary", ("cell-1",)), actor="test")
    with pytest.raises(ConflictError, match="default"):
        directory.delete_pool("default", actor="test")
    directory.put_fleet(Fleet("shop", default_pool="canary"), actor="test")
    directory.delete_pool("default", actor="test")
    assert [pool.name for pool in directory.pools()] == ["canary"]
    with pytest.raises(NotFoundError, match="default"):
        directory.delete_pool("default", actor="test")


def test_a_ring_that_is_too_large_to_compile_is_refused(directory: Directory) -> None:
    fill(directory)
    for number in range(1, 4):
        directory.put_cell(Cell(f"cell-{number}", "127.0.0.1", 8001, weight=75.0), actor="test")
    cells = ("cell-1", "cell-2", "cell-3")
    directory.put_pool(Pool("default", cells, virtual_nodes=4096), actor="test")
    with pytest.raises(ValidationError, match=r"cell\.weight: .* 1024000 points"):
        directory.put_cell(Cell("cell-1", "127.0.0.1", 8001, weight=100.0), actor="test")
    directory.put_cell(Cell("cell-4", "127.0.0.1", 8001, weight=100.0), actor="test")
    with pytest.raises(ValidationError, match=r"pool\.virtual_nodes: .* points"):
        directory.put_pool(Pool("default", (*cells, "cell-4"), virtual_nodes=4096), actor="test")
    assert directory.pools()[0].cells == cells


def test_pages_of_tenants(directory: Directory) -> None:
    fill(directory)
    for number in range(7):
        directory.put_tenant(Tenant(f"t-{number}", ("cell-1",) if number % 2 else ()), actor="test")
    first = directory.tenants(limit=3)
    assert [record.tenant.id for record in first.items] == ["t-0", "t-1", "t-2"]
    second = directory.tenants(limit=3, after=first.next or "")
    third = directory.tenants(limit=3, after=second.next or "")
    assert [record.tenant.id for record in third.items] == ["t-6"]
    assert third.next is None
    assert [record.tenant.id for record in directory.tenants(limit=9, cell="cell-1").items] == ["t-1", "t-3", "t-5"]
    assert directory.assigned_tenants() == {"cell-1": 3, "cell-2": 0}


def test_an_epoch_has_one_content(directory: Directory) -> None:
    fill(directory)
    leadership = directory.leadership("test", time.monotonic)
    assert leadership.campaign()

    def publish(sha256: str) -> bool:
        return directory.publish(StoredPublication(4, sha256, "base", b"", 0), 4, b"bytes", leadership)

    assert publish("aa")
    assert publish("aa")
    assert not publish("bb")
    assert directory.republish(actor="test") == 5


def test_threads_that_write_at_once_lose_nothing(directory: Directory) -> None:
    fill(directory)
    epochs: list[int] = []

    def write(thread: int) -> None:
        epochs.extend(directory.put_tenant(Tenant(f"t-{thread}-{n}"), actor="test") for n in range(20))

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(epochs) == list(range(5, 85))
    assert len(directory.tenants(limit=100).items) == 80


@pytest.mark.parametrize("way", ["reading", "writing", "aside"])
def test_what_is_used_when_it_closes_is_closed_when_it_comes_back(location: Path | str, way: str) -> None:
    database = open_database(location, DatabaseSettings())
    with getattr(database, way)() as connection:
        driver = connection.connection.dbapi_connection
        database.close()
        connection.execute(text("SELECT 1"))
    with pytest.raises(ProgrammingError if isinstance(location, Path) else OperationalError, match="closed"):
        driver.execute("SELECT 1")


def test_a_file_that_is_no_database_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "directory.sqlite3"
    path.write_bytes(b"this is no database, whatever its name says" * 10)
    with pytest.raises(DirectoryError, match="nothing was changed"):
        Directory(path)


WRITER = """
import sys
from pathlib import Path
from cellplane.directory import Author, Directory
directory = Directory(Path(sys.argv[1]))
for number in range(100_000):
    epoch = directory.change(Author("writer"), lambda change: change.change_tenant(f"t-{number}", {}).epoch)
    print(number, epoch, flush=True)
"""


def test_no_acknowledged_change_is_lost_to_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "directory.sqlite3"
    acknowledged: dict[int, int] = {}
    for round_number in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(20 + 7 * round_number):
            number, epoch = map(int, writer.stdout.readline().split())
            acknowledged[number] = epoch
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        directory = Directory(path)
        stored = {record.tenant.id for record in directory.tenants(limit=1000).items}
        assert {f"t-{number}" for number in acknowledged} <= stored
        epochs = [entry.epoch for entry in directory.changes(limit=1000)]
        assert epochs == list(range(1, len(epochs) + 1))
        assert len(epochs) == len(stored)
        directory.close()
