"""What a client of the control plane says when things go wrong, and what is printed is printed as it is."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest

from cellplane import client as module
from cellplane.cli.output import print_table
from cellplane.client import Client
from cellplane.errors import BusyControlPlaneError, ControlPlaneError, UnreachableError
from support.http_server import answering_with
from unit.control.serving import Api


def test_a_url_that_is_none_is_said_so() -> None:
    with pytest.raises(UnreachableError, match="is no URL"):
        Client("http://[::1", "test")


def test_a_control_plane_that_takes_a_request_and_does_not_answer_may_have_done_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "WORK_TIMEOUT_SECONDS", 0.2)
    # Connected by the kernel, and read by nobody.
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        Client(f"http://127.0.0.1:{server.getsockname()[1]}", "test") as client,
        pytest.raises(ControlPlaneError, match="it may still be done"),
    ):
        client.post("/v1/apply", {"resources": []})


@contextmanager
def answering(*statuses: int) -> Iterator[tuple[Client, list[str], list[float]]]:
    """A control plane that answers so in turn, and the last for ever: its client, the keys and the pauses."""
    left, keys, pauses = list(statuses), list[str](), list[float]()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            keys.append(self.headers["idempotency-key"])
            status = left.pop(0) if len(left) > 1 else left[0]
            if not status:
                return
            body = b'{"code":"directory-busy","detail":"others change it"}' if status == 503 else b'{"lines":1}'
            self.send_response(status)
            self.send_header("retry-after", "30")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with (
        answering_with(Handler) as server,
        Client(f"http://127.0.0.1:{server.server_port}", "test", pause=pauses.append) as client,
    ):
        yield client, keys, pauses


def test_lines_are_sent_again_while_others_change_the_directory_and_once_where_nobody_answers() -> None:
    with answering(503, 0, 503, 200) as (client, keys, pauses):
        assert client.post_lines("/v1/bulk/tenants", b"{}", key="one", more=False) == {"lines": 1}
    assert keys == ["one"] * 4
    assert pauses == [5.0, 5.0]
    with answering(0) as (client, keys, _), pytest.raises(UnreachableError):
        client.post_lines("/v1/bulk/tenants", b"{}", key="two", more=False)
    assert len(keys) == 2


def test_a_directory_that_stays_busy_is_told_of_in_the_end() -> None:
    with answering(503) as (client, keys, pauses):
        with pytest.raises(BusyControlPlaneError, match="others change it"):
            client.post_lines("/v1/bulk/tenants", b"{}", key="one", more=False)
        with pytest.raises(BusyControlPlaneError):
            client.post("/v1/apply", {})
    assert len(keys) == module.BUSY_TRIES + 2
    assert len(pauses) == module.BUSY_TRIES


def test_a_refusal_names_the_field_and_the_cells(api: Api) -> None:
    api.fill()
    api.put("/v1/pools/own", {"cells": ["cell-1"], "strategy": "explicit"})
    api.put("/v1/cells/cell-1", {"address": "127.0.0.1", "port": 1, "status": "locked"})
    with Client(f"http://127.0.0.1:{api.port}", "test", api.token) as client:
        with pytest.raises(ControlPlaneError, match=r"^tenant\.cell: .*cell-9"):
            client.put("/v1/tenants/acme", {"cell": "cell-9"})
        with pytest.raises(ControlPlaneError, match=r"cell-1: .*locked"):
            client.put("/v1/tenants/acme", {"pool": "own"})


def test_what_looks_like_markup_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("REASON",), [("cannot open [/var/lib/x] [bold]",)], empty="none")
    assert "cannot open [/var/lib/x] [bold]" in capsys.readouterr().out
