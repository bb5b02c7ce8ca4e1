"""What clients get of a cell that is down where its policy reads what the router has kept of its answers."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from cellplane.model import Balance, Policy, Reads, Tenant, TenantState
from cellplane.router.board import Count
from e2e.acting_cell import Act, ActingCell, acting_cells
from e2e.edge import start_edge
from e2e.harness import eventually
from e2e.shop import CELLS, Shop, of, store
from e2e.test_tls_and_logs import write_pair

CACHE = Policy(reads=Reads.CACHE)
TENANTS = (
    Tenant("kept", ("cell-1",), policy=CACHE),
    Tenant("other", ("cell-1",), policy=CACHE),
    Tenant("elsewhere", ("cell-2",), policy=CACHE),
    Tenant("plain", ("cell-1",)),
    Tenant("both", ("cell-1", "cell-2"), policy=Policy(reads=Reads.CACHE, balance=Balance.ROUND_ROBIN)),
    Tenant("brief", ("cell-1",), policy=Policy(reads=Reads.CACHE, cache_seconds=1)),
    Tenant("limited", ("cell-1",), policy=Policy(reads=Reads.CACHE, rps=0.01)),
)
BODY_LIMIT_BYTES = 64 * 1024
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def fleet() -> Iterator[dict[str, ActingCell]]:
    with acting_cells(CELLS) as cells:
        yield cells


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, fleet: dict[str, ActingCell]) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("kept")
    options = {"workers": 2, "access_log": folder / "access.log", "access_log_flush_seconds": 0.1}
    with start_edge(folder / "router", store(folder, fleet, TENANTS), **options) as edge:
        yield Shop(folder, fleet, edge)


@pytest.fixture
def shop(running: Shop) -> Iterator[Shop]:
    """Nothing is kept yet: while no tenant reads what was kept, all of it is forgotten."""
    running.serve(Tenant("plain", ("cell-1",)))
    running.serve(*TENANTS)
    yield running
    running.mend()


def get(
    client: httpx2.Client, tenant: str, path: str = "/x", headers: Mapping[str, str] | None = None, method: str = "GET"
) -> httpx2.Response:
    return client.request(method, path, headers={**of(tenant), **(headers or {})})


def is_kept(answer: httpx2.Response) -> bool:
    """Whether an answer is what was kept; else the refusal that says that nothing was."""
    if answer.status_code == 503:
        assert answer.json()["code"] == "cell-unavailable"
        assert "x-data-source" not in answer.headers
        return False
    assert answer.status_code == 200
    assert answer.headers["x-data-source"] == "cache"
    return True


def test_a_cell_that_is_down_is_answered_for_with_what_was_kept(shop: Shop) -> None:
    with shop.edge.client() as client:
        shop.cells["cell-1"].said = {"etag": '"one"', "x-app": "a", "age": "5"}
        first = get(client, "kept")
        assert "x-data-source" not in first.headers
        shop.take_down("cell-1")
        answer = get(client, "kept")
        assert (answer.status_code, answer.content) == (200, first.content)
        expected = {
            "x-data-source": "cache",
            "x-cell-id": "cell-1",
            "x-cell-epoch": str(shop.epoch),
            "content-type": "application/json",
            "etag": '"one"',
            "x-app": "a",
        }
        assert expected.items() <= dict(answer.headers).items()
        assert int(answer.headers["age"]) >= 5
        names = [name for name, _ in answer.headers.multi_items()]
        assert sorted(set(names)) == sorted(names)


def test_nobody_else_gets_a_tenants_answer(shop: Shop) -> None:
    with shop.edge.client() as client:
        for tenant in ("kept", "plain", "elsewhere"):
            get(client, tenant)
        shop.take_down("cell-1")
        assert get(client, "kept").json()["headers"]["x-tenant-id"] == "kept"
        assert not is_kept(get(client, "other"))
        answer = get(client, "elsewhere")
        assert (answer.json()["cell"], "x-data-source" in answer.headers) == ("cell-2", False)
        # Without the policy nothing is kept, and the refusal is the usual one.
        refused = get(client, "plain").json()
        assert (refused["code"], "kept" in refused["detail"]) == ("cell-unavailable", False)
        assert "no answer to it was kept" in get(client, "other").json()["detail"]
        # Whatever a client says of the tenant beside the key: no cell and no key has it.
        spoofed = [("x-tenant-id", "other"), ("x-cell-id", "cell-1"), ("x-cell-tenant", "kept")]
        assert not is_kept(client.get("/x", headers=spoofed))


def test_a_read_that_its_cell_does_not_take_gets_what_was_kept(tmp_path: Path, fleet: dict[str, ActingCell]) -> None:
    blind = {"health_interval_seconds": 60.0, "connection_failures": 1_000_000}
    with start_edge(tmp_path / "router", store(tmp_path, fleet, TENANTS), **blind) as edge, edge.client() as client:
        try:
            first = get(client, "kept")
            fleet["cell-1"].refuse()
            for http2 in (False, True):
                with edge.client(http2=http2) as other:
                    answer = get(other, "kept")
                    assert (answer.content, is_kept(answer)) == (first.content, True)
                    assert not is_kept(get(other, "kept", "/other"))
                    assert get(other, "kept", method="POST").json()["code"] == "cell-unreachable"
        finally:
            fleet["cell-1"].reset()


def test_a_head_and_conditions_are_answered_from_what_a_get_left(shop: Shop) -> None:
    with shop.edge.client() as client:
        shop.cells["cell-1"].said = {"etag": '"one"'}
        first = get(client, "kept")
        shop.take_down("cell-1")
        head = get(client, "kept", method="HEAD")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(first.content))
        same = get(client, "kept", headers={"if-none-match": '"one"'})
        assert (same.status_code, same.content, same.headers["x-data-source"]) == (304, b"", "cache")
        assert is_kept(get(client, "kept", headers={"if-none-match": '"two"'}))
        assert not is_kept(get(client, "kept", headers={"cache-control": "no-cache"}))
        assert not is_kept(get(client, "kept", method="OPTIONS"))


@pytest.mark.parametrize(
    ("said", "by_anybody", "by_a_user"),
    [
        ("", True, False),
        ("max-age=60", True, False),
        ("public", True, True),
        ("s-maxage=60", True, True),
        ("private", False, False),
        ("no-store", False, False),
        ("public, no-cache", False, False),
    ],
)
def test_a_users_answer_is_kept_only_where_it_says_that_it_is_for_all(
    shop: Shop, said: str, by_anybody: bool, by_a_user: bool
) -> None:
    users: list[dict[str, str]] = [{"authorization": "Bearer a"}, {"cookie": "session=a"}, {"x-api-key": "a"}]
    with shop.edge.client() as client:
        shop.cells["cell-1"].said = {"cache-control": said} if said else {}
        get(client, "kept", "/anybody")
        for place, user in enumerate(users):
            get(client, "kept", f"/user/{place}", user)
        shop.take_down("cell-1")
        assert is_kept(get(client, "kept", "/anybody")) is by_anybody
        for place, user in enumerate(users):
            assert is_kept(get(client, "kept", f"/user/{place}", user)) is by_a_user
            assert is_kept(get(client, "kept", f"/user/{place}")) is by_a_user
            # Who is known gets what is for all, and not what somebody unknown was told.
            assert is_kept(get(client, "kept", "/anybody", user)) is by_a_user


def test_what_an_answer_depends_on_is_in_its_key_or_it_is_not_kept(shop: Shop) -> None:
    german, english = {"accept-language": "de"}, {"accept-language": "en"}
    with shop.edge.client() as client:
        shop.cells["cell-1"].said = {"vary": "Accept-Language"}
        first = get(client, "kept", "/x?a=1", german)
        shop.cells["cell-1"].said = {"vary": "Accept-Language, User-Agent"}
        get(client, "kept", "/agent")
        shop.cells["cell-1"].said = {"set-cookie": "a=b"}
        get(client, "kept", "/cookie")
        # The client must not say it later, as a browser would.
        client.cookies.clear()
        shop.take_down("cell-1")
        assert get(client, "kept", "/x?a=1", german).content == first.content
        for path, headers in (("/x?a=1", english), ("/x?a=2", german), ("/x", german), ("/agent", {}), ("/cookie", {})):
            assert not is_kept(get(client, "kept", path, headers))


def test_a_write_that_succeeded_takes_away_what_was_kept_of_its_path(shop: Shop) -> None:
    with shop.edge.client() as client:
        for tenant, path in (("kept", "/x"), ("kept", "/x?page=2"), ("kept", "/y"), ("other", "/x")):
            get(client, tenant, path)
        shop.cells["cell-1"].status = 500
        assert get(client, "kept", "/y", method="POST").status_code == 500
        shop.cells["cell-1"].status = 200
        assert get(client, "kept", "/x?id=7", method="PUT").status_code == 200
        shop.take_down("cell-1")
        found = [is_kept(get(client, *at)) for at in (("kept", "/x"), ("kept", "/x?page=2"), ("kept", "/y"))]
        assert found == [False, False, True]
        assert is_kept(get(client, "other"))


def test_bodies_are_kept_up_to_their_limit_and_streams_are_not(shop: Shop) -> None:
    cell = shop.cells["cell-1"]
    cell.event_pause_seconds = 0.01
    with shop.edge.client() as client:
        paths = [f"/bytes/{bytes_}" for bytes_ in (0, 1, BODY_LIMIT_BYTES, BODY_LIMIT_BYTES + 1, MIB)]
        first = [get(client, "kept", path).content for path in paths]
        assert get(client, "kept", "/events/3").status_code == 200
        shop.take_down("cell-1")
        found = [get(client, "kept", path) for path in paths]
        assert [is_kept(answer) for answer in found] == [True, True, True, False, False]
        assert [answer.content for answer in found[:3]] == first[:3]
        assert not is_kept(get(client, "kept", "/events/3"))


def test_what_broke_off_is_not_kept(shop: Shop) -> None:
    cell = shop.cells["cell-1"]
    with shop.edge.client() as client:
        cell.act = Act.BREAK_OFF
        with pytest.raises(httpx2.HTTPError):
            get(client, "kept")
        cell.act = Act.ANSWER
        shop.take_down("cell-1")
        assert not is_kept(get(client, "kept"))


def test_an_answer_is_no_older_than_the_policy_says(shop: Shop) -> None:
    with shop.edge.client() as client:
        get(client, "brief")
        get(client, "kept")
        shop.take_down("cell-1")
        eventually(lambda: not is_kept(get(client, "brief")), "what was kept for a second is too old")
        assert is_kept(get(client, "kept"))


def test_what_was_kept_outlives_a_new_table_while_the_tenant_stays(shop: Shop) -> None:
    with shop.edge.client() as client:
        for tenant in ("kept", "other", "elsewhere"):
            get(client, tenant)
        moved = {
            "other": Tenant("other", ("cell-2",), policy=CACHE),
            "elsewhere": Tenant("elsewhere", ("cell-2",), TenantState.SUSPENDED, policy=CACHE),
        }
        shop.serve(*(moved.get(tenant.id, tenant) for tenant in TENANTS))
        shop.take_down("cell-1", "cell-2")
        answer = get(client, "kept")
        assert (is_kept(answer), answer.headers["x-cell-epoch"]) == (True, str(shop.epoch))
        assert not is_kept(get(client, "other"))
        assert get(client, "elsewhere").status_code == 403


def test_answers_of_all_cells_of_a_shard_count_where_requests_spread(shop: Shop) -> None:
    with shop.edge.client() as client:
        first = {path: get(client, "both", path) for path in ("/a", "/b", "/c", "/d")}
        cells = {answer.headers["x-cell-id"] for answer in first.values()}
        assert cells == {"cell-1", "cell-2"}
        shop.take_down("cell-1", "cell-2")
        for path, answer in first.items():
            found = get(client, "both", path)
            assert is_kept(found)
            assert (found.content, found.headers["x-cell-id"]) == (answer.content, answer.headers["x-cell-id"])


def test_a_kept_answer_takes_of_the_tenants_limit(shop: Shop) -> None:
    with shop.edge.client() as client:
        get(client, "limited")
        shop.take_down("cell-1")
        assert get(client, "limited").status_code == 429


def test_what_is_kept_and_given_is_counted_and_logged(shop: Shop) -> None:
    with shop.edge.client() as client:
        get(client, "kept", "/logged?secret=1")
        shop.take_down("cell-1")
        get(client, "kept", "/logged?secret=1")
        get(client, "kept", "/missed")
    counts = shop.edge.counts("cell-1")
    assert [counts[what] for what in (Count.KEPT, Count.STALE, Count.KEPT_MISSED)] == [1, 1, 1]
    assert 0 < shop.edge.board.kept_bytes < 4 * 1024
    log = shop.edge.settings.access_log
    assert log is not None

    def lines() -> list[dict[str, object]]:
        found = [json.loads(line) for line in log.read_text().splitlines()]
        return [line for line in found if line["details"] == "cellplane_kept_answer" and line["path"] == "/logged"]

    eventually(lambda: bool(lines()), "the log has it")
    expected = {"status": 200, "cell": "cell-1", "pool": "default", "tenant": "kept", "reason": "assignment"}
    assert expected.items() <= lines()[-1].items()
    assert "secret" not in log.read_text()


def test_a_flood_of_paths_stays_inside_of_the_bound_and_takes_nothing_of_others(
    tmp_path: Path, fleet: dict[str, ActingCell]
) -> None:
    stored = store(tmp_path, fleet, TENANTS)
    with start_edge(tmp_path / "router", stored, max_kept_bytes=MIB) as edge, edge.client() as client:
        try:
            get(client, "other")
            for number in range(300):
                get(client, "kept", f"/{number}", {"accept": "x" * 900})
                assert edge.board.kept_bytes <= MIB
            counts = edge.counts("cell-1")
            assert (counts[Count.KEPT], counts[Count.KEPT_EVICTED] > 250) == (301, True)
            fleet["cell-1"].is_healthy = False
            eventually(lambda: edge.healthy_hosts("cell-1") == 0, "it is down")
            assert is_kept(get(client, "other"))
            assert is_kept(get(client, "kept", "/299", {"accept": "x" * 900}))
            assert not is_kept(get(client, "kept", "/0", {"accept": "x" * 900}))
        finally:
            fleet["cell-1"].reset()


def test_many_clients_at_once_get_their_own_tenants_answers(shop: Shop) -> None:
    paths = [f"/{number}" for number in range(20)]
    tenants = ("kept", "other", "elsewhere")

    with ThreadPoolExecutor(6) as pool, shop.edge.client() as client:

        def ask(tenant: str) -> None:
            for path in paths:
                answer = get(client, tenant, path)
                assert answer.json()["headers"]["x-tenant-id"] == tenant

        def ask_all() -> list[Future[None]]:
            return [pool.submit(ask, tenant) for tenant in tenants * 4]

        for done in ask_all():
            done.result()
        # Who stores gives up where another worker is at it; of four clients one has come through.
        asking = ask_all()
        shop.take_down("cell-1")
        for done in asking:
            done.result()
        for tenant in ("kept", "other"):
            assert all(is_kept(get(client, tenant, path)) for path in paths)


def test_what_was_kept_is_gone_with_envoy(tmp_path: Path, fleet: dict[str, ActingCell]) -> None:
    stored = store(tmp_path, fleet, TENANTS)
    for is_first in (True, False):
        with start_edge(tmp_path / "router", stored) as edge, edge.client() as client:
            try:
                if is_first:
                    get(client, "kept")
                fleet["cell-1"].is_healthy = False
                eventually(lambda: edge.healthy_hosts("cell-1") == 0, "it is down")
                assert is_kept(get(client, "kept")) is is_first
            finally:
                fleet["cell-1"].reset()


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_what_was_kept_is_given_by_tls_too(tmp_path: Path, fleet: dict[str, ActingCell], http2: bool) -> None:
    write_pair(tmp_path, "localhost")
    options = {"tls_certificate": tmp_path / "tls.crt", "tls_key": tmp_path / "tls.key"}
    with start_edge(tmp_path / "router", store(tmp_path, fleet, TENANTS), **options) as edge:
        url = edge.url.replace("http:", "https:")
        with httpx2.Client(base_url=url, verify=False, http2=http2, trust_env=False) as client:
            try:
                first = get(client, "kept")
                fleet["cell-1"].is_healthy = False
                eventually(lambda: edge.healthy_hosts("cell-1") == 0, "it is down")
                answer = get(client, "kept")
                assert (is_kept(answer), answer.content) == (True, first.content)
                names = [name for name, _ in answer.headers.multi_items()]
                assert "strict-transport-security" in names
                assert sorted(set(names)) == sorted(names)
            finally:
                fleet["cell-1"].reset()
