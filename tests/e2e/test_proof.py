"""Proof that a request came through a router, by a whole Envoy: what a cell is told, whichever cell it is."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cellplane.cell.door import RequestLine, Routing, decoded
from cellplane.cell.problem import Problem
from cellplane.cell.proof import ProofKeys
from cellplane.model import Compare, Policy, Pool, Tenant
from cellplane.signed_cookie import new_secret
from e2e.acting_cell import Act, ActingCell, Seen, acting_cells
from e2e.edge import Edge, start_edge
from e2e.harness import eventually
from e2e.http2 import http2_connection
from e2e.shop import CELLS, of, store
from e2e_sdk.apps import CELL_ID
from e2e_sdk.test_frameworks import served

TENANTS = (
    Tenant("both", ("cell-1", "cell-2")),
    Tenant("copied", ("cell-1",), policy=Policy(shadow="apart")),
    Tenant("compared", ("cell-1",), policy=Policy(shadow="apart", compare=Compare(100))),
)
BLIND = {"health_interval_seconds": 60.0, "connection_failures": 1_000_000}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "proof-keys"
    path.write_text(f"new {new_secret()}\n")
    return path


@pytest.fixture(scope="module")
def fleet() -> Iterator[dict[str, ActingCell]]:
    with acting_cells(CELLS) as cells:
        yield cells


@pytest.fixture
def cells(fleet: dict[str, ActingCell]) -> dict[str, ActingCell]:
    for cell in fleet.values():
        cell.reset()
    return fleet


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory, fleet: dict[str, ActingCell], keys: Path) -> Iterator[Edge]:
    folder = tmp_path_factory.mktemp("proof")
    with start_edge(folder / "router", store(folder, fleet, TENANTS), proof_keys=keys, **BLIND) as running:
        yield running


def fault(keys: Path, seen: Seen) -> Problem | None:
    """Why a cell would not believe a request that reached it."""
    said = {name: value.encode() for name, value in seen.headers.items()}
    routing = Routing(said["x-cell-id"], said["x-cell-epoch"], said["x-tenant-id"], said.get("x-cell-proof", b""))
    path, _, query = seen.path.encode().partition(b"?")
    return ProofKeys(keys).fault(routing, RequestLine(seen.method.encode(), decoded(path), query))


def only(cell: ActingCell) -> Seen:
    eventually(lambda: len(cell.seen) == 1, f"one request reaches {cell.cell}: {cell.seen}")
    return cell.seen[0]


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize("path", ["/", "/a%20b%C3%A4?q=%2F&r=a%20b", "/x?", "/a/../b?x=?"])
def test_a_cell_believes_what_a_router_sent(
    edge: Edge, cells: dict[str, ActingCell], keys: Path, path: str, http2: bool
) -> None:
    methods = ("GET", "POST", "DELETE", "OPTIONS")
    with edge.client(http2=http2) as client:
        for method in methods:
            client.request(method, path, headers={**of("both"), "x-cell-proof": "cpp1.1.new.a-clients-own"})
    assert [seen.method for seen in cells["cell-1"].seen] == [*methods]
    for seen in cells["cell-1"].seen:
        assert fault(keys, seen) is None
        assert seen.headers["x-cell-proof"].startswith("cpp1.")


def test_the_next_cell_of_a_shard_has_a_proof_of_its_own(edge: Edge, cells: dict[str, ActingCell], keys: Path) -> None:
    cells["cell-1"].act = Act.CLOSE
    with edge.client() as client:
        assert client.get("/x", headers=of("both")).headers["x-cell-id"] == "cell-2"
    first, second = only(cells["cell-1"]), only(cells["cell-2"])
    assert (fault(keys, first), fault(keys, second)) == (None, None)
    assert first.headers["x-cell-proof"] != second.headers["x-cell-proof"]


@pytest.mark.parametrize("tenant", ["copied", "compared"])
def test_a_copy_has_a_proof_for_the_cell_that_gets_it(
    edge: Edge, cells: dict[str, ActingCell], keys: Path, tenant: str
) -> None:
    with edge.client() as client:
        assert client.get("/x?y", headers=of(tenant)).status_code == 200
    meant, copy = only(cells["cell-1"]), only(cells["apart"])
    assert (meant.headers["x-cell-id"], copy.headers["x-cell-id"]) == ("cell-1", "apart")
    assert (fault(keys, meant), fault(keys, copy)) == (None, None)
    assert not [name for name in (*meant.headers, *copy.headers) if "shadow" in name]


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_a_websocket_is_proven_as_the_cell_sees_it(
    edge: Edge, cells: dict[str, ActingCell], keys: Path, http2: bool
) -> None:
    if http2:
        with http2_connection(edge) as connection:
            connection.request("both", (":protocol", "websocket"), method="CONNECT", path="/chat?a", end=False)
            seen = only(cells["cell-1"])
    else:
        lines = [*of("both").items(), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
        head = "".join(f"{name}: {value}\r\n" for name, value in [("Host", "a"), ("Connection", "Upgrade"), *lines])
        with socket.create_connection(("127.0.0.1", edge.settings.port), 30) as client:
            client.sendall(f"GET /chat?a HTTP/1.1\r\n{head}\r\n".encode())
            assert client.recv(12) == b"HTTP/1.1 101"
            seen = only(cells["cell-1"])
    assert seen.method == "GET"
    assert fault(keys, seen) is None


def test_keys_are_rotated_while_requests_run(tmp_path: Path, cells: dict[str, ActingCell]) -> None:
    path = tmp_path / "proof-keys"
    path.write_text(f"a {new_secret()}\n")
    with start_edge(tmp_path / "router", store(tmp_path, cells, TENANTS), proof_keys=path, **BLIND) as edge:

        def signer() -> str:
            cells["cell-1"].seen.clear()
            with edge.client() as client:
                client.get("/x", headers=of("both"))
            seen = only(cells["cell-1"])
            assert fault(path, seen) is None
            return seen.headers["x-cell-proof"].split(".")[2]

        assert signer() == "a"
        old = path.read_text()
        path.write_text(f"b {new_secret()}\n{old}")
        assert edge.runner.run(edge.engine.refresh()) is True
        assert signer() == "b"
        sound = path.read_text()
        for damage in ("", "nonsense", f"c {new_secret()} eu\n"):
            path.write_text(damage)
            assert edge.runner.run(edge.engine.refresh()) is False
        path.write_text(sound)
        assert signer() == "b"
        assert len([*(tmp_path / "router" / "keys").glob("proof-keys-of-*")]) == 1


def test_a_router_without_keys_proves_nothing_and_lets_nobody_else(
    tmp_path: Path, cells: dict[str, ActingCell], keys: Path
) -> None:
    with start_edge(tmp_path / "router", store(tmp_path, cells, TENANTS), **BLIND) as edge, edge.client() as client:
        client.get("/x", headers={**of("both"), "x-cell-proof": f"cpp1.{int(time.time())}.new.{'A' * 43}"})
    seen = only(cells["cell-1"])
    assert "x-cell-proof" not in seen.headers
    found = fault(keys, seen)
    assert found is not None
    assert found.code == "no-proof"


@pytest.mark.parametrize("kind", ["fastapi-asgi", "django-wsgi", "flask-werkzeug"])
def test_an_app_lets_in_what_came_through_a_router_and_nothing_else(kind: str, tmp_path: Path) -> None:
    """The whole way: a client, Envoy with the module, a server of the framework, the door."""
    text = f"a {new_secret()}\n"
    (tmp_path / "proof-keys").write_text(text)
    with served(kind, tmp_path) as app:
        cell: Any = SimpleNamespace(port=int(app.url.rpartition(":")[2]))
        stored = store(tmp_path, {CELL_ID: cell}, [Tenant("acme", (CELL_ID,))], pools=[Pool("default", (CELL_ID,))])
        with (
            start_edge(tmp_path / "router", stored, proof_keys=tmp_path / "proof-keys") as edge,
            edge.client() as client,
        ):
            for path in ("/sync", "/sync?a=%20b&c", "/a%20b?%C3%A4"):
                answer = client.get(path, headers=of("acme"))
                assert (answer.status_code, answer.json()["handler"]) == (200, "acme@1"), answer.text
            direct = {**of("acme"), "x-cell-id": CELL_ID, "x-cell-epoch": "1"}
            assert app.get("/sync", direct).json()["code"] == "no-proof"
            # Without a start, routers and the app come to other keys.
            (tmp_path / "proof-keys").write_text(f"b {new_secret()}\n{text}")
            time.sleep(1.1)
            edge.runner.run(edge.engine.refresh())
            assert client.get("/sync", headers=of("acme")).status_code == 200
