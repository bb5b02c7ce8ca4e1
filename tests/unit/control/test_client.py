"""What a client of the control plane says when things go wrong, and what is printed is printed as it is."""

import socket

import pytest

from cellplane import client as module
from cellplane.cli.output import print_table
from cellplane.client import Client
from cellplane.errors import ControlPlaneError, UnreachableError
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
