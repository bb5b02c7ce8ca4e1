"""Capacity in a running control plane: cells report, are locked and opened again, and more of them are made."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import insert

from cellplane.capacity.locks import Hold, Lock
from cellplane.capacity.settings import CapacitySettings
from cellplane.cell import CellUse
from cellplane.cell.reporting import CapacityReporter
from cellplane.cli.commands import cli
from cellplane.control.capacity.provisioners import find_provisioner
from cellplane.control.settings import ControlSettings
from cellplane.directory import Author, Leadership, schema
from cellplane.errors import FencedError, ValidationError
from support.directory import Directory
from support.http_server import answering_with
from unit.control.file_provisioner import FOLDER
from unit.control.serving import Api, assert_problem, eventually, leading, serving

QUICK = CapacitySettings(unlock_seconds=0.3, stale_seconds=30)
DAY_SECONDS = 86_400


@contextmanager
def quick(state: Path, capacity: CapacitySettings = QUICK, **overrides: Any) -> Iterator[Api]:
    """A control plane that looks all the time."""
    with serving(state, capacity=capacity, capacity_seconds=0.05, **overrides) as api:
        yield api


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    with quick(tmp_path) as api:
        monkeypatch.setenv("CELLPLANE_TOKEN", api.token)
        api.fill()
        yield api


def report(api: Api, cell: str, share: float, resource: str = "connections") -> None:
    body = {resource: {"used": share * 100, "limit": 100}}
    api.http.post(f"/v1/cells/{cell}/report", json=body).raise_for_status()


def status(api: Api, cell: str) -> str:
    found: str = api.get(f"/v1/cells/{cell}").json()["status"]
    return found


def becomes(api: Api, cell: str, wanted: str, *, seconds: float = 30.0) -> None:
    eventually(lambda: status(api, cell) == wanted, f"{cell} is {wanted}", seconds=seconds)


def rounds(api: Api, count: int = 3) -> None:
    """Wait until the keeper has looked so often."""
    lookout, looked = api.service.lookout, []
    look = lookout.look

    def counting() -> Any:
        found = look()
        looked.append(found)
        return found

    lookout.look = counting  # type: ignore[method-assign]
    try:
        eventually(lambda: len(looked) >= count, "it looks")
    finally:
        lookout.look = look  # type: ignore[method-assign]


def cell_view(api: Api, cell: str) -> dict[str, Any]:
    (found,) = (each for each in api.get("/v1/capacity").json()["cells"] if each["id"] == cell)
    return dict(found)


def pool_view(api: Api, pool: str = "default") -> dict[str, Any]:
    (found,) = api.get("/v1/capacity", pool=pool).json()["pools"]
    return dict(found)


def chosen(api: Api, tenant: str) -> tuple[str, ...]:
    """The cells that pool `picked` chooses for a new tenant."""
    api.put_epoch(f"/v1/tenants/{tenant}", {"pool": "picked"})
    return tuple(api.get(f"/v1/tenants/{tenant}").json()["cells"])


def run(api: Api, *arguments: str) -> str:
    result = CliRunner().invoke(cli, [*arguments, "--control", f"http://127.0.0.1:{api.port}"])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_full_cell_is_locked_by_the_control_plane_and_opened_when_it_is_emptier(api: Api) -> None:
    report(api, "cell-1", 0.69)
    rounds(api)
    assert status(api, "cell-1") == "active"
    report(api, "cell-1", 0.75)
    becomes(api, "cell-1", "locked")
    change = api.get("/v1/events", kind="cell", id="cell-1", before=2**62).json()["items"][0]
    assert change["actor"] == "control-plane"
    assert change["reason"] == "uses 75% of its connections, from 70% on it is full"
    assert cell_view(api, "cell-1")["lock"] == "automatic"
    report(api, "cell-1", 0.65)
    rounds(api, 10)
    assert status(api, "cell-1") == "locked", "between the marks nothing changes"
    report(api, "cell-1", 0.5)
    becomes(api, "cell-1", "active")
    assert 'cellplane_cell_locks_total{to="locked"} 1.0' in api.get("/metrics").text


def test_a_cell_that_is_full_when_it_is_first_seen_is_locked(tmp_path: Path) -> None:
    with serving(tmp_path, capacity=QUICK, capacity_seconds=0.5) as api:
        api.fill()
        report(api, "cell-1", 0.9)
        becomes(api, "cell-1", "locked")
        assert cell_view(api, "cell-1")["lock"] == "automatic"


def test_new_tenants_go_to_another_cell_than_the_locked_one(api: Api) -> None:
    api.put_epoch("/v1/pools/picked", {"cells": ["cell-1", "cell-2"], "strategy": "explicit"})
    report(api, "cell-1", 0.9)
    becomes(api, "cell-1", "locked")
    assert {chosen(api, f"new-{number}") for number in range(5)} == {("cell-2",)}


def test_what_a_person_ordered_stays_until_it_is_taken_back(api: Api) -> None:
    report(api, "cell-1", 0.1)
    api.http.post("/v1/cells/cell-1/status", json={"status": "locked"}).raise_for_status()
    eventually(lambda: cell_view(api, "cell-1")["lock"] == "locked by hand", "the order is noticed")
    rounds(api, 10)
    assert status(api, "cell-1") == "locked"
    assert "locked and opened by what it reports" in run(api, "capacity", "release", "cell-1")
    becomes(api, "cell-1", "active")
    assert cell_view(api, "cell-1")["lock"] == "automatic"
    assert_problem(api.http.delete("/v1/cells/nowhere/hold"), 404, "not-found")


def test_a_person_may_order_what_is_so_already(api: Api) -> None:
    report(api, "cell-1", 0.9)
    becomes(api, "cell-1", "locked")
    api.http.post("/v1/cells/cell-1/status", json={"status": "locked"}).raise_for_status()
    assert cell_view(api, "cell-1")["lock"] == "locked by hand"
    report(api, "cell-1", 0.1)
    rounds(api, 20)
    assert status(api, "cell-1") == "locked", "it is for maintenance, say"
    run(api, "capacity", "release", "cell-1", "--reason", "done")
    released, ordered = api.get("/v1/events", kind="lock", id="cell-1", before=2**62).json()["items"]
    assert (released["reason"], released["after"]) == ("done", {"hold": "none"})
    assert ordered["after"] == {"hold": "locked by hand"}
    becomes(api, "cell-1", "active")


def test_a_rollback_orders_nothing(api: Api) -> None:
    before = api.get("/healthz").json()["epoch"]
    report(api, "cell-1", 0.9)
    becomes(api, "cell-1", "locked")
    api.http.post("/v1/rollback", json={"epoch": before}).raise_for_status()
    assert cell_view(api, "cell-1")["lock"] == "automatic"
    becomes(api, "cell-1", "locked")


def test_a_cell_that_comes_back_from_maintenance_is_nobodys_order(api: Api) -> None:
    for each in ("maintenance", "active"):
        api.http.post("/v1/cells/cell-1/status", json={"status": each}).raise_for_status()
    report(api, "cell-1", 0.9)
    becomes(api, "cell-1", "locked")


def test_a_release_is_not_undone_by_a_round_that_began_before_it(location: Path | str) -> None:
    directory = Directory(location)
    leadership = leading(directory)
    stale = {"cell-1": Lock(hold=Hold.OPEN), "cell-2": Lock(), "gone": Lock()}
    directory.capacity.keep_locks(stale, {}, leadership)
    with directory.changing(Author("person")) as transaction:
        transaction.locks.keep({"cell-1": Lock()})
    wanted = {"cell-1": Lock(hold=Hold.OPEN, low_since_seconds=None), "cell-2": Lock(is_locked=True)}
    directory.capacity.keep_locks(wanted, stale, leadership)
    assert directory.capacity.read().locks == {"cell-1": Lock(), "cell-2": Lock(is_locked=True)}
    other = directory.leadership("other", lambda: 0.0)
    with pytest.raises(FencedError):
        directory.capacity.keep_locks({}, {}, other)
    directory.close()


def test_cells_come_by_pages(api: Api) -> None:
    first = api.get("/v1/capacity", limit=1).json()
    assert ([cell["id"] for cell in first["cells"]], first["next"]) == (["cell-1"], "cell-1")
    last = api.get("/v1/capacity", limit=1, after="cell-1").json()
    assert ([cell["id"] for cell in last["cells"]], last["next"]) == (["cell-2"], None)


def test_who_leads_no_more_tells_nothing_of_capacity(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def tells() -> bool:
        return 'cellplane_pool_headroom_ratio{pool="default"}' in api.get("/metrics").text

    report(api, "cell-1", 0.1)
    eventually(tells, "the leader tells")
    monkeypatch.setattr(Leadership, "leads", False)
    eventually(lambda: not tells(), "it leads no more")


def test_a_cell_that_a_person_opened_stays_open(api: Api) -> None:
    report(api, "cell-1", 0.9)
    becomes(api, "cell-1", "locked")
    api.http.post("/v1/cells/cell-1/status", json={"status": "active"}).raise_for_status()
    rounds(api, 10)
    assert status(api, "cell-1") == "active"
    assert cell_view(api, "cell-1")["lock"] == "open by hand"


def test_the_order_and_the_lock_are_kept_over_a_restart(tmp_path: Path) -> None:
    with quick(tmp_path) as api:
        api.fill()
        report(api, "cell-1", 0.9)
        becomes(api, "cell-1", "locked")
    with quick(tmp_path) as api:
        rounds(api)
        assert cell_view(api, "cell-1")["lock"] == "automatic", "what was locked here is not taken for an order"
        report(api, "cell-1", 0.1)
        becomes(api, "cell-1", "active")


def test_the_last_open_cell_of_a_pool_is_kept_open_and_said_so(api: Api) -> None:
    report(api, "cell-1", 0.9)
    becomes(api, "cell-1", "locked")
    report(api, "cell-2", 0.95)
    eventually(lambda: cell_view(api, "cell-2")["kept_open"] != "", "it is kept open")
    assert status(api, "cell-2") == "active"
    assert "is the last cell of pool 'default'" in run(api, "capacity")


def test_reports_that_are_old_or_missing_change_nothing(tmp_path: Path) -> None:
    with quick(tmp_path, CapacitySettings(unlock_seconds=0.1, stale_seconds=1)) as api:
        api.fill()
        report(api, "cell-1", 0.9)
        becomes(api, "cell-1", "locked")
        eventually(lambda: cell_view(api, "cell-1")["utilisation"] is None, "it is too old")
        rounds(api, 10)
        assert status(api, "cell-1") == "locked"


def test_locking_can_be_left_to_people(tmp_path: Path) -> None:
    with quick(tmp_path, locks_cells=False) as api:
        api.fill()
        report(api, "cell-1", 0.99)
        rounds(api)
        assert status(api, "cell-1") == "active"
        assert cell_view(api, "cell-1")["utilisation"] == 0.99
        assert api.get("/v1/capacity").json()["locks_cells"] is False


@pytest.mark.parametrize(
    "body",
    [
        {"cpu": {"used": -1}},
        {"cpu": {"used": "1"}},
        {"storage": {"used": 1, "limit": 0}},
        {"weather": {"used": 1}},
        {"tenants": {"used": 1e13}},
        {"rps": {}},
        [],
    ],
)
def test_a_report_that_says_no_amounts_is_refused(api: Api, body: object) -> None:
    response = api.http.post("/v1/cells/cell-1/report", json=body)
    assert response.status_code == 422
    assert response.json()["code"] == "invalid-request"
    assert cell_view(api, "cell-1")["report_age_seconds"] is None


def test_a_cell_reports_for_itself_alone_and_only_where_it_is_known(api: Api) -> None:
    token = api.holder(name="cell-1", role="cell", subject="cell-1")
    headers = {"authorization": f"Bearer {token}"}
    body = {"cpu": {"used": 0.2}}
    assert api.http.post("/v1/cells/cell-1/report", json=body, headers=headers).status_code == 200
    assert_problem(api.http.post("/v1/cells/cell-2/report", json=body, headers=headers), 403, "forbidden")
    assert_problem(api.http.post("/v1/cells/nowhere/report", json=body), 404, "not-found")


def test_the_sdk_reports_to_the_control_plane(api: Api, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    token_file = tmp_path / "token"
    use = CellUse(cpu_ratio=0.8, storage_bytes=2.0**30, storage_limit_bytes=4 * 2.0**30, tenants=float("nan"))
    reporter = CapacityReporter(f"http://127.0.0.1:{api.port}", "cell-1", token_file, lambda: use, every_seconds=0.05)
    reporter.start()
    eventually(lambda: "no capacity report" in caplog.text, "a missing token is said")
    token_file.write_text("cp_" + "0" * 16 + "_" + "0" * 64)
    token_file.write_text(api.holder(name="cell-1", role="cell", subject="cell-1") + "\n")
    becomes(api, "cell-1", "locked")
    reporter.stop()
    view = cell_view(api, "cell-1")
    assert (view["utilisation"], view["resource"]) == (0.8, "cpu")
    assert view["rooms"]["storage"] == {"left": 1.8, "whole": 2.8}
    assert caplog.text.count("no capacity report") == 1, "once, not each time"


def test_a_reporter_goes_on_after_an_answer_that_never_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellplane.cell.reporting.REPORT_TIMEOUT_SECONDS", 0.1)
    asked: list[int] = []
    ended = threading.Event()

    class Stalls(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # as http.server calls it
            asked.append(1)
            self.send_response(503)
            self.send_header("content-length", "100")
            self.end_headers()
            self.wfile.write(b"no")
            self.wfile.flush()
            ended.wait(60)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    (tmp_path / "token").write_text("x")
    with answering_with(Stalls) as server:
        reporter = CapacityReporter(
            f"http://127.0.0.1:{server.server_port}", "cell-1", tmp_path / "token", CellUse, every_seconds=0.02
        )
        reporter.start()
        eventually(lambda: len(asked) >= 3, "it reports again and again")
        reporter.stop()
        ended.set()


@contextmanager
def metrics_at(answer: Callable[[], tuple[int, str]]) -> Iterator[int]:
    """A cell's /metrics, on a port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # as http.server calls it
            code, text = answer() if self.path == "/metrics" else (404, "")
            self.send_response(code)
            if code == 302:
                self.send_header("location", text)
                text = ""
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with answering_with(Handler) as server:
        yield server.server_port


