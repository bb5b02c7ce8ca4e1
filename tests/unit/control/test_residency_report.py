"""Sovereignty in a running control plane: what would break it is refused and on record, and a signed report says so."""

import csv
import json
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cellplane.cli.commands import cli
from cellplane.control.api import residency
from cellplane.model import Tenant
from cellplane.planning.residency import Resident
from cellplane.publishing.keys import KeyUse, create_key, read_public_keys
from cellplane.residency_seal import SEAL_HEADER
from unit.control.serving import SHOP, Api, assert_problem, eventually, serving

CELLS = {"eu-1": "eu", "eu-2": "eu", "us-1": "us", "away": "eu"}


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Path]:
    """A key of each jurisdiction."""
    found = {law: tmp_path / f"{law}-key" for law in ("eu", "us")}
    for law, path in found.items():
        create_key(path, KeyUse(law))
    return found


@pytest.fixture
def api(tmp_path: Path, keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    with serving(tmp_path / "state", signing_keys=tuple(keys.values())) as api:
        monkeypatch.setenv("CELLPLANE_TOKEN", api.token)
        for place, (cell, law) in enumerate(CELLS.items()):
            api.put_epoch(f"/v1/cells/{cell}", {"address": "127.0.0.1", "port": 8001 + place, "jurisdiction": law})
        api.put_epoch("/v1/pools/eu", {"cells": ["eu-1", "eu-2"]})
        api.put_epoch("/v1/pools/us", {"cells": ["us-1"]})
        quarantine = {"cells": ["away"], "max_tenants": 2, "seconds": 60}
        api.put_epoch("/v1/fleet", {**SHOP, "default_pool": "eu", "quarantine": quarantine})
        api.put_epoch("/v1/tenants/acme", {"jurisdiction": "eu"})
        api.put_epoch("/v1/tenants/gale", {"jurisdiction": "us", "pool": "us"})
        api.put_epoch("/v1/tenants/open", {"cell": "eu-2"})
        yield api


def run(api: Api, *arguments: object) -> Result:
    return CliRunner().invoke(cli, [*map(str, arguments), "--control", f"http://127.0.0.1:{api.port}"])


def verify(file: Path, *keys: Path, as_json: bool = False) -> Result:
    trusted = [argument for key in keys for argument in ("--trust", f"{key}.pub")]
    return CliRunner().invoke(cli, ["residency", "verify", str(file), *trusted, *(["--json"] if as_json else [])])


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("/v1/tenants/acme", {"jurisdiction": "eu", "cell": "us-1"}, 422, "tenant.cell"),
        ("/v1/tenants/open", {"cells": ["eu-1", "us-1"]}, 422, "tenant.cells[1]"),
        ("/v1/assignments/acme", {"cells": ["us-1"]}, 422, "assignment.cells[0]"),
        ("/v1/tenants/gale", {"jurisdiction": "us", "pool": "eu", "place": True}, 422, None),
        ("/v1/cells/eu-2", {"address": "127.0.0.1", "port": 8002, "jurisdiction": "us"}, None, None),
        ("/v1/pools/us", {"cells": ["us-1"], "policy": {"shadow": "eu-1"}}, 422, None),
    ],
)
def test_what_would_break_a_law_is_refused_counted_and_on_record(
    api: Api, path: str, body: dict[str, Any], status: int | None, field: str | None
) -> None:
    response = api.put(path, body)
    document = response.json()
    assert document["code"] == "foreign-law", document
    assert status in {None, response.status_code}
    if field is not None:
        assert_problem(response, 422, "foreign-law", field=field)
    assert "cellplane_residency_refused_total 1.0" in api.get("/metrics").text

    def on_record() -> bool:
        calls = api.get("/v1/audit", refused="true").json()["items"]
        return any(
            call["path"] == path and call["caller"] == "admin" and "under" in call["reason"] + "jurisdictions"
            for call in calls
        )

    eventually(on_record, "it is in the audit")


def test_a_report_is_of_one_moment_and_its_seal_says_which(api: Api) -> None:
    response = api.get("/v1/residency")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    rows = {row["tenant"]: row for row in csv.DictReader(response.text.splitlines())}
    assert {name: (row["cells"] or "-", row["holds"]) for name, row in rows.items()}["open"] == ("eu-2", "true")
    assert (rows["gale"]["cells"], rows["gale"]["placed_by"]) == ("us-1", "slot")
    statement = json.loads(response.headers[SEAL_HEADER])["statement"]
    assert statement["epoch"] == api.get("/healthz").json()["epoch"]
    assert (statement["tenants"], statement["violations"], statement["fleet"]) == (3, 0, "shop")


def test_whoever_is_in_quarantine_is_told_of_there(api: Api) -> None:
    api.put("/v1/quarantine/acme", {"reason": "test"}).raise_for_status()
    lines = api.get("/v1/residency", format="ndjson").text.splitlines()
    (acme,) = [row for row in map(json.loads, lines) if row["tenant"] == "acme"]
    assert (acme["quarantine"], acme["holds"]) == ("away", True)


