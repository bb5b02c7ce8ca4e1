"""What is read of this machine, and of whoever answers: also where it is damaged, late or something else."""

import json
import os
import socket
import ssl
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from cellplane.doctor.examination import state_of
from cellplane.doctor.facts import CellFact, Missing
from cellplane.doctor.gather.agents import ask_agent
from cellplane.doctor.gather.cells import probe
from cellplane.doctor.gather.certificates import address_of, of_file, shown_by
from cellplane.doctor.gather.folders import State, disk_of, files_of, own_table
from cellplane.doctor.gather.keys import backup_of, keys_of
from cellplane.doctor.gather.together import together
from cellplane.doctor.settings import DoctorSettings
from cellplane.errors import CellplaneError, KeyFileError
from cellplane.publishing.keys import KeyUse, create_key
from cellplane.signed_cookie import new_secret
from support.http_server import answering_with
from unit.agent.running import table_of
from unit.control.certificates import Authority
from unit.control.serving import serving

SETTINGS = DoctorSettings(probe_seconds=30.0)
HASTY = DoctorSettings(probe_seconds=0.3)


def test_each_question_is_answered_or_says_why_not() -> None:
    def refuse() -> None:
        raise CellplaneError("not for you")

    def stumble() -> None:
        raise KeyError("x")

    release = threading.Event()
    found = together(
        {"good": lambda: 7, "refused": refuse, "broken": stumble, "late": lambda: release.wait(20)},
        workers=4,
        deadline_seconds=0.5,
    )
    release.set()
    assert found == {
        "good": 7,
        "refused": Missing("not for you"),
        "broken": Missing("KeyError: 'x'"),
        "late": Missing("no answer within 0.5 s"),
    }


def test_more_questions_than_workers_are_all_asked() -> None:
    assert together({str(n): lambda n=n: n for n in range(50)}, 3, 10.0) == {str(n): n for n in range(50)}  # type: ignore[misc]
    assert together({}, 3, 10.0) == {}


