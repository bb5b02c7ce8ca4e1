"""The configuration's way from the control plane to the file."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from cellplane.cell.config import ConfigError, ConfigFetcher, ConfigLimits
from e2e_app.servers import eventually
from support.http_server import answering_with


class Control:
    """A control plane that knows one cell's configuration, and what it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.body = json.dumps({"version": 1, "revision": 1, "cell": "cell-3"}).encode()
        self.tag = '"1"'
        self.asked: list[tuple[str, str, str | None]] = []
        self.port = 0


@pytest.fixture
def control() -> Iterator[Control]:
    control = Control()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            tag = self.headers["if-none-match"]
            control.asked.append((self.path, self.headers["authorization"], tag))
            status = 304 if tag == control.tag else control.status
            self.send_response(status)
            if status == 302:
                self.send_header("location", "http://127.0.0.1:1/elsewhere")
            self.send_header("etag", control.tag)
            body = b"" if status == 304 else control.body
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with answering_with(Handler) as server:
        control.port = server.server_port
        yield control


@pytest.fixture
def fetcher(control: Control, tmp_path: Path) -> ConfigFetcher:
    (tmp_path / "token").write_text("secret\n")
    limits = ConfigLimits(max_bytes=1_000, fetch_seconds=0.01)
    url = f"http://127.0.0.1:{control.port}/"
    return ConfigFetcher(url, "cell-3", tmp_path / "token", tmp_path / "config.json", limits=limits)


def test_what_is_new_is_written_and_what_is_not_is_not_sent(
    control: Control, fetcher: ConfigFetcher, tmp_path: Path
) -> None:
    path = tmp_path / "config.json"
    assert fetcher.fetch()
    assert path.read_bytes() == control.body
    assert not fetcher.fetch()
    control.tag, control.body = '"2"', control.body.replace(b"1", b"1")
    assert fetcher.fetch()
    path.unlink()
    assert fetcher.fetch(), "what is gone is fetched again"
    assert control.asked == [
        ("/v1/cells/cell-3/config", "Bearer secret", None),
        ("/v1/cells/cell-3/config", "Bearer secret", '"1"'),
        ("/v1/cells/cell-3/config", "Bearer secret", '"1"'),
        ("/v1/cells/cell-3/config", "Bearer secret", None),
    ]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, b"{}"),
        (302, b""),
        (200, b"<html>"),
        (200, b'{"version": 1, "revision": 1, "cell": "cell-4"}'),
        (200, b" " * 1_001),
    ],
)
def test_what_is_no_document_of_this_cell_is_not_written(
    control: Control, fetcher: ConfigFetcher, tmp_path: Path, status: int, body: bytes
) -> None:
    control.status, control.body = status, body
    with pytest.raises(ConfigError if status == 200 else OSError) as caught:
        fetcher.fetch()
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "config.json").exists()
    assert len(control.asked) == 1


def test_it_goes_on_over_failures_and_says_so_once(
    control: Control, fetcher: ConfigFetcher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    control.status = 503
    fetcher.start()
    eventually("it asked often", lambda: len(control.asked) > 2, 10)
    control.status = 200
    eventually("it is written", (tmp_path / "config.json").exists, 10)
    fetcher.stop()
    assert sum("no configuration" in record.message for record in caplog.records) == 1