def test_cells_that_do_not_report_are_asked(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    answers = [(200, CellUse(connections=30, connections_limit=100).to_metrics())]
    with metrics_at(lambda: answers[-1]) as port, quick(tmp_path, scrapes_cells=True) as api:
        api.fill()
        api.put_epoch("/v1/cells/cell-1", {"address": "127.0.0.1", "port": port})
        eventually(lambda: cell_view(api, "cell-1")["utilisation"] == 0.3, "it was asked")
        answers.append((200, CellUse(connections=80, connections_limit=100).to_metrics()))
        becomes(api, "cell-1", "locked")
        report(api, "cell-1", 0.1)
        becomes(api, "cell-1", "active")
        assert cell_view(api, "cell-1")["utilisation"] == 0.1, "who reports is not asked"
    said = [line for line in capfd.readouterr().err.splitlines() if "scrape_failed" in line]
    assert sum("cell-2" in line for line in said) == 1, "it is not there: said once"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (500, ""),
        (302, "http://127.0.0.1:1/metrics"),
        (200, "cellplane_cell_connections many\n"),
        (200, "up 1\n"),
        (200, "#" * 5_000_000),
    ],
)
def test_what_a_cell_answers_instead_of_metrics_is_no_report(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], code: int, text: str
) -> None:
    with metrics_at(lambda: (code, text)) as port, quick(tmp_path, scrapes_cells=True) as api:
        api.fill()
        api.put_epoch("/v1/cells/cell-1", {"address": "127.0.0.1", "port": port})
        said = ""

        def is_said() -> bool:
            nonlocal said
            said += capfd.readouterr().err
            return any("scrape_failed" in line and "cell-1" in line for line in said.splitlines())

        eventually(is_said, "it is said")
        assert cell_view(api, "cell-1")["report_age_seconds"] is None


