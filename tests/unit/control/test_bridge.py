"""Other systems are told of moves by a real NATS: each phase once, in order, whatever is killed meanwhile."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats as nats_client
import pytest
from nats.js.errors import NotFoundError

from cellplane.control.settings import BridgeSettings
from e2e_app.servers import Nats, free_port
from support import plain_http
from unit.control.serving import Api, as_holder, eventually, fill, serving

MOVE = {"tenant": "acme.eu", "source": "cell-1", "target": "cell-2"}
WAY = ["planned", "prepared", "copied", "following", "verified", "fenced", "flipped", "released", "done"]


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[Nats]:
    server = Nats(tmp_path)
    try:
        yield server
    finally:
        server.stop()


def bridged(tmp_path: Path, nats: Nats) -> Any:
    return serving(tmp_path / "state", bridge=BridgeSettings(url=nats.url, retry_seconds=0.1))


def reach(api: Api, *phases: str) -> None:
    for phase in phases:
        response = api.put("/v1/moves/m1", {**MOVE, "phase": phase})
        assert response.status_code == 200, response.text


def stored(nats: Nats) -> list[tuple[str, dict[str, Any]]]:
    """All that the stream has, each its subject and its event."""

    async def read() -> list[tuple[str, dict[str, Any]]]:
        client = await nats_client.connect(nats.url)
        try:
            jetstream = client.jetstream()
            state = (await jetstream.stream_info("CONTROL")).state
            messages = [await jetstream.get_msg("CONTROL", seq) for seq in range(1, state.last_seq + 1)]
            return [(str(each.subject), json.loads(each.data or b"")) for each in messages]
        except NotFoundError:
            return []
        finally:
            await client.close()

    return asyncio.run(read())


def phases(nats: Nats) -> list[str]:
    return [event["type"].removeprefix("tenant.move.") for _, event in stored(nats)]


def test_each_phase_is_told_once_over_losses_of_the_stream_and_restarts(tmp_path: Path, nats: Nats) -> None:
    with bridged(tmp_path, nats) as api:
        api.fill()
        api.put_epoch("/v1/tenants/acme.eu", {"cell": "cell-1"})
        reach(api, *WAY[:2])  # nobody is there yet to be told
        nats.start_and_wait()
        eventually(lambda: phases(nats) == WAY[:2], "what was before is told")
        nats.kill()
        reach(api, WAY[2])
        nats.start_and_wait()
        eventually(lambda: phases(nats) == WAY[:3], "what was meanwhile is told")
        reach(api, WAY[3])
        eventually(lambda: phases(nats) == WAY[:4], "what is, is told")
        lines = api.get("/metrics").text.splitlines()
        assert "cellplane_bridge_connected 1.0" in lines
        assert "cellplane_bridge_events_total 4.0" in lines
    with bridged(tmp_path, nats) as api:
        reach(api, *WAY[4:])
        eventually(lambda: phases(nats) == WAY, "a restart goes on behind the last")
    subject, event = stored(nats)[6]
    assert subject == "control.shop.acme=2Eeu.tenant.move.flipped"
    assert (event["type"], event["tenantid"], event["source"]) == ("tenant.move.flipped", "acme.eu", "/fleets/shop")
    assert event["id"] == f"shop/{event['cellepoch']}"
    assert {name: event["data"][name] for name in ("id", "tenant", "source", "target", "phase")} == {
        "id": "m1",
        "phase": "flipped",
        **MOVE,
    }


@pytest.mark.long
def test_an_entry_that_is_stored_when_its_control_plane_is_killed_is_not_told_again(tmp_path: Path, nats: Nats) -> None:
    nats.start_and_wait()
    state = tmp_path / "state"
    state.mkdir()
    for fault in ("bridge.published", ""):
        port = free_port()
        command = [sys.executable, "-m", "cellplane.control", "--no-guard-rails", "--state", str(state)]
        environ = {**os.environ, "CELLPLANE_CONTROL_EVENTS_URL": nats.url, "CELLPLANE_FAULT": fault}
        with (tmp_path / "control.log").open("ab") as file:
            process = subprocess.Popen([*command, "--port", str(port)], stdout=file, stderr=file, env=environ)
        try:
            with plain_http.client(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:

                def answers(http: Any = http) -> bool:
                    try:
                        return bool(http.get("/healthz").status_code == 200)
                    except Exception:  # noqa: BLE001  # it starts
                        return False

                eventually(answers, "it answers", seconds=60)
                http.headers.update(as_holder((state / "admin-token").read_text().strip()))
                if fault:
                    fill(http)
                    http.put("/v1/tenants/acme.eu", json={"cell": "cell-1"}).raise_for_status()
                    http.put("/v1/moves/m1", json={**MOVE, "phase": "planned"}).raise_for_status()
                    assert process.wait(30) == -signal.SIGKILL
                    assert phases(nats) == ["planned"]
                else:
                    http.put("/v1/moves/m1", json={**MOVE, "phase": "prepared"}).raise_for_status()
                    eventually(lambda: len(phases(nats)) > 1, "the next is told")
                    assert phases(nats) == ["planned", "prepared"]
        finally:
            process.kill()
            process.wait(60)
