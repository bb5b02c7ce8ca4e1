"""A router that is asked to stop: what is under way is answered, and nobody comes new."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from cellplane.model import Tenant
from e2e.acting_cell import ActingCell, acting_cells
from e2e.edge import Edge, start_edge
from e2e.harness import eventually
from e2e.shop import MEMBERS, of, store

DRAIN_SECONDS = 20.0


@pytest.fixture
def cells() -> Iterator[dict[str, ActingCell]]:
    with acting_cells(MEMBERS) as cells:
        yield cells


def refuses(edge: Edge) -> bool:
    # No request: one that came just before would wait for the cell that is held.
    try:
        socket.create_connection(("127.0.0.1", edge.settings.port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_stop_answers_what_is_under_way_and_closes_connections_with_their_answers(
    tmp_path: Path, cells: dict[str, ActingCell]
) -> None:
    stored = store(tmp_path, cells, [Tenant("acme", ("cell-1",))])
    with (
        start_edge(tmp_path / "router", stored, drain_seconds=DRAIN_SECONDS) as edge,
        edge.client() as client,
        ThreadPoolExecutor(1) as threads,
    ):
        assert client.get("/x", headers=of("acme")).status_code == 200
        cells["cell-1"].hold()
        under_way: Future[httpx2.Response] = threads.submit(client.get, "/x", headers=of("acme"))
        eventually(lambda: len(cells["cell-1"].seen) == 2, "it is under way")
        refused: list[bool] = []

        def release_once_it_drains() -> None:
            eventually(lambda: refuses(edge), "it takes no new connections")
            refused.append(True)
            cells["cell-1"].release()

        releasing = threading.Thread(target=release_once_it_drains)
        releasing.start()
        began = time.monotonic()
        edge.runner.run(edge.engine.stop())
        took_seconds = time.monotonic() - began
        releasing.join()
        assert refused == [True]
        answer = under_way.result()
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert took_seconds < DRAIN_SECONDS, "nobody was left to wait for"


def test_a_stop_waits_only_so_long_for_a_client_that_keeps_its_connection(
    tmp_path: Path, cells: dict[str, ActingCell]
) -> None:
    stored = store(tmp_path, cells, [Tenant("acme", ("cell-1",))])
    with start_edge(tmp_path / "router", stored, drain_seconds=0.2) as edge, edge.client() as client:
        assert client.get("/x", headers=of("acme")).status_code == 200
        edge.runner.run(edge.engine.stop())
        assert not edge.engine.alive()
