"""Messages of a durable consumer, many at a time: JetStream's ``CONSUMER.MSG.NEXT``, asked for in one request.

nats-py's own ``fetch`` waits for each message by itself, which takes longer than to count it.
"""

import asyncio
import json
from itertools import count
from typing import Self

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

GRACE_SECONDS = 1.0
"""How much later than it says a request may end, in seconds."""


class Pull:
    """One connection's way to a consumer.

    Args:
        client: connected.
        stream: of the consumer.
        consumer: its name.
        max_bytes: of messages that one request brings.
    """

    def __init__(self, client: Client, stream: str, consumer: str, max_bytes: int) -> None:
        self._client = client
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._max_bytes = max_bytes
        self._inbox = client.new_inbox()
        self._numbers = count()
        self._most = 0
        self._asking = ""
        self._messages: list[Msg] = []
        self._ended = asyncio.Event()

    async def open(self) -> Self:
        """Subscribe to what will come."""
        await self._client.subscribe(f"{self._inbox}.*", cb=self._came)
        return self

    async def fetch(self, most: int, seconds: float) -> list[Msg]:
        """The next messages: as many, or those that have come after the time.

        Raises:
            nats.errors.Error: the connection is lost.
        """
        if not self._client.is_connected:
            raise nats.errors.ConnectionClosedError
        self._most = most
        self._asking = f"{self._inbox}.{next(self._numbers)}"
        self._ended.clear()
        wanted = most - len(self._messages)  # some may have come late
        if wanted > 0:
            request = {"batch": wanted, "expires": round(seconds * 1e9), "max_bytes": self._max_bytes}
            await self._client.publish(self._subject, json.dumps(request).encode(), reply=self._asking)
            try:
                async with asyncio.timeout(seconds + GRACE_SECONDS):
                    await self._ended.wait()
            except TimeoutError:
                if not self._messages and not self._client.is_connected:
                    raise nats.errors.ConnectionClosedError from None
        found, self._messages = self._messages[:most], self._messages[most:]
        return found

    async def _came(self, message: Msg) -> None:
        if not message.reply:  # a status: the request has ended
            if message.subject == self._asking:
                self._ended.set()
            return
        self._messages.append(message)
        if len(self._messages) >= self._most:
            self._ended.set()
