"""What takes events out of a cell: an outbox in the cell's own database, and a relay to the stream outside.

An app adds events in its own transactions::

    from cellplane.events import Event, Outbox

    outbox = Outbox()
    with connection.transaction():
        connection.execute("INSERT INTO orders …")
        outbox.add(connection, Event("order.created", {"bytes": 120}))

``python -m cellplane.events.relay`` carries them to NATS JetStream; ``cellplane.events.analytics`` counts them there.
"""

from cellplane.events.errors import (
    EventsError,
    InvalidEventError,
    NoTransactionError,
    OutboxDiskFullError,
    OutboxFullError,
    OutboxMissingError,
)
from cellplane.events.event import Event
from cellplane.events.outbox import Outbox, create_outbox, create_outbox_async
from cellplane.events.settings import OutboxSettings, RelaySettings, StreamSettings, WhenFull
from cellplane.events.state import OutboxState

__all__ = [
    "Event",
    "EventsError",
    "InvalidEventError",
    "NoTransactionError",
    "Outbox",
    "OutboxDiskFullError",
    "OutboxFullError",
    "OutboxMissingError",
    "OutboxSettings",
    "OutboxState",
    "RelaySettings",
    "StreamSettings",
    "WhenFull",
    "create_outbox",
    "create_outbox_async",
]
