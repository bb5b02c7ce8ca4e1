"""One PostgreSQL, one NATS and one cell for all tests here; each test gets them healthy."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_app.servers import Cell, Nats, Postgres


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("e2e-app")


@pytest.fixture(scope="session")
def postgres(folder: Path) -> Iterator[Postgres]:
    server = Postgres(folder)
    try:
        server.start_and_wait()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def nats(folder: Path) -> Iterator[Nats]:
    server = Nats(folder)
    try:
        server.start_and_wait()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def running_cell(folder: Path, postgres: Postgres, nats: Nats) -> Iterator[Cell]:
    cell = Cell(folder, postgres, nats)
    try:
        cell.api.start()
        cell.worker.start()
        yield cell
    finally:
        cell.http.close()
        cell.worker.stop()
        cell.api.stop()
    for process in (cell.api, cell.worker):
        assert '"exception"' not in process.log.read_text(), f"{process.name} met an error that nobody foresaw"


@pytest.fixture
def cell(running_cell: Cell, postgres: Postgres, nats: Nats) -> Iterator[Cell]:
    """The cell, healthy before the test, and whole again after it, however it ended."""
    running_cell.await_health(200)
    yield running_cell
    for server in (postgres, nats):
        if not server.running:
            server.start_and_wait()
    for process in (running_cell.api, running_cell.worker):
        if not process.running:
            process.start()
