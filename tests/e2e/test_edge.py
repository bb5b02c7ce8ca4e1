"""What clients may send, what cells see of it, and what happens to tables that are not sound."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellplane.model import (
    Cell,
    Fleet,
    KeySource,
    KeySourceKind,
    MissingKey,
    Pool,
    Tenant,
    TenantState,
    Topology,
    UnknownTenant,
    is_key,
)
from cellplane.placement import slot_of
from cellplane.router.engine import TableRejectedError
from cellplane.router.tables import StoredTable
from cellplane.routing import (
    PlacedTenants,
    Route,
    RoutingTable,
    compile_overlay,
    compile_table,
    decide,
    encode,
    encode_overlay,
)
from e2e.edge import Edge, RawAnswer, StubCell, start_edge, stored_with_stubs, stub_cells
from support.depth import examples

CELLS = ("cell-1", "cell-2", "cell-3")


def make_topology(fleet: Fleet, pinned: str = "cell-3") -> Topology:
    cells = tuple(Cell(cell, "127.0.0.1", 1) for cell in CELLS)
    return Topology(fleet, cells, (Pool("default", CELLS),), (Tenant("acme", (pinned,)),))


def make_table(epoch: int, *, header: str = "x-tenant-id", pinned: str = "cell-3") -> bytes:
    fleet = Fleet("shop", key_sources=(KeySource.trusted_header(header),))
    return encode(compile_table(make_topology(fleet, pinned), epoch))


TABLE = RoutingTable(make_table(1))


def write_table(folder: Path, epoch: int, *, header: str = "x-tenant-id", pinned: str = "cell-3") -> Path:
    path = folder / f"table-{epoch}.cpt"
    path.write_bytes(make_table(epoch, header=header, pinned=pinned))
    return path


@pytest.fixture(scope="module")
def cells() -> Iterator[dict[str, StubCell]]:
    with stub_cells(CELLS) as cells:
        yield cells


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory, cells: dict[str, StubCell]) -> Iterator[Edge]:
    folder = tmp_path_factory.mktemp("edge")
    stored = stored_with_stubs(write_table(folder, 1), cells)
    with start_edge(folder / "router", stored) as edge:
        yield edge


def test_what_clients_say_about_cells_is_stripped(edge: Edge) -> None:
    answer = edge.ask(
        [
            ("X-Cell-Id", "cell-1"),
            ("x-cell-epoch", "99"),
            ("X-CELL-Refusal", "1"),
            ("x-cell-anything", "1"),
            ("x-cell-id", "cell-2"),
            ("X-Tenant-Id", "acme"),
            ("x-cellar", "wine"),
        ]
    )
    assert answer is not None
    assert answer.json()["cell"] == "cell-3"
    assert answer.reached("x-cell-id") == ["cell-3"]
    assert answer.reached("x-cell-epoch") == ["1"]
    assert answer.reached("x-tenant-id") == ["acme"]
    assert [name for name, _ in answer.json()["headers"] if name.startswith("x-cell-")] == [
        "x-cell-id",
        "x-cell-epoch",
    ]
    assert answer.reached("x-cellar") == ["wine"]


@pytest.mark.parametrize("name", ["x_tenant_id", "x_cell_id"])
def test_headers_that_only_look_alike_are_refused(edge: Edge, name: str) -> None:
    answer = edge.ask([(name, "acme"), ("x-tenant-id", "acme")])
    assert answer is not None
    assert (answer.status, answer.json()["code"]) == (400, "bad-request")


def assert_problem(answer: RawAnswer | None, status: int, code: str) -> None:
    assert answer is not None
    assert (answer.status, answer.headers.get("content-type")) == (status, "application/problem+json"), answer
    document = answer.json()
    assert set(document) == {"type", "title", "status", "detail", "code"}
    assert (document["status"], document["code"]) == (status, code)
    assert document["type"] == f"urn:cellplane:problem:{code}"


@pytest.mark.parametrize("path", ["/a%2Fb", "/a%5cb"])
def test_escaped_slashes_are_refused(edge: Edge, path: str) -> None:
    assert_problem(edge.ask([("x-tenant-id", "acme")], path=path), 400, "bad-request")


def test_a_client_cannot_silence_a_refusal(edge: Edge) -> None:
    answer = edge.ask([("x-tenant-id", "acme"), ("x-cell-refusal", "1")], path="/a%2Fb")
    assert_problem(answer, 400, "bad-request")


@pytest.mark.parametrize(
    ("line", "headers", "expected"),
    [
        ("OPTIONS *", [], (404, "no-route")),
        ("CONNECT shop.example:443", [], (404, "no-route")),
        ("GET /", [("upgrade", "spdy/3.1"), ("connection", "upgrade")], (403, "upgrade-refused")),
        ("POST /", [("transfer-encoding", "gzip")], (400, "bad-request")),
    ],
    ids=["options *", "connect", "upgrade", "transfer-encoding"],
)
def test_what_is_not_routed_is_refused_with_a_problem(
    edge: Edge, line: str, headers: list[tuple[str, str]], expected: tuple[int, str]
) -> None:
    method, path = line.split()
    assert_problem(edge.ask([("x-tenant-id", "acme"), *headers], method=method, path=path), *expected)


def test_a_grpc_client_gets_a_grpc_status(edge: Edge) -> None:
    answer = edge.ask([("content-type", "application/grpc")], method="POST")
    assert answer is not None
    assert (answer.status, answer.headers["grpc-status"]) == (200, "3")
    assert '"code":"missing-key"' in answer.headers["grpc-message"]


def test_paths_are_normalised_before_a_cell_sees_them(edge: Edge) -> None:
    answer = edge.ask([("x-tenant-id", "acme")], path="/a/../b//c")
    assert answer is not None
    assert answer.json()["path"] == "/b/c"


def test_too_many_headers_are_refused(edge: Edge) -> None:
    answer = edge.ask([("x-tenant-id", "acme"), *((f"h-{number}", "v") for number in range(150))])
    assert answer is not None
    assert (answer.status, answer.json()["code"]) == (431, "headers-too-large")


def test_a_fleet_that_names_another_header_believes_no_tenant_id(tmp_path: Path, cells: dict[str, StubCell]) -> None:
    stored = stored_with_stubs(write_table(tmp_path, 5, header="x-org"), cells)
    with start_edge(tmp_path / "router", stored) as edge:
        answer = edge.ask([("x-tenant-id", "globex"), ("x-org", "acme"), ("x-tenant-id", "initech")])
        assert answer is not None
        assert answer.json()["cell"] == "cell-3"
        assert answer.reached("x-tenant-id") == ["acme"]
        assert answer.reached("x-org") == ["acme"]
        missing = edge.ask([("x-tenant-id", "acme")])
        assert missing is not None
        assert (missing.status, missing.json()["code"]) == (400, "missing-key")


def test_a_new_table_takes_over_and_a_broken_one_never_does(tmp_path: Path, cells: dict[str, StubCell]) -> None:
    with start_edge(tmp_path / "router", stored_with_stubs(write_table(tmp_path, 1), cells)) as edge:

        def served() -> tuple[str, list[str]]:
            answer = edge.ask([("x-tenant-id", "acme")])
            assert answer is not None
            assert answer.status == 200
            return answer.json()["cell"], answer.reached("x-cell-epoch")

        assert served() == ("cell-3", ["1"])
        edge.apply(stored_with_stubs(write_table(tmp_path, 2, pinned="cell-1"), cells))
        assert served() == ("cell-1", ["2"])
        sound = write_table(tmp_path, 3, pinned="cell-2")
        data = sound.read_bytes()
        rng = random.Random(7)
        for number in range(10):
            damaged = bytearray(data)
            damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            broken = tmp_path / f"broken-{number}.cpt"
            broken.write_bytes(damaged if number else data[: len(data) // 2])
            with pytest.raises(TableRejectedError):
                edge.apply(stored_with_stubs(sound, cells, epoch_path=broken))
            assert served() == ("cell-1", ["2"])
        with pytest.raises(TableRejectedError):
            edge.apply(stored_with_stubs(sound, cells, epoch_path=tmp_path / "missing.cpt"))
        assert served() == ("cell-1", ["2"])
        edge.apply(stored_with_stubs(sound, cells))
        assert served() == ("cell-2", ["3"])


def test_files_name_what_envoy_runs_after_a_rejection(tmp_path: Path, cells: dict[str, StubCell]) -> None:
    stored = stored_with_stubs(write_table(tmp_path, 1), cells)
    with start_edge(tmp_path / "router", stored) as edge:
        files = {name: (tmp_path / "router" / "envoy" / name).read_bytes() for name in ("cds.json", "rds.json")}
        broken = tmp_path / "broken.cpt"
        broken.write_bytes(b"no table")
        sound = stored_with_stubs(write_table(tmp_path, 2), cells, epoch_path=broken)
        with pytest.raises(TableRejectedError, match="at least 128 bytes"):
            edge.apply(sound)
        for name, data in files.items():
            assert (tmp_path / "router" / "envoy" / name).read_bytes() == data


def make_overlay(base: bytes, epoch: int, pinned: Mapping[str, str], gone: Sequence[str] = ()) -> bytes:
    table = RoutingTable(base)
    count = len(pinned)
    changed = PlacedTenants(
        ids=list(pinned),
        pools=["default"] * count,
        shards=[(cell,) for cell in pinned.values()],
        states=[TenantState.ACTIVE] * count,
    )
    topology = make_topology(Fleet("shop"))
    return encode_overlay(compile_overlay(topology, (table.epoch, table.sha256), epoch, changed, gone))


def test_overlays_follow_each_other_and_a_broken_one_never_serves(tmp_path: Path, cells: dict[str, StubCell]) -> None:
    path = write_table(tmp_path, 1)
    base = stored_with_stubs(path, cells)

    def with_overlay(name: str, overlay: bytes, *, written: bytes | None = None) -> StoredTable:
        """A table whose overlay the agent has checked, and whose file holds what was written."""
        table = RoutingTable(path.read_bytes(), overlay)
        table.cells = base.table.cells
        file = tmp_path / f"{name}.cpt"
        file.write_bytes(overlay if written is None else written)
        return StoredTable(table, path, file)

    with start_edge(tmp_path / "router", base) as edge:

        def served(tenant: str) -> tuple[str, list[str], list[str]]:
            answer = edge.ask([("x-tenant-id", tenant)])
            assert answer is not None
            assert answer.status == 200
            return answer.json()["cell"], answer.reached("x-cell-epoch"), answer.reached("x-tenant-id")

        unpinned = RoutingTable(encode(compile_table(replace(make_topology(Fleet("shop")), tenants=()), 1)))

        def by_slot(tenant: str) -> str:
            decision = decide(unpinned, tenant.encode(), writes=False, has_healthy_host=lambda _cell: True)
            assert isinstance(decision, Route)
            return decision.cell

        assert served("acme") == ("cell-3", ["1"], ["acme"])
        for epoch, cell in [(2, "cell-1"), (3, "cell-2")]:
            edge.apply(with_overlay(f"sound-{epoch}", make_overlay(path.read_bytes(), epoch, {"acme": cell})))
            assert served("acme") == (cell, [str(epoch)], ["acme"])
            assert served("globex") == (by_slot("globex"), [str(epoch)], ["globex"])
        sound = make_overlay(path.read_bytes(), 4, {"globex": "cell-1"}, gone=["acme"])
        foreign = make_overlay(make_table(1, pinned="cell-1"), 4, {"globex": "cell-1"}, gone=["acme"])
        older = make_overlay(path.read_bytes(), 3, {"globex": "cell-1"}, gone=["acme"])
        damaged = bytearray(sound)
        damaged[-70] ^= 1
        broken = {"foreign": foreign, "older": older, "damaged": damaged, "cut": sound[:-64], "base": path.read_bytes()}
        for name, written in broken.items():
            with pytest.raises(TableRejectedError):
                edge.apply(with_overlay(name, sound, written=bytes(written)))
            assert served("acme") == ("cell-2", ["3"], ["acme"])
        edge.apply(with_overlay("sound-4", sound))
        assert served("acme") == (by_slot("acme"), ["4"], ["acme"])
        assert served("globex") == ("cell-1", ["4"], ["globex"])
        edge.apply(stored_with_stubs(write_table(tmp_path, 5, pinned="cell-1"), cells))
        assert served("acme") == ("cell-1", ["5"], ["acme"])


@pytest.mark.parametrize(
    "hosts", [("a.shop.example", "b.shop.example"), ("a.shop.example",) * 2, ("user@a.shop.example",), ("a,b",)]
)
def test_two_hosts_are_refused_and_so_is_one_that_is_none(edge: Edge, hosts: Sequence[str]) -> None:
    first, *others = hosts
    answer = edge.ask([("x-tenant-id", "acme"), *(("Host", host) for host in others)], authority=first)
    assert answer is not None
    assert (answer.status, answer.json()["code"]) == (400, "invalid-host")


def ask_host(edge: Edge, host: str, path: str = "/x", *headers: str) -> RawAnswer:
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
    answer = edge.send("\r\n".join([*lines, "", ""]).encode())
    assert answer is not None
    return answer


def test_a_key_may_stand_in_the_host_or_path_and_a_request_without_one_goes_by_its_address(
    tmp_path: Path, cells: dict[str, StubCell]
) -> None:
    fleet = Fleet(
        "shop",
        key_sources=(
            KeySource(KeySourceKind.SUBDOMAIN, "shop.example"),
            KeySource(KeySourceKind.PATH, "/t/"),
            KeySource.trusted_header("x-tenant-id"),
        ),
        missing_key=MissingKey.SOURCE_HASH,
    )
    contents = compile_table(make_topology(fleet), 1)
    (pool,) = contents.pools
    assert pool.slots is not None
    # One slot has a cell of its own: that of this address, without its port.
    slots = np.full_like(pool.slots, pool.slots[0])
    slots[slot_of(b"127.0.0.1")] = next(shard for shard in pool.slots if shard != slots[0])
    path = tmp_path / "table-1.cpt"
    path.write_bytes(encode(replace(contents, pools=(replace(pool, slots=slots),))))
    decision = decide(
        RoutingTable(path.read_bytes()), None, writes=False, has_healthy_host=lambda _cell: True, source=b"127.0.0.1"
    )
    assert isinstance(decision, Route)
    with start_edge(tmp_path / "router", stored_with_stubs(path, cells)) as edge:
        for answer in (
            ask_host(edge, "acme.shop.example"),
            ask_host(edge, "ACME.Shop.Example.:8080", "/t/globex"),
            ask_host(edge, "acme.shop.example", "/x", "x-tenant-id: globex", "x-tenant-id: acme"),
            ask_host(edge, "shop.example", "/t/acme/orders?page=2"),
            ask_host(edge, "shop.example", "/x", "x-tenant-id: acme"),
        ):
            assert (answer.status, answer.json()["cell"]) == (200, "cell-3")
            assert answer.reached("x-tenant-id") == ["acme"]
        for answer in (
            ask_host(edge, "shop.example"),
            ask_host(edge, "shop.example", "/t/", "x-tenant-id:", "x-cell-id: cell-3", "x-forwarded-for: 192.0.2.1"),
        ):
            assert (answer.status, answer.json()["cell"]) == (200, decision.cell)
            assert answer.reached("x-cell-id") == [decision.cell]
            assert answer.reached("x-cell-epoch") == ["1"]
            assert answer.reached("x-tenant-id") == []
        assert_problem(ask_host(edge, "a_b!.shop.example", "/t/acme"), 400, "invalid-key")


def test_a_default_cell_takes_what_nothing_else_places(tmp_path: Path, cells: dict[str, StubCell]) -> None:
    fleet = Fleet(
        "shop",
        unknown_tenant=UnknownTenant.DEFAULT_CELL,
        missing_key=MissingKey.DEFAULT_CELL,
        default_cell="cell-2",
    )
    path = tmp_path / "table-1.cpt"
    path.write_bytes(encode(compile_table(make_topology(fleet), 1)))
    with start_edge(tmp_path / "router", stored_with_stubs(path, cells)) as edge:
        for headers, cell in [([("x-tenant-id", "acme")], "cell-3"), ([("x-tenant-id", "globex")], "cell-2")]:
            answer = edge.ask(headers)
            assert answer is not None
            assert (answer.status, answer.json()["cell"]) == (200, cell)
            assert answer.reached("x-tenant-id") == [headers[0][1]]
        answer = edge.ask([])
        assert answer is not None
        assert (answer.status, answer.json()["cell"]) == (200, "cell-2")
        assert answer.reached("x-tenant-id") == []


header_names = st.sampled_from(
    ["x-tenant-id", "X-Tenant-ID", "x-cell-id", "X-Cell-Epoch", "x_tenant_id", "x-org", "accept", "transfer-encoding"]
) | st.text("abcxyz-_", min_size=1, max_size=12)
# CR and LF would begin another header: they are sent by the test of smuggled headers.
header_values = st.binary(max_size=60) | st.sampled_from(
    [b"acme", b"ACME", b"", b"tenant%2D1", b"a" * 128, b"a" * 129, b"x" * 10_240, "zürich".encode(), b"a,b", b"a\0b"]
)


@settings(
    max_examples=examples(100),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.tuples(header_names, header_values), max_size=6), st.sampled_from(["GET", "POST", "DELETE"]))
def test_whatever_headers_a_client_sends_no_wrong_cell_is_chosen(
    edge: Edge, headers: list[tuple[str, bytes]], method: str
) -> None:
    answer = edge.ask([*headers, ("content-length", "0")], method=method)
    check_never_wrong(answer)


@settings(
    max_examples=examples(100),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(header_values, min_size=1, max_size=3), st.sampled_from([b"\r\n", b"\n", b"\r", b"\x0b", b"\0"]))
def test_smuggled_line_ends_choose_no_wrong_cell(edge: Edge, values: list[bytes], separator: bytes) -> None:
    value = separator.join([b"globex", *values, b"x-cell-id: cell-1"])
    check_never_wrong(edge.ask([("x-tenant-id", value)]))


def check_never_wrong(answer: RawAnswer | None) -> None:
    """Refused with a problem, or sent to exactly the cell of the one key that the cell then sees."""
    assert answer is not None, "closed without an answer"
    if answer.status != 200:
        assert 400 <= answer.status < 500, answer
        assert answer.json()["code"], answer
        return
    (key,) = answer.reached("x-tenant-id")
    assert is_key(key.encode("latin-1"))
    decision = decide(TABLE, key.encode(), writes=False, has_healthy_host=lambda _cell: True)
    assert isinstance(decision, Route)
    assert answer.json()["cell"] == decision.cell
    assert answer.reached("x-cell-id") == [decision.cell]
    assert answer.reached("x-cell-epoch") == ["1"]
