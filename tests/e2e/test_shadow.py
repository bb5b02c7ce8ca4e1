"""Shadows whose answers are compared, through a whole router: what is told of them, and that no client waits."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, ResponseReceived, StreamReset

from cellplane.model import Compare, Copies, Policy, Pool, Tenant
from cellplane.processes import processes_in
from cellplane.router.captures import SOCKET
from cellplane.router.envoy.process import envoy_binary
from e2e.acting_cell import Act, ActingCell, acting_cells
from e2e.harness import Demo, eventually, free_ports
from e2e.shop import CELLS, of, store
from support import plain_http
from unit.agent.fake_control import FakeControl, fake_control

ALL = Compare(100, ("/at", "/items/*/id"))
CLIENT_SECONDS = 30.0
"""How long a client waits for an answer: less than the shadow takes that is held."""

OUTCOMES = ("match", "mismatch", "unanswered", "too_large", "skipped")


@dataclass
class Router:
    """A router as its own command runs it, in front of acting cells."""

    folder: Path
    cells: dict[str, ActingCell]
    control: FakeControl
    port: int
    metrics_port: int
    agent: subprocess.Popen[bytes] | None = None
    epoch: int = 0

    def start(self) -> None:
        command = [sys.executable, "-m", "cellplane.router", "--control", self.control.url]
        options = ["--port", str(self.port), "--metrics-port", str(self.metrics_port), "--state", str(self.folder)]
        self.agent = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill_agent(self) -> None:
        assert self.agent is not None
        self.agent.kill()
        self.agent.wait()

    def end(self) -> None:
        self.kill_agent()
        for envoy in processes_in(self.folder / "envoy", envoy_binary().name):
            os.kill(envoy.pid, signal.SIGKILL)

    def serve(self, *tenants: Tenant, **options: Any) -> None:
        self.epoch += 1
        stored = store(self.folder.parent, self.cells, tenants, epoch=self.epoch, **options)
        self.control.publish(stored.path.read_bytes())
        eventually(self.is_live, f"epoch {self.epoch} is live, and all cells are healthy", seconds=30)

    def is_live(self) -> bool:
        last = self.control.last()
        healthy = all(cell["healthy_hosts"] for cell in last.get("cells", {}).values())
        return last.get("epoch") == self.epoch and len(last["cells"]) == len(self.cells) and healthy

    def client(self) -> httpx2.Client:
        return plain_http.client(base_url=f"http://127.0.0.1:{self.port}", timeout=CLIENT_SECONDS)

    def told(self, cell: str = "cell-1", shadow: str = "apart") -> dict[str, Any]:
        """What the control plane was told last of two cells."""
        for counts in self.control.last().get("shadows", ()):
            if (counts["cell"], counts["shadow"]) == (cell, shadow):
                return dict(counts)
        return {**dict.fromkeys(OUTCOMES, 0), "samples": [], "tenants": []}

    def wait_for(self, **counts: int) -> dict[str, Any]:
        """What was told when it had come to so much."""
        eventually(lambda: counts.items() <= self.told().items(), f"it comes to {counts}: {self.told()}")
        return self.told()

    def metric(self, name: str) -> float:
        text = plain_http.get(f"http://127.0.0.1:{self.metrics_port}/metrics").text
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


@pytest.fixture
def router(tmp_path: Path) -> Iterator[Router]:
    with acting_cells(CELLS) as cells, fake_control() as control:
        port, metrics_port = free_ports(2)
        running = Router(tmp_path / "router", cells, control, port, metrics_port)
        control.publish(store(tmp_path, cells, ()).path.read_bytes())
        running.epoch = 1
        running.start()
        try:
            yield running
        finally:
            running.end()


def order(at: int, number: int, total: object) -> dict[str, object]:
    return {"at": at, "items": [{"id": number, "name": "secret-thing"}], "total": total, "bob@example.com": number}


def test_what_cells_answer_alike_matches_and_the_rest_is_told_without_values(router: Router) -> None:
    compared = Policy(shadow="apart", compare=ALL)
    router.serve(Tenant("acme", ("cell-1",), policy=compared), Tenant("globex", ("cell-1",)))
    cell, shadow = router.cells["cell-1"], router.cells["apart"]
    with router.client() as client:

        def ask(tenant: str = "acme", **options: Any) -> httpx2.Response:
            return client.post("/orders/8f3a?token=hush", headers=of(tenant), content=b"x" * 1_000, **options)

        cell.answer = {**order(1, 4711, 5), "bob@example.com": 1}
        shadow.answer = {**order(2, 4712, 5), "bob@example.com": 1}
        assert ask().json() == cell.answer
        assert router.wait_for(match=1)["mismatch"] == 0

        shadow.answer = order(3, 4713, "five-thousand")
        assert ask().json() == cell.answer
        (sample,) = router.wait_for(match=1, mismatch=1)["samples"]
        assert {**sample, "at": 0} == {
            "at": 0,
            "tenant": "acme",
            "method": "POST",
            "path": "/orders/*",
            "cell_status": 200,
            "shadow_status": 200,
            "differences": [
                {"path": "/total", "cell": "number", "shadow": "text of 13"},
                {"path": "/*", "cell": "number", "shadow": "number"},
            ],
        }
        shadow.answer, shadow.status = cell.answer, 500
        assert ask().status_code == 200
        told = router.wait_for(mismatch=2)
        assert told["samples"][-1]["differences"] == [{"path": "status", "cell": "200", "shadow": "500"}]
        for value in ("4711", "4713", "secret", "thousand", "bob", "hush", "8f3a"):
            assert value not in json.dumps(told)

        for _ in range(3):
            assert ask("globex").status_code == 200
        shadow.status = 200
        assert ask().status_code == 200
        told = router.wait_for(match=2, mismatch=2)
        assert {sample["tenant"] for sample in told["samples"]} == {"acme"}
        assert told["tenants"] == [{"tenant": "acme", **dict.fromkeys(OUTCOMES, 0), "match": 2, "mismatch": 2}]
        assert len(shadow.requests("/orders/8f3a?token=hush")) == 4
    assert router.metric('cellplane_router_shadow_comparisons_total{cell="cell-1",outcome="match"') == 2
    assert router.metric('cellplane_router_cell_compared_total{cell="cell-1"}') == 4


def test_a_shadow_of_reads_gets_no_write_and_is_compared_by_the_rest(router: Router) -> None:
    policy = Policy(shadow="apart", copies=Copies.READS, compare=Compare(100))
    router.serve(Tenant("acme", ("cell-1",), policy=policy))
    cell, shadow = router.cells["cell-1"], router.cells["apart"]
    cell.answer = shadow.answer = {"same": True}
    with router.client() as client:
        for method in ("POST", "PUT", "DELETE"):
            assert client.request(method, f"/{method.lower()}", headers=of("acme")).status_code == 200
        assert client.get("/read", headers=of("acme")).json() == cell.answer
        router.wait_for(match=1, mismatch=0, unanswered=0)
    assert [seen.path for seen in cell.seen] == ["/post", "/put", "/delete", "/read"]
    assert [seen.path for seen in shadow.seen] == ["/read"]
    for name in ("shadowed", "compared"):
        assert router.metric(f'cellplane_router_cell_{name}_total{{cell="cell-1"}}') == 1


def both(router: Router, path: str) -> tuple[dict[str, str], dict[str, str]]:
    """Headers of a request and of its copy."""
    shadow = router.cells["apart"]
    eventually(lambda: len(shadow.requests(path)) == 1, f"the shadow has got a copy of {path}")
    return router.cells["cell-1"].requests(path)[0].headers, shadow.requests(path)[0].headers


def test_both_cells_get_the_same_request_but_for_who_is_meant(router: Router) -> None:
    for tenant, policy in (("acme", Policy(shadow="apart", compare=ALL)), ("globex", Policy(shadow="apart"))):
        router.serve(Tenant(tenant, ("cell-1",), policy=policy))
        with router.client() as client:
            spoofed = {"x-cell-pair": "0" * 16 + "us-1", "x-cell-forwarded": "1.1.1.1"}
            assert client.get(f"/{tenant}", headers={**of(tenant), **spoofed}).status_code == 200
        original, copy = both(router, f"/{tenant}")
        ours = {name for name in original if name.startswith(("x-cell", ":", "x-envoy-internal"))}
        assert ours == {"x-cell-id", "x-cell-epoch"}
        assert (copy["x-cell-id"], copy["x-cell-mirrored"]) == ("apart", "1")
        assert not {name for name in copy if name.startswith((":", "x-cell-pair", "x-cell-shadow"))}
    original, copy = both(router, "/acme")
    assert {**original, "x-cell-id": "apart", "x-cell-mirrored": "1"} == copy


def test_no_client_can_say_what_the_module_tells_envoy(router: Router) -> None:
    policy = Policy(shadow="apart", compare=ALL)
    router.serve(Tenant("acme", ("cell-1",), policy=policy), Tenant("globex", ("cell-1",)))
    said = [(":cell-shadow", "us-1"), (":cell-compared", "shadow:"), (":cell-pair", "0" * 16 + "us-1")]
    lines = "".join(f"{name}: {value}\r\n" for name, value in said)
    with socket.create_connection(("127.0.0.1", router.port), CLIENT_SECONDS) as connection:
        connection.settimeout(CLIENT_SECONDS)
        head = f"GET /spoofed HTTP/1.1\r\nhost: shop\r\nx-tenant-id: globex\r\n{lines}\r\n"
        connection.sendall(head.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
    http2 = H2Connection(H2Configuration(validate_outbound_headers=False))
    http2.initiate_connection()
    usual = [(":method", "GET"), (":path", "/spoofed"), (":scheme", "http"), (":authority", "shop")]
    http2.send_headers(1, [*usual, *said, ("x-tenant-id", "globex")], end_stream=True)
    with socket.create_connection(("127.0.0.1", router.port), CLIENT_SECONDS) as connection:
        connection.settimeout(CLIENT_SECONDS)
        connection.sendall(http2.data_to_send())
        events: list[object] = []
        while not any(isinstance(event, StreamReset | ResponseReceived | ConnectionTerminated) for event in events):
            data = connection.recv(65536)
            events += http2.receive_data(data) if data else [ConnectionTerminated()]
    assert not any(isinstance(event, ResponseReceived) for event in events)
    with router.client() as client:
        assert client.get("/plain", headers=of("globex")).status_code == 200
    assert [seen.path for cell in router.cells.values() for seen in cell.seen] == ["/plain"]


def test_a_request_that_is_tried_again_is_copied_once(router: Router) -> None:
    pair = ("cell-1", "cell-2")
    policy = Policy(shadow="apart", compare=ALL)
    router.serve(Tenant("acme", pair, policy=policy), pools=(Pool("default", pair, shard_size=2),))
    router.cells["cell-1"].act = Act.CLOSE
    with router.client() as client:
        answer = client.get("/again", headers=of("acme"))
        assert (answer.status_code, answer.headers["x-cell-id"]) == (200, "cell-2")
    assert router.wait_for(unanswered=1)["match"] == 0
    assert len(router.cells["apart"].requests("/again")) == 1
    (second,) = router.cells["cell-2"].requests("/again")
    assert "," not in second.headers["x-forwarded-for"]


def test_no_client_waits_for_a_shadow_that_is_slow_dead_or_talks_without_end(router: Router) -> None:
    router.serve(Tenant("acme", ("cell-1",), policy=Policy(shadow="apart", compare=Compare(100))))
    cell, shadow = router.cells["cell-1"], router.cells["apart"]

    def ask(path: str) -> int:
        with router.client() as client:
            answer = client.get(path, headers=of("acme"))
            assert answer.headers.get("x-cell-id") == "cell-1", answer.text
            return answer.status_code

    def is_counted(known: int) -> bool:
        return ask("/broken") == 200 and router.told()["unanswered"] > known

    def ask_many(path: str, count: int) -> None:
        with ThreadPoolExecutor(4) as workers:
            assert set(workers.map(ask, [path] * count)) == {200}

    cell.answer = shadow.answer = {"same": True}
    assert (ask("/bytes/300000"), router.wait_for(match=1)["mismatch"]) == (200, 0)

    for act in (Act.CLOSE, Act.BREAK_OFF, Act.RESET):
        shadow.act = act
        # On a machine that is busy the shadow may be out for a moment, and gets no copy then.
        eventually(
            partial(is_counted, router.told()["unanswered"]), f"what the shadow does not answer is counted: {act}"
        )
    shadow.act = Act.ANSWER

    known = router.told()["match"]
    shadow.hold()
    ask_many("/held", 60)
    eventually(lambda: len(shadow.requests("/held")) >= 10, "copies have reached the shadow")
    assert router.told()["match"] == known
    shadow.release()
    eventually(lambda: router.told()["match"] > known, "what was late is compared")

    shadow.refuse()
    ask_many("/refused", 20)
    shadow.accept()
    told = router.told()
    assert told["mismatch"] == 0
    assert not told["samples"]


@pytest.mark.long
def test_an_agent_that_dies_costs_comparisons_alone(router: Router) -> None:
    router.serve(Tenant("acme", ("cell-1",), policy=Policy(shadow="apart", compare=Compare(100))))
    router.cells["cell-1"].answer = router.cells["apart"].answer = [1, 2, 3]
    with router.client() as client:

        def ask() -> None:
            assert client.get("/x", headers=of("acme")).status_code == 200

        ask()
        router.wait_for(match=1)
        router.kill_agent()
        assert (router.folder / "envoy" / SOCKET).exists()
        for _ in range(20):
            ask()
        router.control.reports.clear()
        router.start()
        eventually(lambda: router.control.last().get("ready") is True, "the next agent reports", seconds=30)
        assert router.told()["match"] == 0
        ask()
        assert router.wait_for(match=1)["unanswered"] == 0
    assert router.metric('cellplane_router_cell_unheard_total{cell="cell-1"}') == 20
    assert router.metric('cellplane_router_cell_requests_total{cell="cell-1"}') == 22


def test_the_report_is_one_command_away(demo: Demo) -> None:
    tenant = demo.tenants[0]
    cell = demo.placed()[tenant]
    shadow = next(item["id"] for item in demo.get("/v1/cells")["items"] if item["id"] != cell)
    compare = {"percent": 100, "ignore": ["/nothing"]}
    demo.put(f"/v1/tenants/{tenant}", {"policy": {"shadow": shadow, "compare": compare}})

    def told() -> list[dict[str, Any]]:
        """What is counted of the tenant with this shadow: others of the demo had some before."""
        assert demo.ask(tenant).status_code == 200
        items = json.loads(demo.run("shadow", cell, "--tenant", tenant, "--json"))["items"]
        return [item for item in items if (item["cell"], item["shadow"]) == (cell, shadow)]

    try:
        eventually(lambda: len(told()) == 1, "answers are compared", seconds=30)
        shown = demo.run("shadow").splitlines()
        assert shown[0].split()[:5] == ["CELL", "SHADOW", "COMPARED", "MATCHES", "MISMATCHES"]
        mine = demo.run("shadow", cell, "--tenant", tenant).splitlines()[1].split()
        assert (mine[:2], int(mine[2]) > 0) == ([cell, shadow], True)
        assert demo.run("shadow", "--tenant", "nobody") == "Nothing of nobody has been compared lately.\n"
        assert "compared" in demo.run("route", tenant)
    finally:
        demo.put(f"/v1/tenants/{tenant}", {"policy": {}})