def grown(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.json"))


@pytest.fixture
def provisioned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "provisioned"
    folder.mkdir()
    monkeypatch.setenv(FOLDER, str(folder))
    return folder


PROVISIONER = "unit.control.file_provisioner:factory"
EXPLICIT = {"cells": ["cell-1", "cell-2"], "strategy": "explicit"}


def test_a_pool_that_runs_short_gets_one_more_cell(tmp_path: Path, provisioned: Path) -> None:
    with quick(tmp_path, provisioner=PROVISIONER) as api:
        api.fill()
        api.put_epoch("/v1/cells/cell-1", {"address": "127.0.0.1", "port": 8001, "region": "eu-1", "release": "r7"})
        api.put_epoch("/v1/cells/cell-2", {"address": "127.0.0.1", "port": 8002, "region": "eu-1", "release": "r7"})
        api.put_epoch("/v1/pools/picked", EXPLICIT)
        report(api, "cell-1", 0.72)
        report(api, "cell-2", 0.68)
        eventually(lambda: "cell-3" in api.get("/v1/pools/picked").json()["cells"], "there is one more")
        made = api.get("/v1/cells/cell-3").json()
        assert (made["status"], made["region"], made["release"]) == ("active", "eu-1", "r7")
        eventually(lambda: pool_view(api, "picked")["ask"]["done"], "the ask is done")
        rounds(api, 10)
        assert grown(provisioned) == ["cell-3"], "one, not one each round"
        view = pool_view(api, "picked")
        assert view["wants"] == "1% of its room is left, less than 20%"
        assert view["kept"].startswith("one was asked for ")
        assert view["ask"]["cell"] == "cell-3"
        assert chosen(api, "newest") in {("cell-2",), ("cell-3",)}, "cell-1 is locked"
        assert 'cellplane_cell_asks_total{outcome="made"} 1.0' in api.get("/metrics").text
        assert api.get("/v1/pools/default").json()["cells"] == ["cell-1", "cell-2"], "slots place its tenants"
        assert "slots place its tenants" in pool_view(api)["kept"]


def test_what_fails_is_said_and_asked_for_again_after_the_cool_down(tmp_path: Path, provisioned: Path) -> None:
    (provisioned / "refuse").write_text("no quota in this region: raise it")
    settings = CapacitySettings(stale_seconds=60, cool_down_seconds=1)
    with quick(tmp_path, settings, provisioner=PROVISIONER) as api:
        api.fill()
        api.put_epoch("/v1/pools/picked", EXPLICIT)
        report(api, "cell-1", 0.69)
        report(api, "cell-2", 0.69)
        eventually(lambda: (pool_view(api, "picked")["ask"] or {}).get("failure", "") != "", "it fails")
        assert pool_view(api, "picked")["ask"]["failure"] == "no quota in this region: raise it"
        (provisioned / "refuse").unlink()
        eventually(lambda: "cell-3" in api.get("/v1/pools/picked").json()["cells"], "it is asked for again")
        assert grown(provisioned) == ["cell-3"]


def test_a_provisioner_that_raises_anything_ends_the_ask(tmp_path: Path, provisioned: Path) -> None:
    (provisioned / "cell-3.json").write_text("no JSON")
    with quick(tmp_path, CapacitySettings(stale_seconds=60), provisioner=PROVISIONER) as api:
        api.fill()
        api.put_epoch("/v1/pools/picked", EXPLICIT)
        report(api, "cell-1", 0.69)
        report(api, "cell-2", 0.69)
        eventually(lambda: (pool_view(api, "picked")["ask"] or {}).get("done", False), "it ends")
        assert pool_view(api, "picked")["ask"]["failure"].startswith("the provisioner failed: JSONDecodeError")


def test_without_a_provisioner_the_want_is_said(api: Api) -> None:
    api.put_epoch("/v1/pools/picked", EXPLICIT)
    report(api, "cell-1", 0.69)
    report(api, "cell-2", 0.69)
    view = pool_view(api, "picked")
    assert view["wants"] == "1% of its room is left, less than 20%"
    assert view["kept"] == "no provisioner makes cells here"
    said = run(api, "capacity")
    assert "one more cell: 1% of its room is left, less than 20%; no provisioner makes cells here" in said


class Grown:
    """A control plane as a process, that asks for cells and may be told to die."""

    def __init__(self, state: Path, fault: str | None) -> None:
        arguments = ["-m", "unit.control.growing_control", str(state)]
        environment = {**os.environ, "PYTHONPATH": "tests"}
        if fault is not None:
            environment["CELLPLANE_FAULT"] = fault
        with (state / "control.log").open("ab") as log:
            self.process = subprocess.Popen([sys.executable, *arguments], stdout=log, stderr=log, env=environment)


@pytest.mark.parametrize(
    "point",
    [
        "capacity.provisioned",
        *(
            pytest.param(point, marks=pytest.mark.long)
            for point in ("capacity.asked", "capacity.registered", "capacity.joined")
        ),
    ],
)
def test_a_control_plane_that_dies_over_an_ask_goes_on_with_it(tmp_path: Path, provisioned: Path, point: str) -> None:
    cut = Grown(tmp_path, point)
    assert cut.process.wait(30) == -signal.SIGKILL, (tmp_path / "control.log").read_text()
    whole = Grown(tmp_path, None)
    try:
        assert whole.process.wait(30) == 0, (tmp_path / "control.log").read_text()
    finally:
        whole.process.kill()
    assert grown(provisioned) == ["cell-3"]


def test_days_left_are_told_from_samples(tmp_path: Path) -> None:
    with quick(tmp_path) as api:
        api.fill()
        directory = api.service.directory
        now = directory.now().timestamp()
        rows = [
            {"kind": kind, "name": name, "at": int(now - (30 - part) * DAY_SECONDS / 3), "share": low + part * 0.01}
            for kind, name, low in (("cell", "cell-1", 0.2), ("pool", "default", 0.4))
            for part in range(30)
        ]
        with directory._database.writing() as connection:
            connection.execute(insert(schema.capacity_samples), rows)
        days = cell_view(api, "cell-1")["days_left"]
        assert days["outlook"] == "days"
        assert days["days"] == pytest.approx(7, abs=0.5), "0.21 up to the mark, 0.03 a day"
        pool = pool_view(api)["days_left"]
        assert pool["days"] == pytest.approx(10.3, abs=0.5), "0.31 up to all, 0.03 a day"


def test_samples_are_kept_once_a_span(api: Api) -> None:
    report(api, "cell-1", 0.5)
    rounds(api, 10)
    with api.service.directory._database.reading() as connection:
        rows = connection.execute(schema.capacity_samples.select()).all()
    assert sorted((row.kind, row.name) for row in rows) == [("cell", "cell-1"), ("pool", "default")]


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("nothing", "expected local:FOLDER or package.module:factory, found 'nothing'"),
        ("no.such.module:factory", "cannot be loaded"),
        ("unit.control.file_provisioner:nobody", "cannot be loaded"),
        ("unit.control.file_provisioner:NO_FACTORY", "has no create, destroy"),
    ],
)
def test_a_provisioner_that_is_none_is_refused(tmp_path: Path, named: str, message: str) -> None:
    directory = Directory(ControlSettings(state_dir=tmp_path, port=1).location)
    with pytest.raises(ValidationError, match=message):
        find_provisioner(named, directory)
    directory.close()


def test_cells_of_a_shared_directory_report_to_any_control_plane(tmp_path: Path, database_url: str) -> None:
    with quick(tmp_path / "a", database_url=database_url, exchange_seconds=0.05) as leader:
        leader.fill()
        eventually(lambda: leader.service.leadership.leads, "the first leads")
        with quick(tmp_path / "b", database_url=database_url, exchange_seconds=0.05) as follower:
            report(follower, "cell-1", 0.8)
            becomes(leader, "cell-1", "locked")
            assert cell_view(follower, "cell-1")["lock"] == "automatic"
            assert cell_view(leader, "cell-1")["utilisation"] == 0.8
