"""What a client sees when a cell does not take its request: another cell's answer, or one refusal."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cellplane.model import Policy, Reads, Tenant
from cellplane.router.board import Count
from e2e.acting_cell import Act, ActingCell, acting_cells
from e2e.edge import Edge, start_edge
from e2e.harness import eventually
from e2e.shop import CELLS, of, store

TENANTS = (
    Tenant("both", ("cell-1", "cell-2")),
    Tenant("alone", ("cell-1",)),
    Tenant("no-failover", ("cell-1", "cell-2"), policy=Policy(reads=Reads.FAIL)),
    Tenant("standby", ("cell-1",), policy=Policy(reads=Reads.STANDBY, standby="apart")),
    Tenant("limited", ("cell-1", "cell-2"), policy=Policy(rps=0.01)),
)
BLIND = {"health_interval_seconds": 60.0, "connection_failures": 1_000_000}
"""Settings with which nobody notices that a cell is down: every request has to find out."""


@pytest.fixture(scope="module")
def fleet() -> Iterator[dict[str, ActingCell]]:
    with acting_cells(CELLS) as cells:
        yield cells


@pytest.fixture(scope="module")
def blind(tmp_path_factory: pytest.TempPathFactory, fleet: dict[str, ActingCell]) -> Iterator[Edge]:
    folder = tmp_path_factory.mktemp("blind")
    options = {**BLIND, "access_log": folder / "access.log"}
    with start_edge(folder / "router", store(folder, fleet, TENANTS), **options) as edge:
        yield edge


@pytest.fixture
def cells(fleet: dict[str, ActingCell]) -> Iterator[dict[str, ActingCell]]:
    yield fleet
    for cell in fleet.values():
        cell.reset()


def break_cell(cell: ActingCell, how: Act | None) -> None:
    """Make a cell fail so; None: it refuses connections."""
    if how is None:
        cell.refuse()
    else:
        cell.act = how


WAYS = pytest.mark.parametrize("how", [None, Act.CLOSE, Act.RESET], ids=["refuses", "closes", "resets"])
PROTOCOLS = pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])


@PROTOCOLS
@WAYS
def test_a_read_gets_the_second_cells_answer_while_nobody_knows_that_the_first_is_down(
    blind: Edge, cells: dict[str, ActingCell], how: Act | None, http2: bool
) -> None:
    with blind.client(http2=http2) as client:
        assert client.get("/x", headers=of("both")).json()["cell"] == "cell-1"
        break_cell(cells["cell-1"], how)
        for method in ("GET", "HEAD", "OPTIONS", "GET"):
            answer = client.request(method, "/x", headers=of("both"))
            assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
            assert (answer.status_code, answer.headers["x-cell-id"]) == (200, "cell-2")
        reached = client.get("/x", headers={**of("both"), "x-cell-id": "cell-3", "x-cell-epoch": "9"}).json()
        assert reached["cell"] == "cell-2"
        told = {name: value for name, value in reached["headers"].items() if name.startswith("x-")}
        expected = {"x-cell-id": "cell-2", "x-cell-epoch": "1", "x-cell-pool": "default", "x-tenant-id": "both"}
        assert expected.items() <= told.items()
        cells["cell-1"].reset()
        assert client.get("/x", headers=of("both")).json()["cell"] == "cell-1"


@PROTOCOLS
@pytest.mark.parametrize(
    ("how", "code"), [(None, "cell-unreachable"), (Act.CLOSE, "cell-failed"), (Act.RESET, "cell-failed")]
)
def test_what_might_have_been_done_is_not_tried_again(
    blind: Edge, cells: dict[str, ActingCell], how: Act | None, code: str, http2: bool
) -> None:
    break_cell(cells["cell-1"], how)
    with blind.client(http2=http2) as client:
        for method, body in (("POST", b"order"), ("POST", b""), ("DELETE", b""), ("GET", b"a read with a body")):
            answer = client.request(method, "/x", headers=of("both"), content=body)
            assert (answer.status_code, answer.json()["code"]) == (503, code), method
            assert answer.headers["x-cell-id"] == "cell-1"
            assert answer.headers["retry-after"] == "1"
    assert not cells["cell-2"].seen
    if how is not None:
        assert len(cells["cell-1"].seen) == 4


@WAYS
def test_a_tenant_of_one_cell_is_refused_once(blind: Edge, cells: dict[str, ActingCell], how: Act | None) -> None:
    break_cell(cells["cell-1"], how)
    before = blind.counts("cell-1")
    with blind.client() as client:
        answer = client.get("/x", headers=of("alone"))
    assert (answer.status_code, answer.json()["code"]) == (503, "cell-failed" if how else "cell-unreachable")
    assert counted(blind, "cell-1", before, Count.REQUESTS, Count.ERRORS, Count.RETRIED) == (1, 1, 0)


@PROTOCOLS
def test_where_both_cells_are_down_there_is_one_refusal_and_no_loop(
    blind: Edge, cells: dict[str, ActingCell], http2: bool
) -> None:
    cells["cell-1"].refuse()
    cells["cell-2"].refuse()
    before = {cell: blind.counts(cell) for cell in CELLS}
    with blind.client(http2=http2) as client:
        answer = client.get("/x", headers=of("both"))
        assert (answer.status_code, answer.json()["code"]) == (503, "cell-unreachable")
        assert answer.headers["x-cell-id"] == "cell-2"
    for cell, expected in (("cell-1", (1, 1, 1, 1)), ("cell-2", (1, 1, 1, 0)), ("cell-3", (0, 0, 0, 0))):
        what = (Count.REQUESTS, Count.ERRORS, Count.UNREACHABLE, Count.RETRIED)
        assert counted(blind, cell, before[cell], *what) == expected


def counted(edge: Edge, cell: str, before: dict[Count, int], *what: Count) -> tuple[int, ...]:
    after = edge.counts(cell)
    assert after[Count.IN_FLIGHT] == 0
    return tuple(after[count] - before[count] for count in what)


def test_a_standby_takes_a_read_that_failed_and_a_policy_without_failover_refuses_it(
    blind: Edge, cells: dict[str, ActingCell]
) -> None:
    cells["cell-1"].refuse()
    with blind.client() as client:
        assert client.get("/x", headers=of("standby")).json()["cell"] == "apart"
        assert client.post("/x", headers=of("standby")).status_code == 503
        answer = client.get("/x", headers=of("no-failover"))
        assert (answer.status_code, answer.json()["code"]) == (503, "cell-unavailable")


def test_a_second_try_costs_nothing_of_the_tenants_limit(blind: Edge, cells: dict[str, ActingCell]) -> None:
    cells["cell-1"].refuse()
    with blind.client() as client:
        answer = client.get("/x", headers=of("limited"))
        assert (answer.status_code, answer.headers["x-cell-id"]) == (200, "cell-2")
        assert client.get("/x", headers=of("limited")).status_code == 429


def test_a_cell_that_answers_badly_is_not_asked_twice(blind: Edge, cells: dict[str, ActingCell]) -> None:
    cells["cell-1"].status = 503
    with blind.client() as client:
        answer = client.get("/x", headers=of("both"))
    assert (answer.status_code, answer.headers["x-cell-id"]) == (503, "cell-1")
    assert not cells["cell-2"].seen


def test_a_cell_that_takes_no_connections_is_left_out_before_health_checks_say_so(
    tmp_path: Path, cells: dict[str, ActingCell]
) -> None:
    options = {"health_interval_seconds": 60.0, "connection_failures": 3}
    with start_edge(tmp_path / "router", store(tmp_path, cells, TENANTS), **options) as edge, edge.client() as client:
        cells["cell-1"].refuse()
        answers = [client.get("/x", headers=of("both")) for _ in range(20)]
        assert {(answer.status_code, answer.headers["x-cell-id"]) for answer in answers} == {(200, "cell-2")}
        assert edge.counts("cell-1")[Count.RETRIED] < 10
        answer = client.get("/x", headers=of("alone"))
        assert (answer.status_code, answer.json()["code"]) == (503, "cell-unavailable")
        # A write goes to the next cell as soon as the first is known to be down.
        assert client.post("/x", headers=of("both")).json()["cell"] == "cell-2"


def test_a_cell_that_was_left_out_is_back_when_it_passes_a_health_check(
    tmp_path: Path, cells: dict[str, ActingCell]
) -> None:
    with start_edge(tmp_path / "router", store(tmp_path, cells, TENANTS)) as edge, edge.client() as client:
        cells["cell-1"].refuse()
        for _ in range(20):
            assert client.get("/x", headers=of("both")).headers["x-cell-id"] == "cell-2"
        cells["cell-1"].accept()
        eventually(lambda: client.get("/x", headers=of("both")).headers["x-cell-id"] == "cell-1", "it is back")
