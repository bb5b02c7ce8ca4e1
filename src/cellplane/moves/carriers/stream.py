"""A stream of NATS JetStream, as a move looks at it: messages by position, read and removed past its consumers."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import StreamConfig, StreamInfo

from cellplane.moves.errors import StoreError
from cellplane.moves.settings import CarrierSettings

_API = "$JS.API.STREAM"
_GET, _DELETE = "MSG.GET", "MSG.DELETE"
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class QueueEnd:
    """Where the work of one cell waits.

    Attributes:
        cell: its id.
        url: of its NATS; more than one of a cluster with commas between.
        stream: its stream: one of work, from which a message goes when it is done.
    """

    cell: str
    url: str = field(repr=False)
    stream: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that waits."""

    sequence: int
    subject: str
    headers: Mapping[str, str]
    data: bytes


@dataclass(frozen=True, slots=True)
class Stream:
    """One end, connected.

    Attributes:
        end: which.
        client: its connection.
        jetstream: of the connection.
        seconds: longest that it may take for an answer.
    """

    end: QueueEnd
    client: Client
    jetstream: JetStreamContext
    seconds: float

    async def info(self) -> StreamInfo:
        """What the stream is, and what it has.

        Raises:
            NotFoundError: it is not there.
        """
        return await self.jetstream.stream_info(self.end.stream)

    def room_bytes(self, config: StreamConfig) -> int:
        """Largest message that it takes, bytes."""
        most = config.max_msg_size
        return min(self.client.max_payload, most) if most and most > 0 else self.client.max_payload

    async def at(self, sequence: int) -> Waiting | None:
        """The message at a position; None where none is."""
        return await self._get({"seq": sequence})

    async def next(self, sequence: int, subject: str) -> Waiting | None:
        """The first at a position or behind it that fits a subject; None where none is."""
        return await self._get({"seq": sequence, "next_by_subj": subject})

    async def remove(self, sequence: int) -> None:
        """Remove the message at a position; it is no error that none is there."""
        await self._ask(_DELETE, {"seq": sequence, "no_erase": True})

    async def _get(self, wanted: dict[str, Any]) -> Waiting | None:
        answer = await self._ask(_GET, wanted)
        if answer is None:
            return None
        message = answer["message"]
        return Waiting(
            message["seq"],
            message["subject"],
            _parsed(base64.b64decode(message.get("hdrs", ""))),
            base64.b64decode(message.get("data", "")),
        )

    async def _ask(self, verb: str, wanted: dict[str, Any]) -> dict[str, Any] | None:
        """JetStream's answer; None where it has no such message."""
        reply = await self.client.request(
            f"{_API}.{verb}.{self.end.stream}", json.dumps(wanted).encode(), timeout=self.seconds
        )
        answer: dict[str, Any] = json.loads(reply.data)
        error = answer.get("error")
        if error is None:
            return answer
        # Of a message that is to be removed and is not there, JetStream says that it was no good request.
        if error.get("code") == _NOT_FOUND or (verb == _DELETE and await self.at(wanted["seq"]) is None):
            return None
        where = f"the stream {self.end.stream} of {self.end.cell}"
        raise StoreError(f"{where} refuses {verb}: {error.get('description')}")


@asynccontextmanager
async def connected(end: QueueEnd, settings: CarrierSettings) -> AsyncIterator[Stream]:
    """Be connected with an end until the block ends.

    Raises:
        StoreError: it does not answer in time.
        OSError: nobody is there.
    """
    client = Client()
    try:
        async with asyncio.timeout(settings.queue_connect_seconds):
            await client.connect(
                [each.strip() for each in end.url.split(",")],
                name="cellplane move",
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                error_cb=_ignore,
            )
    except TimeoutError as error:
        raise StoreError(f"NATS of {end.cell} did not answer within {settings.queue_connect_seconds} s") from error
    try:
        yield Stream(end, client, client.jetstream(timeout=settings.queue_seconds), settings.queue_seconds)
    finally:
        await client.close()


def header(headers: Mapping[str, str], wanted: str) -> str | None:
    """The value of a header, whatever the case of its name."""
    return next((value for name, value in headers.items() if name.lower() == wanted.lower()), None)


def _parsed(block: bytes) -> dict[str, str]:
    """Headers as NATS keeps them: a line of the version, a line each, an empty one."""
    lines = block.decode(errors="replace").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return {name: value.strip() for name, _, value in pairs}


async def _ignore(_error: Exception) -> None:
    """Every failure also ends the call, which is where it is told."""
