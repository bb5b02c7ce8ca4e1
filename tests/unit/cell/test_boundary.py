"""Apps that keep the boundary of their cell, and apps that do not, found out over a socket."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from click.testing import CliRunner
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from cellplane.cell import CellMiddleware, current_or_none
from cellplane.cell.boundary import check_boundary
from cellplane.cell.errors import UnreachableAppError
from cellplane.cell.proof import ProofKeys, parse_keys
from cellplane.cli.commands import cli
from cellplane.signed_cookie import new_secret
from e2e_app.servers import eventually
from support import plain_http


def an_app() -> FastAPI:
    app = FastAPI()

    @app.get("/healthz")
    async def health() -> None: ...

    @app.get("/orders")
    async def orders() -> dict[str, str]:
        context = current_or_none()
        return {"tenant": context.tenant_id if context else "nobody"}

    return app


@contextmanager
def served(app: Any) -> Iterator[int]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", access_log=False, ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        eventually("it serves", lambda: server.started, 10)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(60)


def test_an_app_behind_the_door_keeps_its_boundary() -> None:
    with served(CellMiddleware(an_app(), "cell-3")) as port:
        found = check_boundary("127.0.0.1", port, "cell-3", path="/orders")
        assert [each for each in found if not each.passed] == []
        assert len(found) > 15
        assert plain_http.get(f"http://127.0.0.1:{port}/orders").status_code == 421


def test_an_app_that_asks_for_proofs_is_asked_with_them_and_without(tmp_path: Path) -> None:
    file = tmp_path / "proof-keys"
    file.write_text(f"key-1 {new_secret()}\n")
    with served(CellMiddleware(an_app(), "cell-3", proof=ProofKeys(file))) as port:
        keys = parse_keys(file.read_text())
        proved = check_boundary("127.0.0.1", port, "cell-3", path="/orders?limit=1%20", proof_keys=keys)
        found = {each.name: each for each in check_boundary("127.0.0.1", port, "cell-3", path="/orders")}
    assert [each for each in proved if not each.passed] == []
    assert "what a router sends, without its proof" in {each.name for each in proved}
    assert found["what a router sends"].found == "403 no-proof"
    assert not found["what a router sends"].passed


def test_an_app_without_a_door_is_found_out() -> None:
    with served(an_app()) as port:
        found = {each.name: each for each in check_boundary("127.0.0.1", port, "cell-3", path="/orders")}
    assert not found["GET without a router's headers"].passed
    assert found["GET without a router's headers"].found == "200"
    assert not found["a request for another cell"].passed
    assert found["what a router sends"].passed


def test_an_app_of_another_cell_is_found_out() -> None:
    with served(CellMiddleware(an_app(), "cell-4")) as port:
        found = {each.name: each for each in check_boundary("127.0.0.1", port, "cell-3", path="/orders")}
    assert found["what a router sends"].found == "421 wrong-cell"


def test_what_answers_before_the_door_is_found_out() -> None:
    app = CORSMiddleware(CellMiddleware(an_app(), "cell-3"), allow_origins=["*"])

    async def outside(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"OK"})
            return
        await app(scope, receive, send)

    with served(outside) as port:
        found = check_boundary("127.0.0.1", port, "cell-3", path="/orders")
    assert [each.name for each in found if not each.passed] == ["OPTIONS without a router's headers"]


def test_where_nobody_listens_that_is_said() -> None:
    with pytest.raises(UnreachableAppError, match=r"nobody answers at 127\.0\.0\.1:1"):
        check_boundary("127.0.0.1", 1, "cell-3")


def test_the_command_shows_all_and_fails_where_one_does() -> None:
    with served(CellMiddleware(an_app(), "cell-3")) as port:
        ask = ["cell", "check", f"127.0.0.1:{port}", "--path", "/orders", "--cell"]
        good, bad = (CliRunner().invoke(cli, [*ask, cell]) for cell in ("cell-3", "cell-9"))
        as_json = CliRunner().invoke(cli, [*ask, "cell-3", "--json"])
    assert (good.exit_code, bad.exit_code, as_json.exit_code) == (0, 1, 0)
    assert "passed." in good.output
    assert "FAILED" in bad.output
    assert '"failed": 0' in as_json.output
    assert CliRunner().invoke(cli, ["cell", "check", "nowhere", "--cell", "a"]).exit_code == 2
    gone = CliRunner().invoke(cli, ["cell", "check", "127.0.0.1:1", "--cell", "a"])
    assert (gone.exit_code, "nobody answers" in gone.output) == (1, True)
