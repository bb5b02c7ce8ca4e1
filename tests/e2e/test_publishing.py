"""Signed tables, end to end: real routers that live without a control plane, and processes that are killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from cellplane.faults import FAULT_VARIABLE
from cellplane.publishing.keys import KeyUse, SigningKey, create_key
from cellplane.publishing.manifest import Manifest
from cellplane.publishing.settings import PublishingSettings
from cellplane.publishing.signer import Signer
from cellplane.publishing.targets import target_of
from cellplane.routing import RoutingTable
from e2e.edge import StubCell, stub_cells
from e2e.harness import admin_headers, eventually, free_ports, start_demo
from e2e.test_router_crashes import CELLS, RouterProcess, table_of
from support import plain_http
from unit.agent.fake_control import fake_control
from unit.publishing.buckets import CREDENTIALS, make_bucket, object_store

SETTINGS = PublishingSettings(s3_connect_seconds=2, s3_read_seconds=5)


@pytest.fixture(scope="module")
def cells() -> Iterator[dict[str, StubCell]]:
    with stub_cells(CELLS) as cells:
        yield cells


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return create_key(tmp_path / "key", KeyUse("eu", int(time.time()) + 3600))


def publish(target: str, key: SigningKey, cells: dict[str, StubCell], epoch: int, cell: str) -> None:
    """Put a table there that sends acme to this cell."""
    table = RoutingTable(table_of(epoch, {each: stub.port for each, stub in cells.items()}, cell))
    target_of(target, SETTINGS).publish(Signer([key], time.time).manifest(table), table)


@contextmanager
def router_of(tmp_path: Path, *options: str | Path, control: str = "") -> Iterator[RouterProcess]:
    router = RouterProcess(tmp_path / "router", control, "--trust", tmp_path / "key.pub", *options)
    try:
        yield router
    finally:
        router.end()


def test_a_router_starts_from_a_folder_where_no_control_plane_exists(
    tmp_path: Path, cells: dict[str, StubCell], key: SigningKey
) -> None:
    folder = str(tmp_path / "tables")
    publish(folder, key, cells, 1, "cell-1")
    with router_of(tmp_path, "--source", folder, "--fleet", "shop") as router:
        router.start()
        eventually(lambda: router.served() == ("cell-1", "1"), "it serves")
        publish(folder, key, cells, 2, "cell-3")
        eventually(lambda: router.served() == ("cell-3", "2"), "it follows")
        router.end()
        shutil.rmtree(folder)
        router.start()
        eventually(lambda: router.served() == ("cell-3", "2"), "it comes back without the folder")


def test_a_router_starts_from_a_bucket_behind_a_url_while_its_control_plane_is_down(
    tmp_path: Path, cells: dict[str, StubCell], key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with object_store() as endpoint:
        make_bucket(endpoint, "tables", public=True)
        target = f"s3://tables/shop?endpoint={endpoint}"
        publish(target, key, cells, 1, "cell-1")
        dead = f"http://127.0.0.1:{free_ports(1)[0]}"
        with router_of(tmp_path, "--source", f"{endpoint}/tables/shop", control=dead) as router:
            router.start()
            eventually(lambda: router.served() == ("cell-1", "1"), "it serves")
            publish(target, key, cells, 2, "cell-3")
            eventually(lambda: router.served() == ("cell-3", "2"), "it follows", seconds=30)


def test_a_table_of_a_foreign_key_is_refused_while_the_old_one_serves(
    tmp_path: Path, cells: dict[str, StubCell], key: SigningKey
) -> None:
    def signed_by(signing: SigningKey) -> object:
        signer = Signer([signing], time.time)
        return lambda data: signer.manifest(RoutingTable.of_publication(data)).encode()

    stranger = create_key(tmp_path / "stranger", KeyUse())
    ports = {cell: stub.port for cell, stub in cells.items()}
    with fake_control() as control:
        control.manifest = signed_by(key)  # type: ignore[assignment]
        control.publish(table_of(1, ports, "cell-1"))
        with router_of(tmp_path, control=control.url) as router:
            router.start()
            eventually(lambda: router.served() == ("cell-1", "1"), "it serves")
            control.manifest = signed_by(stranger)  # type: ignore[assignment]
            control.publish(table_of(9, ports, "cell-3"))
            eventually(lambda: bool(control.last().get("rejected")), "it is told of")
            assert stranger.id in control.last()["rejected"]["reason"]
            assert router.served() == ("cell-1", "1")
            assert [path.name for path in (router.folder / "tables").glob("*.cpt")] == ["table-1.cpt"]
            control.manifest = signed_by(key)  # type: ignore[assignment]
            control.publish(table_of(10, ports, "cell-2"))
            eventually(lambda: router.served() == ("cell-2", "10"), "the next of its own is taken")


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("router.manifest.stored", marks=pytest.mark.long),
        "router.base.stored",
        pytest.param("router.table.stored", marks=pytest.mark.long),
    ],
)
def test_a_router_that_is_killed_while_it_stores_comes_back_with_a_table_that_is_signed(
    tmp_path: Path, cells: dict[str, StubCell], key: SigningKey, fault: str
) -> None:
    folder = str(tmp_path / "tables")
    publish(folder, key, cells, 1, "cell-1")
    with router_of(tmp_path, "--source", folder) as router:
        router.start()
        eventually(lambda: router.served() == ("cell-1", "1"), "it serves")
        router.end()
        publish(folder, key, cells, 2, "cell-3")
        agent = router.start(fault)
        assert agent.wait(60) == -signal.SIGKILL
        moved = Path(folder).rename(tmp_path / "away")
        router.start()
        eventually(lambda: router.served() == ("cell-1", "1"), "the one that was live")
        moved.rename(folder)
        eventually(lambda: router.served() == ("cell-3", "2"), "the next", seconds=30)


class ControlProcess:
    """A control plane as its own command runs it, with a target."""

    def __init__(self, tmp_path: Path, target: Path) -> None:
        (self.port,) = free_ports(1)
        self._state = tmp_path / "control"
        self._command = [sys.executable, "-m", "cellplane.control", "--state", str(self._state)]
        self._command += ["--port", str(self.port), "--signing-key", str(tmp_path / "key"), "--publish-to", str(target)]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, fault: str = "") -> subprocess.Popen[bytes]:
        environment = {**os.environ, FAULT_VARIABLE: fault}
        self.process = subprocess.Popen(self._command, env=environment, stdout=-3, stderr=-3)
        return self.process

    def put(self, path: str, body: dict[str, object]) -> None:
        url = f"http://127.0.0.1:{self.port}{path}"
        headers = admin_headers(self._state)
        plain_http.put(url, json=body, headers=headers, timeout=30).raise_for_status()

    def is_up(self) -> bool:
        try:
            return plain_http.get(f"http://127.0.0.1:{self.port}/healthz").status_code == 200
        except httpx2.HTTPError:
            return False

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.mark.long
@pytest.mark.parametrize("fault", ["publish.folder.files", "publish.folder.file", "publish.folder.manifest"])
def test_a_control_plane_that_is_killed_while_it_publishes_leaves_a_target_that_a_router_takes(
    tmp_path: Path, cells: dict[str, StubCell], key: SigningKey, fault: str
) -> None:
    target = tmp_path / "tables"

    def epoch() -> int:
        manifest = Manifest.parse((target / "manifest").read_bytes())
        data = b"".join((target / part.file_name).read_bytes() for part in manifest.statement.parts)
        manifest.statement.check_describes(RoutingTable.of_publication(data))
        return manifest.statement.epoch

    control = ControlProcess(tmp_path, target)
    try:
        control.start()
        eventually(control.is_up, "the control plane is up")
        sources = [{"kind": "header", "name": "x-tenant-id", "trusted": True}]
        control.put("/v1/fleet", {"name": "shop", "key_sources": sources})
        for cell, stub in cells.items():
            control.put(f"/v1/cells/{cell}", {"address": "127.0.0.1", "port": stub.port})
        control.put("/v1/pools/default", {"cells": list(cells)})
        control.put("/v1/tenants/acme", {"cell": "cell-1"})
        eventually(lambda: (target / "manifest").exists() and epoch() == 6, "it is published")
        control.end()
        control.start()
        eventually(control.is_up, "the control plane is up")
        eventually(lambda: epoch() >= 6, "it goes on")
        control.end()
        dying = control.start(fault)
        with_fault = epoch()
        # It may publish, and die, as soon as it starts: under a new epoch, where its last table was an overlay.
        eventually(lambda: dying.poll() is not None or control.is_up(), "the control plane is up again, or dead")
        if dying.poll() is None:
            with suppress(httpx2.HTTPError):
                control.put("/v1/tenants/acme", {"cell": "cell-3"})
        assert dying.wait(60) == -signal.SIGKILL
        assert epoch() >= with_fault, "never back, and never half"
        with router_of(tmp_path, "--source", target, "--fleet", "shop") as router:
            router.start()
            eventually(lambda: router.served() is not None, "a router starts from what it left")
            control.start()
            eventually(control.is_up, "the next control plane")
            control.put("/v1/tenants/acme", {"cell": "cell-2"})
            eventually(lambda: (router.served() or ("",))[0] == "cell-2", "and follows the next", seconds=30)
    finally:
        control.end()


@pytest.mark.long
def test_the_demo_signs_and_its_router_takes_nothing_else(tmp_path: Path) -> None:
    stranger = create_key(tmp_path / "stranger", KeyUse())
    with start_demo(tmp_path / "demo") as demo:
        headers = admin_headers(tmp_path / "demo" / "control")
        assert "x-cellplane-manifest" in plain_http.get(f"{demo.control}/v1/table", headers=headers).headers
        trust = tmp_path / "demo" / "keys" / "signing.pem.pub"
        own = trust.read_text()
        trust.write_text(stranger.public.encode())
        tenant = demo.tenants[0]
        before = demo.served_by()[tenant]
        elsewhere = next(cell for cell in sorted(demo.served_by().values()) if cell != before)
        demo.run("assign", tenant, elsewhere, "--no-wait")
        eventually(lambda: "does not trust" in demo.run("routers"), "the router refuses it, and says why")
        assert demo.served_by()[tenant] == before
        trust.write_text(own)
        eventually(lambda: demo.served_by()[tenant] == elsewhere, "its own key counts again")