@contextmanager
def answering(status: int, body: bytes = b"", *, silent: bool = False) -> Iterator[int]:
    """A server that answers so, or takes connections and says nothing; yields its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Host"])
            if silent:
                time.sleep(1)
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    asked: list[str] = []
    with answering_with(Handler) as server:
        yield server.server_port


def cell_at(port: int, protocol: str = "http1") -> CellFact:
    return CellFact("cell-1", "127.0.0.1", port, "active", protocol)


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def test_a_cell_that_answers_is_well_and_tells_its_time() -> None:
    with answering(200) as port:
        found = probe(cell_at(port), SETTINGS)
        assert probe(cell_at(port, "http2"), SETTINGS).failure == ""
    assert found.failure == ""
    assert found.clock is not None
    assert abs(found.clock.ahead_seconds) < 30


def test_a_cell_that_does_not_says_how(closed_port: int) -> None:
    with answering(503) as port:
        assert probe(cell_at(port), SETTINGS).failure == "it answers /healthz with 503"
    with answering(200, silent=True) as port:
        assert "timed out" in probe(cell_at(port), HASTY).failure
    assert "refused" in probe(cell_at(closed_port), SETTINGS).failure
    assert "refused" in probe(cell_at(closed_port, "http2"), SETTINGS).failure


def test_an_agent_is_read_by_its_metrics(closed_port: int) -> None:
    text = (
        b"# TYPE cellplane_agent_applied_epoch gauge\ncellplane_agent_applied_epoch 21.0\n"
        b'cellplane_agent_tables_rejected_total{by="proxy"} 1.0\n'
        b'cellplane_agent_tables_rejected_total{by="signature"} 2.0\ncellplane_agent_table_failures_total 5.0\n'
        b"envoy_cluster_upstream_cx_total 1.0\n"
    )
    with answering(200, text) as port:
        found = ask_agent(f"http://127.0.0.1:{port}", SETTINGS)
    assert (found.epoch, found.rejected, found.failures, found.failure) == (21, 3, 5, "")
    with answering(200, b"hello") as port:
        assert "no router's agent" in ask_agent(f"http://127.0.0.1:{port}/metrics", SETTINGS).failure
    assert "cannot be read" in ask_agent(f"http://127.0.0.1:{closed_port}", SETTINGS).failure
    assert "cannot be read" in ask_agent("http://[", SETTINGS).failure


def test_metrics_without_an_end_are_read_to_a_bound() -> None:
    with answering(200, b"x" * 100_000) as port:
        found = ask_agent(f"http://127.0.0.1:{port}", DoctorSettings(max_answer_bytes=1000))
    assert "no router's agent" in found.failure


def test_certificates_of_files_and_of_servers_tell_their_end(tmp_path: Path, closed_port: int) -> None:
    authority = Authority(tmp_path, "ca")
    expired, good = authority.sign("expired", days=-1), authority.sign("good", days=5)
    found = of_file(expired.certificate, SETTINGS)
    assert found.failure == ""
    assert found.not_after < time.time() < of_file(good.certificate, SETTINGS).not_after
    assert "cannot be read" in of_file(good.key, SETTINGS).failure
    assert "cannot be read" in of_file(tmp_path / "none", SETTINGS).failure
    # A chain ends with its first end.
    both = tmp_path / "both.pem"
    both.write_bytes(good.certificate.read_bytes() + expired.certificate.read_bytes())
    assert of_file(both, SETTINGS).not_after == found.not_after
    assert "could not be had" in shown_by("127.0.0.1", closed_port, SETTINGS).failure


def test_an_expired_certificate_of_a_control_plane_is_seen(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    pair = authority.sign("control", days=0.00005)
    context = ssl.create_default_context(cafile=authority.file)
    with serving(tmp_path / "state", tls_certificate=pair.certificate, tls_key=pair.key, client_tls=context) as api:
        found = shown_by("127.0.0.1", api.port, DoctorSettings())
    assert found.failure == ""
    assert found.not_after == of_file(pair.certificate, SETTINGS).not_after


def test_only_https_has_a_certificate() -> None:
    assert address_of("https://control:8443") == ("control", 8443)
    assert address_of("https://control") == ("control", 443)
    for url in ("http://control:8081", "https://", "https://[", "https://control:http"):
        assert address_of(url) is None


def test_keys_of_tables_have_an_end_and_those_of_cookies_and_proofs_none(tmp_path: Path) -> None:
    create_key(tmp_path / "eu.pem", KeyUse("eu", 1_900_000_000))
    for name in ("eu.pem", "eu.pem.pub"):
        (found,) = keys_of(tmp_path / name, SETTINGS)
        assert found.not_after == 1_900_000_000
    cookies = tmp_path / "cookie-keys"
    cookies.write_text(f"2026-11 {new_secret()}\n")
    assert keys_of(cookies, SETTINGS) == ()
    cookies.write_text("2026-11 tooshort\n")
    with pytest.raises(KeyFileError, match="of cookies"):
        keys_of(cookies, SETTINGS)
    with pytest.raises(KeyFileError, match="cannot read"):
        keys_of(tmp_path / "none", SETTINGS)


def test_a_backup_is_as_old_as_its_file(tmp_path: Path) -> None:
    file = tmp_path / "backup"
    assert "cannot be read" in backup_of(file).failure
    file.write_bytes(b"")
    assert "empty" in backup_of(file).failure
    file.write_bytes(b"x")
    os.utime(file, (1000, 1000))
    assert (backup_of(file).at, backup_of(file).failure) == (1000.0, "")


def fleet_folder(root: Path) -> Path:
    """A state folder as a local fleet has it."""
    for name in ("control", "router/tables", "keys"):
        (root / name).mkdir(parents=True)
    (root / "control" / "admin-token").write_text("secret")
    (root / "control" / "directory.sqlite3").write_text("")
    (root / "router-token").write_text("secret")
    create_key(root / "keys" / "signing.pem", KeyUse())
    (root / "keys" / "proof-keys").write_text(f"key-1 {new_secret()}\n")
    secrets = ("control/admin-token", "control/directory.sqlite3", "router-token", "keys/proof-keys")
    for name in secrets:
        (root / name).chmod(0o600)
    (root / "router" / "tables").chmod(0o700)
    endpoints = {"control": "http://127.0.0.1:8081", "host": "127.0.0.1", "ports": {"router.metrics": 9901}}
    (root / "endpoints.json").write_text(json.dumps(endpoints))
    return root


def test_a_state_folder_shows_what_is_in_it(tmp_path: Path) -> None:
    root = fleet_folder(tmp_path / "state")
    state = State.find(root)
    assert state.control == (root / "control",)
    assert state.routers == (root / "router",)
    assert state.agents() == ["http://127.0.0.1:9901"]
    assert state.control_url() == "http://127.0.0.1:8081"
    kinds = {Path(each.path).name: (each.kind, each.mode) for each in files_of(state, ())}
    assert kinds == {
        "admin-token": ("secret", 0o600),
        "router-token": ("secret", 0o600),
        "signing.pem": ("secret", 0o600),
        "signing.pem.pub": ("trust", 0o644),
        "proof-keys": ("secret", 0o600),
        "directory.sqlite3": ("directory", 0o600),
        "tables": ("tables", 0o700),
    }


def test_the_folder_of_a_router_or_a_control_plane_alone_does_too(tmp_path: Path) -> None:
    root = fleet_folder(tmp_path / "state")
    assert State.find(root / "router").routers == (root / "router",)
    assert State.find(root / "control").control == (root / "control",)
    assert State.find(root / "control").agents() == []
    with pytest.raises(CellplaneError, match="--state"):
        State.find(tmp_path / "nowhere")


def test_a_folder_of_somebody_else_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", refuse)
    assert state_of(tmp_path) == Missing(f"{tmp_path} cannot be looked at (Permission denied): run this as its owner")


def test_a_disk_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    found = disk_of(tmp_path)
    assert found.free_bytes
    assert found.sync_seconds is not None
    assert not found.failed
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_nothing_is_said_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    found = disk_of(tmp_path)
    assert found.failed
    assert "No space left" in found.failure
    assert list(tmp_path.iterdir()) == []


def stored(folder: Path, epoch: int) -> Path:
    """A router's folder with a table."""
    tables = folder / "tables"
    tables.mkdir(parents=True)
    (tables / f"table-{epoch}.cpt").write_bytes(table_of(epoch))
    (tables / "live.json").write_text(json.dumps({"epoch": epoch, "sha256": ""}))
    return folder


def test_a_sound_table_is_found_with_its_cells(tmp_path: Path) -> None:
    found = own_table(stored(tmp_path, 5), ())
    assert (found.epoch, found.failure) == (5, "")
    assert [cell.id for cell in found.cells] == ["cell-1"]


def test_a_table_that_a_router_could_not_start_with_is_told(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    create_key(key, KeyUse())
    router = stored(tmp_path / "router", 5)
    assert "it has no manifest" in own_table(router, (tmp_path / "key.pem.pub",)).failure
    file = router / "tables" / "table-5.cpt"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert own_table(router, ()).failure
    file.unlink()
    assert "table-5.cpt" in own_table(router, ()).failure
    (router / "tables" / "live.json").write_text("[]")
    assert own_table(router, ()).failure
    assert stat.S_ISDIR((router / "tables").stat().st_mode)
