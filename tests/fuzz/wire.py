"""A client of raw bytes, which reads what comes back as strictly as it can."""

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ANSWER_SECONDS = 20.0
"""How long an answer that must come may take; a machine may be busy."""

CUT_SECONDS = 0.03
"""How long an answer is waited for that may never come."""

MAX_ANSWER_BYTES = 1 << 20


class NoAnswerError(Exception):
    """The connection ended, or was silent, before an answer was whole."""


@dataclass(frozen=True)
class Answer:
    """An answer as it came over the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_last(self) -> bool:
        """Whether the connection ends behind it."""
        return self.headers.get("connection", "").lower() == "close"

    def document(self) -> dict[str, Any]:
        """The JSON object that its body is; empty where it is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


class Connection:
    """A connection to a router."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self.is_open = True

    def send(self, data: bytes) -> None:
        """Send bytes; a router that does not want them all may have closed meanwhile, and have said why."""
        try:
            self._socket.sendall(data)
        except OSError:
            self.is_open = False

    def close(self) -> None:
        """Close it."""
        self._socket.close()
        self.is_open = False

    def read(self, *, is_head: bool, seconds: float = ANSWER_SECONDS) -> Answer:
        """The next answer that is none on the way (1xx).

        Raises:
            NoAnswerError: there is none.
        """
        self._socket.settimeout(seconds)
        while True:
            answer = self._read_one(is_head=is_head)
            if answer.status >= 200:
                return answer

    def _read_one(self, *, is_head: bool) -> Answer:
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, rest = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        version, _, following = first.partition(" ")
        if version != "HTTP/1.1" or not following[:3].isdigit():
            raise NoAnswerError(f"an answer begins with {first[:100]!r}")
        status = int(following[:3])
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if is_head or status < 200 or status in {204, 304}:
            self._buffer = rest
            return Answer(status, headers, b"")
        if "content-length" not in headers:
            raise NoAnswerError(f"an answer without a length: {headers}")
        length = int(headers["content-length"])
        while len(rest) < length:
            self._more()
            rest = self._buffer.partition(b"\r\n\r\n")[2]
        self._buffer = rest[length:]
        return Answer(status, headers, rest[:length])

    def _more(self) -> None:
        try:
            data = self._socket.recv(65536)
        except OSError as error:
            self.is_open = False
            raise NoAnswerError(repr(error)) from None
        if not data:
            self.is_open = False
            raise NoAnswerError("closed")
        self._buffer += data
        if len(self._buffer) > MAX_ANSWER_BYTES:
            raise NoAnswerError("an answer without an end")
