"""The stream that all cells' events go to: whoever runs its consumers creates it."""

from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import BadRequestError

from cellplane.events.settings import StreamSettings
from cellplane.events.subjects import EVERY_EVENT


async def ensure_stream(jetstream: JetStreamContext, settings: StreamSettings) -> None:
    """Create the stream, or bring it to these settings.

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
        await jetstream.add_stream(config)
    except BadRequestError:  # it exists with other settings
        await jetstream.update_stream(config)
