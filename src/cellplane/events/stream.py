"""The stream that all cells' events go to: whoever runs its consumers creates it."""

from contextlib import suppress

from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import BadRequestError, NotFoundError

from cellplane.events.settings import StreamSettings
from cellplane.events.subjects import EVERY_EVENT


async def ensure_stream(jetstream: JetStreamContext, settings: StreamSettings) -> None:
    """Create the stream where it is not there; one that is there stays as it is, as somebody made it so.

    It refuses what it has no room for (``discard: new``), so that events wait in their cells; what it stores is on its
    disk; and it takes batches whole, which keeps the order.
    """
    config = StreamConfig(
        name=settings.name,
        subjects=[EVERY_EVENT],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        max_bytes=settings.max_bytes,
        max_age=settings.max_age_seconds,
        duplicate_window=settings.duplicate_window_seconds,
        num_replicas=settings.replicas,
        allow_atomic=True,
    )
    try:
        await jetstream.stream_info(settings.name)
    except NotFoundError:
        with suppress(BadRequestError):  # another made it meanwhile, with other settings
            await jetstream.add_stream(config)
