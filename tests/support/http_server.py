"""A server of made-up answers, in a thread of the test."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

POLL_SECONDS = 0.02


@contextmanager
def answering_with(handler: Callable[..., BaseHTTPRequestHandler], **said: Any) -> Iterator[ThreadingHTTPServer]:
    """Serve on a free port of loopback until the block ends; ``said`` become members of the server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        vars(server).update(said)
        thread = Thread(target=server.serve_forever, args=(POLL_SECONDS,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
