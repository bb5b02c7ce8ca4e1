"""A control plane that answers ``POST /v1/apply`` as it is told, and remembers what it was asked."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from support.http_server import answering_with


@dataclass
class FakeControl:
    """What it answers, and what it was asked: path and body of each request."""

    answer: dict[str, Any]
    refuse_real: bool = False
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    url: str = ""


@contextmanager
def fake_control(answer: dict[str, Any]) -> Iterator[FakeControl]:
    control = FakeControl(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # named by the standard library
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            control.asked.append((self.path, body))
            conflict = control.refuse_real and self.path.endswith("dryRun=false")
            text = json.dumps({"detail": "the fleet has changed since"} if conflict else control.answer).encode()
            self.send_response(409 if conflict else 200)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with answering_with(Handler) as server:
        control.url = f"http://127.0.0.1:{server.server_port}"
        yield control
