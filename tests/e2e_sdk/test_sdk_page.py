"""``docs/sdk.md`` works: each of its programs is run as it stands, and asked whether it did what the page says."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_app.servers import Nats
from support.pages import blocks

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sdk.md"

ASGI = """
import asyncio

async def ask(app, path="/orders", tenant="acme", **more):
    sent = []
    headers = {"x-cell-id": "cell-3", "x-cell-epoch": "812", "x-tenant-id": tenant, **more}
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
             "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "server": ("a", 80),
             "client": ("b", 1), "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}
    async def send(message):
        sent.append(message)
    ended = asyncio.Event()
    async def receive():
        if not ended.is_set():
            ended.set()
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.sleep(5)
        return {"type": "http.disconnect"}
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])
"""
WSGI = """
from wsgiref.util import setup_testing_defaults

def ask(app, tenant="acme", cell="cell-3"):
    environ = {"PATH_INFO": "/orders", "HTTP_X_CELL_ID": cell, "HTTP_X_CELL_EPOCH": "812", "HTTP_X_TENANT_ID": tenant}
    setup_testing_defaults(environ)
    said = []
    parts = app(environ, lambda status, headers, exc_info=None: said.append(status))
    return said[0][:3], b"".join(parts)
"""
DJANGO = """
import sys, types
from django.conf import settings
from django.http import HttpResponse
from django.urls import path
from cellplane.cell import current
urls = types.ModuleType("urls")
urls.urlpatterns = [path("orders", lambda request: HttpResponse(current().tenant_id))]
sys.modules["urls"] = urls
settings.configure(ROOT_URLCONF="urls", ALLOWED_HOSTS=["*"], SECRET_KEY="test")
"""

# By heading, what comes before each of its blocks, and what is asked after it.
CHECKS: dict[str, list[tuple[str, str]]] = {
    "FastAPI": [
        ("", ASGI + 'assert asyncio.run(ask(app)) == (200, b\'{"tenant":"acme"}\')\n'
         'assert asyncio.run(ask(app, **{"x-cell-id": "cell-4"}))[0] == 421'),
    ],
    "Django": [
        (DJANGO, WSGI + 'assert ask(application) == ("200", b"acme")\nassert ask(application, cell="x")[0] == "421"'),
        (DJANGO, ASGI + 'assert asyncio.run(ask(application)) == (200, b"acme")'),
    ],
    "Flask": [
        ("", WSGI + 'assert ask(app) == ("200", b\'{"tenant":"acme"}\\n\')\nassert ask(app, cell="x")[0] == "421"'),
    ],
    "Threads and jobs": [("", 'assert seen == ["acme"]')],
    "Moves": [
        ("", ASGI + 'assert asyncio.run(ask(app))[0] == 204\nassert asyncio.run(ask(app, tenant="globex"))[0] == 421'),
        ("", 'assert moves.away() == {"acme": MovedTo("cell-7", 812)}'),
    ],
    "Proof": [("", ASGI + 'status, body = asyncio.run(ask(app))\nassert (status, b"no-proof" in body) == (403, True)')],
    "Queues": [("", 'assert seen == ["order 1 for acme"]')],
}  # fmt: skip


def examples() -> Iterator[tuple[str, int, str]]:
    """Each block of Python, by its heading and its place below that."""
    places: Counter[str] = Counter()
    for block in blocks(PAGE):
        if block.language == "python":
            yield block.heading, places[block.heading], block.text
            places[block.heading] += 1


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    server = Nats(tmp_path_factory.mktemp("nats"))
    server.start_and_wait()
    yield server
    server.stop()


def test_every_block_is_checked() -> None:
    found = [(heading, place) for heading, place, _ in examples()]
    assert found == [(heading, place) for heading, checks in CHECKS.items() for place in range(len(checks))]


@pytest.mark.parametrize(("heading", "place", "code"), [*examples()], ids=lambda value: str(value)[:20].strip())
def test_a_block_does_what_the_page_says(heading: str, place: int, code: str, tmp_path: Path, nats: Nats) -> None:
    before, after = CHECKS[heading][place]
    program = tmp_path / "program.py"
    program.write_text("\n".join([before, code, after]))
    environ = {
        **os.environ,
        "CELLPLANE_CELL_ID": "cell-3",
        "CELLPLANE_DATABASE_URL": "postgresql://127.0.0.1:1/unused",
        "CELLPLANE_NATS_URL": nats.url,
    }
    ran = subprocess.run(
        [sys.executable, str(program)], cwd=tmp_path, env=environ, capture_output=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr.decode()
