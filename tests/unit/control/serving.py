"""A control plane that really serves, in a thread, and what tests ask of it."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI
from sqlalchemy import update

from cellplane.control.access.settings import ADMIN_TOKEN
from cellplane.control.app import create_app
from cellplane.control.peers import PeerProtocol
from cellplane.control.service import Service
from cellplane.control.settings import ControlSettings
from cellplane.control.tls import server_tls
from cellplane.directory import Leadership, schema
from cellplane.routing import RoutingTable
from support.directory import Directory

START_SECONDS = 60.0
KEY_SOURCES: list[dict[str, Any]] = [{"kind": "header", "name": "x-tenant-id", "trusted": True}]
"""Where the key of the tests' fleets stands: a header of a gateway in front. A fleet has to say so."""

SHOP: dict[str, Any] = {"name": "shop", "key_sources": KEY_SOURCES}
"""The least that is put as the fleet `shop`."""

NO_POLICY: dict[str, None] = dict.fromkeys(
    (
        "writes",
        "reads",
        "standby",
        "cache_seconds",
        "balance",
        "mode",
        "rps",
        "burst_seconds",
        "priority",
        "shadow",
        "copies",
        "compare",
    )
)
"""What a policy is that says nothing."""


def as_holder(token: str) -> dict[str, str]:
    """Headers of whoever has this token."""
    return {"authorization": f"Bearer {token}"}


PROBLEM_MEMBERS = {"type", "title", "status", "detail", "code"}


def leading(directory: Directory) -> Leadership:
    """Leads, whoever did before."""
    with directory._database.aside() as connection:
        connection.execute(update(schema.leadership).values(until=0.0))
    leadership = directory.leadership("test", time.monotonic)
    assert leadership.campaign()
    return leadership


def eventually(condition: Callable[[], bool], what: str, *, seconds: float = 30.0) -> float:
    """Wait until something is so, and return how long that took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.005)
    return time.monotonic() - began


@dataclass
class Api:
    """A control plane's API, and, where it runs in this process, the app behind it."""

    http: httpx2.Client
    port: int
    app: FastAPI
    token: str

    @property
    def service(self) -> Service:
        service: Service = self.app.state.service
        return service

    def holder(self, **order: object) -> str:
        """A token that the admin makes: its name, role, and so on."""
        response = self.http.post("/v1/tokens", json=order)
        assert response.status_code == 201, response.text
        token: str = response.json()["token"]
        return token

    def get(self, path: str, **params: str | int | float) -> httpx2.Response:
        return self.http.get(path, params=params) if params else self.http.get(path)

    def put(self, path: str, body: object) -> httpx2.Response:
        return self.http.put(path, json=body)

    def put_epoch(self, path: str, body: object) -> int:
        """Put what must be taken, and return its epoch."""
        response = self.put(path, body)
        assert response.status_code == 200, response.text
        return int(response.json()["epoch"])

    def apply(
        self, *resources: tuple[str, str, Mapping[str, Any]], dry_run: bool = False, **more: object
    ) -> httpx2.Response:
        """Apply resources, each its kind, name and spec."""
        return apply(self.http, *resources, dry_run=dry_run, **more)

    def put_bytes(self, path: str, body: bytes) -> httpx2.Response:
        return self.http.put(path, content=body, headers={"content-type": "application/json"})

    def published(self, epoch: int) -> RoutingTable:
        """The published table once it is of this epoch or a later one."""
        return published(self.http, epoch)

    def fill(self) -> int:
        """Make the fleet `shop` of two cells in its default pool, and return the epoch."""
        return fill(self.http)


def apply(
    http: httpx2.Client, *resources: tuple[str, str, Mapping[str, Any]], dry_run: bool = False, **more: object
) -> httpx2.Response:
    named = [{"kind": kind, "name": name, "spec": spec} for kind, name, spec in resources]
    params = {"dryRun": "true"} if dry_run else None
    return http.post("/v1/apply", json={"resources": named, **more}, params=params)


def fill(http: httpx2.Client) -> int:
    response = apply(
        http,
        ("Fleet", "shop", {"keySources": KEY_SOURCES}),
        ("Cell", "cell-1", {"address": "127.0.0.1", "port": 8001}),
        ("Cell", "cell-2", {"address": "127.0.0.1", "port": 8002}),
        ("Pool", "default", {"cells": ["cell-1", "cell-2"]}),
    )
    assert response.status_code == 200, response.text
    epoch = int(response.json()["epoch"])
    published(http, epoch)
    return epoch


def published(http: httpx2.Client, epoch: int) -> RoutingTable:
    found: list[bytes] = []

    def is_there() -> bool:
        response = http.get("/v1/table")
        found.append(response.content)
        return response.status_code == 200 and int(response.headers["x-cellplane-epoch"]) >= epoch

    eventually(is_there, f"epoch {epoch} is published")
    return RoutingTable.of_publication(found[-1])


def assert_problem(
    response: httpx2.Response,
    status: int,
    code: str,
    *,
    field: str | None = None,
    members: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Check that the answer is a whole problem document, with members of its own, and return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert set(document) == PROBLEM_MEMBERS | members | ({"field"} if field is not None else set())
    assert document["type"] == f"urn:cellplane:problem:{code}", response.text
    assert document["code"] == code
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert document.get("field") == field
    return document


@contextmanager
def serving(state: Path, *, client_tls: ssl.SSLContext | None = None, **overrides: Any) -> Iterator[Api]:
    """Run a control plane on a free port; overrides are of its settings. With a client's TLS it is asked over that."""
    # With its protocol named, asyncio sets TCP_NODELAY on what it accepts, as it does for uvicorn's own sockets.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        # Rails have tests of their own: others change small fleets as they like.
        overrides.setdefault("guard_rails", None)
        settings = ControlSettings(state_dir=state, port=port, **overrides)
        tls = server_tls(settings)
        app = create_app(settings, tls)
        # No tracebacks: CPython 3.11 may not format one here while pytest does in its own thread (gh-106905).
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="critical",
                access_log=False,
                ws="none",
                http=PeerProtocol,
                timeout_graceful_shutdown=1,
                ssl_context_factory=None if tls is None else lambda _config, _default: tls.context,
            )
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="control-plane")
        thread.start()
        try:
            eventually(lambda: server.started or not thread.is_alive(), "the API is up", seconds=START_SECONDS)
            token = (state / ADMIN_TOKEN).read_text().strip()
            headers = as_holder(token)
            url = f"{'http' if client_tls is None else 'https'}://127.0.0.1:{port}"
            verify = client_tls or False
            with httpx2.Client(base_url=url, trust_env=False, timeout=30, headers=headers, verify=verify) as http:
                yield Api(http, port, app, token)
        finally:
            server.should_exit = True
            thread.join(START_SECONDS)
            assert not thread.is_alive()
