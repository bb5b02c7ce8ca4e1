"""A real PostgreSQL with an outbox, and a real NATS with the stream, for tests of events."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import nats as nats_client
import psycopg
import pytest

from cellplane.events import StreamSettings, create_outbox
from cellplane.events.stream import ensure_stream
from e2e_app.servers import Nats

SMALL = StreamSettings(max_bytes=64 * 1024**2)


async def make_stream(url: str, settings: StreamSettings = SMALL) -> None:
    client = await nats_client.connect(url)
    try:
        await ensure_stream(client.jetstream(), settings)
    finally:
        await client.close()


@pytest.fixture
def outbox_url(database_url: str) -> str:
    """The URL of a database that has an outbox."""
    with psycopg.connect(database_url) as connection:
        create_outbox(connection)
    return database_url


@pytest.fixture
def silent_nats(tmp_path: Path) -> Iterator[Nats]:
    """A NATS that is not started yet."""
    server = Nats(tmp_path)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def nats(silent_nats: Nats) -> Nats:
    """A NATS of its own, with the stream."""
    silent_nats.start_and_wait()
    asyncio.run(make_stream(silent_nats.url))
    return silent_nats