def test_a_report_for_one_law_is_of_its_tenants_and_signed_by_its_key(
    api: Api, keys: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "eu.csv"
    result = run(api, "residency", "report", "--jurisdiction", "eu", "--out", out)
    assert result.exit_code == 0, result.output
    assert [row["tenant"] for row in csv.DictReader(out.read_text().splitlines())] == ["acme", "open"]
    good = verify(out, keys["eu"])
    assert good.exit_code == 0, good.output
    assert good.output.startswith("tenants under eu of shop, epoch ")
    foreign = verify(out, keys["us"])
    assert foreign.exit_code == 1
    assert "none of the keys that are trusted for eu is among them" in foreign.output


def test_a_law_that_nobody_can_have_is_refused(api: Api) -> None:
    assert_problem(api.get("/v1/residency", jurisdiction="E U"), 422, "invalid-resource", field="jurisdiction")
    result = run(api, "residency", "report", "--jurisdiction", "E U")
    assert result.exit_code == 1
    assert "a name is 1 to 63 lower-case letters" in result.output


def test_a_report_on_all_is_signed_by_all_keys(api: Api, keys: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "all.ndjson"
    assert run(api, "residency", "report", "--format", "ndjson", "--out", out).exit_code == 0
    for key in keys.values():
        assert verify(out, key).exit_code == 0
    assert verify(out, *keys.values()).output.count(" (of ") == 2
    sealed = tmp_path / "all.ndjson.seal.json"
    said = json.loads(sealed.read_text())
    (us,) = read_public_keys(Path(f"{keys['us']}.pub"))
    said["signatures"] = [each for each in said["signatures"] if each["key"] == us.id]
    sealed.write_text(json.dumps(said))
    refused = verify(out, *keys.values())
    assert refused.exit_code == 1
    assert "none of eu is among them" in refused.output
    said = json.loads(verify(out, keys["us"], as_json=True).output)
    assert said["signed_by"] == [{"key": us.id, "jurisdiction": "us"}]
    assert len(out.read_text().splitlines()) == 3


def test_what_was_changed_after_it_was_signed_does_not_count(api: Api, keys: dict[str, Path], tmp_path: Path) -> None:
    out, sealed = tmp_path / "all.csv", tmp_path / "all.csv.seal.json"
    run(api, "residency", "report", "--out", out)
    whole, seal = out.read_text(), sealed.read_text()
    out.write_text(whole.replace("us-1", "eu-1"))
    assert "another than the one that was signed" in verify(out, keys["eu"]).output
    out.write_text(whole)
    said = json.loads(seal)
    said["statement"]["violations"] = 7
    sealed.write_text(json.dumps(said))
    assert "is not of this statement" in verify(out, keys["eu"], keys["us"]).output
    said = json.loads(seal)
    said["signatures"] = []
    sealed.write_text(json.dumps(said))
    assert "signed by nobody" in verify(out, keys["eu"]).output
    said = json.loads(seal)
    said["statement"]["tenants"] = "abc"
    for wrong in (
        json.dumps(said),
        "[" * 60_000,
        "",
        "[]",
        "{}",
        '{"statement": {}, "signatures": []}',
        '{"statement": 1, "signatures": 1}',
    ):
        sealed.write_text(wrong)
        refused = verify(out, keys["eu"])
        assert refused.exit_code == 1
        assert "expected the seal of a residency report" in refused.output
    sealed.unlink()
    assert "cannot read" in verify(out, keys["eu"]).output


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A URL where the next request gets these bytes, and the end of its connection."""

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def sent(seal: str, body: bytes, length: int) -> bytes:
    head = f"HTTP/1.1 200 OK\r\n{SEAL_HEADER}: {seal}\r\nContent-Length: {length}\r\n\r\n"
    return head.encode() + body


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("breaks", ["unreachable", "half", "another", "no seal"])
def test_a_report_that_breaks_off_leaves_the_one_before_whole(
    api: Api, keys: dict[str, Path], tmp_path: Path, breaks: str
) -> None:
    folder = tmp_path / "evidence"
    folder.mkdir()
    out = folder / "all.csv"
    assert run(api, "residency", "report", "--out", out).exit_code == 0
    before = written(folder)
    assert set(before) == {"all.csv", "all.csv.seal.json"}
    whole, seal = before["all.csv"], before["all.csv.seal.json"].decode().strip()
    answer, code, word = {
        "unreachable": (b"", 3, "no control plane answers"),
        "half": (sent(seal, whole[:-9], len(whole)), 3, "no control plane answers"),
        "another": (sent(seal, whole[:-9], len(whole) - 9), 1, "another than the one that was signed"),
        "no seal": (sent("", whole, len(whole)), 1, "expected the seal of a residency report"),
    }[breaks]
    with answering(answer) as url:
        result = CliRunner().invoke(cli, ["residency", "report", "--out", str(out), "--control", url])
    assert result.exit_code == code, result.output
    assert word in result.output
    assert written(folder) == before
    assert verify(out, *keys.values()).exit_code == 0


def test_a_report_that_ends_before_its_seal_is_in_place_is_told_of(
    api: Api, keys: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "evidence"
    folder.mkdir()
    out = folder / "all.csv"
    rename, renamed = Path.rename, []

    def and_end(source: Path, target: Path) -> Path:
        renamed.append(target.name)
        if len(renamed) % 2 == 0:
            raise KeyboardInterrupt
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", and_end)
    run(api, "residency", "report", "--out", out)
    assert set(written(folder)) == {"all.csv"}
    assert "cannot read" in verify(out, *keys.values()).output
    monkeypatch.undo()
    monkeypatch.setenv("CELLPLANE_TOKEN", api.token)
    assert run(api, "residency", "report", "--out", out).exit_code == 0
    api.put_epoch("/v1/tenants/new", {"jurisdiction": "eu"})
    monkeypatch.setattr(Path, "rename", and_end)
    run(api, "residency", "report", "--out", out)
    assert renamed == ["all.csv", "all.csv.seal.json"] * 2
    refused = verify(out, *keys.values())
    assert refused.exit_code == 1
    assert "another than the one that was signed" in refused.output


def test_a_report_keeps_to_who_may_read_it_and_replaces_nothing_but_files(api: Api, tmp_path: Path) -> None:
    out = tmp_path / "all.csv"
    out.touch(mode=0o600)
    assert run(api, "residency", "report", "--out", out).exit_code == 0
    assert out.stat().st_mode & 0o777 == 0o600
    out.unlink()
    os.mkfifo(out)
    refused = run(api, "residency", "report", "--out", out)
    assert refused.exit_code == 1
    assert "is no file" in refused.output
    assert out.is_fifo()


@contextmanager
def slow_reader(api: Api) -> Iterator[socket.socket]:
    """Asks for a report, takes note that it comes, and does not read it."""
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.settimeout(60)
        reader.connect(("127.0.0.1", api.port))
        head = f"GET /v1/residency HTTP/1.1\r\nHost: 127.0.0.1:{api.port}\r\nAuthorization: Bearer {api.token}\r\n\r\n"
        reader.sendall(head.encode())
        assert reader.recv(15) == b"HTTP/1.1 200 OK"
        yield reader


def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make reports larger than what connections buffer."""
    resident = Resident(Tenant("t" * 200), "default")
    monkeypatch.setattr(residency, "_residents", lambda _snapshot: repeat(resident, 100_000))


@pytest.mark.long
def test_reports_that_nobody_reads_are_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path / "state", max_residency_reports=2) as api:
        api.fill()
        large(monkeypatch)
        with slow_reader(api), slow_reader(api):
            assert api.service.outbox.held == 2
            refused = assert_problem(api.get("/v1/residency"), 409, "conflict")
            assert "2 reports of residency wait to be read" in refused["detail"]
        eventually(lambda: api.service.outbox.held == 0, "who left is forgotten")
        assert api.get("/v1/residency").status_code == 200
        eventually(lambda: api.service.outbox.held == 0, "what was read is dropped")


def test_a_report_that_is_not_read_in_time_breaks_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path / "state", residency_send_seconds=1.0) as api:
        api.fill()
        large(monkeypatch)
        with slow_reader(api) as reader:
            eventually(lambda: api.service.outbox.held == 0, "its file is closed")
            end = b""
            # What was not sent is dropped with the connection, and the reader may learn of that in either way.
            with suppress(ConnectionResetError):
                while piece := reader.recv(1 << 20):
                    end = (end + piece)[-5:]
            assert end != b"0\r\n\r\n", "it does not look whole"


def test_one_report_is_made_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def residents(_snapshot: object) -> Iterator[Resident]:
        begun.set()
        assert may_end.wait(60)
        return iter(())

    monkeypatch.setattr(residency, "_residents", residents)
    with serving(tmp_path / "state") as api, ThreadPoolExecutor(1) as pool:
        api.fill()
        first = pool.submit(api.get, "/v1/residency")
        assert begun.wait(60)
        refused = assert_problem(api.get("/v1/residency"), 409, "conflict")
        assert "is being made" in refused["detail"]
        may_end.set()
        assert first.result().status_code == 200
        assert api.get("/v1/residency").status_code == 200


def test_without_a_fleet_there_is_no_report(tmp_path: Path) -> None:
    with serving(tmp_path) as api:
        for _ in range(2):
            refused = assert_problem(api.get("/v1/residency"), 409, "conflict")
            assert "there is no fleet yet" in refused["detail"]
        assert api.service.outbox.held == 0
        assert api.get("/v1/residency", format="xml").status_code == 422
