"""`cellplane doctor` on a fleet as a user has one: nothing is wrong with it, and whatever is then broken is found."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from cellplane.publishing.keys import KeyUse, create_key
from e2e.harness import CELLPLANE, Demo, admin_headers, eventually, free_ports, start_demo
from support import plain_http

OTHER_CLOCK = Path(__file__).parent / "other_clock.c"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo of its own: others' tests kill their control plane so often that its leader seems to flap."""
    with start_demo(tmp_path_factory.mktemp("doctor") / "state", "--cells", "2") as demo:
        eventually(demo.whole, "the demo is whole", seconds=30)
        yield demo


@pytest.fixture(autouse=True)
def mended(fleet: Demo) -> Iterator[None]:
    yield
    eventually(fleet.whole, "the fleet is whole after the test", seconds=30)


def examined(url: str, state: Path, *arguments: str, token: str | None = None) -> dict[str, list[dict[str, str]]]:
    """What it found, by severity and code."""
    environment = {**os.environ, "CELLPLANE_STATE": str(state), **({"CELLPLANE_TOKEN": token} if token else {})}
    command = [str(CELLPLANE), "doctor", "--control", url, "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=90, check=False)
    answer = json.loads(done.stdout)
    found: dict[str, list[dict[str, str]]] = {}
    for each in answer["findings"]:
        found.setdefault(f"{each['severity']} {each['code']}", []).append(each)
    assert done.returncode == (1 if answer["error"] else 0), done.stderr
    return found


def of(fleet: Demo) -> dict[str, list[dict[str, str]]]:
    return examined(fleet.control, fleet.state)


def wrong(found: dict[str, Any]) -> set[str]:
    return {name for name in found if name.split()[0] in {"warning", "error"}}


def test_with_a_healthy_demo_nothing_is_wrong(fleet: Demo) -> None:
    found = of(fleet)
    assert wrong(found) == set(), found
    # Nothing but what a demo has not, a backup, targets, TLS, names, or not yet: a judgement, a report of its cells.
    skipped = {name.split()[1] for name in found if name.startswith("skipped")}
    assert skipped <= {"CPD04", "CPD21", "CPD23", "CPD41", "CPD52", "CPD70", "CPD71"}
    text = fleet.run("doctor")
    assert "0 errors, 0 warnings" in text


@pytest.mark.long
def test_a_killed_cell_is_found(fleet: Demo) -> None:
    fleet.run("chaos", "kill", "cell-2")
    try:
        eventually(lambda: fleet.get("/v1/cells/cell-2")["healthy"] is False, "the router has said so")
        found = of(fleet)
        assert wrong(found) == {"error CPD20"}
        (finding,) = found["error CPD20"]
        assert finding["about"].startswith("cell-2")
        assert "no router reaches it; from here it does not answer" in finding["found"]
    finally:
        fleet.run("chaos", "restore", "cell-2")


def test_a_slot_that_a_move_left_is_found_and_removed(fleet: Demo) -> None:
    port = json.loads((fleet.state / "endpoints.json").read_text())["ports"]["cell-1.postgres"]
    with psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres", autocommit=True) as connection:
        connection.execute("SELECT pg_create_logical_replication_slot('cellplane_0badcafe_back', 'pgoutput')")
        found = of(fleet)
        assert wrong(found) == {"error CPD24"}
        (finding,) = found["error CPD24"]
        assert finding["about"] == "cell-1"
        assert "slot cellplane_0badcafe_back" in finding["found"]
        assert "cellplane move reap" in finding["remedy"]
        assert "of move 0badcafe" in fleet.run("move", "reap")
        assert connection.execute("SELECT slot_name FROM pg_replication_slots").fetchall() == []
    assert wrong(of(fleet)) == set()


@pytest.mark.long
def test_a_stopped_agent_is_found_to_be_silent_and_late(fleet: Demo) -> None:
    agent = fleet.pids()["agent"]
    os.kill(agent, signal.SIGSTOP)
    try:
        fleet.run("assign", "tenant-001", "cell-2", "--no-wait")

        def is_late() -> bool:
            return {"warning CPD30", "error CPD31", "error CPD33"} <= wrong(of(fleet))

        eventually(is_late, "the laggard is found", seconds=40)
        assert wrong(of(fleet)) <= {"warning CPD30", "error CPD31", "error CPD33"}
    finally:
        os.kill(agent, signal.SIGCONT)


def test_a_secret_that_others_may_read_and_a_damaged_table_are_found(fleet: Demo) -> None:
    secret = fleet.state / "keys" / "signing.pem"
    pointer = fleet.state / "router" / "tables" / "live.json"
    live = pointer.read_bytes()
    secret.chmod(0o644)
    pointer.write_text('{"epoch": 999999}')
    try:
        found = of(fleet)
        assert wrong(found) == {"error CPD34", "error CPD60"}
        assert found["error CPD60"][0]["remedy"] == f"chmod 600 {secret}"
    finally:
        pointer.write_bytes(live)
        secret.chmod(0o600)


@pytest.mark.long
def test_an_expired_token_of_a_router_is_found(fleet: Demo) -> None:
    fleet.run("token", "create", "edge", "--role", "router", "--subject", "edge-7", "--days", "0.000001")
    found = of(fleet)
    assert "of edge-7" in found["error CPD51"][0]["about"]
    identity = found["error CPD51"][0]["about"].split()[1]
    fleet.run("token", "revoke", identity)
    assert wrong(of(fleet)) == set(), "who is revoked has ended on purpose"


def test_with_a_dead_control_plane_all_else_is_examined(fleet: Demo) -> None:
    fleet.run("chaos", "kill", "control")
    try:
        found = of(fleet)
        assert wrong(found) == {"error CPD01"}
        for code in ("CPD10", "CPD20", "CPD33", "CPD34", "CPD50", "CPD60", "CPD61", "CPD62"):
            # Cells by the table on the router's disk: from here they answer, though nobody says what routers see.
            assert f"ok {code}" in found, found
    finally:
        fleet.run("chaos", "restore", "control")


@contextmanager
def control_plane(folder: Path, *options: str, environment: dict[str, str] | None = None) -> Iterator[tuple[str, str]]:
    """A control plane alone; yields its URL and its admin's token."""
    (port,) = free_ports(1)
    url, state = f"http://127.0.0.1:{port}", folder / "control"
    command = [sys.executable, "-m", "cellplane.control", "--state", str(state), "--port", str(port), *options]
    with (folder / "control.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **(environment or {})})

    def answers() -> bool:
        try:
            return plain_http.get(f"{url}/healthz", timeout=30).status_code == 200
        except httpx2.HTTPError:
            return False

    try:
        eventually(answers, "the control plane answers", seconds=30)
        yield url, admin_headers(state)["Authorization"].removeprefix("Bearer ")
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.long
def test_another_clock_is_found(tmp_path: Path) -> None:
    library = tmp_path / "other_clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, OTHER_CLOCK, "-ldl"], check=True)
    ahead = {"LD_PRELOAD": str(library), "OTHER_CLOCK_SECONDS": "300"}
    with control_plane(tmp_path, environment=ahead) as (url, token):
        (finding,) = examined(url, tmp_path / "none", "--only", "CPD10", token=token)["error CPD10"]
    assert finding["about"] == "the control plane"
    assert finding["found"].startswith(("its clock is 300.", "its clock is 299."))


@pytest.mark.long
def test_unsigned_and_no_longer_signed_tables_are_found(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    create_key(key, KeyUse(not_after=1_700_000_000))
    with control_plane(tmp_path) as (url, token):
        unsigned = examined(url, tmp_path / "none", "--only", "CPD40", token=token)
    with control_plane(tmp_path, "--signing-key", str(key)) as (url, token):
        expired = examined(url, tmp_path / "none", "--only", "CPD40", "--only", "CPD50", token=token)
    assert set(unsigned) == {"warning CPD40"}
    assert set(expired) == {"error CPD40", "error CPD50"}
